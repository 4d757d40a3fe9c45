"""Writing files with holes where there are zeros: an image may have gibibytes of them, which take no room then."""

from __future__ import annotations

import os

#: What is looked at at once, at multiples of it in the file; blocks of file systems are smaller.
_BLOCK = 1 << 16


def is_zeros(data: bytes | memoryview) -> bool:
    """Whether this is nothing but zeros; soon said of what is not.

    >>> is_zeros(bytes(1000)), is_zeros(b"text")
    (True, False)
    """
    # A memoryview is compared byte by byte: what is likely is to be told by two of them.
    return not data or (not data[0] and not data[-1] and bytes(data) == bytes(len(data)))


def write_with_holes(file: int, data: memoryview, offset: int) -> int:
    """Write ``data`` at ``offset``, where the file has nothing yet, but for zeros; return how many bytes were written.

    The file may end before the zeros do: truncate it to its size when all is written.  Raises ``OSError``.
    """
    written = start = at = 0
    while at < len(data):
        end = min(at + _BLOCK - (offset + at) % _BLOCK, len(data))
        if is_zeros(data[at:end]):
            written += _write(file, data[start:at], offset + start)
            start = end
        at = end
    return written + _write(file, data[start:], offset + start)


def _write(file: int, data: memoryview, offset: int) -> int:
    done = 0
    while done < len(data):
        done += os.pwrite(file, data[done:], offset + done)
    return done
