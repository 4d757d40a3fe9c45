"""Bytes of a file, from a place to a place: a blob in an archive or in a directory."""

from __future__ import annotations

import os

from pycontainer.errors import ImageError
from pycontainer.image.digest import digest_of
from pycontainer.image.jsontext import LARGEST
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import named


class Piece:
    """``size`` bytes of an open file, to be read once and in order; owns ``file``.

    ``where`` is its name in messages.  Reading is by position, so that many may share an open file description.
    A context manager; ``close`` is idempotent.
    """

    def __init__(self, file: Fd, where: str, *, start: int = 0, size: int) -> None:
        self._file = file
        self.where = where
        self.size = size
        self._position = start
        self._end = start + size

    def seek(self, offset: int) -> None:
        """Go on so many bytes from here, at most to the end."""
        self._position = min(self._position + offset, self._end)

    def read(self, count: int, /) -> bytes:
        """Up to ``count`` bytes, and none only at the end. Raises :class:`ImageError` if the file became shorter."""
        wanted = min(count, self._end - self._position)
        with named(f"read {self.where}"):
            part = os.pread(self._file.fileno(), wanted, self._position)
        if wanted and not part:
            raise ImageError(f"{self.where} became shorter while it was read")
        self._position += len(part)
        return part

    def content(self, digest: str | None = None) -> bytes:
        """All of it, of at most 4 MiB; of this digest, if one is told. Raises :class:`ImageError`."""
        if self.size > LARGEST:
            raise ImageError(f"{self.where} has {self.size} bytes: {LARGEST} are possible")
        parts = []
        while part := self.read(LARGEST):
            parts.append(part)
        found = b"".join(parts)
        if digest is not None and digest_of(found) != digest:
            raise ImageError(f"{self.where} is damaged: its content has the digest {digest_of(found)}")
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Piece:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
