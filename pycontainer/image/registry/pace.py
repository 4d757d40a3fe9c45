"""Pace: an answer's bytes, counted and timed below all that parses them.

A time-out of a socket is about silence.  One byte a minute is none, and headers, or "100 Continue", may go
on for ever.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

#: Bytes a second, measured over the time-out: what is slower than this does not come to an end.
_SLOWEST = 16
#: The status line and all headers of an answer, those of "100 Continue" before it among them.
_HEADERS = 1 << 18
_BUFFER = 1 << 16


class PacedResponse(http.client.HTTPResponse):
    """An answer whose bytes are counted and timed below the buffer."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        raw = self.fp.detach()
        self._paced = _Paced(raw, sock.gettimeout())
        self.fp = io.BufferedReader(self._paced, _BUFFER)

    def begin(self) -> None:
        """Read the status and the headers."""
        self._paced.budget = _HEADERS
        super().begin()
        self._paced.budget = None


class _Paced(io.RawIOBase):
    """A socket's bytes, as long as they come at a pace. The socket itself times out where no byte comes at all."""

    def __init__(self, raw: io.RawIOBase, timeout: float | None) -> None:
        self._raw = raw
        self._timeout = timeout
        self._waited = 0.0
        self._count = 0
        self.budget: int | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        start = time.monotonic()
        count = self._raw.readinto(buffer)
        # Only the time in here: a reader may take its own.
        self._waited += time.monotonic() - start
        self._count += count or 0
        if self._timeout is not None and self._waited >= self._timeout:
            if self._count < _SLOWEST * self._timeout:
                raise TimeoutError("too slow")
            self._waited, self._count = 0.0, 0
        if self.budget is not None:
            self.budget -= count or 0
            if self.budget < -_BUFFER:
                raise http.client.LineTooLong("headers")
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
