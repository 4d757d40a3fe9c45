"""Blobs: files named by the sha256 of their content, whole and on disk from the moment they have their name.

::

    written to ingest/<hex>   fsync   rename to blobs/sha256/<hex>   fsync of the directory

Only what is named is believed, and only after a look: a regular file, of the size that was noted.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack

from pycontainer.errors import ImageError, ImageNotFound, KernelError
from pycontainer.image.digest import check_digest, digest_of
from pycontainer.image.store.catalogue import Catalogue
from pycontainer.image.store.leases import Leases
from pycontainer.image.store.places import BLOBS, Places
from pycontainer.image.store.writer import BlobWriter
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.kinds import kind_of, status_of
from pycontainer.kernel.rooted import named

#: What :meth:`Blobs.read` reads when not told otherwise, in bytes: more than any manifest or configuration.
LARGEST = 4 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK = 1 << 20


class Blobs:
    """The blobs of one store. Thread-safe."""

    def __init__(self, places: Places, leases: Leases, catalogue: Catalogue) -> None:
        self._places = places
        self._leases = leases
        self._catalogue = catalogue

    def size(self, digest: str) -> int | None:
        """A blob's bytes, or ``None`` where there is none, or what is there cannot be it."""
        name = blob_name(digest)
        self._leases.protect("blob", digest)
        with named(f"look at the blob {digest}"):
            status = status_of(self._places.fd, name)
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        noted = self._catalogue.noted_size(digest)
        return status.st_size if noted in {None, status.st_size} else None

    def open(self, digest: str) -> Fd:
        """Open a blob for reading."""
        name = blob_name(digest)
        self._leases.protect("blob", digest)
        file = open_regular(self._places, name, digest)
        noted, size = self._catalogue.noted_size(digest), os.fstat(file.fileno()).st_size
        if noted not in {None, size}:
            file.close()
            raise ImageError(f"the blob {digest} is damaged: it has {size} bytes and had {noted}")
        return file

    def read(self, digest: str, largest: int) -> bytes:
        """The content of a small blob, whose digest is verified."""
        with self.open(digest) as file, named(f"read the blob {digest}"):
            size = os.fstat(file.fileno()).st_size
            if size > largest:
                raise ImageError(f"the blob {digest} is of {size} bytes, more than {largest}")
            content = b""
            while part := os.read(file.fileno(), _CHUNK):
                content += part
        if digest_of(content) != digest:
            raise ImageError(f"the blob {digest} is damaged: its content has the digest {digest_of(content)}")
        return content

    def ingest(self, digest: str | None, size: int | None) -> BlobWriter:
        """A writer of a new blob."""
        if digest is not None:
            check_digest(digest, "the blob")
        return BlobWriter(self._places, self._leases, digest, size)

    def add(self, contents: Sequence[bytes], written: Sequence[BlobWriter]) -> list[str]:
        """Put contents into the store, unless they are there, together with what was written; all digests."""
        digests = [digest_of(content) for content in contents]
        self._leases.protect("blob", *digests, *(writer.digest for writer in written))
        with ExitStack() as stack:
            writers = list(written)
            for content, digest in zip(contents, digests, strict=True):
                if self.size(digest) != len(content):
                    writers.append(stack.enter_context(self.ingest(None, len(content))))
                    writers[-1].write(content)
            BlobWriter.commit_all(writers)
        return digests + [writer.digest for writer in written]


def blob_name(digest: str) -> str:
    """Where in the store a blob is."""
    return f"{BLOBS}/{check_digest(digest, 'the blob')[7:]}"


def open_regular(places: Places, name: str, digest: str) -> Fd:
    """Open a blob's file if it is a regular one. Raises :class:`ImageNotFound`, :class:`ImageError`."""
    try:
        file = Fd(os.open(name, _READ, dir_fd=places.fd))
    except FileNotFoundError:
        raise ImageNotFound(f"{digest}: no such blob in {places.path}") from None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO, errno.EISDIR}:
            raise ImageError(f"the blob {digest} is damaged: it is no regular file") from None
        raise KernelError(error.errno or errno.EIO, f"open the blob {digest}") from error
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        raise ImageError(f"the blob {digest} is damaged: it is {kind_of(mode)}")
    return file


def hash_of(file: Fd) -> str:
    """The digest of an open file's content."""
    found = hashlib.sha256()
    while part := os.read(file.fileno(), _CHUNK):
        found.update(part)
    return f"sha256:{found.hexdigest()}"
