"""Work on a stream in a thread of its own, while the caller's thread makes the stream.

Decompressing and hashing leave the interpreter free, and so do the system calls that make files: with both at
once an archive is unpacked in the time of the longer one.  What is ahead is bounded.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pycontainer.image.compression import Read

#: How many pieces may be ahead of the work; each is as large as what ``read`` returns.
_AHEAD = 8
_PIECE = 1 << 19


def relayed(read: Read, work: Callable[[Read], None]) -> None:
    """Call ``work`` with a reader of what ``read`` gives, the former in a thread of its own.

    ``read`` is called by the caller's thread alone, to its end or until ``work`` fails; ``work`` has ended when
    this returns.  An error of either is raised here, that of ``read`` first.

    >>> import io
    >>> relayed(io.BytesIO(b"text").read, lambda read: print(read(100)))
    b'text'
    """
    with relaying(work) as put:
        while part := read(_PIECE):
            put(part)


@contextmanager
def relaying(work: Callable[[Read], None]) -> Iterator[Callable[[bytes], None]]:
    """For the body, what hands pieces to ``work``, which reads them in a thread of its own; see :func:`relayed`.

    When ``work`` has ended before the pieces, handing over the next ends the body.

    >>> with relaying(lambda read: print(read(100))) as put:
    ...     put(b"text")
    b'text'
    """
    relay = _Relay()
    thread = threading.Thread(target=relay.run, args=(work,), name="unpack", daemon=True)
    thread.start()
    try:
        with suppress(_Abandoned):
            yield relay.put
            relay.put(b"")
        thread.join()
    except BaseException:
        relay.abandon()
        raise
    finally:
        thread.join()
    if relay.error is not None:
        try:
            raise relay.error
        finally:
            relay.error = None  # it knows the frame that knows the relay


class _Abandoned(Exception):
    """Nothing will follow, or nobody wants it any more."""


class _Relay:
    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._pieces: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._ended = False  # the work
        self._abandoned = False
        self._rest = b""

    def put(self, piece: bytes) -> None:
        """Hand a piece over, an empty one at the end."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._pieces) < _AHEAD or self._ended)
            if self._ended:
                raise _Abandoned
            self._pieces.append(piece)
            self._changed.notify_all()

    def abandon(self) -> None:
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def read(self, count: int) -> bytes:
        piece = self._rest or self._take()
        if not piece:
            return b""
        self._rest = piece[count:]
        return piece[:count]

    def _take(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._abandoned)
            if self._abandoned:
                raise _Abandoned
            # The empty one stays: the end is the end, however often one reads there.
            piece = self._pieces[0]
            if piece:
                self._pieces.popleft()
                self._changed.notify_all()
            return piece

    def run(self, work: Callable[[Read], None]) -> None:
        try:
            work(self.read)
        except _Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001  raised again by the caller's thread
            self.error = error
        finally:
            with self._changed:
                self._ended = True
                self._pieces.clear()
                self._changed.notify_all()
