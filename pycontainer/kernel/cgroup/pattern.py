"""What a cgroup of one kind comes to in one place, so that the next ones cost four calls of our own C.

Python makes the first, sets its limits with every fallback that there is, and reads its counters; what worked
is noted.  The next have the same directories, settings and counters.  Whenever that fails they are made like
the first, which also says what is wrong.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pycontainer.errors import NotSupported
from pycontainer.kernel.cgroup.directory import Directory
from pycontainer.kernel.cgroup.parts import Parts
from pycontainer.kernel.native import ffi, lib, uncleared

if TYPE_CHECKING:
    from pycontainer.kernel.cgroup.place import Place

#: What all counters of a cgroup have room in, in bytes.
_ROOM = 16384
#: Where in the directories of a cgroup version 2's is.
TREE = ""
_noting = threading.Lock()


class Told:
    """The counters of a directory, read at once."""

    __slots__ = ("_directory", "_files")

    def __init__(self, directory: Directory, files: dict[str, bytes]) -> None:
        self._directory = directory
        self._files = files

    def find(self, name: str) -> bytes | None:
        """The content of a file."""
        return self._files.get(name) or None

    def below(self) -> Iterator[Directory]:
        """The directories in it."""
        return self._directory.below()


class Pattern:
    """The directories of a cgroup, by place (a hierarchy of version 1, or ``TREE``), and what is in them.

    ``missing`` are the limits that cannot be had.  Thread-safe, also when
    the place ``above`` is closed.
    """

    def __init__(self, above: Place, parts: Parts, missing: dict[str, NotSupported]) -> None:
        self.missing = missing
        directories = {} if above.tree is None or parts.tree is None else {TREE: above.tree}
        directories.update((place, above.hierarchy(place)) for place in parts.v1)
        self._places = [(place, each.path.rstrip("/")) for place, each in directories.items()]
        self._kept: list[Any] = []
        self._parts = ffi.new("struct pc_group_part[]", len(self._places))
        for place, part in zip(directories, self._parts, strict=True):
            # Another thread may close what is above: its number must not be another file's meanwhile.
            fd = above.keep(place)
            self._kept.append(fd)
            part.above = fd.fileno()
            part.unified = place == TREE
            part.settings = self._texts([text for pair in parts.written.get(place, ()) for text in pair])
            part.counters = self._texts(())
        self._counters: tuple[tuple[str, tuple[str, ...]], ...] | None = None

    def _texts(self, texts: Any) -> Any:
        encoded = [text if isinstance(text, bytes) else text.encode() for text in texts]
        self._kept.append(ffi.new("char[]", b"".join(text + b"\0" for text in encoded)))
        return self._kept[-1]

    def make(self, name: str) -> tuple[Parts, dict[str, int]]:
        """One more: its directories, and its open ``tasks`` files by path. Raises ``OSError``, with nothing made."""
        fds = ffi.new("int32_t[]", len(self._places))
        error = lib.pc_make_group(self._parts, len(self._places), name.encode(), fds)
        if error:
            raise OSError(-error, os.strerror(-error), name)
        parts, tasks = Parts(), {}
        for (place, upper), fd in zip(self._places, fds, strict=True):
            path = f"{upper}/{name}"
            if place == TREE:
                parts.tree = Directory(path, fd)
            else:
                parts.v1[place] = Directory(path)
                tasks[path] = fd
        return parts, tasks

    def remove(self, name: str) -> bool:
        """Remove all directories of a cgroup; false if one of them is busy."""
        return lib.pc_remove_group(self._parts, len(self._places), name.encode()) == 0

    def note(self, counters: Mapping[str, list[str]]) -> None:
        """What there is to read, by place. Only once: others may be reading."""
        with _noting:
            if self._counters is None:
                self._note(counters)

    def _note(self, counters: Mapping[str, list[str]]) -> None:
        for (place, _), part in zip(self._places, self._parts, strict=True):
            part.counters = self._texts(counters.get(place, ()))
        self._counters = tuple((place, tuple(counters.get(place, ()))) for place, _ in self._places)

    def find(self, name: str) -> None:
        """Have the kernel look up what :meth:`read` will read: most of its time, and not urgent yet."""
        lib.pc_find_group(self._parts, len(self._places), name.encode())

    def read(self, name: str, parts: Parts) -> dict[str, Told] | None:
        """The counters of a cgroup by place; ``None`` until they are noted, or when they are too long."""
        counters = self._counters
        if counters is None:
            return None
        buffer = uncleared("char[]", _ROOM)
        size = lib.pc_read_group(self._parts, len(self._places), name.encode(), buffer, _ROOM)
        if size < 0:
            return None
        contents = iter(ffi.buffer(buffer, size)[:].split(b"\0"))
        told = {}
        for place, names in counters:
            directory = parts.tree if place == TREE else parts.v1[place]
            if directory is not None:
                told[place] = Told(directory, dict(zip(names, contents, strict=False)))
        return told
