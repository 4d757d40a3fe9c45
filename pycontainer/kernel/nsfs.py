"""Namespaces of the kernel as objects, each held by a file descriptor (namespaces(7)).

Owns what the kinds are called and one namespace's fd.  Sets of namespaces, which are made and entered
together, are in :mod:`pycontainer.kernel.namespace`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

import attrs

from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.kernel import mount
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.native import lib

if TYPE_CHECKING:
    from pycontainer.kernel.idmap import IdMap
    from pycontainer.kernel.namespace import NamespaceSet


@attrs.frozen
class Kind:
    """One of the kernel's kinds of namespaces: its flag for clone(2) and its name in ``/proc/PID/ns``."""

    name: str
    flag: int
    file: str


#: By the name that users give, in the order in which a set is entered: the user namespace first, for its
#: capabilities are needed for the others; the process ids last, for they count from the next clone on.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("user", lib.CLONE_NEWUSER, "user"),
        Kind("cgroup", lib.CLONE_NEWCGROUP, "cgroup"),
        Kind("ipc", lib.CLONE_NEWIPC, "ipc"),
        Kind("uts", lib.CLONE_NEWUTS, "uts"),
        Kind("net", lib.CLONE_NEWNET, "net"),
        Kind("mount", lib.CLONE_NEWNS, "mnt"),
        Kind("time", lib.CLONE_NEWTIME, "time"),
        Kind("pid", lib.CLONE_NEWPID, "pid"),
    )
}


def parse_kind(name: str) -> Kind:
    """The kind of that name. Raises :class:`InvalidArgument` that lists the names."""
    try:
        return KINDS[name]
    except (KeyError, TypeError):
        raise InvalidArgument("kind", name, f"the kinds of namespaces are {', '.join(KINDS)}") from None


class Namespace:
    """One namespace, held by an fd: it lives at least as long as this object is open.

    Got from :meth:`create` (several, as a set) or :meth:`open`.  ``close`` is idempotent; ``with`` closes.

    >>> with Namespace.open(os.getpid(), "net") as mine, Namespace.open(1, "net") as first:  # doctest: +SKIP
    ...     mine.identity == first.identity
    True
    """

    __slots__ = ("_fd", "kind")

    def __init__(self, kind: str, fd: Fd) -> None:
        self.kind = kind
        self._fd = fd

    @classmethod
    def create(
        cls,
        *kinds: str,
        idmap: IdMap | None = None,
        offsets: Mapping[str, float] | None = None,
        proc: bool = True,
    ) -> NamespaceSet:
        """Make new namespaces of these kinds; see :meth:`NamespaceSet.create`, which this is."""
        from pycontainer.kernel.namespace import NamespaceSet

        return NamespaceSet.create(*kinds, idmap=idmap, offsets=offsets, proc=proc)

    @classmethod
    def open(cls, where: int | str | os.PathLike[str], kind: str) -> Namespace:
        """Open the namespace of a process, given by its pid, or the one that a file stands for.

        A file is an entry of ``/proc/PID/ns`` or a name made by :meth:`bind` or ``ip netns add``.  Raises
        :class:`InvalidArgument` when the file is no namespace of this kind, :class:`NotSupported` when the
        kernel has none, :class:`KernelError` when it cannot be opened.
        """
        wanted = parse_kind(kind)
        return open_checked(
            f"/proc/{where}/ns/{wanted.file}" if isinstance(where, int) else os.fspath(where), wanted
        )

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode number: equal for two objects exactly when they are the same namespace."""
        status = os.fstat(self.fileno())
        return status.st_dev, status.st_ino

    @property
    def inode(self) -> int:
        """The number that ``ls -l /proc/PID/ns`` and lsns(8) show."""
        return self.identity[1]

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._fd.closed

    def fileno(self) -> int:
        """Return the fd, for setns(2) or ``IPRoute``; it stays owned here. ``ValueError`` when closed."""
        return self._fd.fileno()

    def bind(self, path: str | os.PathLike[str]) -> None:
        """Give the namespace a name in the file system, which keeps it until :meth:`unbind`, without a process.

        The name must not exist; it is a bind mount, as ``ip netns add`` makes in ``/run/netns``.  A mount
        namespace can be bound only where mounts are private (mount_namespaces(7)).  Needs root.  Raises
        :class:`KernelError` with nothing left.
        """
        name = os.fspath(path)
        try:
            os.close(os.open(name, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
        except OSError as error:
            raise KernelError(error.errno or 0, f"make {name}") from None
        try:
            mount.bind(self.fileno(), name)
        except BaseException:
            os.unlink(name)
            raise

    @classmethod
    def unbind(cls, path: str | os.PathLike[str]) -> None:
        """Take away a name made by :meth:`bind`, also in another process. Needs root.

        The namespace goes on while a process or an fd holds it.  Raises :class:`InvalidArgument` when the
        path is no such name, and :class:`KernelError`.
        """
        name = os.fspath(path)
        try:
            with Fd(os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)) as fd:
                if _type_of(fd) == 0:
                    raise InvalidArgument("path", name, "it is no name of a namespace")
        except OSError as error:
            raise KernelError(error.errno or 0, f"open {name}") from None
        mount.unbind(name)
        try:
            os.unlink(name)
        except OSError as error:
            raise KernelError(error.errno or 0, f"remove {name}") from None

    def close(self) -> None:
        """Close the fd. Idempotent."""
        self._fd.close()

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Namespace {self.kind} {'closed' if self.closed else self.inode}>"


def open_checked(path: str, kind: Kind, *, dir_fd: int | None = None) -> Namespace:
    """:meth:`Namespace.open` of a path, from a directory."""
    try:
        fd = Fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=dir_fd))
    except OSError as error:
        if not os.path.exists(f"/proc/self/ns/{kind.file}"):
            raise NotSupported(
                f"this kernel has no {kind.name} namespaces", "use a kernel that has"
            ) from None
        raise KernelError(error.errno or 0, f"open the {kind.name} namespace {path}") from None
    try:
        found = _type_of(fd)
        if found != kind.flag:
            names = [other.name for other in KINDS.values() if other.flag == found]
            reason = f"it is a {names[0]} namespace" if names else "it is no namespace"
            raise InvalidArgument("where", path, f"{reason}, no {kind.name} namespace")
    except BaseException:
        fd.close()
        raise
    return Namespace(kind.name, fd)


def _type_of(fd: Fd) -> int:
    """The CLONE_NEW* flag of a namespace, or 0 for what is none (ioctl_ns(2))."""
    if not stat.S_ISREG(os.fstat(fd.fileno()).st_mode):
        return 0  # a device might take the request for one of its own
    try:
        return fcntl.ioctl(fd.fileno(), lib.NS_GET_NSTYPE)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            return 0
        raise
