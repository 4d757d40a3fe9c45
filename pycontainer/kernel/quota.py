"""Project quotas: a bound on what a directory and all below it take on disk (quotactl(2), ext4(5), xfs(5)).

A directory is given a project id, which everything made below inherits, and the project a hard limit; what
goes beyond fails with ENOSPC or EDQUOT.  Owns the choice of ids: one that no process has claimed (a lock file
each, in /run) and under which the file system counts nothing.  Root only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

import attrs

from pycontainer.errors import KernelError, NotSupported
from pycontainer.kernel import mount
from pycontainer.kernel.native import lib, quotactl

#: Where ids are claimed, a directory for each file system and a file for each id; the lock ends with its holder.
CLAIMS = "/run/pycontainer/projects"
#: The ids that are handed out.
FIRST, COUNT = 0x5043_0000, 65536

FIX = (
    "as root put the engine root on ext4 with project quotas (tune2fs -O quota,project -Q prjquota DEVICE while it is "
    "not mounted, then mount -o prjquota) or on xfs mounted with -o prjquota"
)

#: struct fs_quota_stat of linux/dqblk_xfs.h: the version, a gap, the flags, and more.
_STATE = struct.Struct("=bxH124x")
#: struct if_dqblk of linux/quota.h: block limits in KiB, the space in bytes, inodes, times, what is valid.
_QUOTA = struct.Struct("=QQQQQQQQI4x")
#: struct fsxattr of linux/fs.h: flags, three numbers of which the last is the project, and more.
_ATTRIBUTES = struct.Struct("=IIII12x")
_KIB = 1024


def check(fd: int) -> None:
    """Does the file system of ``fd`` enforce project quotas, and may this process set them?

    Raises :class:`NotSupported` with the fix.
    """
    state = bytearray(_STATE.pack(0, 0))
    try:
        _call(fd, lib.Q_XGETQSTAT, 0, state)
        flags = _STATE.unpack(state)[1]
    except KernelError as error:
        raise NotSupported(
            f"{_place(fd)} has no project quotas ({os.strerror(error.errno or 0)})", FIX
        ) from None
    if not flags & lib.FS_QUOTA_PDQ_ENFD:
        raise NotSupported(f"{_place(fd)} does not enforce project quotas", FIX)
    try:
        usage(fd, FIRST)
    except KernelError as error:
        if error.errno != errno.EPERM:
            raise
        raise NotSupported("setting a project quota needs CAP_SYS_ADMIN", "run as root") from None


def usage(fd: int, project: int) -> tuple[int, int]:
    """What a project takes on the file system of ``fd``: bytes and inodes. Raises :class:`KernelError`."""
    data = bytearray(_QUOTA.size)
    try:
        _call(fd, lib.Q_GETQUOTA, project, data)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        return 0, 0  # xfs knows no project that has nothing and no limit
    fields = _QUOTA.unpack(data)
    return fields[2], fields[5]


@attrs.define(eq=False)
class Project:
    """A bounded directory: its project id and the claim on that. ``close`` gives both back; idempotent."""

    number: int
    device: int
    _fd: int
    _lock: int

    @classmethod
    def create(cls, fd: int, size: int) -> Project:
        """Bound the empty directory ``fd``, with all that will be made below it, to ``size`` bytes.

        Rounded up to KiB.  The fd stays the caller's.  Raises :class:`NotSupported`, :class:`KernelError`.
        """
        check(fd)
        device = os.fstat(fd).st_dev
        number, lock = _claim(fd, device)
        try:
            kept = os.dup(fd)
        except BaseException:
            os.close(lock)
            raise
        made = cls(number, device, kept, lock)
        try:
            # The bound comes first: the directory itself counts, and with it the id is seen to be in use.
            made.resize(size)
            _mark(fd, number)
        except BaseException:
            made.close()
            raise
        return made

    def leave(self) -> None:
        """Let go of the directory, which stays bounded: its id is seen to be in use for as long as it is there."""
        lock, self._lock = self._lock, -1
        os.close(self._fd)
        os.close(lock)

    def resize(self, size: int) -> None:
        """Set another bound in bytes. One below what is in use only keeps more from being added."""
        _limit(self._fd, self.number, -(-size // _KIB))

    def usage(self) -> int:
        """Bytes in use."""
        return usage(self._fd, self.number)[0]

    def close(self) -> None:
        """Lift the bound and give the id back; to be called when the directory is removed. Idempotent."""
        if self._lock < 0:
            return
        lock, self._lock = self._lock, -1
        fd, self._fd = self._fd, -1
        try:
            _limit(fd, self.number, 0)
        finally:
            os.close(fd)
            os.close(lock)


def bound(path: str, size: int, *, in_userns: bool) -> Project:
    """Bound what a new folder for a writable layer may hold to ``size`` bytes; ``in_userns``: who writes is there.

    Root of the host could take the project id away, and on ext4 is bound by no quota (CAP_SYS_RESOURCE).
    Raises :class:`NotSupported`, :class:`KernelError`.
    """
    if not in_userns:
        raise NotSupported(
            f"size={size} does not bind root of the host, which a container with userns='host' has",
            "leave userns at 'auto', or use a one-shot run",
        )
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return Project.create(fd, size)
    except NotSupported as error:
        raise NotSupported(f"size={size} of a writable layer on disk: {error.what}", error.fix) from None
    finally:
        os.close(fd)


def lift(fd: int) -> None:
    """Lift the bound of a directory that is about to be removed, if it has one of ours. Raises :class:`KernelError`."""
    data = bytearray(_ATTRIBUTES.size)
    try:
        fcntl.ioctl(fd, lib.FS_IOC_FSGETXATTR, data)
    except OSError as error:
        raise KernelError(error.errno or 0, "read the project id of a directory") from None
    project = _ATTRIBUTES.unpack(data)[-1]
    if FIRST <= project < FIRST + COUNT:
        _limit(fd, project, 0)


def _call(fd: int, command: int, project: int, data: bytearray) -> None:
    command = command << 8 | lib.PRJQUOTA  # QCMD(command, type) of linux/quota.h
    try:
        quotactl(fd, "", command, project, data, "use the project quotas of a file system")
    except KernelError as error:
        if error.errno != errno.ENOSYS:
            raise
        # Before Linux 5.14, or a file system without quotas: the older call, by the device, tells.
        quotactl(fd, mount.device(fd), command, project, data, error.step)


def _limit(fd: int, project: int, blocks: int) -> None:
    data = bytearray(_QUOTA.pack(blocks, blocks, 0, 0, 0, 0, 0, 0, lib.QIF_BLIMITS))
    _call(fd, lib.Q_SETQUOTA, project, data)


def _mark(fd: int, project: int) -> None:
    """Give a directory its project, which what is made in it inherits."""
    data = bytearray(_ATTRIBUTES.size)
    try:
        fcntl.ioctl(fd, lib.FS_IOC_FSGETXATTR, data)
        flags, *numbers, _ = _ATTRIBUTES.unpack(data)
        _ATTRIBUTES.pack_into(data, 0, flags | lib.FS_XFLAG_PROJINHERIT, *numbers, project)
        fcntl.ioctl(fd, lib.FS_IOC_FSSETXATTR, data)
    except OSError as error:
        raise KernelError(error.errno or 0, "give a directory its project id") from None


def _claim(fd: int, device: int) -> tuple[int, int]:
    """An id that is nobody's on this file system, and the lock that keeps it so."""
    folder = f"{CLAIMS}/{os.major(device)}:{os.minor(device)}"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for number in range(FIRST, FIRST + COUNT):
        lock = os.open(f"{folder}/{number:#x}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # What its last holder left is not yet removed; or somebody else on this host uses the id.
            if usage(fd, number) == (0, 0):
                return number, lock
        except BlockingIOError:
            pass
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
    raise NotSupported("every project id is in use", "end some containers")


def _place(fd: int) -> str:
    return f"the file system of {os.readlink(f'/proc/self/fd/{fd}')} ({mount.file_system(fd) or 'unknown'})"
