"""Layers that nobody writes to, made into one that shows the same, without copying a file: each is linked.

The rules are those of Documentation/filesystems/overlayfs.rst: what is above hides what has its name below, but for
directories, which are merged unless the upper one is opaque.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

import attrs

from pycontainer.errors import KernelError
from pycontainer.kernel.descent import Descent
from pycontainer.kernel.kinds import status_of
from pycontainer.kernel.layers import Marks, Namespace, mark_covering
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named
from pycontainer.kernel.tree import remove_tree

#: Attributes of a directory that mean something outside of its own overlay.
_KEPT = ("user.", "security.capability", "system.posix_acl_", "trusted.")
_OF_OVERLAYS = (".overlay.origin", ".overlay.impure", ".overlay.nlink", ".overlay.uuid")


def squash(layers: Sequence[str], target: int, namespace: Namespace) -> None:
    """Fill the empty directory ``target`` with what ``layers``, the lowest first, are together above others.

    All are on one file system, and nobody writes to any of them, now or later: they have their files in common.
    ``target`` stays the caller's.  Raises :class:`KernelError`; what was made stays.
    """
    with named("squash layers"):
        for layer in layers:
            source = Descent(os.open(layer, OPEN_DIRECTORY))
            with source, Descent(os.open(".", OPEN_DIRECTORY, dir_fd=target)) as place:
                _Merge(source, place, Marks(namespace), namespace).run()


@attrs.define
class _Merge:
    """One layer on its way onto those below it; both walks are always in directories of the same path."""

    source: Descent
    place: Descent
    marks: Marks
    namespace: Namespace

    def run(self) -> None:
        levels = [self._directory()]
        while levels:
            if levels[-1]:
                name = levels[-1].pop()
                self.source.down(name)
                self.place.down(name)
                levels.append(self._directory())
                continue
            levels.pop()
            self._give_attributes()
            if levels:
                self.source.up()
                self.place.up()

    def _directory(self) -> list[str]:
        """Merge what is in this directory; the directories in it, made but not yet filled."""
        if self.marks.opaque(self.source.fd):
            for name in os.listdir(self.place.fd):
                remove_tree(self.place.fd, name)
        directories, covers = [], False
        for name in os.listdir(self.source.fd):
            status = os.stat(name, dir_fd=self.source.fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._make_directory(name)
                directories.append(name)
            else:
                self._link(name)
                covers = covers or self.marks.whiteout(self.source.fd, name, status)
        if covers:
            mark_covering(self.place.fd, self.namespace)
        return directories

    def _make_directory(self, name: str) -> None:
        there = status_of(self.place.fd, name)
        if there is not None and stat.S_ISDIR(there.st_mode):
            return
        if there is not None:
            os.unlink(name, dir_fd=self.place.fd)
        os.mkdir(name, 0o700, dir_fd=self.place.fd)
        if there is not None:
            # What was there hid everything of this name that is further below.
            path = f"/proc/self/fd/{self.place.fd}/{name}"
            os.setxattr(path, f"{self.namespace}.overlay.opaque", b"y")

    def _link(self, name: str) -> None:
        try:
            os.link(name, name, src_dir_fd=self.source.fd, dst_dir_fd=self.place.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise KernelError(error.errno or errno.EIO, f"link {self.source.path(name)}") from error
            remove_tree(self.place.fd, name)
            self._link(name)

    def _give_attributes(self) -> None:
        source, place = self.source.fd, self.place.fd
        status = self.source.status
        opaque = self.marks.opaque(place)
        for key in os.listxattr(place):
            if key.startswith(_KEPT) and not key.endswith((".overlay.opaque", ".overlay.origin")):
                os.removexattr(place, key)
        os.fchown(place, status.st_uid, status.st_gid)
        for key in os.listxattr(source):
            if key.startswith(_KEPT) and not key.endswith(_OF_OVERLAYS):
                os.setxattr(place, key, os.getxattr(source, key))
        if opaque and not self.marks.opaque(place):
            os.setxattr(place, f"{self.namespace}.overlay.opaque", b"y")
        os.fchmod(place, stat.S_IMODE(status.st_mode))
        os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
