"""``checkpoint create``, ``checkpoint ls`` and ``checkpoint rm``; ``start --checkpoint`` restores."""

from __future__ import annotations

from pycontainer.cli.command import Call, Command
from pycontainer.cli.parser import Parser


def _create_options(parser: Parser) -> None:
    parser.flag("--leave-running", help="Leave the container running after checkpoint")


def _create(call: Call) -> None:
    name, checkpoint = call.words
    call.container(name).checkpoint(checkpoint, leave_running=call.given.leave_running)
    print(checkpoint)


CREATE = Command(
    "[OPTIONS] CONTAINER CHECKPOINT", _create, _create_options, least=2, most=2, completes=("container",)
)


def _list(call: Call) -> None:
    print("CHECKPOINT NAME")
    for name in call.container(call.words[0]).checkpoints():
        print(name)


LIST = Command("CONTAINER", _list, least=1, most=1, completes=("container",))


def _remove(call: Call) -> None:
    name, checkpoint = call.words
    call.container(name).remove_checkpoint(checkpoint)


REMOVE = Command("CONTAINER CHECKPOINT", _remove, least=2, most=2, completes=("container",))
