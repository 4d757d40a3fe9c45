"""The library's own static programs, each executed from a sealed memfd.

A process inside a container sees such a program as ``/proc/1/exe``.  What it sees there is neither the
host's interpreter nor a file of the host, and the seals make every write to it fail (memfd_create(2),
F_SEAL_WRITE; the cure of CVE-2019-5736).
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import sys
import threading
from functools import cache
from pathlib import Path

from pycontainer.errors import KernelError, NotSupported

#: linux/fcntl.h, Linux 6.3: the mode's execute bits cannot be changed; Python has no name for it.
_F_SEAL_EXEC = 0x20
#: linux/memfd.h, Linux 6.3: with sysctl vm.memfd_noexec only a file that asks for it can be executed.
_MFD_EXEC = 0x10

FOLDER = Path(__file__).parent / "programs"

#: After how many milliseconds of silence a process is looked at.
_PATIENCE = 50
_lock = threading.Lock()


def program(name: str, *, hidden: bool = False) -> int:
    """The fd of the program ``name`` (``init``, ``reaper``), sealed; one for the life of the process.

    The fd belongs to this module: do not close it.  What executes one that is ``hidden``, and may not read it,
    cannot be traced from its first instruction on: only its owner may (execve(2), PR_SET_DUMPABLE of prctl(2)).
    """
    with _lock:  # threads that start the first containers at once get the same one
        return _sealed(name, 0o511 if hidden else 0o555)


@cache
def _sealed(name: str, mode: int) -> int:
    try:
        content = (FOLDER / name).read_bytes()
    except FileNotFoundError:
        raise NotSupported(
            f"the program {name} is not built", "run 'make build', or install a wheel"
        ) from None
    fd = _new(name)
    os.write(fd, content)
    os.fchmod(fd, mode)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    try:
        # A container of an ordinary user owns the file, too, and one that may trace its init can reach it:
        # without this it could take the permission to execute it from all containers of this process.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals | _F_SEAL_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def _new(name: str) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | _MFD_EXEC)
    except OSError as error:
        if error.errno == errno.EACCES:
            raise NotSupported(
                "this host executes nothing that is only in memory",
                "set sysctl vm.memfd_noexec to 1 or 0",
            ) from None
        if error.errno != errno.EINVAL:
            raise
    return os.memfd_create(name, flags)


def outcome(report: int, pid: int) -> int:
    """Wait until ``init`` has executed the program it was started for: 0, or the errno of the refusal.

    ``report`` is the reading end of the pipe that it was given, ``pid`` a child of this process.  Others may
    hold the writing end open, a fork of this process or, for its first moments, programs of the container;
    and those may stop it.  So the end of file is not trusted to come.  Raises :class:`KernelError`.
    """
    poller = select.poll()
    poller.register(report, select.POLLIN)
    while not poller.poll(_PATIENCE):
        if not _is_init(pid):
            return 0
        if _state(pid) in {"T", "t"}:
            raise KernelError(errno.EINTR, "start: the process was stopped from inside before it executed")
    return int.from_bytes(os.read(report, 4), sys.byteorder)


def _is_init(pid: int) -> bool:
    try:
        found = os.stat(f"/proc/{pid}/exe")
    except OSError:  # it has ended, or runs what this user may not look at
        return False
    return any(os.path.samestat(found, os.fstat(program("init", hidden=hidden))) for hidden in (True, False))


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
