"""Where an engine's bridges, links and rules are.

Who may make links in the network namespace of the calling thread has them there: root, or root of an own namespace.
For all others there is one apart, which is for containers what the host is to root's (see :mod:`.apart`).  What is
made there is made by the same code.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycontainer.errors import KernelError, NotSupported
from pycontainer.network import link, ways
from pycontainer.network.address import MAIN, Address
from pycontainer.network.ledger import Ledger
from pycontainer.network.netlink import NETFILTER, ROUTE, Netlink
from pycontainer.network.publish import Publisher
from pycontainer.network.relaying import Relaying, Reserving

if TYPE_CHECKING:
    from pycontainer.network.apart import Apart

#: No link is called so; an address that is nobody's (RFC 5737, RFC 3849), which packets leave for by the default route.
_NO_LINK = "pc"
_FAR = {4: "192.0.2.1", 6: "2001:db8::1"}


class Site:
    """The place of one engine root's networks. Thread-safe; the constructor touches nothing."""

    def __init__(self, root: str, table: int = MAIN) -> None:
        """``table`` is where default routes of this process's own are."""
        self.ledger = Ledger(root)
        self._table = table
        self._lock = threading.Lock()
        self._users = 0
        self._apart: Apart | None = None

    def enter(self, *, create: bool = True) -> bool:
        """Have it there until :meth:`leave`, as often; one that is apart only if it is there, unless it may be made.

        Tells whether it is. Raises :class:`KernelError`, :class:`NotSupported`.
        """
        with self._lock:
            if not self._users and not may_make_links():
                self._apart = _find(self.ledger, create, self._table)
                if self._apart is None:
                    return False
            self._users += 1
            return True

    def leave(self) -> None:
        """Not needed any more; what is apart goes with the last of this user's processes that says so, or ends."""
        with self._lock:
            self._users -= 1
            if not self._users and self._apart is not None:
                apart, self._apart = self._apart, None
                apart.close(self.ledger)

    @contextmanager
    def visit(self) -> Iterator[bool]:
        """Have it there for a while if it is there at all."""
        is_there = self.enter(create=False)
        try:
            yield is_there
        finally:
            if is_there:
                self.leave()

    @property
    def is_apart(self) -> bool:
        """Is it a namespace of this user's processes, with nothing of others in it?"""
        return self._apart is not None

    def socket(self, family: int) -> socket.socket:
        """A new netlink socket in there, which is the caller's."""
        if self._apart is not None:
            return self._apart.socket(family)
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)

    def route(self) -> Netlink:
        """Speak of links and addresses in there."""
        return Netlink(ROUTE) if self._apart is None else self._apart.netlink(ROUTE)

    def rules(self) -> Netlink:
        """Speak of nf_tables in there."""
        return Netlink(NETFILTER) if self._apart is None else self._apart.netlink(NETFILTER)

    def need_outside(self) -> None:
        """Have a way to the host's networks. Raises :class:`NotSupported` where there can be none."""
        if self._apart is not None:
            self._apart.need_outside()

    def lead(self, addresses: Sequence[Address]) -> None:
        """Have packets from these leave by the keeper's way, where there are several. Raises :class:`KernelError`."""
        if self._apart is not None:
            with self.route() as route:
                ways.lead(route, addresses)

    def forget_ways(self, addresses: Iterable[Address]) -> None:
        """Not any more. Idempotent."""
        if self._apart is not None:
            with self.route() as route:
                ways.forget(route, addresses)

    def publisher(self, owner: str) -> Publisher | Relaying:
        """What leads from ports of the host to containers; the caller's to close."""
        return Publisher(owner) if self._apart is None else self.relaying()

    def kept_publisher(self, owner: str) -> Publisher | Reserving:
        """The same for a container that outlives this process; :attr:`Publisher.owning` has to outlive it, too."""
        return Publisher(owner, Reserving()) if self._apart is None else Reserving()

    def relaying(self) -> Relaying:
        """What leads ports that no rule leads; the caller's to close."""
        return Relaying(() if self._apart is None else self._apart.joins)

    @property
    def way_out(self) -> int:
        """A pidfd of the program that is the way to the host's networks; -1: there is none."""
        return -1 if self._apart is None else self._apart.way_out

    @property
    def fds(self) -> dict[str, int]:
        """What keeps a place that is apart there, and leads into it: the namespaces "user" and "net"."""
        return {} if self._apart is None else self._apart.fds

    def host_address(self, gateway: Address) -> Address | None:
        """The address at which containers behind that gateway reach the host; ``None`` where there is none."""
        return gateway if self._apart is None else _own_address(gateway.version)


def _find(ledger: Ledger, create: bool, table: int) -> Apart | None:
    from pycontainer.network.apart import Apart

    try:
        return Apart.find(ledger, create=create, table=table)
    except KernelError as error:
        if error.errno not in (errno.EPERM, errno.ENOSPC, errno.EACCES):
            raise
        raise NotSupported(
            f"this user may make no links here, and no namespace to make them in: {error}",
            "run as root, or allow user namespaces: python3 -m pycontainer doctor tells how",
        ) from None


def may_make_links() -> bool:
    """May this thread make links where it is? Asked by removing one that is not there."""
    with Netlink(ROUTE) as route:
        return all(error != errno.EPERM for error, _ in route.try_all([link.delete(_NO_LINK)]))


def _own_address(version: int) -> Address | None:
    """What packets that leave this host for elsewhere come from; none is sent."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
        try:
            asking.connect((_FAR[version], 9))
        except OSError:
            return None
        return ipaddress.ip_address(asking.getsockname()[0])
