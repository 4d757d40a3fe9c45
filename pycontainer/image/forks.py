"""What a forked copy of the host process must let go of: locks held by open files, and database connections.

An flock(2) belongs to the open file that parent and child share, so a child that kept it would hold its parent's
lock for as long as it lives.  An SQLite connection must not cross a fork at all ("How To Corrupt An SQLite
Database File", 2.6); an idle one may be closed in the child.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet

from pycontainer.kernel.fd import Fd


class Party(Protocol):
    """Who has a lock to be taken before a fork, so that nothing is half-way in the child."""

    lock: threading.RLock

    def after_fork(self) -> None:
        """Called in the child, whose only thread holds ``lock``: let go, and make a new one."""
        ...


_parties: WeakSet[Party] = WeakSet()
_files: WeakSet[Fd] = WeakSet()
#: Held while a party is added, and while a file is opened.
_joining = threading.Lock()
_opening = threading.Lock()
_stopped: list[Party] = []


def join(party: Party) -> None:
    """Have this party's lock taken at every fork. It is forgotten when nobody else knows it."""
    with _joining:
        _parties.add(party)


def open_own(path: str, flags: int, mode: int = 0o600, *, dir_fd: int) -> Fd:
    """Open a file whose lock is not for forked children: they close it. Raises ``OSError``."""
    with _opening:
        fd = Fd(os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, mode, dir_fd=dir_fd))
        _files.add(fd)
        return fd


def _before() -> None:
    _joining.acquire()
    for party in list(_parties):
        party.lock.acquire()
        _stopped.append(party)
    _opening.acquire()


def _in_parent() -> None:
    _opening.release()
    while _stopped:
        _stopped.pop().lock.release()
    _joining.release()


def _in_child() -> None:
    for fd in list(_files):
        fd.close()
    _files.clear()
    _opening.release()
    while _stopped:
        _stopped.pop().after_fork()
    _joining.release()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
