"""``container save`` and ``container load``: a container as one archive, for another engine."""

from __future__ import annotations

from contextlib import ExitStack

from pycontainer.cli import streamed
from pycontainer.cli.command import Call, Command
from pycontainer.cli.obtain import bars
from pycontainer.cli.parser import Parser


def _save_options(parser: Parser) -> None:
    parser.value("--checkpoint", help="Have the processes of this checkpoint go along")
    parser.value("--output", "-o", help="Write to a file, instead of STDOUT")
    parser.flag("--quiet", "-q", help="Suppress the bars")


def _save(call: Call) -> None:
    target = streamed.target(call.given.output)
    container = call.container(call.words[0])
    with ExitStack() as stack:
        listener = None if call.given.quiet else bars(stack)
        container.save(target, checkpoint=call.given.checkpoint, progress=listener)


SAVE = Command("[OPTIONS] CONTAINER", _save, _save_options, least=1, most=1, completes=("container",))


def _load_options(parser: Parser) -> None:
    parser.value("--input", "-i", help="Read from an archive, instead of STDIN")
    parser.value("--name", help="Assign a name to the container, instead of the one it had")
    parser.flag("--quiet", "-q", help="Suppress the bars")
    parser.flag("--trusted", help="Let it have what it wants of the host: paths, devices, capabilities")


def _load(call: Call) -> None:
    given = call.given
    source = streamed.source(given.input)
    with ExitStack() as stack:
        listener = None if given.quiet else bars(stack)
        container = call.engine.containers.load(
            source, name=given.name, trusted=given.trusted, progress=listener
        )
    print(container.id)


LOAD = Command("[OPTIONS]", _load, _load_options)
