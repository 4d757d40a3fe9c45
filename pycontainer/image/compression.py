"""Decompression of a hostile stream: bounded memory, a bounded ratio, and nothing taken on trust.

The kind is told by the first bytes, never by a file's name.  Decoding happens in this process: no program
is started (moby once ran the container's own ``unpigz``, CVE-2026-41567).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Literal, Protocol

from pycontainer.errors import ImageError, UnsafeArchive
from pycontainer.image.holes import is_zeros
from pycontainer.image.limits import Limits
from pycontainer.image.tarheader import is_header
from pycontainer.image.zstd import Frames, is_zstd

#: Returns up to so many bytes, and none only at the end.
Read = Callable[[int], bytes]

#: How many first bytes tell how something is compressed.
HEAD = 512
_CHUNK = 1 << 18
_OUTPUT = 1 << 19
#: So many zeros are within one file, and of one that is not small: it has holes instead, but for its ends.
_RUN = 1 << 20
_GZIP = b"\x1f\x8b"
_XZ = b"\xfd7zXZ\x00"
_BZIP2 = b"BZh"
#: What xz may use: ``xz -9`` needs 65 MiB.
_XZ_MEMORY = 256 << 20


class _Decoder(Protocol):
    """The decompressors of the standard library (lzma, bz2): one member each."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Zlib:
    """One gzip member, with the interface of the other decompressors; zlib checks its CRC and length."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail and not self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def _gzip() -> tuple[Callable[[], _Decoder], Any]:
    """What makes a decoder of one gzip member, and the error that it raises."""
    try:
        from isal import igzip_lib
    except ImportError:
        return _Zlib, zlib.error
    return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), igzip_lib.error


def kind_of(head: bytes) -> Literal["gzip", "zstd", "xz", "bzip2", "none"]:
    """How an archive is compressed, by its first ``HEAD`` bytes.

    They begin with a name where it is not, and any file may have the name that looks like a compressor's mark.

    >>> kind_of(b"")
    'none'
    """
    if is_header(head):
        return "none"
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_XZ):
        return "xz"
    if head.startswith(_BZIP2):
        return "bzip2"
    if is_zstd(head):
        return "zstd"
    return "none"


def decompressed(read: Read, limits: Limits, *, holes: bool = False) -> Read:
    """Return a reader of what ``read`` gives, decompressed: gzip, zstd, xz, bzip2, or as it is.

    ``holes``: the caller makes holes of zeros, so that long runs of them do not count for ``limits.ratio``.
    Members that follow each other are one stream.  The reader raises :class:`ImageError` for damaged or
    truncated data, :class:`UnsafeArchive` beyond the bounds; this function :class:`NotSupported` for zstd
    without a decoder.

    >>> import io, gzip
    >>> decompressed(io.BytesIO(gzip.compress(b"text")).read, Limits())(100)
    b'text'
    """
    meter = _Meter(read, limits, holes=holes)
    kind = kind_of(meter.peek(HEAD))
    if kind == "gzip":
        new, error = _gzip()
        return meter.bounded(_Members(meter.take, new, _GZIP, error).read)
    if kind == "xz":
        import lzma

        def decoder() -> _Decoder:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

        return meter.bounded(_Members(meter.take, decoder, _XZ, lzma.LZMAError).read)
    if kind == "bzip2":
        import bz2

        return meter.bounded(_Members(meter.take, bz2.BZ2Decompressor, _BZIP2, OSError).read)
    if kind == "zstd":
        return meter.bounded(Frames(meter.take).read)
    return meter.bounded(meter.take)


class _Meter:
    """Counts what goes in and what comes out."""

    def __init__(self, read: Read, limits: Limits, *, holes: bool) -> None:
        self._read = read
        self._limits = limits
        self._holes = holes
        self._ahead = b""
        self._taken = 0
        self._zeros = 0  # in a row, up to now

    def peek(self, count: int) -> bytes:
        while len(self._ahead) < count and (part := self._read(count - len(self._ahead))):
            self._ahead += part
        return self._ahead

    def take(self, count: int) -> bytes:
        if self._ahead:
            part, self._ahead = self._ahead[:count], self._ahead[count:]
        else:
            part = self._read(count)
        self._taken += len(part)
        return part

    def bounded(self, read: Read) -> Read:
        given = counted = 0
        position = 0
        chunk = b""
        limits = self._limits

        def checked(count: int) -> bytes:
            nonlocal given, counted, position, chunk
            if position == len(chunk):
                position, chunk = 0, read(_OUTPUT)
                given += len(chunk)
                counted += self._counting(chunk)
                if given > limits.total:
                    raise UnsafeArchive(f"the archive is more than {limits.total} bytes, decompressed")
                if counted > limits.unquestioned and counted > self._taken * limits.ratio:
                    raise UnsafeArchive(f"more than {limits.ratio} bytes come out of each compressed byte")
            part = chunk[position : position + count]
            position += len(part)
            return part

        return checked

    def _counting(self, chunk: bytes) -> int:
        """How many bytes count for the ratio now: a run of zeros when it has ended, unless it is long."""
        if self._holes and is_zeros(chunk):
            self._zeros += len(chunk)
            return 0
        run, self._zeros = self._zeros, 0
        return len(chunk) + (run if run < _RUN else 0)


class _Members:
    """Decodes one compressed member after the other, never more than was asked for at once."""

    def __init__(
        self, read: Read, new: Callable[[], _Decoder], magic: bytes, error: type[Exception] | Any
    ) -> None:
        self._read = read
        self._new = new
        self._magic = magic
        self._error = error
        self._ahead = b""  # what was read and belongs to the next member
        self._decoder: _Decoder | None = new()

    def read(self, count: int) -> bytes:
        while self._decoder is not None:
            data = b""
            if self._decoder.needs_input and not (data := self._input()):
                raise ImageError("the archive is truncated: its compressed data has no end")
            try:
                part = self._decoder.decompress(data, count)
            except self._error as error:
                raise ImageError(f"the archive's compressed data is damaged: {error}") from error
            if self._decoder.eof:
                self._ahead = self._decoder.unused_data + self._ahead
                self._decoder = self._following()
            if part:
                return part
        return b""

    def _input(self) -> bytes:
        data, self._ahead = self._ahead, b""
        return data or self._read(_CHUNK)

    def _following(self) -> _Decoder | None:
        """Return a decoder for the member that follows, if one does; zeros may pad."""
        while True:
            self._ahead = self._ahead.lstrip(b"\0")
            if self._ahead and len(self._ahead) >= len(self._magic):
                break
            more = self._read(_CHUNK)
            if not more:
                break
            self._ahead += more
        if not self._ahead:
            return None
        if not self._ahead.startswith(self._magic):
            raise ImageError("the archive's compressed data is followed by something else")
        return self._new()
