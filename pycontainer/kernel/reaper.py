"""The host's end of the reaper: the small program that ends what a dying host process leaves behind.

One for each host process, started when first needed.  What it was told, it does when this process is gone,
however it went: it kills the registered processes (a container's first process registers itself, before
it runs its program), empties and removes registered cgroups, and removes registered directories.

The messages are those of ``csrc/reaper_protocol.h``.
"""

from __future__ import annotations

import os
import struct
import threading
from contextlib import suppress
from typing import Protocol
from weakref import WeakSet

import attrs

from pycontainer.kernel.beside import Beside
from pycontainer.kernel.native import ffi, lib

_MESSAGE = struct.Struct("=IIQ256s")
assert _MESSAGE.size == ffi.sizeof("struct pc_reaper_message")  # noqa: S101  a build that does not fit


@attrs.frozen(kw_only=True, eq=False)
class Registration:
    """What the reaper was told, kept to tell it to a successor."""

    type: int
    id: int
    name: bytes = b""
    flags: int = 0
    fds: tuple[int, ...] = ()

    def message(self) -> bytes:
        """The datagram."""
        return _MESSAGE.pack(self.type, self.flags, self.id, self.name)


class Guarded(Protocol):
    """A process held by its pidfd."""

    @property
    def closed(self) -> bool:
        """Whether the pidfd is held no longer."""
        ...

    def fileno(self) -> int:
        """The pidfd."""
        ...


class Reaper:
    """A running reaper and what it knows. Thread-safe. One is had by :func:`reaper`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._registrations: dict[int, Registration] = {}
        self._next_id = 1
        self._guarded: WeakSet[Guarded] = WeakSet()
        self._program = Beside("reaper")

    def fileno(self) -> int:
        """The socket that a container's first process registers itself with; stays owned here."""
        return self._program.socket

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._program.pid

    def register_tree(
        self, parent: int, name: str, *, lock: int | None = None, userns: int | None = None
    ) -> int:
        """Have the directory ``name`` in ``parent`` removed; returns a number for :meth:`forget`.

        ``lock`` stays open until the tree is gone; ``userns`` is entered for files that only its root may
        remove.  The fds stay the caller's and must stay open until forgotten.
        """
        flags, fds = 0, [parent]
        for flag, fd in ((lib.PC_REAPER_LOCK, lock), (lib.PC_REAPER_USERNS, userns)):
            if fd is not None:
                flags |= flag
                fds.append(fd)
        return self._register(lib.PC_REAPER_TREE, name, tuple(fds), flags)

    def register_cgroup(self, parent: int, name: str) -> int:
        """Have the cgroup ``name`` in ``parent`` killed and removed; returns a number for :meth:`forget`."""
        return self._register(lib.PC_REAPER_CGROUP, name, (parent,))

    def forget(self, number: int) -> None:
        """Withdraw a registration; what it named is the caller's again."""
        with self._lock:
            del self._registrations[number]
            self._tell(Registration(type=lib.PC_REAPER_FORGET, id=number))

    def guard(self, process: Guarded) -> None:
        """Remember a process that has registered itself, for a successor; for as long as the object lives."""
        self._guarded.add(process)

    def revive(self) -> None:
        """Start another reaper if this one takes no more, and tell it all that the old one was told."""
        with self._lock:
            if self._program.listens:
                return
            self.drop()
            self._program = Beside("reaper")
            for registration in self._registrations.values():
                self._tell(registration)
            for process in list(self._guarded):
                if not process.closed:
                    self._tell(Registration(type=lib.PC_REAPER_PROCESS, id=0, fds=(process.fileno(),)))

    def drop(self) -> None:
        """Close this process's fds without ending the reaper: for the child side of a fork."""
        self._program.drop()

    def _register(self, kind: int, name: str, fds: tuple[int, ...], flags: int = 0) -> int:
        with self._lock:
            registration = Registration(
                type=kind, id=self._next_id, name=os.fsencode(name), flags=flags, fds=fds
            )
            self._next_id += 1
            self._registrations[registration.id] = registration
            self._tell(registration)
            return registration.id

    def _tell(self, registration: Registration) -> None:
        # One that takes no more: the next start finds that out, revives it and repeats what is registered.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._program.send(registration.message(), registration.fds)


_current: Reaper | None = None
_starting = threading.Lock()


def reaper() -> Reaper:
    """This process's reaper, started now if there is none yet."""
    global _current
    if _current is None:
        with _starting:
            if _current is None:
                _current = Reaper()
    return _current


def running_reaper() -> int | None:
    """The pid of this process's reaper, revived if it has ended; ``None`` if none was started."""
    if _current is None:
        return None
    _current.revive()
    return _current.pid


def _forget_in_fork() -> None:
    global _current, _starting
    _starting = threading.Lock()
    if _current is not None:
        _current.drop()
        _current = None


# The containers of a process stay its own when it forks: a child starts with nothing.
os.register_at_fork(after_in_child=_forget_in_fork)
