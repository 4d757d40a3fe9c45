"""The bytes between this process's streams and a program's, until the program has ended and all is written."""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from pycontainer.cli.detachkeys import DetachKeys

_PIECE = 1 << 16
_SURE = select.PIPE_BUF


class End(Protocol):
    """A descriptor of the program's that somebody owns."""

    def fileno(self) -> int:
        """The descriptor."""
        ...

    def close(self) -> None:
        """Close it; idempotent."""
        ...


class Pump:
    """Moves bytes by poll(2).

    ``source`` is read and written to ``sink``; ``outputs`` pairs what is read with where it is written.  The ends of the
    program become non-blocking, are the pump's, and closed as soon as they are done: the program is told by that.
    Who reads this process's output may go, then the program's is closed, too.  ``ended`` is readable when it has ended.
    With ``drain`` the ends of the outputs are waited for, without it what lies ready is taken: others may have them.
    A ``shared`` sink stays as it is, for others have it as well.  ``keys`` end it, and leave the program as it is.
    """

    def __init__(
        self,
        *,
        source: int | None,
        sink: End | None,
        outputs: Sequence[tuple[End, int]],
        ended: int,
        shared: bool = False,
        keys: DetachKeys | None = None,
        drain: bool = True,
    ) -> None:
        self._drain = drain
        self._keys = keys
        #: The keys were typed.
        self.detached = False
        self._source = source
        self._sink = sink
        self._outputs = {end.fileno(): (end, target) for end, target in outputs}
        self._ended = ended
        self._pending = b""
        # As much as a pipe that poll(2) calls writable takes without waiting (pipe(7)).
        self._most = _SURE if shared else _PIECE
        for fd in (*self._outputs, *(() if sink is None or shared else (sink.fileno(),))):
            os.set_blocking(fd, False)

    def run(self) -> None:
        """Until the program has ended and its outputs are at their end. ``close`` is the caller's."""
        running = True
        while (running or self._outputs) and not self.detached:
            ready = self._wait(running=running)
            if not ready:
                return
            for fd in ready:
                if fd == self._ended:
                    running = False
                    self._source = None
                elif fd in self._outputs:
                    self._take(fd)
                elif fd == self._source and not self._pending:
                    self._read()
                else:
                    self._give()

    def _wait(self, *, running: bool) -> list[int]:
        poller = select.poll()
        for fd in self._outputs:
            poller.register(fd, select.POLLIN)
        if running:
            poller.register(self._ended, select.POLLIN)
            if self._sink is not None and self._pending:
                poller.register(self._sink.fileno(), select.POLLOUT)
            elif self._source is not None:
                poller.register(self._source, select.POLLIN)
        return [fd for fd, _ in poller.poll(None if running or self._drain else 0)]

    def _read(self) -> None:
        try:
            piece = os.read(self._source or 0, _PIECE)
        except BlockingIOError:
            return
        except OSError:  # a terminal that has hung up
            piece = b""
        if not piece:
            self._source = None
            self._end_of_input()
            return
        if self._keys is not None:
            piece, self.detached = self._keys.feed(piece)
        self._pending = piece

    def _give(self) -> None:
        if self._sink is None:
            return
        try:
            self._pending = self._pending[os.write(self._sink.fileno(), self._pending[: self._most]) :]
        except BlockingIOError:
            return
        except OSError:  # nobody reads it
            self._source, self._pending = None, b""
            self._end_of_input()

    def _end_of_input(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    def _take(self, fd: int) -> None:
        try:
            piece = os.read(fd, _PIECE)
        except BlockingIOError:
            return
        except OSError:  # a terminal that nobody inside has open (pty(7))
            piece = b""
        end, target = self._outputs[fd]
        if not piece or not written(target, piece):
            del self._outputs[fd]
            end.close()

    def close(self) -> None:
        """Close what is still open; idempotent."""
        self._end_of_input()
        while self._outputs:
            self._outputs.popitem()[1][0].close()


def written(fd: int, data: bytes) -> bool:
    """Write all of it; False when nobody reads there any more."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            with suppress(InterruptedError):
                select.select([], [fd], [])
        except OSError:
            return False
    return True
