"""Which subnets and addresses are free.

Subnets of IPv4 are /24s of 10.128.0.0/9 and 172.16.0.0/12, 36,000 in all, without those that a route of the host's
or another network overlaps.  Those of IPv6 are unique local ones, made at random (RFC 4193).
"""

from __future__ import annotations

import ipaddress
import os
import zlib
from collections.abc import Iterable, Iterator

from pycontainer.errors import InvalidArgument, NotSupported
from pycontainer.network.address import Address, Subnet

_RANGES = (ipaddress.IPv4Network("10.128.0.0/9"), ipaddress.IPv4Network("172.16.0.0/12"))
_LENGTH = 24


def free_subnet(taken: Iterable[Subnet], seed: str) -> ipaddress.IPv4Network:
    """A /24 that overlaps none of ``taken``; engines with other seeds look elsewhere first.

    Raises :class:`NotSupported` when there is none.
    """
    used = sorted(
        (int(each.network_address), int(each.broadcast_address))
        for each in taken
        if isinstance(each, ipaddress.IPv4Network)
    )
    counts = [each.num_addresses >> (32 - _LENGTH) for each in _RANGES]
    total = sum(counts)
    first = zlib.crc32(seed.encode()) % total
    for step in range(total):
        place = (first + step) % total
        base = _RANGES[0] if place < counts[0] else _RANGES[1]
        within = place if place < counts[0] else place - counts[0]
        start = int(base.network_address) + (within << (32 - _LENGTH))
        end = start + (1 << (32 - _LENGTH)) - 1
        if not any(low <= end and start <= high for low, high in used):
            return ipaddress.IPv4Network((start, _LENGTH))
    raise NotSupported(
        "every subnet of 10.128.0.0/9 and 172.16.0.0/12 is in use", "remove networks, or give subnet="
    )


def random_subnet6() -> ipaddress.IPv6Network:
    """A unique local /64."""
    return ipaddress.IPv6Network((b"\xfd" + os.urandom(7) + bytes(8), 64))


def parse_subnet(name: str, value: object) -> Subnet:
    """A subnet as a caller writes it, in which there is room for a gateway and a container."""
    try:
        subnet = ipaddress.ip_network(value)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        raise InvalidArgument(
            name, value, "a subnet such as '10.9.0.0/24' is needed, its host bits 0"
        ) from None
    most = 29 if subnet.version == 4 else 112
    if subnet.prefixlen > (30 if subnet.version == 4 else 126):
        raise InvalidArgument(name, value, f"there is no room for containers: /{most} or larger is needed")
    if subnet.is_loopback or subnet.is_multicast or subnet.is_link_local or subnet.prefixlen == 0:
        raise InvalidArgument(name, value, "addresses that hosts can have are needed")
    return subnet


def parse_address(name: str, value: object, subnet: Subnet) -> Address:
    """An address in a subnet, as a caller writes it."""
    try:
        address = ipaddress.ip_address(value)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        raise InvalidArgument(name, value, "an address is needed") from None
    ends = (
        subnet.network_address,
        subnet.broadcast_address if subnet.version == 4 else subnet.network_address,
    )
    if address not in subnet or address in ends:
        raise InvalidArgument(name, value, f"it is no address for a host of {subnet}")
    return address


def candidates(subnet: Subnet, cursor: int) -> Iterator[Address]:
    """The addresses of a subnet, from the one behind ``cursor`` on: one that was given back is not soon used again."""
    first, last = 1, subnet.num_addresses - (2 if subnet.version == 4 else 1)
    if subnet.version == 6:
        last = min(last, (1 << 32) - 1)
    start = cursor + 1 if first <= cursor < last else first
    base = int(subnet.network_address)
    kind = ipaddress.IPv4Address if subnet.version == 4 else ipaddress.IPv6Address
    for offset in range(start, last + 1):
        yield kind(base + offset)
    for offset in range(first, start):
        yield kind(base + offset)
