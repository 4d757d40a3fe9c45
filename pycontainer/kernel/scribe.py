"""The host's end of the scribe: the small program that writes the logs of this process's containers.

One for each host process, started when first needed, and anew after it was killed.  The messages are those of
``csrc/scribe_protocol.h``.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
from collections.abc import Sequence

from pycontainer.errors import KernelError, NotSupported
from pycontainer.kernel.beside import Beside
from pycontainer.kernel.native import ffi, lib, wait_usage

_MESSAGE = struct.Struct("=IIIIIIQ")
_REPLY = struct.Struct("=iIQ")
assert _MESSAGE.size == ffi.sizeof("struct pc_scribe_message")  # noqa: S101  a build that does not fit
assert _REPLY.size == ffi.sizeof("struct pc_scribe_reply")  # noqa: S101
#: How long an answer is waited for, in seconds: it waits for nothing but the disk.
_PATIENCE = 30.0


class Scribe:
    """A running scribe. Thread-safe. One is had by :func:`scribe`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: set[int] = set()
        self._program = Beside("scribe")

    def listen(
        self, number: int | None, folder: int, pipes: dict[str, int], *, newest: int, files: int, bound: int
    ) -> int:
        """Log in the directory ``folder`` what comes from these pipes, ``stdout`` and ``stderr``; its journal's number.

        The file ``newest`` is written to first.  Files are ``bound`` bytes long at most, and so many are kept.  The fds
        stay the caller's.  Raises :class:`KernelError`, and :class:`NotSupported` for too many journals.
        """
        bits = {"stdout": lib.PC_SCRIBE_OUT, "stderr": lib.PC_SCRIBE_ERR}
        streams = sum(bits[name] for name in pipes)
        fds = [folder, *(pipes[name] for name in bits if name in pipes)]
        with self._lock:
            chosen = self._free() if number is None else number
            self._used.add(chosen)
            try:
                self._ask(lib.PC_SCRIBE_LISTEN, chosen, (streams, newest, files, bound), fds)
            except BaseException:
                if number is None:
                    self._used.discard(chosen)
                raise
        return chosen

    def _free(self) -> int:
        for number in range(lib.PC_SCRIBE_MOST):
            if number not in self._used:
                return number
        raise NotSupported(
            f"a process can have {lib.PC_SCRIBE_MOST} containers that are logged",
            "start others with stdout=None, stderr=None, or remove some",
        )

    def drain(self, number: int) -> bool:
        """Have logged what was written until now; whether more may come."""
        with self._lock:
            return self._ask(lib.PC_SCRIBE_DRAIN, number)

    def close(self, number: int) -> bool:
        """The same, and let go of the journal."""
        with self._lock:
            self._used.discard(number)
            return self._ask(lib.PC_SCRIBE_CLOSE, number)

    def _ask(
        self, kind: int, journal: int, told: tuple[int, int, int, int] = (0, 0, 0, 0), fds: Sequence[int] = ()
    ) -> bool:
        streams, newest, files, bound = told
        message = _MESSAGE.pack(kind, journal, streams, newest, files, 0, bound)
        try:
            answer = self._program.send(message, fds, answer=_REPLY.size, patience=_PATIENCE)
        except OSError as error:
            raise KernelError(error.errno or 0, "ask the writer of logs") from None
        if len(answer) != _REPLY.size:
            raise KernelError(errno.EPIPE, "ask the writer of logs", hint="it was killed")
        failed, left, _ = _REPLY.unpack(answer)
        if failed:
            raise KernelError(failed, "log what a container writes")
        return bool(left)

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._program.pid

    @property
    def listens(self) -> bool:
        """Is it there?"""
        return self._program.listens

    def reap(self) -> None:
        """Let go of one that was killed."""
        wait_usage(self._program.pidfd, os.WEXITED)
        self.drop()

    def drop(self) -> None:
        """Close this process's fds without a word: for the child side of a fork."""
        self._program.drop()


_current: Scribe | None = None
_starting = threading.Lock()


def scribe() -> Scribe:
    """This process's scribe, started now if there is none."""
    global _current
    with _starting:
        if _current is not None and not _current.listens:
            _current.reap()
            _current = None
        if _current is None:
            _current = Scribe()
        return _current


def running_scribe() -> int | None:
    """The pid of this process's scribe; ``None`` if there is none."""
    return _current.pid if _current is not None and _current.listens else None


def _forget_in_fork() -> None:
    global _current, _starting
    _starting = threading.Lock()
    if _current is not None:
        _current.drop()
        _current = None


# The containers of a process stay its own when it forks: a child starts with nothing.
os.register_at_fork(after_in_child=_forget_in_fork)
