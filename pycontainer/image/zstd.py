"""Frames of zstd (RFC 8878), decoded some blocks at a time.

A decoder in Python hands out all that its input stands for at once, and a block of four bytes may stand for
128 KiB.  So the input is cut between blocks here, and each call decodes a known number of them at most.  The
content of blocks, and all checks, are the decoder's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycontainer.errors import ImageError, NotSupported

MAGIC = b"\x28\xb5\x2f\xfd"
#: pzstd and zstd:chunked have frames that decoders pass over: 0x184D2A50 to 0x184D2A5F.
_SKIPPED = b"\x2a\x4d\x18"
#: The window that ``zstd`` itself takes at most unless told otherwise: 128 MiB.
_WINDOW = 27
_INPUT = 1 << 18
#: Of at most 128 KiB each, before and after decoding.
_BLOCKS = 4
_LARGEST = 1 << 17
#: How many bytes fields of the frame's header take, by two bits of its descriptor.
_DICTIONARY = (0, 1, 2, 4)
_CONTENT = (0, 2, 4, 8)


def is_zstd(head: bytes) -> bool:
    """Do these four bytes begin a frame?"""
    return head[:4] == MAGIC or (head[1:4] == _SKIPPED and head[0] >> 4 == 5)


class Frames:
    """All frames that ``read`` gives, decoded; zeros may be between them and at the end.

    Raises :class:`NotSupported` without a decoder; reading raises :class:`ImageError`.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._input = read
        self._new, self._error = _decoders()
        self._decoder: Any = None
        self._data = b""
        self._at = 0
        self._start = 0  # of what the decoder has not got yet
        self._sum = 0  # bytes of it that follow the last block

    def read(self, _: int) -> bytes:
        """Return the content of the next blocks, half a megabyte at most, and none only at the end."""
        part = b""
        while not part and (self._decoder is not None or self._begin()):
            last = self._pass_blocks()
            try:
                part = self._decoder.decompress(self._data[self._start : self._at])
            except self._error as error:
                raise _damaged(error) from error
            self._start = self._at
            if last:
                if not self._decoder.eof:
                    raise _damaged("a frame does not end with its last block")
                self._decoder = None
        return part

    def _begin(self) -> bool:
        """Go past the header of the next frame; ``False`` if there is none."""
        while True:
            self._start = self._at
            if not self._has(1):
                return False
            if self._data[self._at] == 0:
                # Up to the first byte that is none, of those at hand.
                self._at = len(self._data) - len(self._data[self._at :].lstrip(b"\0"))
                continue
            self._need(5)
            head = self._data[self._at : self._at + 5]
            if head[:4] == MAGIC:
                break
            if not is_zstd(head):
                raise ImageError("the archive's compressed data is followed by something else")
            self._need(8)
            self._skip(8 + int.from_bytes(self._data[self._at + 4 : self._at + 8], "little"))
        descriptor = head[4]
        single = descriptor >> 5 & 1
        content = _CONTENT[descriptor >> 6] or single
        self._sum = 4 * (descriptor >> 2 & 1)
        self._advance(5 + (1 - single) + _DICTIONARY[descriptor & 3] + content)
        self._decoder = self._new()
        return True

    def _pass_blocks(self) -> bool:
        """Go past some blocks; ``True`` past the frame's last one."""
        for _ in range(_BLOCKS):
            self._need(3)
            header = int.from_bytes(self._data[self._at : self._at + 3], "little")
            size = header >> 3
            if size > _LARGEST:
                raise _damaged("a block is too large")
            self._advance(3 + (1 if header >> 1 & 3 == 1 else size))  # one byte that is repeated
            if header & 1:
                self._advance(self._sum)
                return True
        return False

    def _has(self, count: int) -> bool:
        """Are so many bytes ahead?"""
        while len(self._data) - self._at < count:
            part = self._input(_INPUT)
            if not part:
                return False
            self._data, self._at, self._start = self._data[self._start :] + part, self._at - self._start, 0
        return True

    def _need(self, count: int) -> None:
        if not self._has(count):
            raise ImageError("the archive is truncated: its compressed data has no end")

    def _advance(self, count: int) -> None:
        self._need(count)
        self._at += count

    def _skip(self, count: int) -> None:
        while count:
            self._need(1)
            step = min(count, len(self._data) - self._at)
            count -= step
            self._at += step
            self._start = self._at


def _damaged(what: object) -> ImageError:
    return ImageError(f"the archive's compressed data is damaged: {what}")


def _decoders() -> tuple[Callable[[], Any], Any]:
    """What makes a decoder of one frame, and the error that it raises."""
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore] # Python 3.14
    except ImportError:
        try:
            import zstandard
        except ImportError:
            raise NotSupported(
                "the archive is compressed with zstd, and this Python has no decoder for it",
                "pip install 'pycontainer-linux[images]', or compress the archive with gzip",
            ) from None
        factory = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW)
        return lambda: factory.decompressobj(write_size=_LARGEST * _BLOCKS), zstandard.ZstdError
    options = {zstd.DecompressionParameter.window_log_max: _WINDOW}
    return lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError
