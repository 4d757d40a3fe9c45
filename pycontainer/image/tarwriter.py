"""The headers of a tar archive as they are written: the same entry, the same bytes.

Plain ustar where that can say it, and extended headers (pax(1)) for the rest alone: long or odd names, large
numbers, fractions of seconds, attributes.  Nothing of this machine or moment gets in.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Sequence

from pycontainer.errors import KernelError
from pycontainer.image.tarstream import Entry

END = bytes(1024)
_PIECE = 1 << 18
_BLOCK = 512
_TYPES = {
    "file": b"0", "hardlink": b"1", "symlink": b"2", "character device": b"3", "block device": b"4",
    "directory": b"5", "fifo": b"6",
}  # fmt: skip
_LARGEST_ID = 8**7 - 1
_LARGEST_NUMBER = 8**11 - 1
_NAME = 100


def headers(entry: Entry, further: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """Return what precedes the content of an entry; ``segments`` are none of it, so a file has no holes.

    ``further`` are more records of its extended header, such as those that tell of holes.

    >>> len(headers(Entry(name=b"etc/", kind="directory", mode=0o755, uid=0, gid=0, mtime=0)))
    512
    """
    records = list(further)
    seconds, fraction = divmod(entry.mtime, 10**9)
    numbers = (
        _number(records, b"uid", entry.uid, _LARGEST_ID),
        _number(records, b"gid", entry.gid, _LARGEST_ID),
        _number(records, b"size", entry.size, _LARGEST_NUMBER),
    )
    if fraction or not 0 <= seconds <= _LARGEST_NUMBER:
        records.append((b"mtime", _decimal(entry.mtime)))
        seconds = min(max(seconds, 0), _LARGEST_NUMBER)
    name = _text(records, b"path", entry.name)
    link = _text(records, b"linkpath", entry.link)
    records += [(b"SCHILY.xattr." + key, value) for key, value in sorted(entry.xattrs)]
    block = _header(_TYPES[entry.kind], name, link, entry.mode, (*numbers, seconds), entry.device)
    if not records:
        return block
    text = b"".join(map(_record, records))
    described = _header(b"x", b"././@PaxHeader", b"", 0o644, (0, 0, len(text), 0), (0, 0))
    return described + text + padding(len(text)) + block


class TarOutput:
    """Passes an archive on to ``write``, in large pieces, and hashes it.

    Raises :class:`KernelError`, ``EFBIG``, for more than ``limit`` bytes.
    """

    def __init__(self, write: Callable[[bytes], object], limit: int) -> None:
        self.size = 0
        self.entries = 0
        self.digest = hashlib.sha256()
        self._write = write
        self._limit = limit
        self._pieces: list[bytes] = []
        self._ahead = 0

    def add(self, entry: Entry) -> None:
        """Write what precedes the content of an entry."""
        self.entries += 1
        self.put(headers(entry))

    def put(self, data: bytes) -> None:
        """Write some content, or what pads it."""
        self.size += len(data)
        if self.size > self._limit:
            raise KernelError(errno.EFBIG, "write an archive", hint=f"it is more than {self._limit} bytes")
        self._pieces.append(data)
        self._ahead += len(data)
        if self._ahead >= _PIECE:
            self._flush()

    def end(self) -> None:
        """Write the end mark, and all that is left."""
        self.put(END)
        self._flush()

    def _flush(self) -> None:
        data = b"".join(self._pieces)
        self._pieces, self._ahead = [], 0
        self.digest.update(data)
        self._write(data)


def padding(size: int) -> bytes:
    """Return what follows a content of so many bytes."""
    return bytes(-size % _BLOCK)


def _number(records: list[tuple[bytes, bytes]], key: bytes, value: int, largest: int) -> int:
    if value <= largest:
        return value
    records.append((key, b"%d" % value))
    return 0


def _text(records: list[tuple[bytes, bytes]], key: bytes, value: bytes) -> bytes:
    if len(value) <= _NAME:
        return value
    records.append((key, value))
    return value[:_NAME]


def _decimal(mtime: int) -> bytes:
    """Nanoseconds as decimal seconds."""
    seconds, fraction = divmod(abs(mtime), 10**9)
    text = b"%s%d.%09d" % (b"-" if mtime < 0 else b"", seconds, fraction)
    return text.rstrip(b"0").rstrip(b".")


def _record(record: tuple[bytes, bytes]) -> bytes:
    """One line of an extended header: its own length, key and value."""
    rest = b" %s=%s\n" % record
    length = len(rest) + 1
    while length != len(b"%d" % length) + len(rest):
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def _header(
    kind: bytes,
    name: bytes,
    link: bytes,
    mode: int,
    numbers: tuple[int, int, int, int],
    device: tuple[int, int],
) -> bytes:
    uid, gid, size, seconds = numbers
    block = bytearray(_BLOCK)
    fields = (
        (0, name),
        (100, b"%07o\0%07o\0%07o\0%011o\0%011o\0        " % (mode, uid, gid, size, seconds)),
        (156, kind),
        (157, link),
        (257, b"ustar\00000"),
        (329, b"%07o\0%07o\0" % device),
    )
    for start, field in fields:
        block[start : start + len(field)] = field
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
