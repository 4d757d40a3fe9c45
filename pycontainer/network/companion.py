"""A program of ours beside the host's process, which ends with that: started when first needed, told over a socket.

The host's end.  It is an interpreter that runs ``serve`` of one module of this package; its end of the socket is fd 3,
and each packet is a JSON text, with open files beside it.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from pycontainer.errors import NotSupported
from pycontainer.kernel import capabilities
from pycontainer.kernel.encoding import encode
from pycontainer.kernel.ended import has_ended
from pycontainer.kernel.leash import spawn_leashed
from pycontainer.kernel.spawn import Capabilities, Spawn
from pycontainer.kernel.userns import release

#: Its end of the socket, and how large a packet is at most.
CONTROL = 3
LIMIT = 65535
#: How long it is waited for, in seconds.
_PATIENCE = 5.0
# -I -S: nothing but the given path decides what is imported.
_PROGRAM = "import sys; path = sys.argv.pop(); sys.path[:] = sys.argv[1:]; from {} import serve; serve(path)"


@contextmanager
def interpreter(program: str, argument: str, *fds: int) -> Iterator[Spawn]:
    """An interpreter of its own with a program, told ``argument``; the first of ``fds`` is its :data:`CONTROL`.

    Raises :class:`NotSupported` where ``sys.executable`` cannot be started.
    """
    if not sys.executable:
        raise NotSupported(
            "networks need an interpreter of their own, and sys.executable names none",
            "let sys.executable be the path of this Python",
        )
    path = (each for each in sys.path if each)
    words = (sys.executable, "-I", "-S", "-c", program, *path, argument)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield Spawn(
            argv=tuple(encode("argv", each) for each in words),
            env=(b"LC_ALL=C.UTF-8",),
            candidates=(os.fsencode(sys.executable),),
            fds=(null, *fds),
            stdio=((0, 0), (0, 1), (0, 2), (1, CONTROL)),
            rlimits=((resource.RLIMIT_NOFILE, most, most),),
            workdir=b"/",
        )
    finally:
        os.close(null)


class Companion:
    """The program that ``module`` is, told ``argument``; with the rights of this process, or in the namespaces that it
    ``joins``, the first of which is a user namespace, without any.

    Not thread-safe; the constructor touches nothing, :meth:`end` ends it.
    """

    def __init__(self, module: str, argument: str = "", joins: Sequence[tuple[int, int]] = ()) -> None:
        self._module = module
        self._argument = argument
        self._joins = joins
        self._socket: socket.socket | None = None
        self._pidfd = -1

    @property
    def pidfd(self) -> int:
        """Readable once it has ended; -1: it was not started."""
        return self._pidfd

    @property
    def has_ended(self) -> bool:
        """Did somebody kill it?"""
        return self._pidfd >= 0 and has_ended(self._pidfd)

    def tell(self, told: dict[str, Any], fds: Sequence[int] = ()) -> bool:
        """Send it something; ``False`` when it is not there: it was never started, or somebody killed it."""
        if self._socket is None:
            return False
        try:
            socket.send_fds(self._socket, [json.dumps(told).encode()], fds)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def start(self) -> None:
        """Start it, anew if it is there. Raises :class:`NotSupported` where ``sys.executable`` cannot be started."""
        self.end()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._pidfd = self._spawn(theirs.fileno())
            except BaseException:
                ours.close()
                raise
        self._socket = ours

    def _spawn(self, control: int) -> int:
        program = _PROGRAM.format(self._module)
        with interpreter(program, self._argument, control, *(fd for fd, _ in self._joins)) as plain:
            _, pidfd = spawn_leashed(
                attrs.evolve(
                    plain,
                    joins=tuple((2 + place, kind) for place, (_, kind) in enumerate(self._joins)),
                    ns_root=bool(self._joins),
                    capabilities=Capabilities(bounding=0, permitted=0, last=capabilities.last())
                    if self._joins
                    else None,
                    no_new_privs=True,
                )
            )
        return pidfd

    def ask(self, told: dict[str, Any]) -> None:
        """Send it something, and wait until it says that it is done with it; one that says nothing is ended."""
        if self.tell(told) and self._socket is not None:
            self._socket.settimeout(_PATIENCE)
            try:
                self._socket.recv(1)
            except (ConnectionResetError, TimeoutError):
                self.end()
            else:
                self._socket.settimeout(None)

    def end(self) -> None:
        """End it. Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            release(pidfd)
