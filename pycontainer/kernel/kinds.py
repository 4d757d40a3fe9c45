"""Kinds of files, in words, and the refusal of all but regular ones."""

from __future__ import annotations

import errno
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
