"""``exec``: a further program in a container that runs."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from pycontainer.cli import notation
from pycontainer.cli.command import Call, Command
from pycontainer.cli.parser import Parser
from pycontainer.errors import InvalidArgument


def _options(parser: Parser) -> None:
    parser.flag("--detach", "-d", help="Start the program and leave it to itself: its output goes nowhere")
    parser.each("--env", "-e", help="Set environment variables; one without a value has that of yours")
    parser.each("--env-file", help="Read in a file of environment variables")
    parser.flag("--interactive", "-i", help="Hand on stdin")
    parser.flag("--tty", "-t", help="Allocate a pseudo-TTY")
    parser.value("--user", "-u", help="Username or UID, with a group or GID (name[:group])")
    parser.value("--workdir", "-w", help="Working directory inside the container")


def _run(call: Call) -> int:
    from pycontainer.cli.hostterminal import Raw, window
    from pycontainer.cli.pump import End, Pump
    from pycontainer.cli.signals import Signals
    from pycontainer.container.stdio import DEVNULL, PIPE

    given = call.given
    if given.detach:
        return _leave(call)
    if given.tty and given.interactive and not os.isatty(0):
        raise InvalidArgument("tty", True, "stdin is no terminal: leave -t out, or say it without -i")
    told: dict[str, Any] = notation.environment(given.env, given.env_file)
    container = call.container(call.words[0])
    with ExitStack() as stack:
        raw = stack.enter_context(Raw(0)) if given.tty and given.interactive else None
        process = container.popen(
            call.words[1:],
            stdin=PIPE if given.interactive and not given.tty else None,
            stdout=DEVNULL if given.tty else PIPE,
            stderr=DEVNULL if given.tty else PIPE,
            tty=given.tty and (window(0) or window(1) or True),
            user=given.user,
            workdir=given.workdir,
            bufsize=0,
            **told,
        )
        stack.callback(process.close)
        sink: End | None
        outputs: list[tuple[End, int]]
        terminal = process.terminal
        if terminal is not None:
            sink = terminal.dup() if given.interactive else None
            outputs = [(terminal.dup(), 1)]
        else:
            sink = process.stdin
            outputs = [(end, fd) for end, fd in ((process.stdout, 1), (process.stderr, 2)) if end is not None]
        pump = Pump(
            source=0 if given.interactive else None,
            sink=sink,
            outputs=outputs,
            ended=process.fileno(),
            drain=False,
        )
        stack.callback(pump.close)
        stack.enter_context(
            Signals(
                send=process.send_signal,
                end=process.kill,
                resize=process.resize if given.tty else None,
                raw=raw,
            )
        )
        pump.run()
        return int(process.wait())


def _leave(call: Call) -> int:
    """Start a program that goes on when this process has ended; as with Docker, nothing is said."""
    given = call.given
    if given.tty:
        raise InvalidArgument("tty", True, "nobody would hold its terminal: leave -t out, or -d")
    told = notation.environment(given.env, given.env_file)
    container = call.container(call.words[0])
    container.popen(call.words[1:], user=given.user, workdir=given.workdir, **told).close()
    return 0


EXEC = Command(
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    _run,
    _options,
    least=2,
    most=None,
    interspersed=False,
    completes=("container", "file"),
)
