"""The one importer of the native module: its constants, and its small calls as Python functions.

The big call, ``pc_spawn``, is wrapped in :mod:`pycontainer.kernel.spawn`.
"""

from __future__ import annotations

import errno
import os

import attrs

from pycontainer._native import ffi, lib
from pycontainer.errors import KernelError

__all__ = [
    "Exit", "bpf", "ffi", "file_system", "lib", "is_empty", "openat2", "pidfd_getfd", "quotactl", "read_file", "renameat2",
    "set_file_ids", "stamp", "syncfs", "uncleared", "wait_usage", "write_file",
]  # fmt: skip


@attrs.frozen(kw_only=True)
class Exit:
    """How a process ended and what it used, as waitid(2) tells it.

    ``code`` is ``CLD_EXITED``, ``CLD_KILLED`` or ``CLD_DUMPED``; ``status`` the exit status or the signal.
    Times in seconds, ``max_rss`` in bytes: of the process and all its descendants that were waited for.
    """

    code: int
    status: int
    cpu_user: float
    cpu_system: float
    max_rss: int


#: As ``ffi.new``, for what is about to be filled.
uncleared = ffi.new_allocator(should_clear_after_alloc=False)


def openat2(dir_fd: int, path: bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` from ``dir_fd`` as openat2(2) does (Linux 5.6); the fd is the caller's to close.

    ``O_CLOEXEC`` is always set.  Raises :class:`KernelError`.
    """
    fd = lib.pc_openat2(dir_fd, path, flags | os.O_CLOEXEC, mode, resolve)
    if fd < 0:
        raise KernelError(-fd, f"open {os.fsdecode(path)}")
    return fd


def renameat2(old_dir: int, old_path: bytes, new_dir: int, new_path: bytes, flags: int = 0) -> None:
    """Rename as renameat2(2) does: with ``RENAME_NOREPLACE`` or ``RENAME_EXCHANGE``, atomically.

    Raises :class:`KernelError`.
    """
    ret = lib.pc_renameat2(old_dir, old_path, new_dir, new_path, flags)
    if ret < 0:
        raise KernelError(-ret, f"rename {os.fsdecode(old_path)} to {os.fsdecode(new_path)}")


def wait_usage(pidfd: int, options: int) -> Exit | None:
    """Reap the process of ``pidfd``: how it ended, or ``None`` if it still runs (``WNOHANG`` in ``options``).

    Waits with ``__WALL``, so that children without an exit signal are seen.  Raises :class:`KernelError`.
    """
    ended = ffi.new("struct pc_ended *")
    ret = lib.pc_wait(pidfd, options, ended)
    while ret == -errno.EINTR:
        # The host's signal handlers run here, and end the wait if they raise (PEP 475).
        ret = lib.pc_wait(pidfd, options, ended)
    if ret < 0:
        raise KernelError(-ret, "wait for a process")
    if ret == 0:
        return None
    return Exit(
        code=ended.code,
        status=ended.status,
        cpu_user=ended.cpu_user / 1e6,
        cpu_system=ended.cpu_system / 1e6,
        max_rss=ended.max_rss,
    )


def set_file_ids(uid: int, gid: int) -> None:
    """Set the ids by which the calling thread creates and reaches files (setfsuid(2)); of no other thread.

    Its capabilities, the process's dumpable flag and the thread's parent death signal stay as they are.
    Raises :class:`KernelError`.
    """
    ret = lib.pc_set_file_ids(uid, gid)
    if ret < 0:
        raise KernelError(-ret, f"take the file system ids {uid}:{gid}")


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """A copy of another process's file ``fd``, the caller's to close (pidfd_getfd(2), Linux 5.6).

    Needs the right to trace the process (ptrace(2)).  Raises :class:`KernelError`.
    """
    copy = lib.pc_pidfd_getfd(pidfd, fd)
    if copy < 0:
        raise KernelError(-copy, "copy a file of another process")
    return copy


def bpf(command: int, attributes: bytearray, step: str) -> int:
    """bpf(2) with a ``union bpf_attr`` as its caller packed it; ``step`` says in an error what was done.

    ``attributes`` is read, and by some commands written, in place.

    Pointers in it must stay good until this returns.  Raises :class:`KernelError`.
    """
    ret = lib.pc_bpf(command, ffi.from_buffer("char[]", attributes), len(attributes))
    if ret < 0:
        raise KernelError(-ret, step)
    return ret


def quotactl(fd: int, device: str, command: int, number: int, data: bytearray, step: str) -> None:
    """quotactl_fd(2) on the file system of ``fd``, or before Linux 5.14 quotactl(2) on its ``device``, if not "".

    ``data`` is read and written in place.  Raises :class:`KernelError` with ``step``.
    """
    ret = lib.pc_quotactl(fd, os.fsencode(device), command, number, ffi.from_buffer("char[]", data))
    if ret < 0:
        raise KernelError(-ret, step)


#: What one read of :func:`read_file` takes at most.
_SMALL = 4096


def read_file(dir_fd: int, name: bytes) -> bytes | None:
    """Read a small file of the kernel's own whole; ``None`` for one that does not fit into 4 KiB.

    One call into the kernel's three, for those who read a dozen of them.  Raises ``OSError``.
    """
    buffer = uncleared("char[]", _SMALL)
    length = lib.pc_read_file(dir_fd, name, buffer, _SMALL)
    if length < 0:
        raise OSError(-length, os.strerror(-length), os.fsdecode(name))
    return None if length == _SMALL else ffi.buffer(buffer, length)[:]


def write_file(dir_fd: int, name: bytes, data: bytes) -> None:
    """Write to a file of the kernel's own in one call. Raises ``OSError``."""
    length = lib.pc_write_file(dir_fd, name, data, len(data))
    if length < 0:
        raise OSError(-length, os.strerror(-length), os.fsdecode(name))


def stamp(root: int, path: bytes) -> tuple[int, ...] | None:
    """What differs when a file below ``root`` was written or replaced, its time of change last; ``None``: unknown.

    Device, inode, size, and nanoseconds.
    """
    found = ffi.new("int64_t[4]")
    return None if lib.pc_stamp(root, path, found) < 0 else tuple(found)


def file_system(fd: int) -> int:
    """Which file system a file is on: one of the numbers of linux/magic.h. Raises ``OSError``."""
    found = int(lib.pc_file_system(fd))
    if found < 0:
        raise OSError(-found, os.strerror(-found))
    return found


def syncfs(fd: int) -> None:
    """Write out everything of the file system that ``fd`` is on (syncfs(2)); errors of the writing are told.

    Raises :class:`KernelError`.
    """
    ret = lib.pc_syncfs(fd)
    if ret < 0:
        raise KernelError(-ret, "write the file system out")


def is_empty(dir_fd: int) -> bool:
    """Whether there is nothing in a directory, which may be open as a path only; false where that cannot be told."""
    return bool(lib.pc_is_empty(dir_fd) == 1)
