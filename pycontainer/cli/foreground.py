"""A container in the foreground: its program has this process's streams, terminal and signals."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pycontainer.cli.hostterminal import Raw
from pycontainer.cli.pump import End, Pump
from pycontainer.cli.signals import Signals
from pycontainer.container.stdio import PIPE, Stdio
from pycontainer.kernel.fd import Fd

if TYPE_CHECKING:
    from pycontainer.engine import Container


def attend(container: Container, *, interactive: bool, send_signals: bool) -> int:
    """Start a container's program, be its terminal or its pipes, and wait for its end; its exit code.

    stdin is handed on only if ``interactive``.  Raises what ``start`` raises.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(Raw(0)) if container.spec.tty and interactive else None
        sink, outputs = _started(container, stack, interactive=interactive)
        ended = stack.enter_context(Fd(os.dup(container.alive("wait").main.fileno())))
        pump = Pump(source=0 if interactive else None, sink=sink, outputs=outputs, ended=ended.fileno())
        stack.callback(pump.close)
        stack.enter_context(
            Signals(
                send=container.kill if send_signals else None,
                end=container.kill,
                resize=container.terminal.resize if container.spec.tty else None,
                raw=raw,
            )
        )
        pump.run()
        return container.wait()


def _started(
    container: Container, stack: ExitStack, *, interactive: bool
) -> tuple[End | None, list[tuple[End, int]]]:
    """Start it; where its input is written, and what of it is written to which descriptor of this process."""
    if container.spec.tty:
        container.start()
        return container.terminal.dup() if interactive else None, [(container.terminal.dup(), 1)]
    streams = Stdio.create(stdin=PIPE if interactive else None, stdout=PIPE, stderr=PIPE)
    stack.callback(streams.close)
    read, write, errors = streams.child
    container.start(stdin=read, stdout=write, stderr=errors)
    streams.close_child()
    ends: list[tuple[End, int]] = [
        (end, fd) for end, fd in ((streams.stdout, 1), (streams.stderr, 2)) if end is not None
    ]
    return streams.stdin, ends
