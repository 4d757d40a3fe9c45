"""What an ordinary user is refused of the files of a container's other users (see :mod:`.steward`, who is not)."""

from __future__ import annotations

import errno
import os
import stat

from pycontainer.kernel.descent import Descent
from pycontainer.kernel.encoding import encode
from pycontainer.kernel.rooted import OPEN_DIRECTORY, PathLike, Rooted

#: The errors after which a steward may get further.
DENIED = frozenset({errno.EACCES, errno.EPERM})


def can_read(root: Rooted, source: PathLike) -> bool:
    """May this process read all of the file or tree that a copy of ``source`` would take?

    What is absent, or changes meanwhile, is left to the copy to find. Raises :class:`InvalidArgument`.
    """
    raw = encode("path", source)
    try:
        if raw.endswith(b"/") or raw.rpartition(b"/")[2] in {b".", b".."}:
            _read_tree(root.open_directory(source).detach())
            return True
        parent, name = root.locate(source, follow=False)
        with parent:
            if _is_directory(parent.fileno(), os.fsdecode(name)):
                _read_tree(os.open(name, OPEN_DIRECTORY, dir_fd=parent.fileno()))
    except OSError as error:
        return error.errno not in DENIED
    return True


def _read_tree(top: int) -> None:
    """Enter every directory below; EACCES for what cannot be read. Takes ``top`` over."""
    with Descent(top) as walk:
        levels = [_directories(walk)]
        while levels:
            if levels[-1]:
                walk.down(levels[-1].pop())
                levels.append(_directories(walk))
            else:
                levels.pop()
                if levels:
                    walk.up()


def _directories(walk: Descent) -> list[str]:
    with os.scandir(walk.fd) as entries:
        names = [entry.name for entry in entries]
    return [name for name in names if _is_directory(walk.fd, name)]


def _is_directory(dir_fd: int, name: str) -> bool:
    """EACCES for a regular file that cannot be read."""
    mode = os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode
    if stat.S_ISREG(mode) and not os.access(
        name, os.R_OK, dir_fd=dir_fd, effective_ids=True, follow_symlinks=False
    ):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    return stat.S_ISDIR(mode)
