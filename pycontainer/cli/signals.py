"""Signals of this process that go to a program, and the window of this terminal that is the program's."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from pycontainer.cli.hostterminal import Raw, window
from pycontainer.errors import PyContainerError

#: All that is sent on: what people and supervisors send. The others are about this process.
_SENT_ON = (
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTSTP", "SIGCONT",
)  # fmt: skip
#: A program that is process 1 ignores signals that it has no handler for: so many of these, in so many seconds, end it.
_INSISTING, _WITHIN = 3, 1.0


class Signals:
    """While it is entered, signals go to ``send`` (``None``: nowhere), and the window's size to ``resize``.

    ``end`` is called when somebody insists.
    """

    def __init__(
        self,
        *,
        send: Callable[[int], object] | None,
        end: Callable[[], object],
        resize: Callable[[int, int], object] | None,
        raw: Raw | None,
    ) -> None:
        self._send, self._end, self._resize, self._raw = send, end, resize, raw
        self._before: dict[int, Any] = {}
        self._insisted: list[float] = []

    def __enter__(self) -> Signals:
        for name in () if self._send is None else _SENT_ON:
            self._handle(getattr(signal, name), self._send_on)
        if self._resize is not None:
            self._handle(signal.SIGWINCH, self._fit)
            if self._raw is not None:
                self._handle(signal.SIGCONT, self._go_on)
            self._fit()
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
        # It may have ended; a process of its own is gone then.
        with suppress(PyContainerError, ProcessLookupError):
            if self._send is not None:
                self._send(number)
            if number in {signal.SIGINT, signal.SIGTERM} and self._insists():
                self._end()

    def _insists(self) -> bool:
        now = time.monotonic()
        self._insisted = [moment for moment in self._insisted if now - moment < _WITHIN] + [now]
        return len(self._insisted) >= _INSISTING

    def _go_on(self, *_: object) -> None:
        if self._raw is not None:
            self._raw.again()
        self._fit()

    def _fit(self, *_: object) -> None:
        found = window(0) or window(1)
        if found is not None and self._resize is not None:
            with suppress(PyContainerError, ValueError):
                self._resize(*found)
