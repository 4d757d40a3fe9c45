"""A position in a directory tree that somebody else may be changing.

Moves one level at a time and holds one descriptor, whatever the depth: a container can nest directories
deeper than any path, any stack and any limit on open files.
"""

from __future__ import annotations

import errno
import os
from types import TracebackType

from pycontainer.errors import KernelError
from pycontainer.kernel import native
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.native import lib

#: A path longer than this cannot be given to any system call (``PATH_MAX``, limits.h).
PATH_MAX = 4096

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Descent:
    """The current directory of one walk through a tree.

    Takes ownership of ``fd``, the top directory, and closes it.  ``down`` never follows a link; with
    ``one_file_system`` it does not enter what is mounted below either (``EXDEV``).  ``up`` goes by ``..``
    and makes sure that it arrives where it came from, so a tree that is moved meanwhile ends the walk with
    ``ESTALE``: never outside of it.

    >>> with Descent(os.open("/usr", os.O_RDONLY)) as walk:
    ...     walk.down("bin")
    ...     walk.up()
    ...     walk.depth
    0
    """

    __slots__ = ("_above", "_directory", "_resolve", "status")

    def __init__(self, fd: int, *, one_file_system: bool = False) -> None:
        self._directory = Fd(fd)
        #: What fstat(2) told of the current directory on arrival.
        self.status = os.fstat(fd)
        self._above: list[tuple[str, int, int]] = []
        self._resolve = lib.RESOLVE_BENEATH | lib.RESOLVE_NO_SYMLINKS
        self._resolve |= lib.RESOLVE_NO_XDEV if one_file_system else 0

    @property
    def fd(self) -> int:
        """The current directory, valid until the next move."""
        return self._directory.fileno()

    @property
    def depth(self) -> int:
        """How many levels below the top it is."""
        return len(self._above)

    @property
    def name(self) -> str:
        """The current directory's name in the one above; not at the top."""
        return self._above[-1][0]

    def path(self, name: str = "") -> str:
        """The way from the top, for people: cut in the middle when it is long."""
        names = [above for above, _, _ in self._above]
        if len(names) > 20:
            names[10:-5] = ["..."]
        return "/".join([*names, name] if name else names)

    def down(self, name: str) -> None:
        """Enter the directory ``name``, one entry of the current one.

        Raises :class:`KernelError`, and stays where it is, for everything else.
        """
        fd = native.openat2(self.fd, os.fsencode(name), _DIRECTORY, 0, self._resolve)
        self._above.append((name, self.status.st_dev, self.status.st_ino))
        self._arrive(fd, os.fstat(fd))

    def up(self) -> str:
        """Return to the directory above and give the name of the one that was left."""
        name, device, inode = self._above[-1]
        fd = os.open("..", _DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != (device, inode):
            os.close(fd)
            raise KernelError(
                errno.ESTALE, f"return from {self.path()}", hint="the directory was moved meanwhile"
            )
        self._above.pop()
        self._arrive(fd, status)
        return name

    def _arrive(self, fd: int, status: os.stat_result) -> None:
        self._directory.close()
        self._directory = Fd(fd)
        self.status = status

    def close(self) -> None:
        """Close the current directory; idempotent."""
        self._directory.close()

    def __enter__(self) -> Descent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
