"""What an archive has: files by their names in it, whether it is a directory or a tar archive, compressed or not."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO, Protocol

from pycontainer.errors import ImageError, ImageNotFound, InvalidArgument, KernelError
from pycontainer.image.archive.folder import Folder
from pycontainer.image.archive.members import Members
from pycontainer.image.archive.piece import Piece
from pycontainer.image.compression import HEAD, decompressed, kind_of
from pycontainer.image.limits import Limits
from pycontainer.kernel import kinds
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.rooted import named

_CHUNK = 1 << 20
#: The device, inode, size and times of a file.
Identity = tuple[int, ...]


class Contents(Protocol):
    """Files by their names, such as ``blobs/sha256/<hex>``, to be read in any order and by several threads."""

    def has(self, name: str) -> bool:
        """Whether there is something by this name."""
        ...

    def open(self, name: str) -> Piece:
        """Open a file. Raises :class:`ImageError` for what is none, and :class:`ImageNotFound` where nothing is."""
        ...


@contextmanager
def opened(path: str | os.PathLike[str] | IO[bytes], scratch: str) -> Iterator[Contents]:
    """Open an archive or a layout for the body, whose :class:`ImageError` then tells the path.

    A file that is open for reading bytes is read from where it is, to the end, and stays open.

    What is compressed (gzip, zstd, xz, bzip2) is decompressed into a file without a name in the directory ``scratch``,
    within the bounds of :class:`Limits`.  Raises :class:`ImageNotFound`, :class:`ImageError`, :class:`KernelError`.
    """
    if not isinstance(path, str | os.PathLike):
        with about("the archive"), _plain(path.read, scratch) as file:
            yield Members.read(file)
        return
    with ExitStack() as stack, about(path):
        with held(path) as place:
            mode = os.fstat(place.fileno()).st_mode
            how = os.O_DIRECTORY if stat.S_ISDIR(mode) else 0
            if not how and not stat.S_ISREG(mode):
                raise ImageError(f"it is {kinds.kind_of(mode)}, and a file or a directory is needed")
            # No watchdog and no tape is opened by mistake: what it is was looked at.
            step = f"open {os.fspath(path)}"
            with named(step):
                if how:
                    file = Fd(os.open(f"/proc/self/fd/{place.fileno()}", os.O_RDONLY | how | os.O_CLOEXEC))
                else:
                    file = Fd(kinds.opened(place.fileno(), os.O_RDONLY, step, kernels=False))
        stack.enter_context(file)
        if how:
            yield Folder(file)
            return
        with named(f"read {os.fspath(path)}"):
            compression = kind_of(os.pread(file.fileno(), HEAD, 0))
        if compression != "none":
            file = stack.enter_context(_plain(partial(os.read, file.fileno()), scratch))
        yield Members.read(file)


def held(path: str | os.PathLike[str]) -> Fd:
    """A descriptor that stands for what is at ``path``, whatever it is, without opening it."""
    try:
        return Fd(os.open(path, os.O_PATH | os.O_CLOEXEC))
    except ValueError:
        raise InvalidArgument("path", path, "no path has a NUL or half a surrogate in it") from None
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            raise ImageNotFound("there is no such archive") from None
        raise KernelError(error.errno or errno.EIO, f"open {os.fspath(path)}") from error


@contextmanager
def about(path: str | os.PathLike[str]) -> Iterator[None]:
    """Have an :class:`ImageError` of the body begin with the path."""
    try:
        yield
    except ImageError as error:
        raise type(error)(f"{os.fspath(path)}: {error}") from error


def _plain(source: Callable[[int], bytes | None], scratch: str) -> Fd:
    """A file with what a source gives, decompressed."""

    def read(count: int) -> bytes:
        with named("read the archive"):
            part = source(count)
            if part is None:
                raise BlockingIOError(errno.EAGAIN, "nothing has come yet")
        if not isinstance(part, bytes):
            raise InvalidArgument("path", part, "a file that is open for reading bytes is needed")
        return part

    step = f"decompress the archive into {scratch}"
    # Most files of archives compressed as a whole are compressed themselves: the bounds are far off.
    plain = decompressed(read, Limits())
    with named(step), tempfile.TemporaryFile(dir=scratch, buffering=0) as made:
        target = Fd(os.dup(made.fileno()))
    try:
        while part := plain(_CHUNK):
            with named(step):
                write_all(target.fileno(), part)
    except BaseException:
        target.close()
        raise
    return target
