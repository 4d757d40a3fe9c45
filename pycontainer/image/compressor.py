"""Compressing layers: the same content and the same library, the same bytes; no name and no time in the headers."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

from pycontainer.errors import InvalidArgument, NotSupported

Compression = Literal["gzip", "zstd", "none"]

#: A gzip header and trailer around the data (zlib manual, deflateInit2).
_GZIP = 31
_ZSTD_LEVEL = 3


class Compressor:
    """Passes what is written on to ``write``, compressed.

    :meth:`close` writes the end: without it, as after an error in the body of a ``with``, the output is truncated and no
    reader takes it.
    """

    def __init__(self, write: Callable[[bytes], object], encoder: Any) -> None:
        self._write = write
        self._encoder = encoder

    def write(self, data: bytes) -> None:
        """Compress some bytes."""
        part = data if self._encoder is None else self._encoder.compress(data)
        if part:
            self._write(part)

    def close(self) -> None:
        """Write what is left, and the end. Call once."""
        if self._encoder is not None:
            self._write(self._encoder.flush())

    def __enter__(self) -> Compressor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


def compressed(write: Callable[[bytes], object], kind: Compression) -> Compressor:
    """Return a writer that compresses what it is given for ``write``.

    gzip by isal where it is installed (level 1: four times as fast as zlib), else by zlib.  Raises
    :class:`InvalidArgument` for another kind, :class:`NotSupported` for zstd without a library.

    >>> parts = []
    >>> with compressed(parts.append, "gzip") as out:
    ...     out.write(b"text")
    >>> zlib.decompress(b"".join(parts), 31)
    b'text'
    """
    makers: dict[str, Callable[[], Any]] = {"gzip": _gzip, "zstd": _zstd, "none": lambda: None}
    if kind not in makers:
        raise InvalidArgument("compression", kind, "it is one of gzip, zstd, none")
    return Compressor(write, makers[kind]())


def _gzip() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(level=6, wbits=_GZIP)
    return isal_zlib.compressobj(level=1, wbits=_GZIP)


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore] # Python 3.14
    except ImportError:
        try:
            import zstandard
        except ImportError:
            raise NotSupported(
                "this Python has no zstd", "pip install 'pycontainer-linux[images]', or compress with gzip"
            ) from None
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()
    parameter = zstd.CompressionParameter
    return zstd.ZstdCompressor(options={parameter.compression_level: _ZSTD_LEVEL, parameter.checksum_flag: 1})
