"""Archives of root file systems, unpacked once: the store of ``Image.from_rootfs``.

::

    <store>/<sha256 of the archive, 32 digits>-<uid>/     the tree, complete from the moment it has this name
    <store>/unpacking-<random>/                           locked (flock) by whom makes it

A tree that lost its maker half-way is removed by the next unpacking.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time

from pycontainer.errors import ImageError, ImageNotFound, KernelError
from pycontainer.home import default_root, make_private
from pycontainer.image.locked import make_locked, sweep
from pycontainer.image.unpack import unpack
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.native import lib, renameat2
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named
from pycontainer.kernel.tree import remove_tree

_UNFINISHED = "unpacking-"
_CHUNK = 1 << 20
#: In nanoseconds: coarser than the clock of any file system but FAT.
_SETTLED = 2 * 10**9
_REMEMBERED = 256
_digests: dict[tuple[int, ...], str] = {}


def unpacked(archive_path: str, store: str | os.PathLike[str] | None = None) -> str:
    """Return the directory with an archive's tree, unpacked if no earlier call has done it.

    ``store`` is a directory of the caller's alone, made if need be; by default ``rootfs`` in the default
    engine's root.  Processes that unpack the same archive at once all succeed.  For root the files have the
    archive's owners, for others the caller's.  Device nodes are left out: a container has a /dev of its own.

    Raises :class:`ImageNotFound`, :class:`ImageError` for a bad archive, :class:`UnsafeArchive` for a
    hostile one, :class:`NotSupported`, :class:`KernelError`; the store is then as it was before.
    """
    place = _store(store)
    with _opened(archive_path) as archive, Fd(os.open(place, OPEN_DIRECTORY)) as folder:
        digest = _digest(archive.fileno())
        # The owners of the files differ with who unpacks.
        name = f"{digest[:32]}-{os.geteuid()}"
        if not os.path.isdir(f"{place}/{name}"):
            with named("remove what an unpacking left"):
                sweep(folder.fileno(), _UNFINISHED, remove_tree)
            _unpack(archive.fileno(), archive_path, digest, folder.fileno(), name)
    return f"{place}/{name}"


def _store(store: str | os.PathLike[str] | None) -> str:
    if store is not None:
        place = os.path.abspath(os.fspath(store))
    else:
        make_private(default_root())
        place = f"{default_root()}/rootfs"
    make_private(place)
    return place


def _opened(path: str) -> Fd:
    try:
        archive = Fd(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    except FileNotFoundError:
        raise ImageNotFound(f"rootfs:{path}: no such archive") from None
    except OSError as error:
        raise KernelError(error.errno or errno.EIO, f"open {path}") from error
    if not stat.S_ISREG(os.fstat(archive.fileno()).st_mode):
        archive.close()
        raise ImageError(f"{path} is neither a directory nor an archive file")
    return archive


def _digest(archive: int) -> str:
    """Return the sha256 of a file; what this process has read before is known by inode, size and times."""
    status = os.fstat(archive)
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    known = _digests.get(identity)
    if known is not None:
        return known
    # A file that was just changed can change again within the same tick of its clock.
    settled = time.time_ns() - status.st_ctime_ns > _SETTLED
    found = hashlib.sha256()
    while chunk := os.read(archive, _CHUNK):
        found.update(chunk)
    os.lseek(archive, 0, os.SEEK_SET)
    if settled:
        if len(_digests) >= _REMEMBERED:
            _digests.clear()
        _digests[identity] = found.hexdigest()
    return found.hexdigest()


def _unpack(archive: int, path: str, digest: str, folder: int, name: str) -> None:
    temporary, tree = make_locked(folder, _UNFINISHED)
    with tree:
        try:
            _fill(archive, path, digest, tree.fileno())
        except BaseException:
            remove_tree(folder, temporary)
            raise
        try:
            renameat2(folder, temporary.encode(), folder, name.encode(), lib.RENAME_NOREPLACE)
        except KernelError as error:
            remove_tree(folder, temporary)
            if error.errno != errno.EEXIST:  # somebody else was faster, and theirs is the same
                raise


def _fill(archive: int, path: str, digest: str, tree: int) -> None:
    """Unpack into ``tree``, and make sure that what was unpacked is what the name will say."""
    seen = hashlib.sha256()

    def read(count: int) -> bytes:
        part = os.read(archive, count)
        seen.update(part)
        return part

    try:
        unpack(read, tree)
    except ImageError as error:
        raise type(error)(f"{path}: {error}") from error
    while read(_CHUNK):
        pass
    if seen.hexdigest() != digest:
        raise ImageError(f"{path} was changed while it was unpacked")
