"""Overlay mounts: directories laid over each other, with the writes in the uppermost (overlayfs).

::

    helper, in a mount namespace of its own     caller
    ---------------------------------------     ------
    names the layers 0, 1 .. in a tmpfs
    mounts them, detached
    sends the mount's fd ---------------------> holds it: the mount lives as long as the fd
    ends                                        `target` given: attaches it there

The names make 500 layers fit into the page that mount(2) takes, and spare the escapes that paths need.
The helper is also what an ordinary user needs, who can mount only inside a user namespace.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

import attrs

from pycontainer.errors import InvalidArgument, KernelError, NotSupported, StateError
from pycontainer.kernel import features, idmap, mount, userns
from pycontainer.kernel import operation as op
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.leash import spawn_leashed
from pycontainer.kernel.native import lib
from pycontainer.kernel.operation import HERE
from pycontainer.kernel.overlay_errors import explained
from pycontainer.kernel.program import program
from pycontainer.kernel.script import Operation, Script
from pycontainer.kernel.spawn import Spawn

if TYPE_CHECKING:
    from pycontainer.kernel.changes import Change

#: What overlayfs allows (OVL_MAX_STACK in the kernel's fs/overlayfs).
MAX_LOWERS = 500

Path: TypeAlias = str | os.PathLike[str]

_CONTROL = socket.CMSG_SPACE(4)  # of one fd

# Slots of the helper's operations: the program, the caller's socket, a user namespace, and two to fill.
_INIT, _SOCKET, _USERNS, _ROOT, _SCRATCH = range(5)


class OverlayMount:
    """A directory that shows ``lower`` directories as one, with changes kept in ``upper``.

    ``lower``: the directories, topmost first, as in mount(8)'s ``lowerdir``; they are not written to, and
    must not be by others while mounted.  ``upper`` and ``work``: directories of one file system that is no
    overlay and no NFS, ``work`` empty and for the kernel alone; without them the mount is read-only.
    ``target``: an existing directory to attach the mount to (root only); without it no name in the
    file system leads there but ``path``.  ``volatile``: nothing is synced to disk; after a crash the upper
    directory is to be thrown away (Linux 5.10).  ``userxattr``: keep overlayfs' marks in ``user.overlay.*``
    instead of ``trusted.overlay.*``; default: whether the caller is an ordinary user, who has no choice.

    The constructor touches nothing; ``create`` or ``with`` mounts, ``close`` or the end of ``with`` unmounts.
    Without a ``target`` the kernel unmounts when the process ends, in whatever way.

    >>> with OverlayMount(lower=["/usr/share/doc"], upper="/srv/up", work="/srv/work") as m:  # doctest: +SKIP
    ...     open(f"{m.path}/new", "w").close()
    ...     m.changes()
    [Change(kind='added', path='/new')]
    """

    def __init__(
        self,
        *,
        lower: Sequence[Path],
        upper: Path | None = None,
        work: Path | None = None,
        target: Path | None = None,
        userxattr: bool | None = None,
        volatile: bool = False,
    ) -> None:
        if isinstance(lower, (str, bytes)) or not 0 < len(lower) <= MAX_LOWERS:
            raise InvalidArgument("lower", lower, f"a list of 1 to {MAX_LOWERS} directories is needed")
        if (upper is None) != (work is None):
            raise InvalidArgument("work", work, "upper and work belong together: give both, or none")
        if volatile and upper is None:
            raise InvalidArgument("volatile", volatile, "there is no upper directory")
        self.lower = tuple(_path("lower", path) for path in lower)
        self.upper = None if upper is None else _path("upper", upper)
        self.work = None if work is None else _path("work", work)
        self.target = None if target is None else _path("target", target)
        self.volatile = volatile
        self._userxattr = userxattr
        self._root: Fd | None = None

    @property
    def userxattr(self) -> bool:
        """Are overlayfs' marks in ``user.overlay.*``?"""
        if self._userxattr is None:
            self._userxattr = not idmap.rules_host()
        return self._userxattr

    @property
    def mounted(self) -> bool:
        """Is it mounted, between ``create`` and ``close``?"""
        return self._root is not None

    @property
    def path(self) -> str:
        """Where the files are: ``target``, or a path below ``/proc/self/fd`` that is good in this process.

        Raises :class:`StateError` while not mounted.
        """
        return self.target or f"/proc/self/fd/{self.fileno()}"

    def fileno(self) -> int:
        """Return the fd of the mount's root (O_PATH), for openat(2) or move_mount(2); it stays owned here.

        Raises :class:`StateError` while not mounted.
        """
        if self._root is None:
            raise StateError("the overlay", "not mounted", "use it")
        return self._root.fileno()

    def create(self) -> OverlayMount:
        """Mount; returns itself.

        Raises :class:`KernelError` that names the step and, where it can be found out, the cause, with nothing
        left mounted; :class:`StateError` when mounted already.
        """
        if self._root is not None:
            raise StateError("the overlay", "mounted", "create it")
        try:
            root = self._mount()
        except KernelError as error:
            raise explained(error, self.lower, self.upper, self.work) from None
        try:
            if self.target is not None:
                mount.attach(root.fileno(), self.target)
        except BaseException:
            root.close()
            raise
        self._root = root
        return self

    def changes(self) -> list[Change]:
        """What the upper directory adds to, changes in and hides of the lowers, by path; [] without an upper.

        To be asked while nobody writes; also after ``close``.  Raises :class:`KernelError` and, for an upper
        directory of an overlay with other options than ours, :class:`NotSupported`.
        """
        from pycontainer.kernel.changes import overlay_changes

        if self.upper is None:
            return []
        try:
            upper = os.open(self.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise KernelError(error.errno or 0, f"open {self.upper}") from None
        with Fd(upper):
            return overlay_changes(upper, self.lower, namespace="user" if self.userxattr else "trusted")

    def close(self) -> None:
        """Unmount, and detach from ``target``. What has a file open in it keeps it. Idempotent."""
        root, self._root = self._root, None
        if root is not None:
            with root:
                if self.target is not None:
                    mount.detach(root.fileno())

    def _mount(self) -> Fd:
        self._check_upper()
        with ExitStack() as stack:
            user = -1
            if not idmap.rules_host():
                user = stack.enter_context(Fd(userns.create(idmap.user_map()))).fileno()
            ours, theirs = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
            request = Spawn(
                argv=(b"init",),
                program=_INIT,
                fds=(program("init"), theirs.fileno(), user, -1, -1),
                script=Script.of(inner=self._operations()),
                namespaces=lib.CLONE_NEWNS,
                joins=((_USERNS, lib.CLONE_NEWUSER),) if user >= 0 else (),
                ns_root=user >= 0,
            )
            userns.release(spawn_leashed(request)[1])
            # Not socket.recv_fds: it ignores its flags.
            _, control, _, _ = ours.recvmsg(1, _CONTROL, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
            return Fd(int.from_bytes(control[0][2], sys.byteorder))

    def _check_upper(self) -> None:
        """Refuse where the kernel would mount, and fail later in the middle of a rename or a removal."""
        if self.upper is None or not self.userxattr or features.tmpfs_keeps_user_xattrs():
            return
        try:
            fd = os.open(self.upper, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            raise KernelError(error.errno or 0, f"open the upper directory {self.upper}") from None
        with Fd(fd):
            if mount.file_system(fd) == "tmpfs":
                raise NotSupported(
                    f"{self.upper} is on a tmpfs that cannot keep user.* attributes",
                    "use a directory on disk, or Linux 6.6",
                )

    def _operations(self) -> list[Operation]:
        if self.upper is None and len(self.lower) == 1:
            return [*self._bind(), op.send(_ROOT, to=_SOCKET, tag=0)]
        # Detached, so that it covers nothing: the names in it are found from the current directory.
        ops = op.new_mount("tmpfs", [("mode", "700")], out=_SCRATCH, purpose="a scratch place")
        ops.append(op.enter_directory(_SCRATCH))
        ops += [op.make_link(str(place), path, at=HERE) for place, path in enumerate(self.lower)]
        options: list[tuple[str, str | None]] = []
        if self.upper is not None and self.work is not None:
            ops += [op.make_link("upper", self.upper, at=HERE), op.make_link("work", self.work, at=HERE)]
            options += [("upperdir", "upper"), ("workdir", "work")]
        if self.userxattr:
            options.append(("userxattr", None))
        else:
            # A renamed directory is then a new one, for changes() and for whoever archives the upper directory.
            options += [("redirect_dir", "off"), ("metacopy", "off")]
        if self.volatile:
            options.append(("volatile", None))
        names = [str(place) for place in range(len(self.lower))]
        ops += self._by_layer(names, options) if features.overlay_takes_layers() else _by_page(names, options)
        return [*ops, op.send(_ROOT, to=_SOCKET, tag=0)]

    def _by_layer(self, names: list[str], options: list[tuple[str, str | None]]) -> list[Operation]:
        ops = op.new_mount("overlay", [*(("lowerdir+", name) for name in names), *options], out=_ROOT)
        # What an error tells are the layers, not what they are called here.
        shown = {**dict(zip(names, self.lower, strict=True)), "upper": self.upper, "work": self.work}
        return [
            attrs.evolve(each, text=f"mount overlay with {each.path.decode()}={shown[each.name.decode()]}")
            if each.name.decode() in shown
            else each
            for each in ops
        ]

    def _bind(self) -> list[Operation]:
        """One directory alone is no overlay for the kernel; bound read-only it is what was asked for."""
        return [
            op.open_tree(self.lower[0], out=_ROOT),
            op.set_attributes(_ROOT, attributes=lib.MOUNT_ATTR_RDONLY, propagation=lib.MS_PRIVATE),
        ]

    def __enter__(self) -> OverlayMount:
        return self.create()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<OverlayMount {self.path if self.mounted else 'not mounted'}>"


def _by_page(names: list[str], options: list[tuple[str, str | None]]) -> list[Operation]:
    """Linux < 6.8: through mount(2), as a string of fsconfig(2) ends at 255 bytes; then as a detached copy."""
    words = [
        f"lowerdir={':'.join(names)}",
        *(key if value is None else f"{key}={value}" for key, value in options),
    ]
    return [
        op.open_path("/", out=_ROOT, flags=os.O_PATH | os.O_DIRECTORY),
        op.set_attributes(_ROOT, propagation=lib.MS_PRIVATE, recursive=True, purpose="the host's mounts"),
        op.close(_ROOT),
        # Over the topmost layer itself, in a namespace that ends at once: nothing else lies below its name.
        attrs.evolve(op.mount_overlay(",".join(words), names[0]), text="mount overlay"),
        op.open_tree(names[0], out=_ROOT),
    ]


def _path(argument: str, path: Path) -> str:
    """The path from the root; not normalized, as that could change what it leads to (``link/..``)."""
    name = os.fspath(path)
    if not isinstance(name, str) or not name or "\0" in name:
        raise InvalidArgument(argument, path, "the path of a directory is needed")
    return name if name.startswith("/") else os.path.join(os.getcwd(), name)
