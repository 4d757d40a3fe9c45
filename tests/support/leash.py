"""A reaper under test: started as the library starts it, told what a host tells it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import subprocess
import termios
from pathlib import Path

from tests.support.native import Program

# csrc/reaper_protocol.h
PROCESS, TREE, CGROUP, FORGET = 1, 2, 3, 4
LOCK, USERNS = 1, 2

Sleepers = list[subprocess.Popen[bytes]]

#: What a sender gets when the reaper takes no more.
SHUT = (BrokenPipeError, ConnectionResetError)


def sleeper(sleepers: Sleepers) -> subprocess.Popen[bytes]:
    """Start a process that sleeps, and that the fixture ends."""
    sleepers.append(subprocess.Popen(["sleep", "1000"]))
    return sleepers[-1]


class Leash:
    """A reaper, the process it takes for its host, and the host's end of the socket."""

    def __init__(
        self, reaper: Path, prefix: tuple[str, ...] = (), more: dict[int, int] | None = None
    ) -> None:
        self.host = subprocess.Popen(["sleep", "1000"])
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        host = os.pidfd_open(self.host.pid)
        try:
            self.reaper = Program([*prefix, reaper], {3: theirs.fileno(), 4: host, **(more or {})})
        finally:
            theirs.close()
            os.close(host)

    def tell(self, kind: int, name: str | bytes = b"", *fds: int, number: int = 0, flags: int = 0) -> None:
        message = struct.pack("=IIQ256s", kind, flags, number, os.fsencode(name))
        socket.send_fds(self.socket, [message], list(fds), socket.MSG_NOSIGNAL)

    def process(self, pid: int, number: int = 0) -> None:
        fd = os.pidfd_open(pid)
        self.tell(PROCESS, b"", fd, number=number)
        os.close(fd)

    def tree(self, path: Path, number: int = 1, *more: int, flags: int = 0) -> None:
        parent = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.tell(TREE, path.name, parent, *more, number=number, flags=flags)
        finally:
            os.close(parent)

    def cgroup(self, *paths: Path, number: int = 1) -> None:
        parents = [os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY) for path in paths]
        self.tell(CGROUP, paths[0].name, *parents, number=number)
        for parent in parents:
            os.close(parent)

    def forget(self, number: int) -> None:
        self.tell(FORGET, number=number)

    def kill_host(self) -> None:
        """As any user of kill -9; who sent what before has sent it."""
        self.host.kill()
        self.host.wait()

    def end(self) -> int:
        """The host dies, and so does every copy of its socket; the reaper's exit status."""
        self.kill_host()
        self.socket.close()
        return self.reaper.wait()

    def settled(self) -> bool:
        """Whether it has handled all that was sent: nothing of it takes space in the socket any more."""
        queued = fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4)  # SIOCOUTQ of unix(7)
        return struct.unpack("i", queued) == (0,)

    def shut(self) -> bool:
        """Whether the reaper takes no more."""
        poller = select.poll()
        poller.register(self.socket, 0)
        return bool(poller.poll(0))

    def close(self) -> None:
        self.host.kill()
        self.host.wait()
        self.socket.close()
        with contextlib.suppress(TimeoutError):
            self.reaper.wait(20)
        self.reaper.__exit__()
