"""What is at a name: nothing, or a file of some kind, in words; and the refusal of all but regular ones."""

from __future__ import annotations

import errno
import os
import stat

from pycontainer.errors import KernelError

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def kind_of(mode: int) -> str:
    """Say in words what kind of file a ``st_mode`` is of."""
    return _KINDS.get(stat.S_IFMT(mode), "a regular file")


def check_regular(mode: int, step: str) -> None:
    """Raise :class:`KernelError`, ``EISDIR`` or ``EINVAL``, unless a ``st_mode`` is that of a regular file."""
    if not stat.S_ISREG(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise KernelError(number, step, hint=f"it is {kind_of(mode)}, not a regular file")


def status_of(dir_fd: int, name: str | bytes) -> os.stat_result | None:
    """Return what is at ``name`` in an open directory, or ``None``; links are not followed."""
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
