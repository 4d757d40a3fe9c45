"""Unpacking a hostile tar archive into an empty directory: nothing outside of it is reached.

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
from typing import Literal

import attrs

from pycontainer.errors import ImageError, KernelError, UnsafeArchive
from pycontainer.image.attributes import check_attributes, give, give_named, shown
from pycontainer.image.compression import Read, decompressed
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


@attrs.frozen(kw_only=True)
class Unpacked:
    """What came of it: how many entries, bytes of files with their holes, and the devices left out."""

    entries: int
    size: int
    skipped: tuple[str, ...] = ()


def unpack(
    read: Read,
    root: int,
    *,
    limits: Limits | None = None,
    keep_owners: bool | None = None,
    devices: Literal["skip", "refuse"] = "skip",
) -> Unpacked:
    """Unpack a tar archive, compressed or not, into the empty directory ``root`` (a descriptor, borrowed).

    ``read`` gives the archive's bytes.  With ``keep_owners`` (by default: for root) files belong to the
    numbers that the archive tells, and keep their capabilities; otherwise to the caller.  Modes, times,
    hard links, holes and ``user.*`` attributes are kept; other attributes are not.  Device nodes are never
    made: they are named in the result, or refused.

    Raises :class:`ImageError` for a damaged archive, :class:`UnsafeArchive` for one that breaks a bound or
    tries to reach outside, :class:`KernelError` for what the host refuses, such as a full disk.  What was
    made until then stays for the caller to remove.

    >>> with open("rootfs.tar.gz", "rb") as file:            # doctest: +SKIP
    ...     unpack(file.read, directory).skipped
    ('dev/null',)
    """
    bounds = limits or Limits()
    stream = TarStream(decompressed(read, bounds), bounds)
    owners = os.geteuid() == 0 if keep_owners is None else keep_owners
    with _Unpacking(stream, root, bounds, owners=owners, devices=devices) as work:
        for entry in stream.entries():
            work.add(entry)
        stream.drain()
        work.finish()
        return Unpacked(entries=work.entries, size=work.size, skipped=tuple(work.skipped))


class _Unpacking:
    """The state of one unpacking: what was made, and the directory that the last entry was in."""

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

    def __enter__(self) -> _Unpacking:
        return self

    def __exit__(self, *_: object) -> None:
        self._forget_parent()

    def add(self, entry: Entry) -> None:
        """Make what the entry describes, in place of what has its name."""
        self.entries += 1
        parts = _parts(entry.name)
        check_attributes(entry)
        with _blamed(entry):
            self._add(entry, parts)

    def _add(self, entry: Entry, parts: list[bytes]) -> None:
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
        parent = self._open_parent(parts[:-1])
        if entry.kind == "directory":
            self._directory(entry, parent, name)
            return
        if entry.kind == "hardlink" and _parts(entry.link) == parts:
            return  # as tar does; the name must not be cleared for it
        self._clear(parent, name)
        self._count()
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

    def _directory(self, entry: Entry, parent: int, name: bytes) -> None:
        try:
            os.mkdir(name, stat.S_IRWXU, dir_fd=parent)
            self._count()
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self._clear(parent, name)
                os.mkdir(name, stat.S_IRWXU, dir_fd=parent)
        inode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_ino
        self._directories[inode] = entry

    def _hardlink(self, entry: Entry, parent: int, name: bytes) -> None:
        target = _parts(entry.link)
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
        except FileNotFoundError:
            raise ImageError(
                f"{shown(entry.name)} is a hard link to {shown(entry.link)}, which is not there"
            ) from None
        except KernelError as error:
            if error.errno == errno.ENOENT:
                raise ImageError(
                    f"{shown(entry.name)} is a hard link to {shown(entry.link)}, which is not there"
                ) from None
            raise

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
                rest = rest or memoryview(next(chunks))
                write_all(file, rest[:left])
                left, rest = left - len(rest[:left]), rest[left:]
        if sum(length for _, length in entry.segments) < entry.size:
            os.ftruncate(file, entry.size)

    def _open_parent(self, parts: list[bytes]) -> int:
        """Return the directory that these names lead to; what is missing is made."""
        path = b"/" + b"/".join(parts)
        if self._parent is None or path != self._parent_path:
            try:
                fd = open_in_root(self._root, path, _PARENT)
            except KernelError as error:
                if error.errno != errno.ENOENT:
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
                    if error.errno != errno.ENOENT:
                        raise
                try:
                    os.mkdir(name, stat.S_IRWXU, dir_fd=above.fileno())
                except FileExistsError:
                    raise ImageError(f"{shown(path)} is a link to a directory that is not there") from None
                self._count()
                fd = open_in_root(above.fileno(), name, _PARENT | os.O_NOFOLLOW)
                self._directories[os.fstat(fd).st_ino] = None
        return fd

    def _clear(self, parent: int, name: bytes) -> None:
        """Remove what has this name, whatever it is."""
        try:
            os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        remove_tree(parent, name)
        self._parent_path = None  # what it led through may be gone

    def _count(self) -> None:
        self._made += 1
        if self._made > self._limits.entries:
            raise UnsafeArchive(f"the archive makes more than {self._limits.entries} files")

    def _forget_parent(self) -> None:
        if self._parent is not None:
            self._parent.close()
        self._parent = self._parent_path = None

    def finish(self) -> None:
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
                    self._finish_one(self._directories.get(inode), finished.fileno())

    def _finish_one(self, entry: Entry | None, directory: int) -> None:
        if entry is None:  # no entry describes it: a plain one of root's
            if self._owners:
                os.fchown(directory, 0, 0)
            os.fchmod(directory, 0o755)
            return
        with _blamed(entry):
            give(entry, directory, owners=self._owners)


def _parts(name: bytes) -> list[bytes]:
    """Split a name; leading slashes and "." mean nothing, ".." is refused."""
    parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise UnsafeArchive(f"the archive names {shown(name)}, which leads upwards")
    return parts


@contextmanager
def _blamed(entry: Entry) -> Iterator[None]:
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
