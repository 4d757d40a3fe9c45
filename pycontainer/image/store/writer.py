"""Writing one blob: under another name until it is whole, verified and on disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from pycontainer.errors import ImageError, KernelError, StateError
from pycontainer.image.locked import lock
from pycontainer.image.store.leases import Leases
from pycontainer.image.store.places import BLOBS, INGEST, Places
from pycontainer.image.store.trash import Batch
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.kinds import status_of
from pycontainer.kernel.rooted import named

_CHUNK = 1 << 20
_MADE = os.O_RDWR | os.O_CREAT
#: After these the disk's room is needed more than what was written.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class BlobWriter:
    """Writes a blob; a context manager, of one thread at a time.

    With a digest it goes on with what an earlier attempt left, of this process or another: ``offset``, where the
    next :meth:`write` goes, is not 0 then, and :meth:`existing` gives the bytes that there are.  If another is
    writing the same blob at this moment, nobody waits: this one begins at 0, in a file of its own.

    Without :meth:`commit` nothing is in the store at the end of ``with``.  What was written of a blob with a
    known digest is kept for the next attempt, unless it was wrong or the disk is full.

    >>> with store.ingest(descriptor.digest, descriptor.size) as writer:   # doctest: +SKIP
    ...     for chunk in registry.blob(repository, descriptor, writer.offset): writer.write(chunk)
    ...     writer.commit()
    """

    def __init__(self, places: Places, leases: Leases, digest: str | None, size: int | None) -> None:
        self._places = places
        self._leases = leases
        self._digest = digest
        self._size = size
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._file: Fd | None = None
        self._name = ""
        self._kept = False
        self._left = 0

    def __enter__(self) -> BlobWriter:
        if self._digest is not None:
            self._leases.protect("blob", self._digest)
        with named(self._step("begin")):
            if self._digest is not None:
                self._name = f"{INGEST}/{self._digest[7:]}"
                self._file = lock(self._places.fd, self._name, _MADE)
            self._kept = self._file is not None
            while self._file is None:
                self._name = f"{INGEST}/{(self._digest or 'sha256:new')[7:]}.{os.urandom(8).hex()}"
                self._file = lock(self._places.fd, self._name, _MADE)
            try:
                self._take_up(self._file.fileno())
            except BaseException:
                self._file.close()
                raise
        return self

    def _take_up(self, fd: int) -> None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise KernelError(errno.EINVAL, self._step("begin"), hint=f"{self._name} is no regular file")
        self._left = status.st_size
        if self._size is not None and self._left > self._size:
            os.ftruncate(fd, 0)
            self._left = 0

    @property
    def offset(self) -> int:
        """How many bytes of the blob there are: at first those that an earlier attempt left."""
        return max(self._left, self._hashed)

    def existing(self) -> Iterator[bytes]:
        """The bytes that an earlier attempt left, which are hashed on the way. Once, and before :meth:`write`."""
        fd = self._open("read").fileno()
        while self._hashed < self._left:
            with named(self._step("read what there is")):
                part = os.pread(fd, min(_CHUNK, self._left - self._hashed), self._hashed)
            if not part:
                raise KernelError(errno.EIO, self._step("read what there is"))
            self._hash.update(part)
            self._hashed += len(part)
            yield part

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises :class:`ImageError` for more than the size that was told, :class:`KernelError`."""
        file = self._open("write to")
        self._hash_existing()
        if self._size is not None and self._hashed + len(data) > self._size:
            self._kept = False
            raise ImageError(f"{self._what()} is longer than the {self._size} bytes that were told")
        with self._unless_full("write"):
            # By position: what fails half-way may be written again.
            done = 0
            while done < len(data):
                done += os.pwrite(file.fileno(), memoryview(data)[done:], self._hashed + done)
            # It begins to be written out (mm/fadvise.c), so that less is left to wait for in the end.
            os.posix_fadvise(file.fileno(), self._hashed, done, os.POSIX_FADV_DONTNEED)
        self._hash.update(data)
        self._hashed += len(data)

    @property
    def digest(self) -> str:
        """The digest of the bytes that there are."""
        self._open("hash")
        self._hash_existing()
        return f"sha256:{self._hash.hexdigest()}"

    def commit(self) -> str:
        """Verify the blob, have it on disk, and give it its name; return its digest.

        It is in the store when this returns, also after a loss of power.  If somebody else was faster, theirs
        is the same.  Raises :class:`ImageError` for another size or digest than was told; what was written is
        then gone.
        """
        [found] = BlobWriter.commit_all([self])
        return found

    @staticmethod
    def commit_all(writers: Sequence[BlobWriter]) -> list[str]:
        """:meth:`commit` of several of one store, which takes hardly longer than of one; return their digests."""
        found = [writer._verify() for writer in writers]
        for one in writers[:1]:
            one._leases.protect("blob", *found)
            # The last one first: when that is on disk so are the others mostly, and in the same transaction of a journal.
            for writer in reversed(writers):
                writer._write_out()
            for writer, digest in zip(writers, found, strict=True):
                writer._name_it(digest)
            with one._unless_full("commit"):
                one._places.write_out(BLOBS)
        return found

    def _verify(self) -> str:
        found = self.digest
        resumed = ", of which an earlier attempt wrote the beginning" if self._left else ""
        if self._size not in {None, self._hashed}:
            self._kept = False
            raise ImageError(f"{self._what()} has {self._hashed} bytes{resumed}, and {self._size} were told")
        if self._digest not in {None, found}:
            self._kept = False
            raise ImageError(f"{self._what()} has the digest {found}{resumed}")
        return found

    def _write_out(self) -> None:
        fd = self._open("commit").fileno()
        with self._unless_full("commit"):
            if os.fstat(fd).st_size != self._hashed:  # to say it again would cost a journal a transaction
                os.ftruncate(fd, self._hashed)
            os.fsync(fd)

    def _name_it(self, digest: str) -> None:
        fd = self._open("commit").fileno()
        with self._unless_full("commit"):
            self._give_name(f"{BLOBS}/{digest[7:]}")
            # Not before: an ordinary user could not go on with a part that it may only read.
            os.fchmod(fd, 0o400)

    def discard(self) -> None:
        """Have nothing kept for the next attempt: what was written turned out to be wrong."""
        self._kept = False

    @contextmanager
    def _unless_full(self, verb: str) -> Iterator[None]:
        """Name the step of an error, and keep nothing if it is that the disk is full."""
        try:
            with named(self._step(verb)):
                yield
        except KernelError as error:
            self._kept = self._kept and error.errno not in _FULL
            raise

    def _give_name(self, name: str) -> None:
        if not self._places.name(self._name, name):
            here = self._places.fd
            there = status_of(here, name)
            if there is not None and stat.S_ISREG(there.st_mode) and there.st_size == self._hashed:
                self._kept = False
                return
            # What cannot be this blob makes room for it.
            if there is not None and stat.S_ISDIR(there.st_mode):
                with Batch(self._places) as batch:
                    batch.take(name)
            os.rename(self._name, name, src_dir_fd=here, dst_dir_fd=here)
        self._name = ""

    def _hash_existing(self) -> None:
        for _ in self.existing():
            pass

    def _open(self, verb: str) -> Fd:
        if self._file is None or self._file.closed:
            raise StateError(self._what(), "not open", verb)
        return self._file

    def _what(self) -> str:
        return f"the blob {self._digest}" if self._digest else "the blob"

    def _step(self, verb: str) -> str:
        return f"{verb} {self._what()} in {self._places.path}"

    def close(self) -> None:
        """End the writing; idempotent. See the class for what stays."""
        file, self._file = self._file, None
        # A forked child has it closed: it is the parent's.
        if file is None or file.closed:
            return
        with file:
            if self._name and not (self._kept and os.fstat(file.fileno()).st_size):
                with named(self._step("remove")), contextlib.suppress(FileNotFoundError):
                    os.unlink(self._name, dir_fd=self._places.fd)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
