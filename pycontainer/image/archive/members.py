"""A tar archive as a directory: one pass over its headers, and its files are read in any order.

Names of entries are keys to look for and never paths.  Links lead to other entries of the archive: Docker wrote
``<id>/layer.tar`` that way where two images had the same layer.
"""

from __future__ import annotations

import os

import attrs

from pycontainer.errors import ImageError, ImageNotFound, UnsafeArchive
from pycontainer.image.archive.piece import Piece
from pycontainer.image.limits import Limits
from pycontainer.image.tarstream import Entry, TarStream
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import named

#: An archive of a thousand images of thirty layers has a hundred thousand; each is kept in memory.
_LIMITS = Limits(entries=200_000)
#: Bytes of a name; none that matters has a hundred.
_LONGEST = 255
#: Links that lead to links; the kernel allows as many in a path.
_LINKS = 40
#: A header and the few that may come before it.
_READ = 1 << 12
#: What says what is in the archive: with two of them, each reader would find another image.
_SINGLE = frozenset({"index.json", "manifest.json", "oci-layout"})


@attrs.frozen
class _File:
    start: int
    size: int


@attrs.frozen
class _Link:
    target: str


@attrs.frozen
class _Other:
    kind: str


class Members:
    """The files of the tar archive ``file``, which is borrowed and can be read at any position. Thread-safe."""

    def __init__(self, file: Fd, members: dict[str, _File | _Link | _Other]) -> None:
        self._file = file
        self._members = members

    @classmethod
    def read(cls, file: Fd) -> Members:
        """Find the entries. Raises :class:`ImageError` for what is no tar archive, truncated or damaged."""
        return cls(file, _found(file))

    def has(self, name: str) -> bool:
        """Whether there is an entry of this name."""
        return name in self._members

    def open(self, name: str) -> Piece:
        """Open a file. Raises :class:`ImageError` for what is none, and :class:`ImageNotFound` where nothing is."""
        found = self._members.get(name)
        place = name
        for _ in range(_LINKS):
            if not isinstance(found, _Link):
                break
            place = found.target
            found = self._members.get(place)
        if found is None:
            through = f", to which {name} leads" if place != name else ""
            raise ImageNotFound(f"there is no {place} in it{through}")
        if isinstance(found, _Link):
            raise UnsafeArchive(f"{name} leads from link to link, more than {_LINKS} times")
        if isinstance(found, _Other):
            raise ImageError(f"{place} is a {found.kind}, and a file is needed")
        return Piece(self._file.dup(), place, start=found.start, size=found.size)


def _found(file: Fd) -> dict[str, _File | _Link | _Other]:
    position, end = 0, os.fstat(file.fileno()).st_size
    members: dict[str, _File | _Link | _Other] = {}

    def read(count: int) -> bytes:
        nonlocal position
        with named("read the archive"):
            part = os.pread(file.fileno(), min(count, _READ), position)
        position += len(part)
        return part

    def skip(count: int) -> bool:
        nonlocal position
        position += count
        return position <= end

    stream = TarStream(read, _LIMITS, skip=skip)
    for entry in stream.entries():
        name = normal(os.fsdecode(entry.name))
        if not name or len(entry.name) > _LONGEST:
            continue
        if name in _SINGLE and name in members:
            raise ImageError(f"it has {name} twice")
        # Of several by one name the last one counts, as with whoever unpacks it.
        members[name] = _member(entry, name, position - stream.ahead)
    return members


def _member(entry: Entry, name: str, start: int) -> _File | _Link | _Other:
    if entry.kind == "file":
        whole = ((0, entry.size),) if entry.size else ()
        return _File(start, entry.size) if tuple(entry.segments) == whole else _Other("sparse file")
    if entry.kind in {"symlink", "hardlink"}:
        link = os.fsdecode(entry.link)
        above = name.rpartition("/")[0] if entry.kind == "symlink" else ""
        target = None if link.startswith("/") else normal(f"{above}/{link}")
        # A target outside of the archive is none at all.
        return _Link(target) if target and len(target) <= _LONGEST else _Other("link out of the archive")
    return _Other(entry.kind)


def normal(name: str) -> str | None:
    """A name without dots and further slashes; ``None`` for one that leads out.

    >>> normal("./a//../b")
    'b'
    """
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)
