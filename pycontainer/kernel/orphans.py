"""Children that nobody holds any more and that had not ended then: reaped in passing, later."""

from __future__ import annotations

import errno
import os

from pycontainer.kernel.fd import Fd

_WALL = 0x40000000
_pidfds: list[Fd] = []


def add(pidfd: Fd) -> None:
    """Take over the pidfd of a child that still runs."""
    _pidfds.append(pidfd)


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
