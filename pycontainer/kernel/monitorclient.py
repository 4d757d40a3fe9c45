"""Asking the monitor of a detached container: the messages of ``csrc/monitor_protocol.h``."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from array import array

import attrs

from pycontainer.errors import KernelError, StateError, WaitTimeout
from pycontainer.kernel.native import ffi, lib

_REQUEST = struct.Struct("=IiiI")
_REPLY = struct.Struct("=IiiiiIQ")
assert _REQUEST.size == ffi.sizeof("struct pc_monitor_request")  # noqa: S101  a build that does not fit
assert _REPLY.size == ffi.sizeof("struct pc_monitor_reply")  # noqa: S101

PHASES = ("starting", "running", "restarting", "exited", "dead")
#: How long an answer is waited for, in seconds: a monitor waits for nothing but the disk.
_PATIENCE = 30.0
_CONTROL = socket.CMSG_SPACE(3 * 4)


@attrs.frozen(kw_only=True)
class Answer:
    """What a monitor says: its container's phase, pid and last exit code, and how often there were news."""

    kind: int
    error: int
    phase: str
    pid: int
    code: int | None
    serial: int
    #: The number of the log's newest file.
    log: int


def connect(path: str) -> socket.socket:
    """Connect to a socket of :func:`listen`. Raises :class:`StateError` when nobody listens there."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    directory = None
    try:
        # Not waiting: who listens may be stopped, and have no room.
        made.setblocking(False)
        # The path itself may be longer than an address can be (unix(7)).
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        made.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
        made.setblocking(True)
    except (FileNotFoundError, ConnectionRefusedError):
        made.close()
        raise StateError("the container", "not running", "ask its monitor") from None
    except OSError as error:
        made.close()
        raise KernelError(error.errno or 0, f"connect to {path}") from None
    finally:
        if directory is not None:
            os.close(directory)
    return made


class Client:
    """A connection to a monitor; ``with`` closes it."""

    def __init__(self, path: str) -> None:
        """``path``: of the socket. Raises :class:`StateError` when no monitor listens there."""
        self._socket = connect(path)
        self._socket.setblocking(False)

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

    def given(self, number: int) -> int:
        """One of the fds that the monitor was given, by its number there; the caller's to close."""
        answer, fds = self.ask(lib.PC_MONITOR_FD, number)
        if not fds:
            raise KernelError(answer.error, f"get the fd {number} of the monitor")
        return fds[0]

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
        kind, error, phase, pid, code, log, serial = _REPLY.unpack(data)
        answer = Answer(
            kind=kind,
            error=error,
            phase=PHASES[phase],
            pid=pid,
            code=None if code < 0 else code,
            serial=serial,
            log=log,
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
