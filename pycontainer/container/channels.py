"""One direction of a program's standard streams each: ``Input`` writes, ``Output`` reads.

Both hold one non-blocking descriptor, which they own, and do one bounded step at a time when
``streams`` tells them that it is ready. The program at the other end is hostile: it may never read,
write without end, or write single bytes.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from pycontainer.errors import InvalidArgument

if TYPE_CHECKING:
    from pycontainer.container.text import Text

#: A piece of input; ``str`` in text mode only.
Chunk = bytes | bytearray | memoryview | str
#: Called with ``"stdout"`` or ``"stderr"`` and a piece of output: ``str`` in text mode.
OnOutput = Callable[[str, bytes | str], object]

# What a pipe holds by default, pipe(7): one read empties it. Larger pipes and reads were no faster.
_READ_SIZE = 65536
# The largest pipe that an unprivileged program can make of its stdout (/proc/sys/fs/pipe-max-size).
_LARGEST_PIPE = 1 << 20


class Handle(Protocol):
    """An owned descriptor: an ``Fd`` or a ``Terminal``."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...

    def close(self) -> None:
        """Close it; idempotent."""
        ...


class Ends(Protocol):
    """The host's ends of a program's standard streams, as a ``Stdio`` has them."""

    @property
    def stdin(self) -> Handle | None:
        """To write to the program."""
        ...

    @property
    def stdout(self) -> Handle | None:
        """To read what it writes."""
        ...

    @property
    def stderr(self) -> Handle | None:
        """To read what it writes beside that."""
        ...


class Output:
    """One output stream: keeps the first ``limit`` bytes, reads on beyond them and drops the rest.

    ``data`` is what was kept, ``truncated`` whether something was dropped, ``ended`` whether the end
    was reached. Each piece goes to ``on_output`` before anything is dropped, decoded when ``text`` is given.
    """

    __slots__ = ("_decoder", "_handle", "_limit", "_name", "_on_output", "data", "ended", "truncated")

    #: What to poll for.
    events = select.POLLIN

    def __init__(
        self,
        handle: Handle,
        name: str,
        *,
        limit: int | None = None,
        on_output: OnOutput | None = None,
        text: Text | None = None,
    ) -> None:
        self.data = bytearray()
        self.ended = self.truncated = False
        self._handle = handle
        self._name = name
        self._limit = limit
        self._on_output = on_output
        self._decoder = text.decoder() if text is not None and on_output is not None else None

    def advance(self) -> bool:
        """Read once; whether there may be more to come."""
        return self._read() != 0

    def drain(self) -> bool:
        """Read what lies ready, but no more than a pipe can hold; whether the stream is still open."""
        left = _LARGEST_PIPE
        while left > 0:
            count = self._read()
            if not count:
                return count is None
            left -= count
        return True

    def close(self) -> None:
        """Close the descriptor; what was kept stays readable. Idempotent."""
        self._handle.close()

    def _read(self) -> int | None:
        """Return the number of bytes read, 0 at the end, ``None`` when nothing is there now."""
        try:
            chunk = os.read(self._handle.fileno(), _READ_SIZE)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal's end of file, pty(7)
                raise
            chunk = b""
        if chunk:
            self._keep(chunk)
        else:
            self.ended = True
        if self._on_output is not None:
            self._hand_on(self._on_output, chunk)
        return len(chunk)

    def _keep(self, chunk: bytes) -> None:
        # A bytearray and not a list of pieces: a program that writes single bytes would make a piece,
        # of some 40 bytes, of each.
        if self._limit is None or len(self.data) + len(chunk) <= self._limit:
            self.data += chunk
        else:
            self.data += chunk[: self._limit - len(self.data)]
            self.truncated = True

    def _hand_on(self, on_output: OnOutput, chunk: bytes) -> None:
        data = chunk if self._decoder is None else self._decoder.decode(chunk, final=not chunk)
        if data:
            on_output(self._name, data)


class Input:
    """The input stream: writes pieces as the program takes them, then closes.

    The next piece is asked for when the one before is written. A program that ends, or closes its
    stdin, before it has read everything is no error: that is its choice.
    """

    __slots__ = ("_handle", "_pending", "_pieces")

    #: What to poll for.
    events = select.POLLOUT

    def __init__(self, handle: Handle, pieces: Iterator[memoryview]) -> None:
        self._handle = handle
        self._pieces = pieces
        self._pending: memoryview | None = None

    def advance(self) -> bool:
        """Write once; whether there may be more to write."""
        if not self._pending:
            self._pending = next(self._pieces, None)
            if self._pending is None:
                return False
        try:
            count = os.write(self._handle.fileno(), self._pending)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno not in {errno.EPIPE, errno.EIO}:  # EIO: a terminal without a program
                raise
            return False
        self._pending = self._pending[count:]
        return True

    def close(self) -> None:
        """Close the descriptor: the program reads its end of file. Idempotent."""
        self._handle.close()


def pieces_of(data: Chunk | Iterable[Chunk] | None, text: Text | None) -> Iterator[memoryview]:
    """Return the bytes of an ``input`` argument, piece by piece, without empty pieces.

    Raises ``InvalidArgument`` for ``str`` without text mode; in an iterable when its turn comes.
    """
    if data is None:
        return iter(())
    if isinstance(data, (str, bytes, bytearray, memoryview)):
        view = _view(data, text)
        return iter((view,) if view else ())
    return filter(None, (_view(piece, text) for piece in data))


def _view(piece: Chunk, text: Text | None) -> memoryview:
    if isinstance(piece, str):
        if text is None:
            raise InvalidArgument("input", type(piece).__name__, "bytes are accepted; for str say text=True")
        return memoryview(text.encode(piece))
    return memoryview(piece).cast("B")
