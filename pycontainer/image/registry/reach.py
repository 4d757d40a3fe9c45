"""How far inside of a network an address is, to keep foreign answers from leading a request further in.

A registry's answer names hosts: where a blob is, where tokens are given.  One on the internet that names
``169.254.169.254`` wants what only this machine can ask for (server-side request forgery).
"""

from __future__ import annotations

import enum
import ipaddress
import socket

#: Where machines of clouds ask who they are, outside of the link-local range.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Reach(enum.IntEnum):
    """From outside to inside."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    LINK = 3

    @property
    def words(self) -> str:
        """For messages."""
        return ("a public", "a private", "a loopback", "a link-local or metadata")[self]


def reach_of(address: str) -> Reach:
    """Return how far inside a numeric address is.

    >>> reach_of("::ffff:169.254.169.254").name, reach_of("10.0.0.1").name
    ('LINK', 'PRIVATE')
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return reach_of(str(inner))
    if found.is_link_local or found.is_multicast or found in _METADATA:
        return Reach.LINK
    # To connect to 0.0.0.0 is to connect to this machine.
    if found.is_loopback or found.is_unspecified:
        return Reach.LOOPBACK
    return Reach.PUBLIC if found.is_global else Reach.PRIVATE


def numeric(host: str) -> str | None:
    """The address that a host is by itself, also in the forms that inet_aton(3) takes; None for a name.

    >>> numeric("0xa9fea9fe"), numeric("example.org")
    ('169.254.169.254', None)
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None
