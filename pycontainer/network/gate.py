"""The rules of egress networks: what a container may reach through its link, and what it tried to.

Kept in our table (see firewall), by the name of the container's link, which is never used twice; what comes by that
link can be nobody else's, whatever its source address says.
"""

from __future__ import annotations

import errno
import ipaddress
import struct
from collections.abc import Iterable, Iterator

from pycontainer.errors import KernelError
from pycontainer.network import expression as ex
from pycontainer.network import firewall, nft
from pycontainer.network.egress import Egress
from pycontainer.network.firewall import PLACES, TABLE, destination, interface_key, is_version
from pycontainer.network.netlink import Message, Netlink
from pycontainer.network.site import Site

_PROTOCOLS = {6: "tcp", 17: "udp"}
_KINDS = {4: ipaddress.IPv4Address, 6: ipaddress.IPv6Address}


def _chain(link: str) -> str:
    return f"to-{link}"


def open_gate(site: Site, link: str, egress: Egress) -> None:
    """Make the rules of a container, before its link is up; until they are there nothing passes."""
    chain = _chain(link)
    accept = ex.verdict("accept")
    messages = [nft.add_chain(TABLE, chain)]
    for subnet, port in egress.subnets:
        messages += _allow(chain, subnet, port)
    for version in (4, 6):
        size = PLACES[version][2] // 4
        load = is_version(version) + ex.meta("iifname", 0) + destination(version, 4)
        messages.append(nft.add_rule(TABLE, chain, load + ex.lookup(f"open{version}") + accept))
        exact = firewall.service(4 + size)
        messages.append(nft.add_rule(TABLE, chain, load + exact + ex.lookup(f"service{version}") + accept))
    messages.append(nft.add_rule(TABLE, chain, ex.jump("refuse")))
    key = interface_key(link)
    messages += [nft.add_elements(TABLE, name, nft.Element(key=key)) for name in ("bridges", "sealed")]
    messages.append(nft.add_elements(TABLE, "egress", nft.Element(key=key, goto=chain)))
    firewall.change(site, messages)


def _allow(chain: str, subnet: str, port: int) -> list[Message]:
    parsed = ipaddress.ip_network(subnet)
    version = parsed.version
    head = (
        is_version(version)
        + destination(version, 0)
        + ex.masked(parsed.netmask.packed)
        + ex.compare(parsed.network_address.packed)
    )
    accept = ex.verdict("accept")
    if not port:
        return [nft.add_rule(TABLE, chain, head + accept)]
    there = ex.payload("transport", 2, 2) + ex.compare(struct.pack("!H", port))
    return [
        nft.add_rule(TABLE, chain, head + ex.meta("l4proto") + ex.compare(bytes([number])) + there + accept)
        for number in _PROTOCOLS
    ]


def close_gate(site: Site, link: str) -> None:
    """Take the rules away. Idempotent."""
    key = interface_key(link)
    with site.rules() as netfilter:
        # Those that were opened for a time are found by the link; what is over meanwhile the kernel has forgotten.
        timed = []
        for name in ("open4", "open6", "service4", "service6", "denied4", "denied6"):
            mine = [each for each in _keys(netfilter, name) if each.startswith(key)]
            timed += [nft.delete_elements(TABLE, name, *mine)] if mine else []
        rest: list[Message] = [
            *(nft.delete_elements(TABLE, name, key) for name in ("egress", "sealed", "bridges")),
            nft.delete_chain(TABLE, _chain(link)),
        ]
        try:
            nft.commit(netfilter, [*timed, *rest])
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            for each in ([message] for message in timed):
                firewall.forget(netfilter, each)
            firewall.forget(netfilter, rest)
        firewall.remove_if_unused(netfilter)


def _keys(netfilter: Netlink, name: str) -> Iterator[bytes]:
    try:
        yield from nft.elements(netfilter, TABLE, name)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise


def let_through(
    netfilter: Netlink, link: str, addresses: Iterable[tuple[bytes, int]], ports: Iterable[int]
) -> None:
    """Open addresses for so many seconds each, at these ports or, when there is none, at all."""
    for packed, seconds in addresses:
        version = 4 if len(packed) == 4 else 6
        head = interface_key(link) + packed
        wanted = [(f"open{version}", head)]
        if ports:
            wanted = [
                (f"service{version}", head + struct.pack("=B3x", number) + struct.pack("!H2x", port))
                for port in ports
                for number in _PROTOCOLS
            ]
        for name, key in wanted:
            # An element that is there keeps its time: it is taken away first, if it is there.
            firewall.forget(netfilter, [nft.delete_elements(TABLE, name, key)])
            nft.commit(
                netfilter, [nft.add_elements(TABLE, name, nft.Element(key=key, timeout=1000 * seconds))]
            )


def denied(site: Site, link: str) -> list[str]:
    """What the container tried and may not: ``"192.0.2.1:443/tcp"``, sorted."""
    key = interface_key(link)
    found = set()
    with site.rules() as netfilter:
        for version in (4, 6):
            size = PLACES[version][2]
            for each in _keys(netfilter, f"denied{version}"):
                if each.startswith(key):
                    address = _KINDS[version](each[16 : 16 + size])
                    protocol = _PROTOCOLS.get(each[16 + size], str(each[16 + size]))
                    port = int.from_bytes(each[20 + size : 22 + size], "big")
                    shown = str(address) if version == 4 else f"[{address}]"
                    found.add(f"{shown}:{port}/{protocol}")
    return sorted(found)
