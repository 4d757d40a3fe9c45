"""What a container changed: the difference that an overlay's upper directory makes to its lower ones."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Sequence
from itertools import islice
from typing import Literal, TypeAlias

import attrs

from pycontainer.errors import KernelError, NotSupported
from pycontainer.kernel.descent import PATH_MAX, Descent
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.kinds import opened
from pycontainer.kernel.layers import Entry, Lowers, Marks, Namespace
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named

Kind: TypeAlias = Literal["added", "modified", "deleted", "metadata"]

#: How many changes are listed when not told otherwise.
LIMIT = 1_000_000

_STEP = "compare with the layers below"
_CHUNK = 1 << 20
_FIND = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@attrs.frozen(kw_only=True)
class Change:
    """One difference; ``path`` is absolute in the container, undecodable bytes as surrogates (PEP 383).

    ``added``: nothing was there. ``modified``: other content or another type. ``deleted``: what was there is
    gone, with all below it. ``metadata``: the same content with another mode, owner, time or xattr.
    """

    kind: Kind
    path: str


def overlay_changes(
    upper: int,
    lowers: Sequence[int | str | os.PathLike[str]],
    *,
    upper_base: int = 0,
    namespace: Namespace = "user",
    limit: int = LIMIT,
) -> list[Change]:
    """Return how an overlay with the upper directory ``upper`` differs from its lowers alone, by path.

    ``upper`` is a descriptor and stays the caller's; ``lowers`` are paths or descriptors, topmost first.
    ``upper_base`` is what the ids in the upper directory are ahead of those in the lowers, when the latter
    are shown through idmapped mounts.  ``namespace`` tells how the overlay is mounted (see
    :data:`~pycontainer.kernel.layers.Namespace`).

    An added directory is listed with its content, a deleted one alone; one that was only copied up to hold
    changes is none itself, nor is its time.  What the caller may not read is an error.  What has a path longer than the system's limit of 4096 bytes goes with its directory: no
    program could name it.  The result is a true picture only while nobody writes to the container.

    Raises :class:`KernelError`, with ``EFBIG`` for more than ``limit`` changes, and
    :class:`NotSupported` for an overlay with ``redirect_dir`` or ``metacopy``.

    >>> overlay_changes(upper_fd, ["/layers/app", "/layers/base"])  # doctest: +SKIP
    [Change(kind='added', path='/tmp/x')]
    """
    marks = Marks(namespace)
    with named(_STEP), Descent(os.open(".", OPEN_DIRECTORY, dir_fd=upper)) as walk:
        if not os.listdir(walk.fd) and not marks.opaque(walk.fd):
            return []  # what most runs change
        with Lowers(lowers, marks) as below:
            comparison = _Comparison(walk=walk, below=below, marks=marks, base=upper_base, limit=limit)
            comparison.run()
    return sorted(comparison.changes, key=lambda change: change.path)


@attrs.define(kw_only=True)
class _Comparison:
    walk: Descent
    below: Lowers
    marks: Marks
    base: int
    limit: int
    changes: list[Change] = attrs.Factory(list)
    length: int = 0  # of all paths listed: a million paths of 4096 bytes would be too much to hold

    def run(self) -> None:
        # One item for each level: the path, whether lowers are hidden, the directories still to enter.
        levels = [self._directory("/", hidden=False)]
        while levels:
            path, hidden, names = levels[-1]
            if names:
                name = names.pop()
                if not self._enter(name):
                    continue
                levels.append(self._directory(f"{path}{name}/", hidden=hidden))
            else:
                levels.pop()
                if levels:
                    self.walk.up()
                    self.below.up()

    def _enter(self, name: str) -> bool:
        try:
            self.walk.down(name)
        except KernelError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:  # changed since it was listed
                return False
            raise
        self.below.down(name)
        return True

    def _directory(self, path: str, *, hidden: bool) -> tuple[str, bool, list[str]]:
        hidden = hidden or self.marks.opaque(self.walk.fd)
        with os.scandir(self.walk.fd) as entries:
            names = {entry.name for entry in islice(entries, self.limit + 1)}
        if len(names) > self.limit:
            raise self._too_many()
        directories = []
        for name in names:
            try:
                status = os.stat(name, dir_fd=self.walk.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed meanwhile: what the overlay shows now is shown by the lowers, or not at all
            if not _nameable(path + name):
                continue
            lower = self.below.lookup(name)
            if self.marks.whiteout(self.walk.fd, name, status):
                kind: Kind | None = "deleted" if lower else None
            else:
                kind = self._compare(Entry(self.walk.fd, name, status), lower) if lower else "added"
                if stat.S_ISDIR(status.st_mode):
                    directories.append(name)
            if kind is not None:
                self._add(kind, path + name)
        if hidden:
            for name in self.below.names() - names:
                self._add("deleted", path + name)
        return path, hidden, directories

    def _add(self, kind: Kind, path: str) -> None:
        self.length += len(path)
        if len(self.changes) == self.limit or self.length > self.limit * 256:
            raise self._too_many()
        self.changes.append(Change(kind=kind, path=path))

    def _too_many(self) -> KernelError:
        return KernelError(errno.EFBIG, _STEP, hint=f"there are more changes than limit={self.limit}")

    def _compare(self, upper: Entry, lower: Entry) -> Kind | None:
        new, old = upper.status, lower.status
        if stat.S_IFMT(new.st_mode) != stat.S_IFMT(old.st_mode) or not self._same_content(upper, lower):
            return "modified"
        owner = (new.st_uid - self.base, new.st_gid - self.base)
        same = (
            new.st_mode == old.st_mode
            and owner == (old.st_uid, old.st_gid)
            and (stat.S_ISDIR(new.st_mode) or new.st_mtime_ns == old.st_mtime_ns)
            and _xattrs(upper, self.base) == _xattrs(lower, 0)
        )
        return None if same else "metadata"

    def _same_content(self, upper: Entry, lower: Entry) -> bool:
        new, old = upper.status, lower.status
        if stat.S_ISREG(new.st_mode):
            if self.marks.only_metadata(upper.dir_fd, upper.name):
                raise NotSupported("a file copied up without content", "mount the overlay with metacopy=off")
            return new.st_size == old.st_size and _same_bytes(upper, lower)
        if stat.S_ISLNK(new.st_mode):
            return os.readlink(upper.name, dir_fd=upper.dir_fd) == os.readlink(
                lower.name, dir_fd=lower.dir_fd
            )
        if stat.S_ISCHR(new.st_mode) or stat.S_ISBLK(new.st_mode):
            return new.st_rdev == old.st_rdev
        return True


def _nameable(path: str) -> bool:
    return len(path) < PATH_MAX // 4 or len(os.fsencode(path)) < PATH_MAX


def _same_bytes(upper: Entry, lower: Entry) -> bool:
    try:
        with (
            Fd(os.open(upper.name, _FIND, dir_fd=upper.dir_fd)) as above,
            Fd(opened(above.fileno(), os.O_RDONLY, _STEP, kernels=True)) as one,
            Fd(os.open(lower.name, _OPEN_FILE, dir_fd=lower.dir_fd)) as other,
        ):
            # The lower one bounds the reading: it does not change, the upper one may grow.
            while part := os.read(other.fileno(), _CHUNK):
                if os.read(one.fileno(), len(part)) != part:
                    return False
            return not os.read(one.fileno(), 1)
    except PermissionError:
        return False


def _xattrs(entry: Entry, base: int) -> dict[str, bytes]:
    """Return a file's xattrs without those of overlayfs and SELinux, with ids ``base`` lower."""
    path = f"/proc/self/fd/{entry.dir_fd}/{entry.name}"
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {
            name: _shifted(name, os.getxattr(path, name, follow_symlinks=False), base)
            for name in names
            if not name.startswith(("user.overlay.", "trusted.overlay.")) and name != "security.selinux"
        }
    except OSError as error:
        if error.errno in {errno.ENOTSUP, errno.ENOENT, errno.ENODATA}:
            return {}
        raise


def _shifted(name: str, value: bytes, base: int) -> bytes:
    if name == "security.capability":
        # The root id that revision 3 adds at the end says only in which user namespace it was set, and so
        # does the revision, in the top byte of the first word (capabilities(7), linux/capability.h).
        (first,) = struct.unpack_from("<I", value)
        return struct.pack("<I", first & 0xFFFFFF) + value[4:20]
    if name.startswith("system.posix_acl_") and base:
        # A version, then entries of tag, permissions and id; tags 2 and 8 name a user or group (acl(5)).
        entries = [
            (tag, bits, (number - base) & 0xFFFFFFFF if tag in {2, 8} else number)
            for tag, bits, number in struct.iter_unpack("<HHI", value[4:])
        ]
        return value[:4] + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    return value
