"""Packing the writable layer of an overlay as a layer of an image: the same content, the same bytes.

Entries are in the order of their names' bytes, each directory before what is in it.  Times are whole seconds, as
other builders write them: what a container does anew, and what was unpacked from such a layer, differ in
fractions that nobody means, and each fraction costs an extended header.  Owners are numbers; nothing is told of
times of access, sizes of directories or numbers of inodes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator

import attrs

from pycontainer.errors import KernelError, NotSupported
from pycontainer.image.attributes import kept, shown
from pycontainer.image.limits import Limits
from pycontainer.image.tarstream import Entry, Kind
from pycontainer.image.tarwriter import TarOutput, padding
from pycontainer.image.treemaker import NAMED
from pycontainer.kernel.descent import Descent
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.kinds import opened, status_of
from pycontainer.kernel.layers import Marks
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named

_STEP = "pack the layer"
_FIND = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
#: Of what is read at once: little enough to stay in the processor's cache until it is hashed, packed and written.
_CHUNK = 1 << 18
#: What is known at once of files that have further names, in bytes, and of each beside its path.
_REMEMBERED, _OVERHEAD = 256 << 20, 200
#: In seconds: what readers take.
_LARGEST_TIME = 1 << 40
_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_KINDS: dict[int, Kind] = {
    stat.S_IFIFO: "fifo", stat.S_IFCHR: "character device", stat.S_IFBLK: "block device",
}  # fmt: skip


@attrs.frozen(kw_only=True)
class Packed:
    """What came of it: the sha256 of the archive, its size in bytes, how many entries; and what was left out."""

    diff_id: str
    size: int
    entries: int
    skipped: tuple[str, ...] = ()


def pack_layer(
    upper: int,
    write: Callable[[bytes], object],
    *,
    marks: Marks | None = None,
    ids: IdMap | None = None,
    epoch: int | None = None,
    limits: Limits | None = None,
) -> Packed:
    """Pack the upper directory of an overlay (a descriptor, borrowed) as a tar archive, which ``write`` is given.

    What ``marks`` reads as hidden becomes ``.wh.`` names.  ``ids`` is the map of
    the container's user namespace where the directory has the host's numbers for its users.  ``epoch`` (``SOURCE_DATE_EPOCH``, in seconds) is the latest time of anything.  Sockets are
    left out, and what no path could name: the result tells of them.  The archive is right only while nobody
    writes to the directory.

    Raises :class:`NotSupported` for what a layer cannot say, :class:`KernelError`: with ``EFBIG`` for more than
    ``limits`` lets an archive hold, with ``ESTALE`` for what was changed meanwhile.

    >>> with open("layer.tar", "wb") as file:               # doctest: +SKIP
    ...     pack_layer(upper, file.write, ids=launched.map).diff_id
    'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef'
    """
    bounds = limits or Limits()
    out = TarOutput(write, bounds.total)
    with named(_STEP), Descent(os.open(".", OPEN_DIRECTORY, dir_fd=upper), one_file_system=True) as walk:
        packing = _Packing(
            walk=walk,
            out=out,
            marks=marks or Marks(),
            ids=ids,
            epoch=epoch,
            limits=bounds,
        )
        packing.run()
    return Packed(
        diff_id=f"sha256:{out.digest.hexdigest()}",
        size=out.size,
        entries=out.entries,
        skipped=tuple(packing.skipped),
    )


@attrs.define(kw_only=True)
class _Packing:
    walk: Descent
    out: TarOutput
    marks: Marks
    ids: IdMap | None
    epoch: int | None
    limits: Limits
    names: int = 0  # that were listed
    skipped: list[str] = attrs.Factory(list)
    # What has further names: where it was first, and how many are still to come.
    linked: dict[tuple[int, int], tuple[bytes, int]] = attrs.Factory(dict)
    remembered: int = 0  # bytes that these take

    def run(self) -> None:
        levels = [(b"", self._directory(b"", self.walk.status))]
        while levels:
            path, names = levels[-1]
            name = next(names, None)
            if name is None:
                levels.pop()
                if levels:
                    self.walk.up()
            elif (status := self._entry(path, name)) is not None:
                self.walk.down(os.fsdecode(name))
                if not os.path.samestat(status, self.walk.status):
                    raise _changed(path + name)
                levels.append((path + name + b"/", self._directory(path + name + b"/", status)))
        self.out.end()

    def _directory(self, path: bytes, status: os.stat_result) -> Iterator[bytes]:
        """Write what is told of the present directory itself, and go through its names in order."""
        fd = self.walk.fd
        xattrs = self._xattrs(fd, path)
        plain = stat.S_IMODE(status.st_mode) == 0o755 and not xattrs and self._owner(path, status) == (0, 0)
        # The root as it is made anyway is not told of: its time is that of the last container.
        if path or not plain:
            self.out.add(self._described(path or b"./", "directory", status, xattrs=xattrs))
        if self.marks.opaque(fd):
            self._mark(path + _OPAQUE)
        with os.scandir(fd) as entries:
            names = []
            for entry in entries:
                self._count()
                names.append(os.fsencode(entry.name))
        return iter(sorted(names))

    def _entry(self, path: bytes, name: bytes) -> os.stat_result | None:
        """Write an entry of the present directory, or return the status of a directory."""
        fd, text = self.walk.fd, os.fsdecode(name)
        status = status_of(fd, text)
        if status is None:
            raise _changed(path + name)
        whole = path + name
        if name.startswith(_WHITEOUT):
            raise NotSupported(
                f"the name {shown(whole)} in a layer, where it would hide another file",
                "rename or remove the file",
            )
        if len(whole) + len(_OPAQUE) >= self.limits.name:  # or that of its mark
            self._skip(f"{os.fsdecode(whole[:200])}...: the path is too long")
        elif self.marks.whiteout(fd, text, status):
            self._mark(path + _WHITEOUT + name)
        elif stat.S_ISDIR(status.st_mode):
            return status
        elif stat.S_ISSOCK(status.st_mode):
            self._skip(f"{os.fsdecode(whole)}: a socket")
        elif stat.S_ISREG(status.st_mode):
            self._file(text, whole)
        elif stat.S_ISLNK(status.st_mode):
            if not self._further(whole, status):
                self.out.add(self._described(whole, "symlink", status, link=os.readlink(name, dir_fd=fd)))
        else:
            self.out.add(self._described(whole, _KINDS[stat.S_IFMT(status.st_mode)], status))
        return None

    def _file(self, name: str, path: bytes) -> None:
        with (
            Fd(os.open(name, _FIND, dir_fd=self.walk.fd)) as found,
            Fd(opened(found.fileno(), os.O_RDONLY, _STEP, kernels=False)) as file,
        ):
            fd = file.fileno()
            status = os.fstat(fd)
            if self._further(path, status):
                return
            if status.st_blocks * 512 < status.st_size and self.marks.only_metadata(self.walk.fd, name):
                raise NotSupported("a file copied up without content", "mount the overlay with metacopy=off")
            xattrs = self._xattrs(fd, path)
            self.out.add(self._described(path, "file", status, size=status.st_size, xattrs=xattrs))
            left = status.st_size
            while left:
                part = os.read(fd, min(left, _CHUNK))
                if not part:
                    raise _changed(path)
                left -= len(part)
                self.out.put(part)
            self.out.put(padding(status.st_size))

    def _further(self, path: bytes, status: os.stat_result) -> bool:
        """Write a link to what was there before under another name, if it was."""
        if status.st_nlink == 1:
            return False
        key = (status.st_dev, status.st_ino)
        first, left = self.linked.pop(key, (b"", status.st_nlink))
        if left > 1:
            self.linked[key] = (first or path, left - 1)
            self.remembered += 0 if first else len(path) + _OVERHEAD
            if self.remembered > _REMEMBERED:
                raise KernelError(errno.EFBIG, _STEP, hint="too many files have further names")
        elif first:
            self.remembered -= len(first) + _OVERHEAD
        if first:
            self.out.add(self._described(path, "hardlink", status, link=first))
        return bool(first)

    def _described(
        self,
        path: bytes,
        kind: Kind,
        status: os.stat_result,
        *,
        size: int = 0,
        link: bytes = b"",
        xattrs: tuple[tuple[bytes, bytes], ...] = (),
    ) -> Entry:
        uid, gid = self._owner(path, status)
        seconds = min(max(status.st_mtime_ns // 10**9, -_LARGEST_TIME), _LARGEST_TIME)
        return Entry(
            name=path,
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=uid,
            gid=gid,
            mtime=10**9 * (seconds if self.epoch is None else min(seconds, self.epoch)),
            size=size,
            link=link,
            xattrs=xattrs,
            device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if "device" in kind else (0, 0),
        )

    def _owner(self, path: bytes, status: os.stat_result) -> tuple[int, int]:
        """Return the layer's numbers of a file's owners."""
        if self.ids is None:
            return status.st_uid, status.st_gid
        uid, gid = self.ids.inside(status.st_uid, status.st_gid)
        if uid is None or gid is None:
            raise NotSupported(
                f"{shown(path)} belongs to {status.st_uid}:{status.st_gid}, whom the container has no number for",
                "change its owner",
            )
        return uid, gid

    def _is_root(self, uid: int) -> bool:
        return (uid if self.ids is None else self.ids.inside(uid, uid)[0]) == 0

    def _xattrs(self, fd: int, path: bytes) -> tuple[tuple[bytes, bytes], ...]:
        found, odd = kept(fd, self._is_root)
        for name in odd:
            self._skip(f"{os.fsdecode(path)}: the attribute {shown(name)}")
        if sum(len(key) + len(value) for key, value in found) > self.limits.pax // 2:
            raise KernelError(errno.EFBIG, _STEP, hint=f"the attributes of {shown(path)} are too large")
        return found

    def _skip(self, note: str) -> None:
        if len(self.skipped) < NAMED:
            self.skipped.append(note)

    def _mark(self, path: bytes) -> None:
        self.out.add(Entry(name=path, kind="file", mode=0, uid=0, gid=0, mtime=0))

    def _count(self) -> None:
        self.names += 1
        if self.names > self.limits.entries:
            raise KernelError(errno.EFBIG, _STEP, hint=f"it has more than {self.limits.entries} files")


def _changed(path: bytes) -> KernelError:
    return KernelError(
        errno.ESTALE, f"pack {shown(path)}", hint="it was changed meanwhile: pause the container"
    )
