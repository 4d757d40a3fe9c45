"""Children that nobody holds any more and that had not ended then: reaped in passing, later."""

from __future__ import annotations

import errno
import os
import select
import signal
from contextlib import suppress

from pycontainer.kernel.fd import Fd

_WALL = 0x40000000
_pidfds: list[Fd] = []
#: How long an end is waited for, in milliseconds.
_PATIENCE = 1000


def add(pidfd: Fd) -> None:
    """Take over the pidfd of a child that still runs."""
    _pidfds.append(pidfd)


def end(pidfd: int) -> None:
    """Kill a child, and reap it now; or later, where a tracer of the container keeps it a zombie (ptrace(2))."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.poll(_PATIENCE)
    add(Fd(pidfd))
    collect()


def any_left() -> bool:
    """Whether there are some that can only be asked for again."""
    return bool(_pidfds)


def collect() -> None:
    """Reap those that have ended."""
    for _ in range(len(_pidfds)):
        try:
            pidfd = _pidfds.pop(0)
        except IndexError:
            return  # another thread is at the same
        try:
            running = os.waitid(os.P_PIDFD, pidfd.fileno(), os.WEXITED | os.WNOHANG | _WALL) is None
        except OSError as error:
            if error.errno != errno.ECHILD:
                raise
            running = False
        if running:
            _pidfds.append(pidfd)
        else:
            pidfd.close()
