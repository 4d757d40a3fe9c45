"""Files below a directory whose content is hostile: a container's root, held as a descriptor.

Every path is resolved by the kernel with that directory as its root (openat2(2), ``RESOLVE_IN_ROOT`` and
``RESOLVE_NO_MAGICLINKS``): absolute symbolic links, ``..`` and races cannot lead out of it.  No opening
blocks, and only regular files are read and written; those of the kernel only where the path says /proc or
/sys.  Copies of whole trees are in :mod:`pycontainer.kernel.transfer`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from pycontainer.errors import InvalidArgument, KernelError
from pycontainer.kernel import native
from pycontainer.kernel.creation import creating_as, make_directory, replacement
from pycontainer.kernel.encoding import encode
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.kinds import check_regular, opened, status_of
from pycontainer.kernel.native import lib

if TYPE_CHECKING:
    from pycontainer.kernel.idmap import IdMap

PathLike: TypeAlias = "str | bytes | os.PathLike[str]"

#: What :meth:`Rooted.read_bytes` reads at most when not told otherwise, in bytes.
READ_LIMIT = 64 << 20

#: Flags that open a directory itself, never what a link leads to.
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_IN_ROOT = lib.RESOLVE_IN_ROOT | lib.RESOLVE_NO_MAGICLINKS
#: openat2 answers EAGAIN when a rename anywhere raced a ".."; openat2(2) says: try again. So often at most.
_ATTEMPTS = 1000
#: The kernel's own bound on the links of one path (path_resolution(7)).
_LINKS = 40
_CHUNK = 1 << 20


def open_in_root(root: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open ``path`` with ``root`` as its root directory; the descriptor is the caller's to close.

    ``mode`` counts only with ``O_CREAT``.  Raises :class:`KernelError`.
    """
    # openat2(2) refuses what it would not use.
    mode = mode if flags & os.O_CREAT else 0
    flags |= 0 if flags & os.O_PATH else os.O_NOCTTY
    for _ in range(_ATTEMPTS):
        try:
            return native.openat2(root, path, flags, mode, _IN_ROOT)
        except KernelError as error:
            if error.errno != errno.EAGAIN:
                raise
    return native.openat2(root, path, flags, mode, _IN_ROOT)


@contextmanager
def named(step: str | Callable[[], str]) -> Iterator[None]:
    """Turn an ``OSError`` of the body into a :class:`KernelError` of that step; one that has a step passes.

    A step that is dear to describe is given as a function.
    """
    try:
        yield
    except KernelError:
        raise
    except OSError as error:
        raise KernelError(error.errno or errno.EIO, step if isinstance(step, str) else step()) from error


