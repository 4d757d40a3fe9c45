"""``container save`` and ``container load``: a container as one archive, for another engine."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

from pycontainer.cli.command import Call, Command
from pycontainer.cli.obtain import bars
from pycontainer.cli.parser import Parser
from pycontainer.errors import InvalidArgument


def _save_options(parser: Parser) -> None:
    parser.value("--checkpoint", help="Have the processes of this checkpoint go along")
    parser.value("--output", "-o", help="Write to a file, instead of STDOUT")
    parser.flag("--quiet", "-q", help="Suppress the bars")


def _save(call: Call) -> None:
    output = call.given.output
    if output is None and os.isatty(1):
        raise InvalidArgument("output", "", "an archive is nothing for a terminal: say -o FILE, or redirect")
    container = call.container(call.words[0])
    with ExitStack() as stack:
        listener = None if call.given.quiet else bars(stack)
        target = sys.stdout.buffer if output is None else output
        container.save(target, checkpoint=call.given.checkpoint, progress=listener)


SAVE = Command("[OPTIONS] CONTAINER", _save, _save_options, least=1, most=1, completes=("container",))


def _load_options(parser: Parser) -> None:
    parser.value("--input", "-i", help="Read from an archive, instead of STDIN")
    parser.value("--name", help="Assign a name to the container, instead of the one it had")
    parser.flag("--quiet", "-q", help="Suppress the bars")
    parser.flag("--trusted", help="Let it have what it wants of the host: paths, devices, capabilities")


def _load(call: Call) -> None:
    given = call.given
    if given.input is None and sys.stdin.isatty():
        raise InvalidArgument("input", "", "an archive is needed: say -i FILE, or redirect")
    with ExitStack() as stack:
        listener = None if given.quiet else bars(stack)
        source = sys.stdin.buffer if given.input in {None, "-"} else given.input
        container = call.engine.containers.load(
            source, name=given.name, trusted=given.trusted, progress=listener
        )
    print(container.id)


LOAD = Command("[OPTIONS]", _load, _load_options)
