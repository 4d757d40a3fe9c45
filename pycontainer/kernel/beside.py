"""Programs of our own that run beside this process for as long as it lives: the reaper, the scribe."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Sequence

from pycontainer.errors import KernelError
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.program import program
from pycontainer.kernel.spawn import Spawn, spawn


class Beside:
    """One of them, with a socket to it. Started by the constructor; :meth:`drop` closes this process's fds."""

    def __init__(self, name: str) -> None:
        """It gets its end of the socket as fd 3, and a pidfd of this process as fd 4. Raises :class:`KernelError`."""
        try:
            host = Fd(os.pidfd_open(os.getpid()))
        except OSError as error:
            raise KernelError(error.errno or 0, "open a pidfd of this process") from None
        with host:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._start(name, ours, theirs, host.fileno())

    def _start(self, name: str, ours: socket.socket, theirs: socket.socket, host: int) -> None:
        try:
            request = Spawn(
                argv=(name.encode(),),
                program=0,
                fds=(program(name), theirs.fileno(), host),
                stdio=((1, 3), (2, 4)),
            )
            self.pid, self.pidfd = spawn(request)
            # Open until this process has ended, and no sooner: it is no object that could be collected, with a warning.
            self.socket = ours.detach()
        finally:
            ours.close()
            theirs.close()

    def send(
        self, message: bytes, fds: Sequence[int], *, answer: int = 0, patience: float | None = None
    ) -> bytes:
        """Send it a message, and wait for an answer of at most so many bytes if there is to be one. Raises :class:`OSError`."""
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=self.socket)
        try:
            if patience is not None:
                ours.settimeout(patience)
            socket.send_fds(ours, [message], list(fds))
            return ours.recv(answer) if answer else b""
        finally:
            ours.detach()

    @property
    def listens(self) -> bool:
        """Does it take messages?"""
        poller = select.poll()
        poller.register(self.socket, 0)
        return not poller.poll(0)

    def drop(self) -> None:
        """Close the fds without ending it: for one that has ended, and for the child side of a fork."""
        os.close(self.socket)
        os.close(self.pidfd)
