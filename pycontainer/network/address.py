"""Messages about addresses and routes (rtnetlink(7)), and what the host's own are."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator

import attrs

from pycontainer.network.netlink import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    Message,
    Netlink,
    attribute,
    attributes,
    u32,
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network

_NEWADDR, _NEWROUTE, _GETROUTE = 20, 24, 26
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_IFA_F_NODAD = 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_TABLE = 1, 4, 5, 6, 15
_ON_LINK = 4
_FRA_SRC, _FRA_PRIORITY, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE = 2, 6, 14, 15
_NEWRULE, _TO_TABLE = 32, 1
MAIN = 254
_STATIC, _UNIVERSE, _LINK, _UNICAST = 4, 0, 253, 1


def _family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def add_address(index: int, interface: Interface, *, link_local: bool = False) -> Message:
    """Give a link an address, which is usable at once: nobody else has it, so nobody is asked (RFC 4862)."""
    network = interface.network
    flags = 0 if interface.version == 4 else _IFA_F_NODAD
    scope = _LINK if link_local else _UNIVERSE
    body = _IFADDR.pack(_family(interface.version), network.prefixlen, flags, scope, index)
    body += attribute(_IFA_LOCAL, interface.ip.packed) + attribute(_IFA_ADDRESS, interface.ip.packed)
    if isinstance(network, ipaddress.IPv4Network) and network.prefixlen < 31:
        body += attribute(_IFA_BROADCAST, network.broadcast_address.packed)
    return Message(_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, f"give a link the address {interface}")


def add_default_route(
    index: int, gateway: Address, *, metric: int = 0, on_link: bool = False, table: int = MAIN
) -> Message:
    """A default route over a gateway, which is ``on_link`` though no other route says so."""
    flags = _ON_LINK if on_link else 0
    body = _RTMSG.pack(_family(gateway.version), 0, 0, 0, table, _STATIC, _UNIVERSE, _UNICAST, flags)
    body += attribute(_RTA_GATEWAY, gateway.packed) + u32(_RTA_OIF, index)
    if metric:
        body += u32(_RTA_PRIORITY, metric)
    return Message(_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body, f"make the default route over {gateway}")


def add_link_route(index: int, target: Address) -> Message:
    """A route to one address that is on the link itself."""
    bits = 32 if target.version == 4 else 128
    body = _RTMSG.pack(_family(target.version), bits, 0, 0, MAIN, _STATIC, _LINK, _UNICAST, 0)
    body += attribute(_RTA_DST, target.packed) + u32(_RTA_OIF, index)
    return Message(_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body, f"make a route to {target}")


def delete_default_route(index: int, gateway: Address) -> Message:
    """Take it away again."""
    body = _RTMSG.pack(_family(gateway.version), 0, 0, 0, MAIN, _STATIC, _UNIVERSE, _UNICAST, 0)
    body += attribute(_RTA_GATEWAY, gateway.packed) + u32(_RTA_OIF, index)
    return Message(_NEWROUTE + 1, 0, body, f"remove the default route over {gateway}")


def _rule(version: int, length: int, table: int, priority: int) -> bytes:
    # struct fib_rule_hdr, whose fields are where those of struct rtmsg are.
    head = _RTMSG.pack(_family(version), 0, length, 0, table, 0, 0, _TO_TABLE, 0)
    return head + u32(_FRA_PRIORITY, priority) + u32(_FRA_TABLE, table)


def add_near_rule(version: int, priority: int) -> Message:
    """Ask the main table, but for its default routes (ip-rule(8), suppress_prefixlength)."""
    body = _rule(version, 0, MAIN, priority) + u32(_FRA_SUPPRESS_PREFIXLEN, 0)
    return Message(_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, body, "make a rule for what is near")


def add_rule(source: Address, table: int, priority: int) -> Message:
    """Ask a table for packets that come from an address."""
    body = _rule(source.version, source.max_prefixlen, table, priority) + attribute(_FRA_SRC, source.packed)
    return Message(_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, body, f"make a rule for packets from {source}")


def delete_rule(source: Address, table: int, priority: int) -> Message:
    """Not any more."""
    body = _rule(source.version, source.max_prefixlen, table, priority) + attribute(_FRA_SRC, source.packed)
    return Message(_NEWRULE + 1, 0, body, f"remove the rule for packets from {source}")


@attrs.frozen
class Route:
    """A route of the host's: where to (``None``: anywhere), over which link, in which table."""

    target: Subnet
    link: int | None
    gateway: Address | None
    table: int

    @property
    def is_default(self) -> bool:
        """Whether it leads anywhere."""
        return self.target.prefixlen == 0


def routes(route: Netlink) -> Iterator[Route]:
    """All routes of the namespace but those to its own addresses, which are in the table ``local``."""
    for family in (socket.AF_INET, socket.AF_INET6):
        message = Message(_GETROUTE, NLM_F_DUMP, _RTMSG.pack(family, *[0] * 8), "list the routes")
        for _, body in route.dump(message):
            found = _parse(body)
            if found is not None:
                yield found


def _parse(body: bytes) -> Route | None:
    family, length, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(body)
    if table == 255 or kind != _UNICAST or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    told = attributes(body[_RTMSG.size :])
    size = 4 if family == socket.AF_INET else 16
    target = ipaddress.ip_network((told.get(_RTA_DST, bytes(size)), length))
    link = told.get(_RTA_OIF)
    gateway = told.get(_RTA_GATEWAY)
    return Route(
        target,
        None if link is None else int.from_bytes(link, "little"),
        None if gateway is None else ipaddress.ip_address(gateway),
        int.from_bytes(told.get(_RTA_TABLE, bytes([table])), "little"),
    )
