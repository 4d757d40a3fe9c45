"""The monitor of a detached container: what it is told, and its start.

The structures and messages are those of ``csrc/monitor_protocol.h``; what a monitor does is told in
``csrc/monitor.c``.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence

import attrs

from pycontainer.errors import KernelError
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.flat import Places, flatten
from pycontainer.kernel.native import ffi, lib, wait_usage
from pycontainer.kernel.program import program
from pycontainer.kernel.spawn import Spawn, spawn

_READY = struct.Struct("=iiii")
assert _READY.size == ffi.sizeof("struct pc_monitor_ready")  # noqa: S101  a build that does not fit


class FdList:
    """The fds of a monitor, by the numbers that they have there."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def add(self, fd: int) -> int:
        """Have the monitor get this fd, which stays the caller's; its number there."""
        if fd not in self.fds:
            self.fds.append(fd)
        return int(lib.PC_MONITOR_FIRST) + self.fds.index(fd)


@attrs.frozen(kw_only=True)
class Program:
    """A start that the monitor makes; fds in ``request`` are numbers of the monitor."""

    request: Spawn
    places: Places


@attrs.frozen(kw_only=True)
class Check:
    """A health check: its program, and when it is run; times in milliseconds."""

    program: Program
    interval: int
    timeout: int
    start_period: int
    start_interval: int
    failures: int


@attrs.frozen(kw_only=True)
class Plan:
    """What a monitor is to do; numbers of fds are the monitor's."""

    id: str
    boot: str
    start: Program
    health: Check | None
    restart: int
    retries: int
    tty: bool
    input: bool
    remove: bool
    stop_signal: int
    userns: int | None
    oom: int
    cgroup: str
    cgroups: Sequence[int]
    log_size: int
    log_files: int
    log_number: int
    fd_count: int
    #: What makes the container's processes at the first start, in the place of ``start``.
    restore: Program | None = None

    def encode(self) -> bytes:
        """The file that the monitor reads."""
        native = ffi.new("struct pc_monitor_plan *")
        native.magic = lib.PC_MONITOR_MAGIC
        flags = lib.PC_MONITOR_TTY if self.tty else 0
        flags |= lib.PC_MONITOR_INPUT if self.input else 0
        flags |= lib.PC_MONITOR_REMOVE if self.remove else 0
        flags |= lib.PC_MONITOR_USERNS if self.userns is not None else 0
        native.flags, native.userns = flags, -1 if self.userns is None else self.userns
        native.restart, native.retries = self.restart, self.retries
        native.stop_signal, native.oom = self.stop_signal, self.oom
        native.cgroup_count = len(self.cgroups)
        native.cgroups[0 : len(self.cgroups)] = list(self.cgroups)
        native.log_files, native.log_size = self.log_files, self.log_size
        native.log_number = self.log_number
        native.fd_count = self.fd_count
        native.cgroup, native.id, native.boot = self.cgroup.encode(), self.id.encode(), self.boot.encode()
        head = ffi.sizeof("struct pc_monitor_plan")
        pieces = [flatten(self.start.request, self.start.places)]
        native.start = head
        if self.health is not None:
            check = self.health
            pieces[0] += b"\0" * (-len(pieces[0]) % 8)
            native.health = head + len(pieces[0])
            pieces.append(flatten(check.program.request, check.program.places))
            native.interval, native.timeout = check.interval, check.timeout
            native.start_period, native.start_interval = check.start_period, check.start_interval
            native.failures = check.failures
        if self.restore is not None:
            pieces[-1] += b"\0" * (-len(pieces[-1]) % 8)
            native.restore = head + sum(map(len, pieces))
            pieces.append(flatten(self.restore.request, self.restore.places))
        native.size = head + sum(map(len, pieces))
        return bytes(ffi.buffer(native)) + b"".join(pieces)


@attrs.frozen
class Ready:
    """How the first start went: ``pid``, or the step, errno and number of the operation that failed."""

    step: int
    error: int
    op: int
    pid: int


def start(
    *, plan: int, folder: int, alive: int, listener: int, above: int, verb: int, fds: Sequence[int]
) -> Ready:
    """Start a monitor with these fds, which stay the caller's, and wait for the container's start.

    It is no child of this process.  Raises :class:`KernelError` when it could not begin its work.
    """
    ready, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        with Fd(theirs), Fd(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)) as null:
            table = (
                program("monitor", hidden=True),
                null.fileno(),
                plan,
                folder,
                alive,
                listener,
                theirs,
                above,
                verb,
                *fds,
            )
            places: tuple[int, ...] = (
                0,
                1,
                2,
                lib.PC_MONITOR_PLAN,
                lib.PC_MONITOR_FOLDER,
                lib.PC_MONITOR_ALIVE,
            )
            places += (lib.PC_MONITOR_SOCKET, lib.PC_MONITOR_READY, lib.PC_MONITOR_ABOVE, lib.PC_MONITOR_VERB)
            numbers = tuple(zip((1, 1, 1, *range(2, 9)), places, strict=True))
            more = tuple((9 + i, lib.PC_MONITOR_FIRST + i) for i in range(len(fds)))
            request = Spawn(argv=(b"monitor",), program=0, fds=table, stdio=numbers + more)
            _, pidfd = spawn(request)
        try:
            # The process that was started has another one go on, and ends.
            ended = wait_usage(pidfd, os.WEXITED)
        finally:
            os.close(pidfd)
        answer = os.read(ready, _READY.size)
    finally:
        os.close(ready)
    if len(answer) != _READY.size:
        status = None if ended is None else ended.status
        raise KernelError(errno.EIO, "start the monitor", hint=f"it ended at once, with status {status}")
    return Ready(*_READY.unpack(answer))
