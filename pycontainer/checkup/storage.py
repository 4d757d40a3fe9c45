"""Probes of file systems: the engine root's, overlays, and what tmpfs can."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from pycontainer.checkup.feature import Lacking, Probes
from pycontainer.checkup.host import Host, scratch
from pycontainer.kernel import features, idmap, mount, quota
from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Operation
from pycontainer.kernel.tree import remove_tree

PROBES = Probes()

_ELSEWHERE = "set PYCONTAINER_ROOT to a directory of yours on a local file system: ext4, xfs or btrfs"


@contextmanager
def _directory(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _folder(host: Host) -> Iterator[int]:
    """A new directory on the engine root's file system, as an fd; removed with all that is in it."""
    with _directory(host.place) as place:
        name = f".pycontainer-doctor-{os.urandom(6).hex()}"
        try:
            os.mkdir(name, 0o700, dir_fd=place)
        except OSError as error:
            raise Lacking(f"no directory can be made in {host.place}: {error.strerror}", _ELSEWHERE) from None
        try:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
            try:
                yield fd
            finally:
                os.close(fd)
        finally:
            remove_tree(place, name)


@PROBES.add(
    "engine-root",
    needed=True,
    tries="made and removed a directory in it, or where it will be made; looked at its owner and mode",
    needed_for="all that the library keeps: writable layers, and later images",
    fix=_ELSEWHERE,
)
def _engine_root(host: Host) -> str:
    if os.path.lexists(host.root):
        status = os.lstat(host.root)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise Lacking(
                f"{host.root} is not a directory of yours with mode 0700",
                f"chown {os.geteuid()} {host.root}; chmod 0700 {host.root}",
            )
        told = host.root
    else:
        told = f"{host.root} will be made"
    with _folder(host) as fd:
        free = os.fstatvfs(fd)
        kind = mount.file_system(fd) or "unknown file system"
    return f"{told}; {kind}, {free.f_bavail * free.f_frsize / (1 << 30):.1f} GiB free"


def _overlay_operations(*, userxattr: bool, out: int) -> list[Operation]:
    """An overlay of directories made in the current one, with a file written to it."""
    options: list[tuple[str, str | None]] = [("lowerdir", "l"), ("upperdir", "u"), ("workdir", "w")]
    if userxattr:
        options.append(("userxattr", None))
    return [
        *(op.make_dir(name) for name in "luw"),
        *op.new_mount("overlay", options, out=out),
        op.write_file("f", b"x", at=out, flags=os.O_WRONLY | os.O_CREAT, mode=0o600),
    ]


@PROBES.add(
    "overlay",
    needed=True,
    tries="mounted an overlay over tmpfs in a user namespace and wrote to it; before Linux 6.6 on disk, too",
    needed_for="every container's root file system",
    fix="Linux 5.11 with CONFIG_OVERLAY_FS: modprobe overlay",
)
def _overlay(host: Host) -> str:
    ops = [*scratch(), *_overlay_operations(userxattr=True, out=2)]
    host.inside(ops, namespaces=lib.CLONE_NEWNS, slots=2)
    if not features.tmpfs_keeps_user_xattrs():
        return (
            _overlay_on_disk(host) + "; tmpfs keeps no user.* attributes, so every writable layer is on disk"
        )
    return "works"


@PROBES.add(
    "overlay-on-disk",
    tries="mounted an overlay with its upper directory on the engine root's file system, and wrote to it",
    needed_for="containers that are kept (Container.create); before Linux 6.6 every container",
    fix=_ELSEWHERE + " (not overlayfs, NFS or FUSE)",
)
def _overlay_on_disk(host: Host) -> str:
    as_root = idmap.rules_host()
    with _folder(host) as fd:
        # By its path, in the new mount namespace: an overlay's directories lie in its own.
        place = op.open_path(os.readlink(f"/proc/self/fd/{fd}"), out=1, flags=os.O_PATH | os.O_DIRECTORY)
        ops = [place, op.enter_directory(1), *_overlay_operations(userxattr=not as_root, out=2)]
        host.inside(ops, namespaces=lib.CLONE_NEWNS, slots=2, as_root=as_root)
    return "works"


@PROBES.add(
    "overlay-layers",
    tries="added a layer to an overlay by lowerdir+",
    needed_for="images of more layers than a page of options holds, and quicker starts",
    fix="Linux 6.8",
)
def _overlay_layers(_: Host) -> str:
    if not features.overlay_takes_layers():
        raise Lacking("overlayfs does not know lowerdir+")
    return "works"


@PROBES.add(
    "idmapped-mounts",
    tries="showed the engine root's file system through an id map, mount_setattr(MOUNT_ATTR_IDMAP)",
    needed_for="root's containers that are kept, images in directories, and bind mounts",
    fix="root, and Linux 5.12 with " + _ELSEWHERE,
)
def _idmapped_mounts(host: Host) -> str:
    if not idmap.rules_host():
        raise Lacking(
            "root alone may; an ordinary user's containers do without", "run as root, where it is missed"
        )
    if not features.can_idmap(host.place):
        raise Lacking(f"{host.place}: its file system cannot be shown through an id map")
    return "works"


@PROBES.add(
    "tmpfs-xattrs",
    tries="set a user.* attribute on tmpfs",
    needed_for="one-shot runs with their writable layer in memory, and size= for them",
    fix="Linux 6.6 with CONFIG_TMPFS_XATTR",
)
def _tmpfs_xattrs(_: Host) -> str:
    if not features.tmpfs_keeps_user_xattrs():
        raise Lacking("refused: writable layers are on disk instead")
    return "works"


@PROBES.add(
    "project-quota",
    tries="asked for the quota of a project on the engine root's file system, quotactl(2)",
    needed_for="size= for containers that are kept",
    fix=quota.FIX,
)
def _project_quota(host: Host) -> str:
    with _directory(host.place) as fd:
        quota.check(fd)
    return "works"


@PROBES.add(
    "fuse",
    tries="opened /dev/fuse",
    needed_for="nothing yet; file systems made by programs",
    fix="modprobe fuse; chmod 0666 /dev/fuse",
)
def _fuse(_: Host) -> str:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENODEV, errno.ENXIO):
            raise
        raise Lacking(f"/dev/fuse: {error.strerror}") from None
    return "works"
