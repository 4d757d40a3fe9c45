"""A container in the foreground: its program has this process's streams, terminal and signals."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from pycontainer.cli.hostterminal import Raw, window
from pycontainer.cli.pump import End, Pump
from pycontainer.container.stdio import PIPE, Stdio
from pycontainer.errors import PyContainerError
from pycontainer.kernel.fd import Fd

if TYPE_CHECKING:
    from pycontainer.engine import Container

#: All that is sent on: what people and supervisors send. The others are about this process.
_SENT_ON = (
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTSTP", "SIGCONT",
)  # fmt: skip
#: A program that is process 1 ignores signals that it has no handler for: so many of these, in so many seconds, end it.
_INSISTING, _WITHIN = 3, 1.0


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
        stack.enter_context(Signals(container, raw, send=send_signals))
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


class Signals:
    """While it is entered, signals of this process go to the container's program, and its window is the terminal's."""

    def __init__(self, container: Container, raw: Raw | None, *, send: bool) -> None:
        self._container = container
        self._raw = raw
        self._send = send
        self._before: dict[int, Any] = {}
        self._insisted: list[float] = []

    def __enter__(self) -> Signals:
        names = _SENT_ON if self._send else ()
        for name in names:
            self._handle(getattr(signal, name), self._send_on)
        if self._container.spec.tty:
            self._handle(signal.SIGWINCH, self._resize)
            if self._raw is not None:
                self._handle(signal.SIGCONT, self._go_on)
            self._resize()
        return self

    def _handle(self, number: int, handler: Any) -> None:
        before = signal.signal(number, handler)
        self._before.setdefault(number, before)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _send_on(self, number: int, _: FrameType | None) -> None:
        with suppress(PyContainerError):  # it has ended
            self._container.kill(number)
            if number in {signal.SIGINT, signal.SIGTERM} and self._insists():
                self._container.kill()

    def _insists(self) -> bool:
        now = time.monotonic()
        self._insisted = [moment for moment in self._insisted if now - moment < _WITHIN] + [now]
        return len(self._insisted) >= _INSISTING

    def _go_on(self, *_: object) -> None:
        if self._raw is not None:
            self._raw.again()
        self._resize()

    def _resize(self, *_: object) -> None:
        found = window(0) or window(1)
        if found is not None:
            with suppress(PyContainerError):
                self._container.terminal.resize(*found)
