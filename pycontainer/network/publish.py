"""Published ports in the kernel: what comes to them is sent on to a container, by rules and without a proxy.

Each host process has a table of its own, ``inet pycontainer-<process>``, which belongs to a socket that it keeps open:
the kernel removes the table when that is closed, however the process ends (NFT_TABLE_F_OWNER, Linux 5.12).

Ports on 127.0.0.1 lead into containers since ``route_localnet`` is set, on our bridges alone, and what comes from
127.0.0.1 is masqueraded.  What comes from outside with such an address is never sent on (as Docker did before
version 28).  ::1 cannot be had so, for the kernel routes nothing from there: who connects to it meets our relay.
"""

from __future__ import annotations

import errno
import ipaddress
import threading
from collections.abc import Sequence

from pycontainer.errors import KernelError
from pycontainer.network import expression as ex
from pycontainer.network import nft, ports
from pycontainer.network.address import Address
from pycontainer.network.firewall import DSTNAT, FAMILIES, PLACES, destination, is_version, loopback, service
from pycontainer.network.netlink import NETFILTER, Message, Netlink
from pycontainer.network.ports import Published, target_of
from pycontainer.network.relaying import Relaying, Reserving
from pycontainer.network.wish import Port

_LOOPBACK6 = ipaddress.IPv6Address("::1")
_EVERY6 = ipaddress.IPv6Address("::")


def _send_on(table: str, chain: str, version: int, *, loopback_too: bool) -> list[Message]:
    size = PLACES[version][2] // 4
    head = is_version(version) + ex.destination_is_ours()
    if version == 6:
        head += destination(6, 0) + ex.compare(_LOOPBACK6.packed, unequal=True)
    elif not loopback_too:
        head += loopback(1, unequal=True)
    send = ex.destination_nat(FAMILIES[version], 0, size)
    exact = destination(version, 0) + service(size) + ex.lookup(f"ports{version}", into=0) + send
    anywhere = service(0) + ex.lookup(f"any{version}", into=0) + send
    return [nft.add_rule(table, chain, head + exact), nft.add_rule(table, chain, head + anywhere)]


def _table(name: str) -> list[Message]:
    made = [nft.add_table(name, owned=True)]
    for version, address in ((4, nft.ADDRESS4), (6, nft.ADDRESS6)):
        place = [address, nft.PORT]
        made.append(nft.add_set(name, f"ports{version}", [address, nft.PROTOCOL, nft.PORT], data=place))
        made.append(nft.add_set(name, f"any{version}", [nft.PROTOCOL, nft.PORT], data=place))
    for hook in ("prerouting", "output"):
        made.append(nft.add_chain(name, hook, hook=hook, kind="nat", priority=DSTNAT))
        for version in (4, 6):
            made += _send_on(name, hook, version, loopback_too=hook == "output")
    return made


class Publisher:
    """The table of this process. Thread-safe; the constructor touches nothing, :meth:`close` removes the table."""

    def __init__(self, owner: str, relaying: Relaying | Reserving | None = None) -> None:
        """The table is named by ``owner``; what no rule can lead is ``relaying``'s, by default a relay of our own."""
        self.table = f"pycontainer-{owner}"
        self._lock = threading.Lock()
        self._netfilter: Netlink | None = None
        self._relaying = relaying or Relaying()

    @property
    def owning(self) -> int | None:
        """The socket that the table belongs to: while anybody has it open the table is there. ``None``: there is none."""
        return None if self._netfilter is None else self._netfilter.fileno()

    def reserve(self, port: Port) -> Published:
        """Take a port of the host; see :func:`pycontainer.network.ports.reserve`."""
        return self._relaying.reserve(port) if is_relayed(port) else ports.reserve(port)

    def publish(self, published: Sequence[Published], addresses: Sequence[Address]) -> None:
        """Lead ports to the addresses of a container. Raises :class:`NotSupported` where it has none of the kind."""
        self._change([ports.lead(self.table, each, target_of(each, addresses)) for each in published])
        relayed = [each for each in published if is_relayed(each.port)]
        if relayed:
            self._relaying.publish(relayed, addresses)

    def withdraw(self, published: Sequence[Published]) -> None:
        """Lead them nowhere. Idempotent."""
        self._relaying.withdraw(published)
        try:
            self._change([ports.unlead(self.table, each) for each in published])
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise

    def _change(self, messages: Sequence[Message]) -> None:
        """Change elements of the table, all or none of them; it is made when first needed."""
        with self._lock:
            if self._netfilter is None:
                netfilter = Netlink(NETFILTER)
                try:
                    nft.commit(netfilter, _table(self.table))
                except BaseException:
                    netfilter.close()
                    raise
                self._netfilter = netfilter
            nft.commit(self._netfilter, messages)

    def close(self) -> None:
        """Remove the table, and end the relay. Idempotent."""
        self._relaying.close()
        with self._lock:
            netfilter, self._netfilter = self._netfilter, None
            if netfilter is not None:
                netfilter.close()


def is_relayed(port: Port) -> bool:
    """Does no rule of the kernel lead it?"""
    return ipaddress.ip_address(port.host) in {_LOOPBACK6, _EVERY6}
