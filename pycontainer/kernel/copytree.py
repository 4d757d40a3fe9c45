"""Faithful copies of trees into empty directories: what a volume is filled with, and copies of volumes.

Unlike :mod:`pycontainer.kernel.transfer`, which brings files from one owner to another, a copy has the owners,
modes, times and hard links of what was copied.  The source is one directory, or layers as an overlay shows them;
it may be hostile and may change: both sides are walked by descriptors, and no link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

import attrs

from pycontainer.kernel.content import Budget, copy_content
from pycontainer.kernel.descent import PATH_MAX, Descent
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.kinds import opened
from pycontainer.kernel.layers import Lowers, Marks, Namespace
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FIND = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_CAPABILITY = "security.capability"


def copy_tree(source: int, target: int, *, owners: bool = True) -> None:
    """Copy all below the directory ``source`` into the empty directory ``target``, and its own attributes.

    Both fds stay the caller's.  Kept are modes, times, holes, hard links, ``user.*`` attributes and, with
    ``owners``, owners and capabilities; sockets and devices are left out.  Raises :class:`KernelError`; what was
    copied until then stays for the caller to remove.
    """
    # Marks that no container can set: in a directory that is no layer nothing is hidden.
    with named("copy a tree"), Lowers([source], Marks("trusted")) as lowers:
        _copy(lowers, os.fstat(source), target, owners=owners)


def copy_up(target: int, layers: Sequence[str], marks: Namespace, path: str, *, owners: bool = True) -> bool:
    """Copy what an overlay of ``layers``, topmost first, shows at ``path`` into the empty directory ``target``.

    Links on the way are followed within the layers.  As :func:`copy_tree`; ``False``, and nothing copied, where
    there is no directory.
    """
    with named(lambda: f"copy {path} of the image"), Lowers(layers, Marks(marks)) as lowers:
        entry = lowers.find(path)
        if entry is None or not stat.S_ISDIR(entry.status.st_mode):
            return False
        lowers.down(entry.name)
        _copy(lowers, entry.status, target, owners=owners)
        return True


def _copy(source: Lowers, top: os.stat_result, target: int, *, owners: bool) -> None:
    work = _Work(source=source, root=target, owners=owners)
    with Descent(os.open(".", OPEN_DIRECTORY, dir_fd=target)) as walk:
        made = [(top, work.attributes_here())]
        levels = [work.entries(walk.fd)]
        while levels:
            if levels[-1]:
                name, status = levels[-1].pop()
                os.mkdir(name, stat.S_IRWXU, dir_fd=walk.fd)
                source.down(name)
                walk.down(name)
                work.names.append(name)
                made.append((status, work.attributes_here()))
                levels.append(work.entries(walk.fd))
                continue
            levels.pop()
            # The final mode may shut the directory to the caller, and then ".." could not be opened from it.
            with Fd(os.dup(walk.fd)) as finished:
                if levels:
                    source.up()
                    walk.up()
                    work.names.pop()
                work.give(finished.fileno(), *made.pop())


@attrs.define(kw_only=True)
class _Work:
    """Where a copy is, and what it has made of files with several names."""

    source: Lowers
    root: int
    owners: bool
    names: list[str] = attrs.field(factory=list)
    linked: dict[tuple[int, int], str] = attrs.field(factory=dict)

    def entries(self, target: int) -> list[tuple[str, os.stat_result]]:
        """Copy what is no directory in the present one, and return the directories."""
        directories = []
        for name in sorted(self.source.names()):
            entry = self.source.lookup(name)
            if entry is None:  # removed meanwhile
                continue
            if stat.S_ISDIR(entry.status.st_mode):
                directories.append((name, entry.status))
            else:
                self._entry(entry.dir_fd, name, entry.status, target)
        return directories

    def _entry(self, source: int, name: str, status: os.stat_result, target: int) -> None:
        key = (status.st_dev, status.st_ino)
        path = "/".join([*self.names, name])
        if status.st_nlink > 1 and len(os.fsencode(path)) < PATH_MAX:
            first = self.linked.setdefault(key, path)
            if first != path:
                os.link(first, name, src_dir_fd=self.root, dst_dir_fd=target, follow_symlinks=False)
                return
        if stat.S_ISREG(status.st_mode):
            self._file(source, name, target)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            self._give_named(target, name, status)
        elif stat.S_ISFIFO(status.st_mode):
            os.mkfifo(name, 0o600, dir_fd=target)
            self._give_named(target, name, status)
        else:  # a socket or a device, neither of which is anything without who made it
            self.linked.pop(key, None)

    def _file(self, source: int, name: str, target: int) -> None:
        with Fd(os.open(name, _FIND, dir_fd=source)) as found:
            file = Fd(opened(found.fileno(), os.O_RDONLY, f"copy {name}", kernels=False))
        with file, Fd(os.open(name, _NEW, 0o600, dir_fd=target)) as new:
            status = os.fstat(file.fileno())
            copy_content(
                file.fileno(), new.fileno(), Budget(step="copy", size=None, entries=None), endless=False
            )
            self.give(new.fileno(), status, attributes_of(file.fileno()))

    def attributes_here(self) -> dict[str, bytes]:
        """Those of the present directory."""
        return attributes_of(self.source.topmost)

    def give(self, fd: int, status: os.stat_result, attributes: dict[str, bytes]) -> None:
        """Give what was made its owner, attributes, mode and times, in an order in which nothing gets lost."""
        if self.owners:
            os.fchown(fd, status.st_uid, status.st_gid)
        for key, value in attributes.items():
            if key != _CAPABILITY or self.owners:
                os.setxattr(fd, key, value)
        os.fchmod(fd, stat.S_IMODE(status.st_mode))
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _give_named(self, target: int, name: str, status: os.stat_result) -> None:
        if self.owners:
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        if stat.S_ISFIFO(status.st_mode):
            with Fd(os.open(name, _FIND, dir_fd=target)) as fifo:
                os.chmod(f"/proc/self/fd/{fifo.fileno()}", stat.S_IMODE(status.st_mode))
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)


def attributes_of(fd: int) -> dict[str, bytes]:
    """The extended attributes that a copy keeps; those of overlays say something of the layer alone."""
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    kept = [
        name
        for name in names
        if name == _CAPABILITY or (name.startswith("user.") and not name.startswith("user.overlay."))
    ]
    return {name: os.getxattr(fd, name) for name in kept}
