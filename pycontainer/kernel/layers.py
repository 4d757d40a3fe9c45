"""The directories an overlay is stacked of, read from outside, and the marks that overlayfs leaves in them.

The rules are those of Documentation/filesystems/overlayfs.rst: directories of the same path are merged, a
whiteout hides a name of the layers below, an opaque directory all of them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Literal, TypeAlias

import attrs

from pycontainer.errors import KernelError, NotSupported
from pycontainer.kernel.descent import Descent
from pycontainer.kernel.kinds import status_of

#: Whose xattrs carry the marks: ``user.overlay.*`` for an overlay mounted with ``userxattr``, as in a
#: user namespace, or ``trusted.overlay.*``, which only the host's root reads and writes.
Namespace: TypeAlias = Literal["user", "trusted"]


#: The kernel's own bound on the links of one path (path_resolution(7)).
_LINKS = 40


@attrs.frozen
class Marks:
    """Reads the marks of overlays of one kind.

    A container may set the xattrs of the other kind at will: those mean nothing.
    """

    namespace: Namespace = "user"

    def opaque(self, fd: int) -> bool:
        """Does the open directory hide the layers below it?

        Raises :class:`NotSupported` for a directory that was renamed with ``redirect_dir=on``.
        """
        if self._get(fd, "redirect"):
            raise NotSupported("a directory renamed by redirect", "mount the overlay with redirect_dir=off")
        return self._get(fd, "opaque") == b"y"

    def whiteout(self, dir_fd: int, name: str, status: os.stat_result) -> bool:
        """Does the entry ``name`` only hide its name in the layers below?"""
        if stat.S_ISCHR(status.st_mode):
            return status.st_rdev == 0
        if not stat.S_ISREG(status.st_mode) or status.st_size:
            return False
        # Since Linux 6.7, in layers that were made by hand: the directory says "x", the files are empty.
        return self._get(dir_fd, "opaque") == b"x" and self._get(dir_fd, "whiteout", name) is not None

    def only_metadata(self, dir_fd: int, name: str) -> bool:
        """Was the file copied up without its content (``metacopy=on``)?"""
        return self._get(dir_fd, "metacopy", name) is not None

    def _get(self, fd: int, mark: str, name: str = "") -> bytes | None:
        attribute = f"{self.namespace}.overlay.{mark}"
        try:
            if not name:
                return os.getxattr(fd, attribute)
            return os.getxattr(f"/proc/self/fd/{fd}/{name}", attribute, follow_symlinks=False)
        except OSError as error:
            if error.errno in {errno.ENODATA, errno.ENOTSUP, errno.ENOENT}:
                return None
            raise


def mark_covering(fd: int, namespace: Namespace) -> None:
    """Note of an open directory of a layer that there are whiteouts in it.

    Where no layer below has this directory the kernel hands its names out as they are, whiteouts among them, unless
    it bears the mark of one that was copied up (fs/overlayfs/inode.c, ovl_get_inode); an empty one says no more.
    Raises ``OSError``.
    """
    os.setxattr(fd, f"{namespace}.overlay.origin", b"")


@attrs.frozen
class Entry:
    """Something in the layers: the directory that holds it, and what fstat(2) tells of it."""

    dir_fd: int
    name: str
    status: os.stat_result


class Lowers:
    """The merged view of layers at one directory, moved level by level together with a walk of another tree.

    ``sources`` are directories, topmost first: paths, or descriptors, which stay the caller's.
    """

    def __init__(self, sources: Sequence[int | str | os.PathLike[str]], marks: Marks) -> None:
        self._marks = marks
        self._above: list[list[Descent]] = []
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        with ExitStack() as stack:
            self._merged = [
                stack.enter_context(
                    Descent(
                        os.open(".", flags, dir_fd=source)
                        if isinstance(source, int)
                        else os.open(source, flags)
                    )
                )
                for source in sources
            ]
            self._stack = stack.pop_all()

    @property
    def topmost(self) -> int:
        """The open directory of the topmost layer that is merged here, until the next move."""
        return self._merged[0].fd

    def lookup(self, name: str) -> Entry | None:
        """Return what the overlay shows of these layers at ``name`` here, or ``None``."""
        for walk in self._merged:
            status = status_of(walk.fd, name)
            if status is not None:
                hidden = self._marks.whiteout(walk.fd, name, status)
                return None if hidden else Entry(walk.fd, name, status)
        return None

    def find(self, path: str) -> Entry | None:
        """Return what the overlay shows at ``path``, an absolute one, with all links followed; or ``None``.

        Links are resolved in the merged view, as a process in it would.  The entry's directory stays open
        until the next call.  ``ELOOP`` for more than 40 links.
        """
        while self._above:
            self.up()
        rest = path.split("/")[::-1]
        links = 0
        while rest:
            name = rest.pop()
            if name in {"", "."}:
                continue
            if name == "..":
                if self._above:
                    self.up()
                continue
            entry = self.lookup(name)
            if entry is None:
                return None
            if stat.S_ISLNK(entry.status.st_mode):
                links += 1
                if links > _LINKS:
                    raise KernelError(errno.ELOOP, f"open {path} in the layers")
                link = os.readlink(name, dir_fd=entry.dir_fd)
                if link.startswith("/"):
                    while self._above:
                        self.up()
                rest += link.split("/")[::-1]
            elif not rest:
                return entry
            elif stat.S_ISDIR(entry.status.st_mode):
                self.down(name)
            else:
                return None
        return None

    def names(self) -> set[str]:
        """Return all names that the overlay shows of these layers here."""
        names: set[str] = set()
        for walk in self._merged:
            with os.scandir(walk.fd) as entries:
                names.update(entry.name for entry in entries)
        return {name for name in names if self.lookup(name) is not None}

    def down(self, name: str) -> None:
        """Enter ``name`` in every layer whose directory of that name is merged; there may be none."""
        self._above.append(self._merged)
        merged = []
        for walk in self._merged:
            status = status_of(walk.fd, name)
            if status is None:
                continue
            if not stat.S_ISDIR(status.st_mode):
                break  # a whiteout, or something that is in the way
            walk.down(name)
            merged.append(walk)
            if self._marks.opaque(walk.fd):
                break
        self._merged = merged

    def up(self) -> None:
        """Return to the directory above."""
        for walk in self._merged:
            walk.up()
        self._merged = self._above.pop()

    def __enter__(self) -> Lowers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
