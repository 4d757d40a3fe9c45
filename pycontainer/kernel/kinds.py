"""What is at a name: nothing, or a file of some kind, in words; and the refusal of all but regular ones.

A hostile tree may have anything at a name, and another thing a moment later.  So a file is first held by a
descriptor that opens nothing (``O_PATH``), looked at, and opened through that.
"""

from __future__ import annotations

import errno
import os
import stat

from pycontainer.errors import KernelError
from pycontainer.kernel import native
from pycontainer.kernel.native import lib

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}

#: File systems whose content is the kernel's, made for who opens it: the host's root reads there what the
#: container may not (kallsyms), and takes away what it reads (kmsg).
_KERNELS = {
    lib.PROC_SUPER_MAGIC, lib.SYSFS_MAGIC, lib.CGROUP_SUPER_MAGIC, lib.CGROUP2_SUPER_MAGIC, lib.BPF_FS_MAGIC,
    lib.DEBUGFS_MAGIC, lib.TRACEFS_MAGIC, lib.SECURITYFS_MAGIC, lib.PSTOREFS_MAGIC, lib.EFIVARFS_MAGIC,
    lib.BINFMTFS_MAGIC, lib.SELINUX_MAGIC,
}  # fmt: skip


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


def opened(fd: int, flags: int, step: str, *, kernels: bool) -> int:
    """Open the regular file that ``fd``, an ``O_PATH`` descriptor, stands for; never blocks.

    ``kernels``: it may be one of the kernel's own, as in /proc.  The result is the caller's to close.
    Raises :class:`KernelError`, ``EISDIR`` or ``EINVAL``, without having opened what is refused.
    """
    check_regular(os.fstat(fd).st_mode, step)
    if not kernels and native.file_system(fd) in _KERNELS:
        hint = "it is a file of the kernel's: name it by its path below /proc or /sys, or read it on the host"
        raise KernelError(errno.EINVAL, step, hint=hint)
    how = (flags & ~os.O_NOFOLLOW) | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    # A magic link of our own /proc, to this inode and no other.
    return os.open(f"/proc/self/fd/{fd}", how)
