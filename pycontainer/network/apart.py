"""The network namespace that is the host to an ordinary user's containers.

::

    containers ---- bridges, rules (this namespace) ---- tap ---- pasta or slirp4netns ---- the host's networks
    the host's ports ---- our relay, which stands in this namespace ---- containers

It belongs to a user namespace of this user's, in which this process may do all without entering it (``cap_capable`` in
the kernel's security/commoncap.c): with netlink sockets that were opened inside of it, and sent to it, the same code
makes the same links and rules as root's.  Nothing of it can be seen on the host.

All processes with one engine root, in one network namespace of the host's, share it.  Each keeps a process in there, and
notes it in the record, by which the next one finds its way in.  The monitors of detached containers have it open, and
hand that out.  With the last of them all the namespace is gone, however they end.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
from contextlib import ExitStack

from pycontainer.errors import PyContainerError
from pycontainer.kernel import holder, netns, userns
from pycontainer.kernel.identity import boot_id, started_at
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.monitorclient import Client
from pycontainer.kernel.native import lib
from pycontainer.kernel.netns import NetworkNamespace
from pycontainer.kernel.process import Process
from pycontainer.network import kept
from pycontainer.network.ledger import Ledger
from pycontainer.network.netlink import ROUTE, Netlink
from pycontainer.network.wayout import WayOut


class Apart:
    """A namespace apart. Got from :meth:`find`; thread-safe, and :meth:`close` is called once."""

    def __init__(self, owner: int, namespace: NetworkNamespace, stay: Process, table: int) -> None:
        self._owner = owner
        self._namespace = namespace
        self._stay = stay
        self._idle: dict[int, list[socket.socket]] = {ROUTE: [namespace.route]}
        self._lock = threading.Lock()
        self._way_out = WayOut(stay.pid, table)

    @classmethod
    def find(cls, ledger: Ledger, *, create: bool, table: int) -> Apart | None:
        """That of this user's processes; a new one, or none, where there is none. Raises :class:`KernelError`.

        The default routes of this process's way out are in ``table``.
        """
        with ExitStack() as undo, ledger.transaction() as record:
            owner, namespace = _enter(record, undo) or _enter_kept(ledger.root, undo) or (-1, None)
            if namespace is None:
                if not create:
                    return None
                owner = userns.create(IdMap.single(os.geteuid(), os.getegid()))
                undo.callback(os.close, owner)
                namespace = netns.create(owner, routing=True)
                undo.callback(namespace.close)
            stay = holder.stay(_joins(owner, namespace))
            undo.callback(_end, stay)
            values = kept.host(), stay.pid, _identity(stay.pid)
            record.execute("INSERT INTO places (host, pid, identity) VALUES (?, ?, ?)", values)
            made = cls(owner, namespace, stay, table)
            undo.pop_all()
            return made

    @property
    def joins(self) -> tuple[tuple[int, int], ...]:
        """What a process enters that is to be in there."""
        return _joins(self._owner, self._namespace)

    @property
    def fds(self) -> dict[str, int]:
        """The namespaces, which are there while anybody has them open."""
        return {"user": self._owner, "net": self._namespace.fd}

    def socket(self, family: int) -> socket.socket:
        """A new netlink socket in there, which is the caller's."""
        return netns.open_netlink(self._owner, self._namespace.fd, family)

    def netlink(self, family: int) -> Netlink:
        """A conversation in there, over a socket that is used again."""
        idle = self._idle.setdefault(family, [])
        try:
            found = idle.pop()
        except IndexError:
            found = self.socket(family)
        return Netlink(family, found, idle.append)

    def need_outside(self) -> None:
        """Have a way to the host's networks; see :meth:`WayOut.ensure`."""
        with self._lock, self.netlink(ROUTE) as route:
            self._way_out.ensure(route)

    @property
    def way_out(self) -> int:
        """A pidfd of the program; -1: there is none."""
        return self._way_out.pidfd

    def close(self, ledger: Ledger) -> None:
        """End this process's programs in there, and let go of it."""
        with ExitStack() as stack:
            stack.callback(os.close, self._owner)
            stack.callback(self._namespace.close)
            for idle in self._idle.values():
                for each in idle:
                    stack.callback(each.close)
            stack.callback(_end, self._stay)
            stack.callback(ledger.write, "DELETE FROM places WHERE pid = ?", self._stay.pid)
            stack.callback(self._way_out.close)


def _joins(owner: int, namespace: NetworkNamespace) -> tuple[tuple[int, int], ...]:
    return (owner, lib.CLONE_NEWUSER), (namespace.fd, lib.CLONE_NEWNET)


def _end(process: Process) -> None:
    process.kill()
    process.wait()
    process.close()


def _identity(pid: int) -> str:
    return f"{started_at(pid)} {boot_id()}"


def _enter(record: sqlite3.Connection, undo: ExitStack) -> tuple[int, NetworkNamespace] | None:
    """What another process keeps, if there is one that lives; those that do not are forgotten."""
    record.execute("DELETE FROM places WHERE identity NOT LIKE ?", (f"% {boot_id()}",))
    rows = record.execute("SELECT pid, identity FROM places WHERE host = ?", (kept.host(),)).fetchall()
    for pid, identity in rows:
        fds: list[int] = []
        try:
            fds.extend(
                os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "net")
            )
            # Opened first: now it is known that the pid has not gone to another before.
            if _identity(pid) == identity:
                return _opened(fds, undo)
        except OSError:
            pass
        for fd in fds:
            os.close(fd)
        record.execute("DELETE FROM places WHERE pid = ? AND identity = ?", (pid, identity))
    return None


def _enter_kept(root: str, undo: ExitStack) -> tuple[int, NetworkNamespace] | None:
    """What the monitor of a detached container has open."""
    for identity, noted in kept.alive(root):
        numbers = [noted.fds.get(f"place-{name}", -1) for name in ("user", "net")]
        if noted.host != kept.host() or -1 in numbers:
            continue
        fds: list[int] = []
        try:
            with Client(f"{kept.folder_of(root, identity)}/monitor") as client:
                fds.extend(client.given(number) for number in numbers)
            return _opened(fds, undo)
        except (PyContainerError, OSError):
            for fd in fds:
                os.close(fd)
    return None


def _opened(fds: list[int], undo: ExitStack) -> tuple[int, NetworkNamespace]:
    route = netns.open_netlink(fds[0], fds[1], ROUTE)
    undo.callback(os.close, fds[0])
    namespace = NetworkNamespace(fds[1], route, None, None, None)
    undo.callback(namespace.close)
    return fds[0], namespace
