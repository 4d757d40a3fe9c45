"""A tar archive read from front to back: headers checked and bounded, nothing seeked, nothing kept.

ustar and its ancestors, GNU's long names, base-256 numbers and sparse files, and the extended headers of
POSIX (pax(1)).  Only what the archive says is told here; what may be done with it is
:mod:`pycontainer.image.unpack`'s to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import attrs

from pycontainer.errors import ImageError, UnsafeArchive
from pycontainer.image import sparse
from pycontainer.image.compression import Read
from pycontainer.image.limits import Limits
from pycontainer.image.sparse import Segments, decimal
from pycontainer.image.tarheader import (
    LARGEST_SIZE,
    Header,
    bounded,
    check_sum,
    name_in,
    number,
    owner,
    parse_records,
    time,
)

Kind = Literal["file", "directory", "symlink", "hardlink", "fifo", "character device", "block device"]

_BLOCK = 512
_CHUNK = 1 << 19
_ZEROS = bytes(_BLOCK)
_NUL = b"\0"
_KINDS: dict[bytes, Kind] = {
    b"\0": "file", b"0": "file", b"7": "file", b"S": "file", b"1": "hardlink", b"2": "symlink",
    b"3": "character device", b"4": "block device", b"5": "directory", b"6": "fifo",
}  # fmt: skip
_DEVICES = {"character device", "block device"}
_XATTR = b"SCHILY.xattr."
#: What an extended header for all entries cannot mean, and what of the rest means something here.
_NOT_GLOBAL = (b"path", b"linkpath", b"size", b"GNU.sparse.", _XATTR)
_GLOBAL = {b"uid", b"gid", b"mtime"}


@attrs.frozen(kw_only=True)
class Entry:
    """One entry: ``name`` and ``link`` as they are written, ``size`` with holes, ``mtime`` in nanoseconds.

    ``segments`` are offset and length of the pieces of a file that the archive holds; ``device`` is the
    major and minor number of a device.
    """

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int = 0
    link: bytes = b""
    segments: Segments = ()
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    device: tuple[int, int] = (0, 0)


class TarStream:
    """The entries of an archive, in order; ``read`` gives its bytes, decompressed.

    ``marked``: its end is marked by a block of zeros, as tar(5) wants it; without it the end of the data may be
    that of the archive, too, as some builders of images write it.  ``skip`` goes on by so many bytes without reading
    them, or says that there are not as many.  Raises :class:`ImageError` for what is no tar archive, damaged or
    truncated, :class:`UnsafeArchive` beyond ``limits``.

    >>> import io
    >>> [entry.name for entry in TarStream(io.BytesIO(bytes(1024)).read).entries()]
    []
    """

    def __init__(
        self,
        read: Read,
        limits: Limits | None = None,
        *,
        marked: bool = True,
        skip: Callable[[int], bool] | None = None,
    ) -> None:
        self._read = read
        self._skip = skip
        self._limits = limits or Limits()
        self._marked = marked
        self._chunk = b""  # what was read last, and how much of it was taken
        self._taken = 0
        self._left = 0  # of the current entry's data, with what pads it to whole blocks
        self._padding = 0
        self._optional = 0  # how much of what is left may be missing at the end
        self._headers = 0

    def entries(self) -> Iterator[Entry]:
        """Go through the entries; content that was not taken is passed over."""
        everywhere: dict[bytes, bytes] = {}
        records: list[tuple[bytes, bytes]] = []
        described = 0  # bytes of the records
        long: dict[bytes, bytes] = {}
        while (header := self._header()) is not None:
            if header.type in {b"x", b"X"}:
                described += header.size
                if described > self._limits.pax:
                    raise UnsafeArchive(f"extended headers of more than {self._limits.pax} bytes")
                records += parse_records(self._data(header.size, self._limits.pax, "extended header"))
            elif header.type == b"g":
                for key, value in parse_records(self._data(header.size, self._limits.pax, "extended header")):
                    if key.startswith(_NOT_GLOBAL):
                        raise ImageError(
                            f"the archive gives all entries the same {key.decode(errors='replace')[:40]}"
                        )
                    if key in _GLOBAL:  # each entry goes through them
                        everywhere[key] = value
            elif header.type in {b"L", b"K"}:
                text = self._data(header.size, self._limits.name + 1, "name")
                long[header.type] = text.partition(b"\0")[0]
            elif header.type == b"V":  # GNU's volume label
                self._data(header.size, self._limits.pax, "volume label")
            else:
                yield self._entry(header, everywhere, records, long)
                self._pass_over()
                records, described, long = [], 0, {}
        if records or long:
            raise ImageError("the archive ends after a header that announces an entry")

    def content(self) -> Iterator[memoryview]:
        """Go through the present entry's data: its segments, one after the other."""
        while self._left:
            if self._taken == len(self._chunk) and not self._more():
                if self._left > self._optional:
                    raise _truncated()
                self._left = 0
                return
            part = memoryview(self._chunk)[self._taken : self._taken + self._left]
            self._taken += len(part)
            self._left -= len(part)
            yield part

    def held(self) -> tuple[bytes, int] | None:
        """Take the present entry's data as a place in a buffer, if all of it is in memory already."""
        start = self._taken
        if start + self._left > len(self._chunk):
            return None
        self._taken += self._left
        self._left = 0
        return self._chunk, start

    @property
    def ahead(self) -> int:
        """How many bytes have been read that are still to be given."""
        return len(self._chunk) - self._taken

    def drain(self) -> None:
        """Read what follows the last entry, so that the end of the compressed data is checked, too."""
        while self._more():
            pass

    def _entry(
        self,
        header: Header,
        everywhere: dict[bytes, bytes],
        records: list[tuple[bytes, bytes]],
        long: dict[bytes, bytes],
    ) -> Entry:
        kind = _KINDS.get(header.type)
        if kind is None:
            raise ImageError(f"the archive has an entry of the unknown type {header.type!r}")
        pax = everywhere | dict(records) if records else everywhere
        name = pax.get(b"GNU.sparse.name") or pax.get(b"path") or long.get(b"L") or name_in(header)
        if kind == "file" and header.type != b"S" and name.endswith(b"/"):
            kind = "directory"  # how it was written before there was a type for it
        stored = bounded(decimal(pax[b"size"]), "size", 0, LARGEST_SIZE) if pax.get(b"size") else header.size
        self._left = self._padding = 0
        size, segments = 0, sparse.Segments()
        if kind in {"file", "directory"}:
            # Other types have no data, whatever size they tell: so all readers do it.
            self._left = stored
            self._padding = -stored % _BLOCK
        if kind == "file":
            size, segments = self._extent(header, stored, records)
        return Entry(
            name=self._checked(name, "name"),
            kind=kind,
            mode=number(header.block[100:108]) & 0o7777,
            uid=owner(pax.get(b"uid"), header, 108),
            gid=owner(pax.get(b"gid"), header, 116),
            mtime=time(pax.get(b"mtime"), header),
            size=size,
            link=self._checked(pax.get(b"linkpath") or long.get(b"K") or header.text(157, 257), "link"),
            segments=segments,
            xattrs=tuple(
                (self._checked(key[len(_XATTR) :], "attribute"), value)
                for key, value in pax.items()
                if key.startswith(_XATTR)
            )
            if pax
            else (),
            device=_device(header) if kind in _DEVICES else (0, 0),
        )

    def _extent(
        self, header: Header, stored: int, records: list[tuple[bytes, bytes]]
    ) -> tuple[int, Segments]:
        """Return a file's size and its segments."""
        pax = dict(records)
        if header.type == b"S":
            size = header.number(483, 495, "size", LARGEST_SIZE)
            return size, sparse.checked(
                sparse.old_map(header.block, number, self._block, self._limits), size, stored
            )
        real = pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size")
        if real is None:
            return stored, ((0, stored),) if stored else ()
        size = bounded(decimal(real), "size", 0, LARGEST_SIZE)
        if pax.get(b"GNU.sparse.major") == b"1":
            segments, taken = sparse.leading_map(self._block, self._limits)
            if taken > stored:
                raise ImageError("the archive's map of a sparse file is longer than the file")
            self._left -= taken
            return size, sparse.checked(segments, size, stored - taken)
        inline = sparse.inline_map(records, self._limits)
        if inline is None:
            raise ImageError("the archive has a sparse file without a map")
        return size, sparse.checked(inline, size, stored)

    def _checked(self, text: bytes, what: str) -> bytes:
        if len(text) > self._limits.name:
            raise UnsafeArchive(f"the archive has a {what} of more than {self._limits.name} bytes")
        if _NUL in text:
            raise UnsafeArchive(f"the archive has a {what} with a NUL in it: {text[:100]!r}")
        return text

    def _header(self) -> Header | None:
        """Return the next header, or ``None`` at the end mark: a block of zeros."""
        if not self._marked and self._taken == len(self._chunk) and not self._more():
            return None
        block = self._block()
        if block == _ZEROS:
            return None
        self._headers += 1
        if self._headers > self._limits.entries:
            raise UnsafeArchive(f"the archive has more than {self._limits.entries} headers")
        check_sum(block)
        size = number(block[124:136])
        return Header(block=block, type=block[156:157], size=bounded(size, "size", 0, LARGEST_SIZE))

    def _more(self) -> bool:
        """Have the next bytes at hand, if there are any; those before must have been taken."""
        self._chunk, self._taken = self._read(_CHUNK), 0
        return bool(self._chunk)

    def _block(self) -> bytes:
        start, self._taken = self._taken, self._taken + _BLOCK
        block = self._chunk[start : self._taken]
        while len(block) < _BLOCK:
            if not self._more():
                raise _truncated()
            self._taken = _BLOCK - len(block)
            block += self._chunk[: self._taken]
        return block

    def _data(self, size: int, largest: int, what: str) -> bytes:
        """Read the whole data of a header that describes the next entry."""
        if size > largest:
            raise UnsafeArchive(f"the archive has a {what} of more than {largest} bytes")
        self._left, self._padding = size, -size % _BLOCK
        data = b"".join(self.content())
        self._pass_over()
        return data

    def _pass_over(self) -> None:
        self._left += self._padding
        # "umoci insert" ends its layers with the last file's last byte.
        self._optional, self._padding = 0 if self._marked else self._padding, 0
        if self.held() is None:
            if self._skip is None:
                for _ in self.content():
                    pass
            elif self._skip(self._left - self.ahead):
                self._chunk, self._taken, self._left = b"", 0, 0
            else:
                raise _truncated()
        self._optional = 0


def _device(header: Header) -> tuple[int, int]:
    largest = (1 << 32) - 1
    return header.number(329, 337, "device", largest), header.number(337, 345, "device", largest)


def _truncated() -> ImageError:
    return ImageError("the archive is truncated")
