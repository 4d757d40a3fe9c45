"""Tar archives of volumes: the same content gives the same bytes.

Names are sorted; owners are numbers; times, holes, hard links, ``user.*`` attributes and capabilities are kept, in
extended headers where the old ones have no room (pax(1), and for holes GNU tar's format 1.0).  The tree may be hostile and may
change: it is walked by descriptors, links are not followed, and a file has in the archive the size that it had
when it was opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

import attrs

from pycontainer.image.tarstream import Entry, Kind
from pycontainer.image.tarwriter import END, headers, padding
from pycontainer.kernel.copytree import attributes_of
from pycontainer.kernel.descent import Descent
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.kinds import opened, status_of
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named

_CHUNK = 1 << 20
_PIECES = 1 << 16
_FIND = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}


@attrs.frozen(kw_only=True)
class Archived:
    """What is in an archive: how many entries, bytes of files with their holes, and the names left out.

    Sockets and devices are left out: they are nothing without who made them.
    """

    entries: int
    size: int
    skipped: tuple[str, ...] = ()


def write_archive(source: int, target: int) -> Archived:
    """Write all below the directory ``source``, and itself, to the file ``target``; both stay the caller's.

    Raises :class:`KernelError`.
    """
    with named("write the archive of a volume"):
        work = _Writer(target)
        with Descent(os.open(".", OPEN_DIRECTORY, dir_fd=source)) as walk:
            path = [b"."]
            work.directory(path, walk)
            levels = [work.entries(path, walk)]
            while levels:
                if levels[-1]:
                    name = levels[-1].pop()
                    walk.down(name)
                    path.append(os.fsencode(name))
                    work.directory(path, walk)
                    levels.append(work.entries(path, walk))
                else:
                    levels.pop()
                    if levels:
                        walk.up()
                        path.pop()
        write_all(target, END)
        return Archived(entries=work.count, size=work.size, skipped=tuple(work.skipped))


class _Writer:
    def __init__(self, target: int) -> None:
        self.count = 0
        self.size = 0
        self.skipped: list[str] = []
        self._target = target
        self._linked: dict[tuple[int, int], bytes] = {}

    def directory(self, path: list[bytes], walk: Descent) -> None:
        self._header(b"/".join(path) + b"/", "directory", walk.status, xattrs=_attributes(walk.fd))

    def entries(self, path: list[bytes], walk: Descent) -> list[str]:
        """Write what is no directory in the present one, and return the directories, last first."""
        with os.scandir(walk.fd) as found:
            names = sorted((entry.name for entry in found), key=os.fsencode)
        directories = []
        for name in names:
            status = status_of(walk.fd, name)
            if status is None:  # removed meanwhile
                continue
            if stat.S_ISDIR(status.st_mode):
                directories.append(name)
            else:
                self._entry(b"/".join([*path, os.fsencode(name)]), walk.fd, name, status)
        return directories[::-1]

    def _entry(self, path: bytes, parent: int, name: str, status: os.stat_result) -> None:
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            self.skipped.append(os.fsdecode(path))
            return
        if status.st_nlink > 1:
            first = self._linked.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                self._header(path, "hardlink", status, link=first)
                return
        if kind == "file":
            with Fd(os.open(name, _FIND, dir_fd=parent)) as held:
                file = Fd(opened(held.fileno(), os.O_RDONLY, f"read {os.fsdecode(path)}", kernels=False))
            with file:
                self._file(path, file.fileno())
        else:
            link = os.readlink(os.fsencode(name), dir_fd=parent) if kind == "symlink" else b""
            self._header(path, kind, status, link=link)

    def _file(self, path: bytes, file: int) -> None:
        status = os.fstat(file)
        self.size += status.st_size
        xattrs = _attributes(file)
        pieces = _pieces(file, status)
        if pieces == [(0, status.st_size)] or not status.st_size:
            self._header(path, "file", status, size=status.st_size, xattrs=xattrs)
            self._content(file, 0, status.st_size)
            write_all(self._target, padding(status.st_size))
            return
        # GNU tar's sparse format 1.0: the map comes before the pieces.
        lines = [len(pieces), *(number for piece in pieces for number in piece)]
        table = b"".join(b"%d\n" % number for number in lines)
        table += padding(len(table))
        stored = len(table) + sum(length for _, length in pieces)
        told = [
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", path),
            (b"GNU.sparse.realsize", b"%d" % status.st_size),
        ]
        self._header(path, "file", status, size=stored, xattrs=xattrs, further=told)
        write_all(self._target, table)
        for offset, length in pieces:
            self._content(file, offset, length)
        write_all(self._target, padding(stored))

    def _content(self, file: int, offset: int, length: int) -> None:
        while length:
            part = os.pread(file, min(length, _CHUNK), offset)
            # It has become shorter: the header promised more.
            part = part or bytes(min(length, _CHUNK))
            write_all(self._target, part)
            offset, length = offset + len(part), length - len(part)

    def _header(
        self,
        path: bytes,
        kind: Kind,
        status: os.stat_result,
        *,
        size: int = 0,
        link: bytes = b"",
        xattrs: tuple[tuple[bytes, bytes], ...] = (),
        further: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.count += 1
        entry = Entry(
            name=path,
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=status.st_mtime_ns,
            size=size,
            link=link,
            xattrs=xattrs,
        )
        write_all(self._target, headers(entry, further))


def _attributes(fd: int) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(sorted((os.fsencode(key), value) for key, value in attributes_of(fd).items()))


def _pieces(file: int, status: os.stat_result) -> list[tuple[int, int]]:
    """Offset and length of what is no hole in a file; an empty one at the end where it ends in a hole."""
    size = status.st_size
    if status.st_blocks * 512 >= size:
        return [(0, size)]
    found: list[tuple[int, int]] = []
    position = 0
    while position < size:
        try:
            start = os.lseek(file, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # nothing but a hole is left
        if start >= size:
            break
        position = min(os.lseek(file, start, os.SEEK_HOLE), size)
        found.append((start, position - start))
    # As many as readers take: where there are more, some holes are written out.
    step = len(found) // _PIECES + 1
    groups = [found[start : start + step] for start in range(0, len(found), step)]
    merged = [(group[0][0], sum(group[-1]) - group[0][0]) for group in groups]
    return merged if merged and sum(merged[-1]) == size else [*merged, (size, 0)]
