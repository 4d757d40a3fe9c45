"""Making the tree that the entries of a hostile tar archive tell of: nothing outside of it is reached.

Every entry's directory is opened with the new root as root directory (openat2(2), ``RESOLVE_IN_ROOT``), so
the archive's own links are followed inside of it only; the last part of a name is never followed but
replaced.  What has a descriptor is changed through it.
"""

from __future__ import annotations

import errno
import os
import stat

from pycontainer.errors import ImageError, KernelError, NotSupported, UnsafeArchive
from pycontainer.image.attributes import check_attributes, give, give_named, give_xattrs, shown
from pycontainer.image.holes import write_with_holes
from pycontainer.image.limits import Limits
from pycontainer.image.parents import OPEN_PARENT, Parents, is_there, parts_of
from pycontainer.image.tarstream import Entry, TarStream
from pycontainer.kernel.descent import Descent
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.idmap import rules_host
from pycontainer.kernel.newfiles import NewFiles
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named, open_in_root
from pycontainer.kernel.tree import remove_tree

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: How many of those that are left out are named in the result.
NAMED = 1000
#: Of the disk, for each file: an inode, and half a block.
_BESIDES = 256 + 2048
#: What a directory is given that no entry describes.
_PLAIN = (0, 0, 0o755, None)
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
        #: The bytes that were written to files, and what a file takes besides: about what it takes on the disk.
        self.room = 0
        self.skipped: list[str] = []
        self._stream = stream
        # Of its own: should the thread be left behind by an impatient caller, it writes nowhere else.
        self._top = Fd(os.dup(root))
        self._root = self._top.fileno()
        self._limits = limits
        self._owners = owners
        self._devices = devices
        self._made = 0
        self._new = NewFiles(root, owners=owners)
        self._makers = {
            "file": self._file,
            "symlink": self._link,
            "hardlink": self._hardlink,
            "fifo": self._fifo,
        }
        # Owners, mode and time by inode: a path may lead elsewhere when the end has come.
        self._directories: dict[int, tuple[int, int, int, int | None]] = {}
        #: The directories that entries are in; what is missing on the way to them is made.
        self.parents = Parents(root, make=self.make_directory, gives_way=self.gives_way)

    def __enter__(self) -> TreeMaker:
        return self

    def __exit__(self, *_: object) -> None:
        self.parents.close()
        self._top.close()

    def make(self) -> None:
        """Make all entries of the stream, and read it to its end."""
        for entry in self._stream.entries():
            self.entries += 1
            parts = parts_of(entry.name)
            if entry.xattrs:
                check_attributes(entry)
            try:
                self.add(entry, parts)
            except OSError as error:
                raise self._told(entry.name, (entry.uid, entry.gid), error) from error
        self._stream.drain()
        self.finish()

    def add(self, entry: Entry, parts: list[bytes]) -> None:
        """Make what the entry describes, in place of what has its name."""
        if not parts:
            if entry.kind != "directory":  # CVE-2021-29136: a link here would be the next one's root
                raise UnsafeArchive(f"the archive makes its root {entry.kind}")
            self._describe(entry, self._root, b".")
            return
        if entry.kind in {"character device", "block device"}:
            if self._devices == "refuse":
                raise UnsafeArchive(f"{shown(entry.name)} is a {entry.kind}")
            if len(self.skipped) < NAMED:
                self.skipped.append(os.fsdecode(b"/".join(parts)))
            return
        name = parts[-1]
        parent = self.parents.open(parts[:-1])
        if entry.kind == "directory":
            self.make_directory(entry, parent, name)
            return
        if entry.kind == "hardlink" and parts_of(entry.link) == parts:
            return  # as tar does; the name must not be cleared for it
        self.count()
        make = self._makers[entry.kind]
        try:
            make(entry, parent, name)
        except FileExistsError:
            self.clear(parent, name)
            make(entry, parent, name)

    def make_directory(self, entry: Entry | None, parent: int, name: bytes) -> int:
        """Make a directory, or take the one that is there, to be given its attributes at the end; its inode."""
        try:
            os.mkdir(name, stat.S_IRWXU, dir_fd=parent)
            self.count()
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self.clear(parent, name)
                os.mkdir(name, stat.S_IRWXU, dir_fd=parent)
        if entry is not None:
            return self._describe(entry, parent, name)
        return os.stat(name, dir_fd=parent, follow_symlinks=False).st_ino

    def _describe(self, entry: Entry, parent: int, name: bytes) -> int:
        """Give a directory its attributes, and remember the rest, which what is made in it would change."""
        if entry.xattrs:
            with Fd(os.open(name, OPEN_DIRECTORY, dir_fd=parent)) as directory:
                give_xattrs(entry, directory.fileno(), owners=self._owners)
        inode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_ino
        self._directories[inode] = (entry.uid, entry.gid, entry.mode, entry.mtime)
        return inode

    def _file(self, entry: Entry, parent: int, name: bytes) -> None:
        whole = not entry.xattrs and sum(length for _, length in entry.segments) == entry.size
        held = self._stream.held() if whole else None
        if held is None:
            with Fd(os.open(name, _NEW_FILE, 0o600, dir_fd=parent)) as file:
                self._content(entry, file.fileno())
                give(entry, file.fileno(), owners=self._owners)
            return
        self._spend(entry.size)
        self._new.give(uid=entry.uid, gid=entry.gid, mode=entry.mode, mtime=entry.mtime)
        try:
            self._new.file(parent, name, *held, entry.size)
        except FileExistsError:
            self.clear(parent, name)
            self._new.file(parent, name, *held, entry.size)
        self.room += entry.size

    def _link(self, entry: Entry, parent: int, name: bytes) -> None:
        if not entry.link:
            raise ImageError(f"{shown(entry.name)} is a symbolic link to nothing")
        self._new.give(uid=entry.uid, gid=entry.gid, mode=entry.mode, mtime=entry.mtime)
        self._new.link(parent, name, entry.link)

    def _fifo(self, entry: Entry, parent: int, name: bytes) -> None:
        os.mkfifo(name, 0o600, dir_fd=parent)
        with Fd(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)) as fifo:
            give_named(entry, fifo.fileno(), owners=self._owners)

    def _hardlink(self, entry: Entry, parent: int, name: bytes) -> None:
        target = parts_of(entry.link)
        if not target:
            raise UnsafeArchive(f"{shown(entry.name)} is a hard link to the root")
        try:
            above = open_in_root(self._root, b"/" + b"/".join(target[:-1]), OPEN_PARENT)
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
        self._spend(entry.size)
        chunks = self._stream.content()
        rest = memoryview(b"")
        for offset, length in entry.segments:
            position, end = offset, offset + length
            while position < end:
                rest = rest or next(chunks)
                part, rest = rest[: end - position], rest[end - position :]
                self.room += write_with_holes(file, part, position)
                position += len(part)
        if os.fstat(file).st_size < entry.size:
            os.ftruncate(file, entry.size)

    def _spend(self, size: int) -> None:
        self.size += size
        if self.size > self._limits.total:
            raise UnsafeArchive(f"the archive's files are more than {self._limits.total} bytes")

    def gives_way(self, parent: int, name: bytes) -> bool:  # noqa: ARG002  a layer's whiteouts do
        """May what is at ``name`` be replaced because an entry needs a directory there?"""
        return False

    def clear(self, parent: int, name: bytes) -> None:
        """Remove what has this name, whatever it is."""
        if is_there(parent, name):
            remove_tree(parent, name)
            self.parents.forget(parent)

    def count(self) -> None:
        """Count something that is made. Raises :class:`UnsafeArchive` beyond the limit."""
        self._made += 1
        self.room += _BESIDES
        if self._made > self._limits.entries:
            raise UnsafeArchive(f"the archive makes more than {self._limits.entries} files")

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
                    name = walk.path()
                    if levels:
                        walk.up()
                    try:
                        self.finish_directory(inode, finished.fileno())
                    except OSError as error:
                        owner = self._directories.get(inode, _PLAIN)
                        raise self._told(os.fsencode(name or "."), owner[:2], error) from error

    def finish_directory(self, inode: int, directory: int) -> None:
        """Give a directory its owners, mode and time."""
        uid, gid, mode, mtime = self._directories.get(inode, _PLAIN)
        if self._owners:
            status = os.fstat(directory)
            if (status.st_uid, status.st_gid) != (uid, gid):  # to write what is there takes as long
                os.fchown(directory, uid, gid)
        os.fchmod(directory, mode)
        if mtime is not None:
            os.utime(directory, ns=(mtime, mtime))

    def _told(self, name: bytes, owner: tuple[int, int], error: OSError) -> Exception:
        """Name the entry in an error, and tell the archive's faults from the host's."""
        number = error.errno or errno.EIO
        if number == errno.EINVAL and self._owners and not rules_host():
            return NotSupported(
                f"{shown(name)} belongs to {owner[0]}:{owner[1]}, whom this user namespace has no number for",
                "grant more subordinate ids in /etc/subuid and /etc/subgid, or say keep_owners=False",
            )
        if number in _ARCHIVE_ERRORS:
            return ImageError(f"{shown(name)} cannot be: {os.strerror(number)}")
        if isinstance(error, KernelError):
            return KernelError(number, error.step, hint=error.hint)
        return KernelError(number, f"unpack {shown(name)}")


def _directories_in(fd: int) -> list[str]:
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