class Rooted:
    """The files below one directory, for reading and changing from outside.

    ``root`` is borrowed: it stays the caller's to close, after the last use of this object.  ``ids`` tells
    which numbers of the host stand for the container's users and groups; without it they are the same.
    ``trusted``: its links may lead to files of the kernel, as the host's own do.
    Paths are as the container sees them; relative ones begin at its root.  What ``stat`` tells of owners
    is the host's numbers.

    New files belong to the container's root unless told otherwise.  Every method raises
    :class:`KernelError`, whose step names the path, and :class:`InvalidArgument` for an empty path.

    >>> root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    >>> Rooted(root).read_bytes("/proc/sys/kernel/ostype")
    b'Linux\\n'
    >>> os.close(root)
    """

    __slots__ = ("_ids", "_root", "_trusted", "where")

    def __init__(
        self, root: int, *, ids: IdMap | None = None, where: str = "in the container", trusted: bool = False
    ) -> None:
        self._root = root
        self._ids = ids
        self.where = where
        self._trusted = trusted

    def fileno(self) -> int:
        """Return the root's descriptor."""
        return self._root

    def step(self, verb: str, path: PathLike) -> str:
        """Name a step for an error, such as ``open /etc/x in the container``."""
        return f"{verb} {os.fsdecode(path)} {self.where}"

    def open(self, path: PathLike, flags: int = os.O_RDONLY, mode: int = 0o644) -> Fd:
        """Open a regular file; the result owns its descriptor, which never blocks.

        ``flags`` as for ``os.open``; symbolic links are followed unless they say ``O_NOFOLLOW``.  With
        ``O_TRUNC`` the file is emptied only when it has turned out to be a regular one.  Anything else than
        a regular file is refused with ``EISDIR`` or ``EINVAL``, and not opened unless ``flags`` say ``O_CREAT``.
        """
        step = self.step("open", path)
        how = os.O_PATH | flags & os.O_NOFOLLOW
        if flags & os.O_CREAT:
            how = (flags & ~os.O_TRUNC) | os.O_NONBLOCK
        with self._open("open", path, how, mode) as found, named(step):
            flags &= ~(os.O_CREAT | os.O_EXCL)
            return Fd(opened(found.fileno(), flags, step, kernels=self.names_kernels(path)))

    def open_directory(self, path: PathLike, flags: int = os.O_RDONLY) -> Fd:
        """Open a directory, following symbolic links; ``O_PATH`` in ``flags`` if only to look below it."""
        return self._open("open", path, flags | os.O_DIRECTORY, 0)

    def read_bytes(self, path: PathLike, *, limit: int = READ_LIMIT) -> bytes:
        """Return the content of a regular file; ``EFBIG`` if it is more than ``limit`` bytes."""
        with self.open(path) as file, named(self.step("read", path)):
            parts = []
            left = limit + 1
            while left and (part := os.read(file.fileno(), min(left, _CHUNK))):
                parts.append(part)
                left -= len(part)
        if not left:
            hint = f"it holds more than limit={limit} bytes"
            raise KernelError(errno.EFBIG, self.step("read", path), hint=hint)
        return b"".join(parts)

    def write_bytes(
        self, path: PathLike, data: bytes, *, mode: int | None = None, owner: tuple[int, int] | None = None
    ) -> None:
        """Give a file this content, atomically: a reader sees the old or the new, never a part.

        Symbolic links are followed, the directory must exist.  ``mode`` and ``owner`` (user and group of
        the container) are those of the file that is replaced, or 0644 and root.  A path on which something
        is mounted cannot be replaced (``EBUSY``); a directory, device or fifo is refused.
        """
        with named(self.step("write", path)):
            parent, name = self.locate(path)
            with parent:
                ids = None if owner is None else self.host_ids(*owner)
                if (old := status_of(parent.fileno(), name)) is not None:
                    check_regular(old.st_mode, self.step("write", path))
                    mode = stat.S_IMODE(old.st_mode) if mode is None else mode
                    ids = (old.st_uid, old.st_gid) if ids is None else ids
                mode = 0o644 if mode is None else mode
                root = self.host_ids(0, 0)
                with replacement(parent.fileno(), name, mode=mode, creator=root, owner=ids or root) as fd:
                    write_all(fd, data)

    def stat(self, path: PathLike, *, follow: bool = True) -> os.stat_result:
        """Return what ``os.stat`` tells, with the owner in the host's numbers; ``follow`` links or not."""
        flags = os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW
        with self._open("stat", path, flags, 0) as fd:
            return os.fstat(fd.fileno())

    def listdir(self, path: PathLike = "/", *, limit: int = 1_000_000) -> list[str]:
        """Return the names in a directory, sorted; ``EFBIG`` if there are more than ``limit``."""
        with self.open_directory(path) as directory, named(self.step("list", path)):
            with os.scandir(directory.fileno()) as entries:
                names = [entry.name for entry in islice(entries, limit + 1)]
        if len(names) > limit:
            hint = f"it has more than limit={limit} entries"
            raise KernelError(errno.EFBIG, self.step("list", path), hint=hint)
        return sorted(names)

    def readlink(self, path: PathLike) -> str:
        """Return the text of a symbolic link."""
        with named(self.step("read link", path)):
            parent, name = self.locate(path, follow=False)
            with parent:
                return os.fsdecode(os.readlink(name, dir_fd=parent.fileno()))

    def mkdirs(self, path: PathLike, *, mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> None:
        """Make a directory and those above it; what is there already stays as it is."""
        ids = self.host_ids(*owner)
        reached = b""
        for name in self._raw(path).split(b"/"):
            if name in {b"", b"."}:
                continue
            above, reached = reached or b"/", reached + b"/" + name
            if name == b"..":
                continue
            with self._open("make", above, os.O_PATH | os.O_DIRECTORY, 0) as parent:
                with named(self.step("make", reached)):
                    make_directory(parent.fileno(), name, mode=mode, creator=self.host_ids(0, 0), owner=ids)
        self._open("make", path, os.O_PATH | os.O_DIRECTORY, 0).close()

    def symlink(self, target: PathLike, path: PathLike, *, owner: tuple[int, int] = (0, 0)) -> None:
        """Make ``path`` a symbolic link with the text ``target``; ``EEXIST`` if there is something."""
        ids = self.host_ids(*owner)
        with named(self.step("link", path)):
            parent, name = self.locate(path, follow=False)
            with parent:
                with self.creating():
                    os.symlink(encode("target", target), name, dir_fd=parent.fileno())
                os.chown(name, *ids, dir_fd=parent.fileno(), follow_symlinks=False)

    def chown(self, path: PathLike, uid: int, gid: int, *, follow: bool = True) -> None:
        """Change the owner to a user and group of the container."""
        flags = os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW
        with self._open("chown", path, flags, 0) as fd, named(self.step("chown", path)):
            # The magic link is of our own /proc and leads to the opened inode, a symbolic link included.
            os.chown(f"/proc/self/fd/{fd.fileno()}", *self.host_ids(uid, gid))

    def chmod(self, path: PathLike, mode: int) -> None:
        """Change the permission bits, following symbolic links, which have none of their own."""
        with self._open("chmod", path, os.O_PATH, 0) as fd, named(self.step("chmod", path)):
            os.chmod(f"/proc/self/fd/{fd.fileno()}", mode)

    def remove(self, path: PathLike) -> None:
        """Remove a file, a link itself, or a directory with all below it; nothing happens if it is absent."""
        from pycontainer.kernel.tree import remove_tree

        with named(self.step("remove", path)):
            parent, name = self.locate(path, follow=False)
            with parent:
                remove_tree(parent.fileno(), name)

    # -- for those who build on this ----------------------------------------------------------

    def locate(self, path: PathLike, *, follow: bool = True) -> tuple[Fd, bytes]:
        """Return the directory (``O_PATH``) and the name that ``path`` means; the name need not exist.

        With ``follow`` a symbolic link as the last part is followed, so the name is no link unless the
        container is changing it at this moment.  Raises ``EISDIR`` for a path that ends in ``..`` or is
        the root, ``ELOOP`` for too many links.
        """
        raw = self._raw(path)
        for _ in range(_LINKS):
            head, _, name = raw.rstrip(b"/").rpartition(b"/")
            if name in {b"", b".", b".."}:
                raise KernelError(errno.EISDIR, self.step("open", path))
            parent = self._open("open", path, os.O_PATH | os.O_DIRECTORY, 0, raw=(head or b"/") + b"/")
            if not follow:
                return parent, name
            try:
                link = os.readlink(name, dir_fd=parent.fileno())
            except OSError as error:
                if error.errno in {errno.EINVAL, errno.ENOENT}:  # no link, or nothing there
                    return parent, name
                parent.close()
                raise KernelError(error.errno or errno.EIO, self.step("open", path)) from error
            parent.close()
            raw = link if link.startswith(b"/") else head + b"/" + link
        raise KernelError(errno.ELOOP, self.step("open", path))

    def names_kernels(self, path: PathLike) -> bool:
        """Does the path itself say that it means a file of the kernel's, or may any link lead to one?"""
        parts = [part for part in encode("path", path).split(b"/") if part not in {b"", b"."}]
        return self._trusted or (parts[:1] in ([b"proc"], [b"sys"]) and b".." not in parts)

    def creating(self) -> AbstractContextManager[None]:
        """Make the container's root the owner of what this thread creates in the body."""
        return creating_as(*self.host_ids(0, 0))

    def host_ids(self, uid: int, gid: int) -> tuple[int, int]:
        """Return the host's numbers for a user and group of the container.

        Raises :class:`InvalidArgument` for one that has none.
        """
        if self._ids is None:
            return uid, gid
        host_uid, host_gid = self._ids.host_uid(uid), self._ids.host_gid(gid)
        if host_uid is None or host_gid is None:
            raise InvalidArgument("owner", (uid, gid), f"no such user or group is mapped {self.where}")
        return host_uid, host_gid

    def _raw(self, path: PathLike) -> bytes:
        raw = encode("path", path)
        if not raw:
            raise InvalidArgument("path", path, f"a path {self.where} is not empty")
        return raw

    def _open(self, verb: str, path: PathLike, flags: int, mode: int, *, raw: bytes = b"") -> Fd:
        """Open ``raw``, or the path by which the step is named."""
        raw = raw or self._raw(path)
        try:
            with self.creating() if flags & os.O_CREAT else nullcontext():
                return Fd(open_in_root(self._root, raw, flags, mode))
        except KernelError as error:
            raise KernelError(error.errno or errno.EIO, self.step(verb, path)) from None
