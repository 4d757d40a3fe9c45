"""The host's side of a program that waits, in its container, for what it is to execute (``csrc/order.c``).

Owns the socket over which it is told; the process is its starter's.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence

from pycontainer.errors import KernelError
from pycontainer.kernel.program import outcome

#: ``struct pc_order``: bytes of text, and how many of each it has.
_HEAD = struct.Struct("=IIIII")
#: ``PC_ORDER_WORKDIR``: it is the working directory that was refused.
_WORKDIR = 1 << 16
#: Nobody inside can keep it from reading, in seconds.
_PATIENCE = 10.0


class NotTaken(Exception):
    """Who waited was ended meanwhile, or cannot enter the working directory: nothing of the order was done."""


class Order:
    """One order to be given; :meth:`close` without one ends who waits for it.

    ``theirs`` is the other end, for the start of the waiting program, after which :meth:`close_theirs` is due.
    """

    __slots__ = ("_ours", "_refused", "_theirs")

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ours.settimeout(_PATIENCE)
        self._refused: int | None = None

    @property
    def theirs(self) -> int:
        """The other end, which stays owned here."""
        return self._theirs.fileno()

    def close_theirs(self) -> None:
        """Close the other end: the waiting program has its own. Idempotent."""
        self._theirs.close()

    def give(
        self,
        paths: Sequence[bytes],
        argv: Sequence[bytes],
        env: Sequence[bytes],
        fds: tuple[int, int, int],
        *,
        workdir: bytes | None = None,
    ) -> None:
        """Have the first of ``paths`` executed that can be.

        ``fds`` become the program's 0, 1 and 2; ``workdir`` is entered first.  Strings are without NUL.
        Raises :class:`NotTaken` when nobody waits any more, and :class:`KernelError` when who waits does not read.
        """
        places = () if workdir is None else (workdir,)
        text = b"\0".join((*places, *paths, *argv, *env, b""))
        head = _HEAD.pack(len(text), len(places), len(paths), len(argv), len(env))
        try:
            message = memoryview(head + text)
            sent = socket.send_fds(self._ours, [message], list(fds), socket.MSG_NOSIGNAL)
            if sent < len(message):
                self._ours.sendall(message[sent:])
        except (BrokenPipeError, ConnectionResetError):
            raise NotTaken("it has ended") from None
        except TimeoutError:
            raise KernelError(errno.ETIMEDOUT, "tell a waiting container what to execute") from None

    def outcome(self, pid: int) -> None:
        """Wait until the program is executed or refused; what of it, :meth:`refusal` tells.

        Raises :class:`NotTaken`, and :class:`KernelError` as :func:`program.outcome` does.
        """
        try:
            failed = outcome(self._ours.fileno(), pid)
        except ConnectionResetError:
            raise NotTaken("it has ended") from None
        if failed & _WORKDIR:
            raise NotTaken(os.strerror(failed & ~_WORKDIR))
        self._refused = failed

    def refusal(self) -> int:
        """Why nothing was executed, an errno, or 0: once the process has ended."""
        if self._refused is None:
            try:
                told = self._ours.recv(4, socket.MSG_DONTWAIT)
            except OSError:  # killed before it had read; or a fork of this process has the other end
                told = b""
            self._refused = int.from_bytes(told, sys.byteorder)
        return self._refused

    def close(self) -> None:
        """Close both ends; idempotent."""
        self._ours.close()
        self._theirs.close()
