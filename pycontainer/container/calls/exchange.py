"""A job on its way to a copy of the zygote, and its result on the way back: both without blocking, and bounded."""

from __future__ import annotations

import select
import socket
import struct

from pycontainer.container.calls import values

_PIECE = 1 << 18


class JobExchange:
    """The host's end of a job's socket, which stays the caller's. Poll it for :attr:`events`, then :meth:`advance`."""

    def __init__(self, job: socket.socket, content: bytes, limit: int) -> None:
        self.job = job
        self.events = select.POLLIN | select.POLLOUT
        self.is_too_long = False
        self._limit = limit
        self._left = memoryview(struct.pack(">Q", len(content)) + content)
        self._read = bytearray()

    @property
    def result(self) -> bytearray | None:
        """All of the result, once it is there."""
        if len(self._read) < values.HEAD.size:
            return None
        return self._read if len(self._read) == values.HEAD.size + values.size_of(self._read) else None

    def advance(self) -> None:
        """Write once and read once."""
        if self._left:
            self._write()
        self._take()

    def _write(self) -> None:
        try:
            self._left = self._left[self.job.send(self._left, socket.MSG_NOSIGNAL) :]
        except BlockingIOError:
            return
        except OSError:
            self._left = memoryview(b"")  # it reads no more: its choice
        if not self._left and self.events:
            self.events = select.POLLIN

    def _take(self) -> bool:
        """Read once; whether there was something."""
        try:
            piece = self.job.recv(_PIECE)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        if not piece:
            self.events = 0
            return False
        self._read += piece
        head = values.HEAD.size
        told = values.size_of(self._read) if len(self._read) >= head else 0
        self.is_too_long = max(len(self._read) - head, told) > self._limit
        return not self.is_too_long

    def drain(self) -> None:
        """Read what lies ready: who wrote has ended."""
        while not self.is_too_long and self._take():
            pass
