"""An image layout in a directory, whoever made it: only regular files below it are read, and no links followed."""

from __future__ import annotations

import errno
import os
import stat

from pycontainer.errors import ImageError, ImageNotFound, KernelError
from pycontainer.image.archive.piece import Piece
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.kinds import kind_of, opened
from pycontainer.kernel.native import lib, openat2
from pycontainer.kernel.rooted import named

_BELOW = lib.RESOLVE_BENEATH | lib.RESOLVE_NO_SYMLINKS | lib.RESOLVE_NO_MAGICLINKS
_ABSENT = {errno.ENOENT, errno.ENOTDIR}


class Folder:
    """The files below ``root``, a descriptor that is borrowed. Thread-safe."""

    def __init__(self, root: Fd) -> None:
        self._root = root

    def has(self, name: str) -> bool:
        """Whether there is something by this name."""
        try:
            self._hold(name).close()
        except ImageNotFound:
            return False
        return True

    def open(self, name: str) -> Piece:
        """Open a file. Raises :class:`ImageError` for what is none, and :class:`ImageNotFound` where nothing is."""
        with self._hold(name) as held:
            mode = os.fstat(held.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ImageError(f"{name} is {kind_of(mode)}, not a regular file")
            with named(f"open {name}"):
                file = Fd(opened(held.fileno(), os.O_RDONLY, f"open {name}", kernels=False))
        return Piece(file, name, size=os.fstat(file.fileno()).st_size)

    def _hold(self, name: str) -> Fd:
        """A descriptor that stands for what is at ``name``: what it is shows before it is opened."""
        flags = os.O_PATH | os.O_NOFOLLOW
        try:
            return Fd(openat2(self._root.fileno(), os.fsencode(name), flags, 0, _BELOW))
        except KernelError as error:
            if error.errno in _ABSENT:
                raise ImageNotFound(f"there is no {name} in it") from None
            if error.errno == errno.ELOOP:
                raise ImageError(f"a directory on the way to {name} is a symbolic link") from None
            raise
