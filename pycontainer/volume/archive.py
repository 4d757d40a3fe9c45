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

import attrs

from pycontainer.kernel.copytree import attributes_of
from pycontainer.kernel.descent import Descent
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.kinds import opened, status_of
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named

_BLOCK = 512
_CHUNK = 1 << 20
_PIECES = 1 << 16
_FIND = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE, _LINK, _SYMLINK, _DIRECTORY, _FIFO, _EXTENDED = b"0", b"1", b"2", b"5", b"6", b"x"
_LARGEST_ID = 0o7777777
_LARGEST_SIZE = 0o77777777777


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
        write_all(target, bytes(2 * _BLOCK))
        return Archived(entries=work.count, size=work.size, skipped=tuple(work.skipped))


class _Writer:
    def __init__(self, target: int) -> None:
        self.count = 0
        self.size = 0
        self.skipped: list[str] = []
        self._target = target
        self._linked: dict[tuple[int, int], bytes] = {}

    def directory(self, path: list[bytes], walk: Descent) -> None:
        self._header(b"/".join(path) + b"/", _DIRECTORY, walk.status, pax=_extended(walk.fd))

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
        if (
            not stat.S_ISREG(status.st_mode)
            and not stat.S_ISLNK(status.st_mode)
            and not stat.S_ISFIFO(status.st_mode)
        ):
            self.skipped.append(os.fsdecode(path))
            return
        if status.st_nlink > 1:
            first = self._linked.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                self._header(path, _LINK, status, link=first)
                return
        if stat.S_ISLNK(status.st_mode):
            self._header(path, _SYMLINK, status, link=os.readlink(os.fsencode(name), dir_fd=parent))
        elif stat.S_ISFIFO(status.st_mode):
            self._header(path, _FIFO, status)
        else:
            with Fd(os.open(name, _FIND, dir_fd=parent)) as held:
                file = Fd(opened(held.fileno(), os.O_RDONLY, f"read {os.fsdecode(path)}", kernels=False))
            with file:
                self._file(path, file.fileno())

    def _file(self, path: bytes, file: int) -> None:
        status = os.fstat(file)
        self.size += status.st_size
        pax = _extended(file)
        pieces = _pieces(file, status)
        if pieces == [(0, status.st_size)] or not status.st_size:
            self._header(path, _FILE, status, size=status.st_size, pax=pax)
            self._content(file, 0, status.st_size)
            self._pad(status.st_size)
            return
        # GNU tar's sparse format 1.0: the map comes before the pieces.
        lines = [len(pieces), *(number for piece in pieces for number in piece)]
        table = b"".join(b"%d\n" % number for number in lines)
        table += bytes(-len(table) % _BLOCK)
        stored = len(table) + sum(length for _, length in pieces)
        pax[b"GNU.sparse.major"], pax[b"GNU.sparse.minor"] = b"1", b"0"
        pax[b"GNU.sparse.name"], pax[b"GNU.sparse.realsize"] = path, b"%d" % status.st_size
        self._header(path, _FILE, status, size=stored, pax=pax)
        write_all(self._target, table)
        for offset, length in pieces:
            self._content(file, offset, length)
        self._pad(stored)

    def _content(self, file: int, offset: int, length: int) -> None:
        while length:
            part = os.pread(file, min(length, _CHUNK), offset)
            # It has become shorter: the header promised more.
            part = part or bytes(min(length, _CHUNK))
            write_all(self._target, part)
            offset, length = offset + len(part), length - len(part)

    def _pad(self, size: int) -> None:
        write_all(self._target, bytes(-size % _BLOCK))

    def _header(
        self,
        path: bytes,
        kind: bytes,
        status: os.stat_result,
        *,
        size: int = 0,
        link: bytes = b"",
        pax: dict[bytes, bytes] | None = None,
    ) -> None:
        self.count += 1
        seconds, nanoseconds = divmod(status.st_mtime_ns, 10**9)
        records = dict(pax or {})
        if len(path) > 100:
            records[b"path"] = path
        if len(link) > 100:
            records[b"linkpath"] = link
        if nanoseconds or not 0 <= seconds <= _LARGEST_SIZE:
            sign, whole = ("-", -status.st_mtime_ns) if seconds < 0 else ("", status.st_mtime_ns)
            records[b"mtime"] = f"{sign}{whole // 10**9}.{whole % 10**9:09}".encode()
        for key, value, largest in (
            (b"uid", status.st_uid, _LARGEST_ID),
            (b"gid", status.st_gid, _LARGEST_ID),
            (b"size", size, _LARGEST_SIZE),
        ):
            if value > largest:
                records[key] = b"%d" % value
        if records:
            data = b"".join(_record(key, value) for key, value in sorted(records.items()))
            plain = os.stat_result((0o644, 0, 0, 1, 0, 0, 0, 0, 0, 0))
            write_all(self._target, _block(b"././@PaxHeader", _EXTENDED, plain, 0, len(data), b"") + data)
            self._pad(len(data))
        write_all(self._target, _block(path, kind, status, max(seconds, 0), size, link))


def _block(path: bytes, kind: bytes, status: os.stat_result, seconds: int, size: int, link: bytes) -> bytes:
    """One header in the format of POSIX (ustar); what is too large for it is in the extended one before."""
    parts = [
        path[:100].ljust(100, b"\0"),
        b"%07o\0" % stat.S_IMODE(status.st_mode),
        b"%07o\0" % (status.st_uid if status.st_uid <= _LARGEST_ID else 0),
        b"%07o\0" % (status.st_gid if status.st_gid <= _LARGEST_ID else 0),
        b"%011o\0" % (size if size <= _LARGEST_SIZE else 0),
        b"%011o\0" % (seconds if seconds <= _LARGEST_SIZE else 0),
        b" " * 8,
        kind,
        link[:100].ljust(100, b"\0"),
        b"ustar\x0000",
    ]
    block = b"".join(parts).ljust(_BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: bytes, value: bytes) -> bytes:
    """One line of an extended header, which begins with its own length."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def _extended(fd: int) -> dict[bytes, bytes]:
    return {b"SCHILY.xattr." + os.fsencode(key): value for key, value in attributes_of(fd).items()}


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
