"""The directories that the entries of a hostile archive lie in, each opened with the new tree as its root."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from pycontainer.errors import ImageError, KernelError, UnsafeArchive
from pycontainer.image.attributes import shown
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import open_in_root

OPEN_PARENT = os.O_PATH | os.O_DIRECTORY
#: Archives come back to a directory after those below it.
_KEPT = 16


class Parents:
    """Opens directories below ``root``, which stays the caller's; what is missing is made.

    ``make(None, parent, name)`` makes a directory, also in place of what ``gives_way(parent, name)``.
    """

    def __init__(
        self,
        root: int,
        *,
        make: Callable[[None, int, bytes], int],
        gives_way: Callable[[int, bytes], bool],
    ) -> None:
        self._root = root
        self._make = make
        self._gives_way = gives_way
        self._kept: dict[bytes, Fd] = {}

    def open(self, parts: list[bytes]) -> int:
        """Return the directory that these names lead to, through links, too, until the next call.

        Raises :class:`KernelError`, and :class:`ImageError` for a link to a directory that is not there.
        """
        path = b"/" + b"/".join(parts)
        kept = self._kept.get(path)
        if kept is None:
            try:
                fd = open_in_root(self._root, path, OPEN_PARENT)
            except KernelError as error:
                if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
                    raise
                fd = self._make_all(parts)
            if len(self._kept) == _KEPT:
                self._kept.pop(next(iter(self._kept))).close()
            kept = self._kept[path] = Fd(fd)
        return kept.fileno()

    def _make_all(self, parts: list[bytes]) -> int:
        fd = open_in_root(self._root, b"/", OPEN_PARENT)
        for end, name in enumerate(parts, 1):
            with Fd(fd) as above:
                path = b"/" + b"/".join(parts[:end])
                try:
                    fd = open_in_root(self._root, path, OPEN_PARENT)
                    continue
                except KernelError as error:
                    if error.errno != errno.ENOENT and not self._gives_way(above.fileno(), name):
                        raise
                    if error.errno == errno.ENOENT and is_there(above.fileno(), name):
                        raise ImageError(
                            f"{shown(path)} is a link to a directory that is not there"
                        ) from None
                self._make(None, above.fileno(), name)
                fd = open_in_root(above.fileno(), name, OPEN_PARENT | os.O_NOFOLLOW)
        return fd

    def forget(self, used: int) -> None:
        """Something was removed: paths may lead elsewhere now.  ``used`` stays open until the next call."""
        still = [path for path, kept in self._kept.items() if kept.fileno() == used]
        last = self._kept.pop(still[0]) if still else None
        self.close()
        if last is not None:
            self._kept[b""] = last

    def close(self) -> None:
        """Close all that is open; idempotent."""
        while self._kept:
            self._kept.popitem()[1].close()


def parts_of(name: bytes) -> list[bytes]:
    """Split a name; leading slashes and "." mean nothing, ".." is refused."""
    parts = name.split(b"/")
    if b"" in parts or b"." in parts:
        parts = [part for part in parts if part not in {b"", b"."}]
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
