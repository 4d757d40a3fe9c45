"""The network namespace that is the host to an ordinary user's containers.

::

    containers ---- bridges, rules (this namespace) ---- tap ---- pasta or slirp4netns ---- the host's networks
    the host's ports ---- our relay, which stands in this namespace ---- containers

It belongs to a user namespace of this process's own, in which this process may do all without entering it
(``cap_capable`` in the kernel's security/commoncap.c): with netlink sockets that were opened inside of it, and sent to
it, the same code makes the same links and rules as root's.  Nothing of it can be seen on the host, and it is gone when
this process and its programs are, however they end.
"""

from __future__ import annotations

import os
import socket
import threading

from pycontainer.kernel import netns, userns
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.native import lib
from pycontainer.kernel.netns import NetworkNamespace
from pycontainer.network.netlink import ROUTE, Netlink
from pycontainer.network.wayout import WayOut


class Apart:
    """A namespace apart, held by fds. Got from :meth:`create`; thread-safe, and :meth:`close` is called once."""

    def __init__(self, owner: int, namespace: NetworkNamespace) -> None:
        self._owner = owner
        self._namespace = namespace
        self._idle: dict[int, list[socket.socket]] = {ROUTE: [namespace.route]}
        self._lock = threading.Lock()
        self._way_out = WayOut(self.joins)

    @classmethod
    def create(cls) -> Apart:
        """Make it; nothing leads out of it yet. Raises :class:`KernelError` with nothing left."""
        owner = userns.create(IdMap.single(os.geteuid(), os.getegid()))
        try:
            return cls(owner, netns.create(owner, routing=True))
        except BaseException:
            os.close(owner)
            raise

    @property
    def joins(self) -> tuple[tuple[int, int], ...]:
        """What a process enters that is to be in there."""
        return (self._owner, lib.CLONE_NEWUSER), (self._namespace.fd, lib.CLONE_NEWNET)

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

    def close(self) -> None:
        """End its programs and let go of it."""
        try:
            self._way_out.close()
        finally:
            for idle in self._idle.values():
                while idle:
                    idle.pop().close()
            self._namespace.close()
            os.close(self._owner)
