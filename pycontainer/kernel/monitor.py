"""The monitor of a detached container: starting one, and asking it.

The structures and messages are those of ``csrc/monitor_protocol.h``; what a monitor does is told in
``csrc/monitor.c``.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from array import array
from collections.abc import Sequence

import attrs

from pycontainer.errors import KernelError, StateError, WaitTimeout
from pycontainer.kernel.flat import Places, flatten
from pycontainer.kernel.native import ffi, lib, wait_usage
from pycontainer.kernel.program import program
from pycontainer.kernel.spawn import Spawn, spawn

_REQUEST = struct.Struct("=IiiI")
_REPLY = struct.Struct("=IiiiiIQ")
_READY = struct.Struct("=iiii")
assert _REQUEST.size == ffi.sizeof("struct pc_monitor_request")  # noqa: S101  a build that does not fit
assert _REPLY.size == ffi.sizeof("struct pc_monitor_reply")  # noqa: S101

PHASES = ("starting", "running", "restarting", "exited", "dead")
#: How long an answer is waited for, in seconds: a monitor waits for nothing but the disk.
_PATIENCE = 30.0
_CONTROL = socket.CMSG_SPACE(3 * 4)


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
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            table = (
                program("monitor", hidden=True),
                null,
                plan,
                folder,
                alive,
                listener,
                theirs,
                above,
                verb,
                *fds,
            )
            numbers = ((1, 0), (1, 1), (1, 2), (2, lib.PC_MONITOR_PLAN), (3, lib.PC_MONITOR_FOLDER))
            numbers += ((4, lib.PC_MONITOR_ALIVE), (5, lib.PC_MONITOR_SOCKET), (6, lib.PC_MONITOR_READY))
            numbers += ((7, lib.PC_MONITOR_ABOVE), (8, lib.PC_MONITOR_VERB))
            more = tuple((9 + i, lib.PC_MONITOR_FIRST + i) for i in range(len(fds)))
            request = Spawn(argv=(b"monitor",), program=0, fds=table, stdio=numbers + more)
            _, pidfd = spawn(request)
        finally:
            os.close(theirs)
            os.close(null)
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


@attrs.frozen(kw_only=True)
class Answer:
    """What a monitor says: its container's phase, pid and last exit code, and how often there were news."""

    kind: int
    error: int
    phase: str
    pid: int
    code: int | None
    serial: int


class Client:
    """A connection to a monitor; ``with`` closes it."""

    def __init__(self, path: str) -> None:
        """``path``: of the socket. Raises :class:`StateError` when no monitor listens there."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        directory = None
        try:
            # The path itself may be longer than an address can be (unix(7)).
            directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self._socket.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
        except (FileNotFoundError, ConnectionRefusedError):
            self._socket.close()
            raise StateError("the container", "not running", "ask its monitor") from None
        except OSError as error:
            self._socket.close()
            raise KernelError(error.errno or 0, f"connect to the monitor {path}") from None
        finally:
            if directory is not None:
                os.close(directory)

    def fileno(self) -> int:
        """The socket, readable when there are news for one that watches, or the monitor has ended."""
        return self._socket.fileno()

    def ask(self, kind: int, value: int = 0, value2: int = 0) -> tuple[Answer, list[int]]:
        """Make a request: the answer, and fds that are the caller's. Raises :class:`StateError` if it has ended."""
        try:
            self._socket.send(_REQUEST.pack(kind, value, value2, 0))
            while True:
                if not self._wait(_PATIENCE):
                    raise WaitTimeout(f"the monitor did not answer within {_PATIENCE:g} s")
                answer, fds = self._receive()
                if answer.kind != lib.PC_MONITOR_NEWS:
                    return answer, fds
        except (BrokenPipeError, ConnectionResetError):
            raise StateError("the container", "ended", "ask its monitor") from None

    def _wait(self, timeout: float | None) -> bool:
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        return bool(poller.poll(None if timeout is None else max(0, timeout) * 1000))

    def _receive(self) -> tuple[Answer, list[int]]:
        # Not socket.recv_fds: it ignores its flags.
        data, control, _, _ = self._socket.recvmsg(_REPLY.size, _CONTROL, socket.MSG_CMSG_CLOEXEC)
        fds = array("i")
        for _level, _type, piece in control:
            fds.frombytes(piece[: len(piece) - len(piece) % fds.itemsize])
        if len(data) != _REPLY.size:
            for fd in fds:
                os.close(fd)
            raise ConnectionResetError
        kind, error, phase, pid, code, _, serial = _REPLY.unpack(data)
        answer = Answer(
            kind=kind,
            error=error,
            phase=PHASES[phase],
            pid=pid,
            code=None if code < 0 else code,
            serial=serial,
        )
        return answer, list(fds)

    def news(self, timeout: float | None) -> Answer | None:
        """Wait for news of one that watches, and take all there are: the last; ``None`` after ``timeout`` seconds.

        Raises :class:`StateError` when the monitor has ended.
        """
        self._wait(timeout)
        found = None
        try:
            while True:
                found, _ = self._receive()
        except BlockingIOError:
            return found
        except ConnectionResetError:
            if found is None:
                raise StateError("the container", "ended", "wait for news") from None
            return found

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def listen(folder: str, name: str) -> socket.socket:
    """A socket that listens at ``name`` in the folder, for the caller alone; one that is there is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    partial = f".{name}.{os.urandom(4).hex()}"
    try:
        listener.bind(f"/proc/self/fd/{directory}/{partial}")
        os.chmod(f"/proc/self/fd/{directory}/{partial}", 0o600)
        listener.listen(128)
        os.rename(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException as error:
        listener.close()
        if isinstance(error, OSError):
            raise KernelError(error.errno or 0, f"listen at {folder}/{name}") from None
        raise
    finally:
        os.close(directory)
    return listener


def deadline_of(timeout: float | None) -> float | None:
    """The moment of the monotonic clock at which a time is over."""
    return None if timeout is None else time.monotonic() + timeout


def left_of(deadline: float | None) -> float | None:
    """The seconds until then, not below 0."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
