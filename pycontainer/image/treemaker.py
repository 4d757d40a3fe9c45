"""Making the tree that the entries of a hostile tar archive tell of: nothing outside of it is reached.

Every entry's directory is opened with the new root as root directory (openat2(2), ``RESOLVE_IN_ROOT``), so
the archive's own links are followed inside of it only; the last part of a name is never followed but
replaced.  What has a descriptor is changed through it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from pycontainer.errors import ImageError, KernelError, UnsafeArchive
from pycontainer.image.attributes import check_attributes, give, give_named, shown
from pycontainer.image.limits import Limits
from pycontainer.image.tarstream import Entry, TarStream
from pycontainer.kernel.descent import Descent
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named, open_in_root
from pycontainer.kernel.tree import remove_tree

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PARENT = os.O_PATH | os.O_DIRECTORY
#: What hostile names and links make the kernel answer; the archive's fault, not the host's.
_ARCHIVE_ERRORS = {errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}


class TreeMaker:
    """Makes entry after entry below the directory ``root``, a descriptor that stays the caller's.

    ``owners``: files belong to whom the archive tells.  ``devices`` are always left out, and named in
    ``skipped``; with "refuse" they are an error.  Use it as a context; what it made stays.
    """

    def __init__(self, stream: TarStream, root: int, limits: Limits, *, owners: bool, devices: str) -> None:
        self.entries = 0
        self.size = 0
        self.skipped: list[str] = []
        self._stream = stream
        self._root = root
        self._limits = limits
        self._owners = owners
        self._devices = devices
        self._made = 0
        # By inode: a path may lead elsewhere when the end has come.
        self._directories: dict[int, Entry | None] = {os.fstat(root).st_ino: None}
        self._parent_path: bytes | None = None
        self._parent: Fd | None = None

    def __enter__(self) -> TreeMaker:
        return self

    def __exit__(self, *_: object) -> None:
        self._forget_parent()

    def make(self) -> None:
        """Make all entries of the stream, and read it to its end."""
        for entry in self._stream.entries():
            self.entries += 1
            parts = parts_of(entry.name)
            check_attributes(entry)
            with blamed(entry):
                self.add(entry, parts)
        self._stream.drain()
        self._finish()

    def add(self, entry: Entry, parts: list[bytes]) -> None:
        """Make what the entry describes, in place of what has its name."""
        if not parts:
            if entry.kind != "directory":  # CVE-2021-29136: a link here would be the next one's root
                raise UnsafeArchive(f"the archive makes its root {entry.kind}")
            self._directories[os.fstat(self._root).st_ino] = entry
            return
        if entry.kind in {"character device", "block device"}:
            if self._devices == "refuse":
                raise UnsafeArchive(f"{shown(entry.name)} is a {entry.kind}")
            self.skipped.append(os.fsdecode(b"/".join(parts)))
            return
        name = parts[-1]
        parent = self.open_parent(parts[:-1])
        if entry.kind == "directory":
            self.make_directory(entry, parent, name)
            return
        if entry.kind == "hardlink" and parts_of(entry.link) == parts:
            return  # as tar does; the name must not be cleared for it
        self._clear(parent, name)
        self.count()
        if entry.kind == "hardlink":
            self._hardlink(entry, parent, name)
        elif entry.kind == "file":
            with Fd(os.open(name, _NEW_FILE, 0o600, dir_fd=parent)) as file:
                self._content(entry, file.fileno())
                give(entry, file.fileno(), owners=self._owners)
        else:
            if entry.kind == "symlink":
                if not entry.link:
                    raise ImageError(f"{shown(entry.name)} is a symbolic link to nothing")
                os.symlink(entry.link, name, dir_fd=parent)
            else:
                os.mkfifo(name, 0o600, dir_fd=parent)
            give_named(entry, parent, name, owners=self._owners)

    def make_directory(self, entry: Entry | None, parent: int, name: bytes) -> int:
        """Make a directory, or take the one that is there, to be given its attributes at the end; its inode."""
        try:
            os.mkdir(name, stat.S_IRWXU, dir_fd=parent)
            self.count()
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self._clear(parent, name)
                os.mkdir(name, stat.S_IRWXU, dir_fd=parent)
        inode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_ino
        self._directories[inode] = entry
        return inode

    def _hardlink(self, entry: Entry, parent: int, name: bytes) -> None:
        target = parts_of(entry.link)
        if not target:
            raise UnsafeArchive(f"{shown(entry.name)} is a hard link to the root")
        try:
            above = open_in_root(self._root, b"/" + b"/".join(target[:-1]), _PARENT)
            with Fd(above) as directory:
                there = os.stat(target[-1], dir_fd=directory.fileno(), follow_symlinks=False)
                # GNU tar writes a symbolic link that has two names as a link and a hard link to it.
                if not (stat.S_ISREG(there.st_mode) or stat.S_ISLNK(there.st_mode)):
                    raise UnsafeArchive(f"{shown(entry.name)} is a hard link to what is no file")
                os.link(
                    target[-1], name, src_dir_fd=directory.fileno(), dst_dir_fd=parent, follow_symlinks=False
                )
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            raise ImageError(
                f"{shown(entry.name)} is a hard link to {shown(entry.link)}, which is not there"
            ) from None

    def _content(self, entry: Entry, file: int) -> None:
        self.size += entry.size
        if self.size > self._limits.total:
            raise UnsafeArchive(f"the archive's files are more than {self._limits.total} bytes")
        chunks = self._stream.content()
        rest = memoryview(b"")
        for offset, length in entry.segments:
            os.lseek(file, offset, os.SEEK_SET)
            left = length
            while left:
                rest = rest or next(chunks)
                write_all(file, rest[:left])
                left, rest = left - len(rest[:left]), rest[left:]
        if sum(length for _, length in entry.segments) < entry.size:
            os.ftruncate(file, entry.size)

    def open_parent(self, parts: list[bytes]) -> int:
        """Return the directory that these names lead to, until the next call; what is missing is made."""
        path = b"/" + b"/".join(parts)
        if self._parent is None or path != self._parent_path:
            try:
                fd = open_in_root(self._root, path, _PARENT)
            except KernelError as error:
                if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
                    raise
                fd = self._make_parents(parts)
            self._forget_parent()
            self._parent, self._parent_path = Fd(fd), path
        return self._parent.fileno()

    def _make_parents(self, parts: list[bytes]) -> int:
        fd = open_in_root(self._root, b"/", _PARENT)
        for end, name in enumerate(parts, 1):
            with Fd(fd) as above:
                path = b"/" + b"/".join(parts[:end])
                try:
                    fd = open_in_root(self._root, path, _PARENT)
                    continue
                except KernelError as error:
                    if error.errno != errno.ENOENT and not self.gives_way(above.fileno(), name):
                        raise
                    if error.errno == errno.ENOENT and is_there(above.fileno(), name):
                        raise ImageError(
                            f"{shown(path)} is a link to a directory that is not there"
                        ) from None
                self.make_directory(None, above.fileno(), name)
                fd = open_in_root(above.fileno(), name, _PARENT | os.O_NOFOLLOW)
        return fd

    def gives_way(self, parent: int, name: bytes) -> bool:  # noqa: ARG002  a layer's whiteouts do
        """May what is at ``name`` be replaced because an entry needs a directory there?"""
        return False

    def _clear(self, parent: int, name: bytes) -> None:
        """Remove what has this name, whatever it is."""
        if is_there(parent, name):
            remove_tree(parent, name)
            self._parent_path = None  # what it led through may be gone

    def count(self) -> None:
        """Count something that is made. Raises :class:`UnsafeArchive` beyond the limit."""
        self._made += 1
        if self._made > self._limits.entries:
            raise UnsafeArchive(f"the archive makes more than {self._limits.entries} files")

    def _forget_parent(self) -> None:
        if self._parent is not None:
            self._parent.close()
        self._parent = self._parent_path = None

    def _finish(self) -> None:
        """Give the directories their attributes, the lowest first: some shut their owner out."""
        top = os.open(".", OPEN_DIRECTORY, dir_fd=self._root)
        with named("unpack the directories"), Descent(top) as walk:
            levels = [_directories_in(walk.fd)]
            while levels:
                if levels[-1]:
                    walk.down(levels[-1].pop())
                    levels.append(_directories_in(walk.fd))
                    continue
                levels.pop()
                inode = walk.status.st_ino
                with Fd(os.dup(walk.fd)) as finished:
                    if levels:
                        walk.up()
                    self.finish_directory(inode, finished.fileno())

    def finish_directory(self, inode: int, directory: int) -> None:
        """Give a directory its attributes."""
        entry = self._directories.get(inode)
        if entry is None:  # no entry describes it: a plain one of root's
            if self._owners:
                os.fchown(directory, 0, 0)
            os.fchmod(directory, 0o755)
            return
        with blamed(entry):
            give(entry, directory, owners=self._owners)


def parts_of(name: bytes) -> list[bytes]:
    """Split a name; leading slashes and "." mean nothing, ".." is refused."""
    parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise UnsafeArchive(f"the archive names {shown(name)}, which leads upwards")
    return parts


def is_there(parent: int, name: bytes) -> bool:
    """Is anything at ``name``? Links are not followed."""
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def blamed(entry: Entry) -> Iterator[None]:
    """Name the entry in errors of the body, and tell the archive's faults from the host's."""
    try:
        with named(lambda: f"unpack {shown(entry.name)}"):
            yield
    except KernelError as error:
        if error.errno in _ARCHIVE_ERRORS:
            raise ImageError(f"{shown(entry.name)} cannot be: {os.strerror(error.errno)}") from error
        raise


def _directories_in(fd: int) -> list[str]:
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
