"""Published ports: what a caller asks for, the reservation on the host, and the elements of the firewall's maps."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.network import nft
from pycontainer.network.address import Address
from pycontainer.network.netlink import Message
from pycontainer.network.wish import Port

#: Where ports are published unless told otherwise: to this host alone.
DEFAULT_HOST = "127.0.0.1"
_PROTOCOLS = {"tcp": (socket.IPPROTO_TCP, socket.SOCK_STREAM), "udp": (socket.IPPROTO_UDP, socket.SOCK_DGRAM)}
_SHAPE = "ports={5432: None, '53/udp': 5353, 8000: ('0.0.0.0', 80), '9000-9005': None}"


@attrs.frozen(eq=False)
class Published:
    """A port with the host port that it got, which is held by a socket that is bound and never used."""

    port: Port
    host_port: int
    held: socket.socket

    def close(self) -> None:
        """Let others have the host port."""
        self.held.close()


def parse_ports(value: Any) -> tuple[Port, ...]:
    """What ``ports=`` says. Raises :class:`InvalidArgument`."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            raise InvalidArgument("ports", value, f"a dictionary is needed, such as {_SHAPE}")
        value = dict.fromkeys(value)
    found: list[Port] = []
    for key, targets in value.items():
        numbers, protocol = _container_side(key)
        for target in targets if isinstance(targets, list) else [targets]:
            host, first = _host_side(target, len(numbers))
            found += [
                Port(number, protocol, host, None if first is None else first + place)
                for place, number in enumerate(numbers)
            ]
    fixed = [(each.protocol, each.host, each.host_port) for each in found if each.host_port is not None]
    for each in fixed:
        if fixed.count(each) > 1:
            raise InvalidArgument("ports", value, f"{each[1]}:{each[2]}/{each[0]} is named twice")
    return tuple(found)


def _container_side(key: Any) -> tuple[range, str]:
    if isinstance(key, bool) or not isinstance(key, (int, str)):
        raise InvalidArgument("ports", key, f"a number or text is needed, as in {_SHAPE}")
    text, _, protocol = str(key).partition("/")
    if (protocol or "tcp") not in _PROTOCOLS:
        raise InvalidArgument("ports", key, "the protocol is tcp or udp")
    return _range(text, key), protocol or "tcp"


def _range(text: str, value: Any) -> range:
    first, dash, last = text.partition("-")
    try:
        numbers = range(int(first), int(last if dash else first) + 1)
    except ValueError:
        raise InvalidArgument("ports", value, f"no port: {_SHAPE}") from None
    if not numbers or not 1 <= numbers[0] <= numbers[-1] <= 65535:
        raise InvalidArgument("ports", value, "ports are from 1 to 65535")
    return numbers


def _host_side(target: Any, count: int) -> tuple[str, int | None]:
    host, port = DEFAULT_HOST, target
    if isinstance(target, tuple):
        if len(target) != 2:
            raise InvalidArgument("ports", target, "(address, port) is needed")
        host, port = target
    elif isinstance(target, str) and ":" in target:
        host, _, port = target.rpartition(":")
        host = host.strip("[]")
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        raise InvalidArgument("ports", target, f"{host!r} is no address of the host") from None
    if port is None or port == "":
        return address, None
    if isinstance(port, bool) or not isinstance(port, (int, str)):
        raise InvalidArgument("ports", target, "the host's port is a number, or None for a free one")
    numbers = _range(str(port), target)
    if len(numbers) not in {1, count} or (len(numbers) == 1 and count > 1):
        raise InvalidArgument("ports", target, f"a range of {count} ports is needed, or None")
    return address, numbers[0]


def reserve(port: Port, *, backlog: int = 0) -> Published:
    """Take a port of the host, which no other program can have until it is given back; with ``backlog`` listen there.

    Raises :class:`InvalidArgument` for an address that is not the host's, and :class:`KernelError` (EADDRINUSE).
    """
    address = ipaddress.ip_address(port.host)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    held = socket.socket(family, _PROTOCOLS[port.protocol][1] | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listens = backlog and port.protocol == "tcp"
        if listens:
            # Connections of before that are not quite over do not matter.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((port.host, port.host_port or 0))
        if listens:
            held.listen(backlog)
        return Published(port, held.getsockname()[1], held)
    except OSError as error:
        held.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise InvalidArgument("ports", port.host, "this host has no such address") from None
        if error.errno == errno.EACCES:
            raise NotSupported(
                f"this user may not take port {port.host_port}",
                f"sysctl -w net.ipv4.ip_unprivileged_port_start={port.host_port}, or a port from 1024 on",
            ) from None
        raise KernelError(
            error.errno or 0, f"take port {port.host_port}/{port.protocol} of {port.host}"
        ) from None
    except BaseException:
        held.close()
        raise


def _element(each: Published) -> tuple[str, bytes]:
    """The map of the firewall, and the key."""
    host = ipaddress.ip_address(each.port.host)
    number = _PROTOCOLS[each.port.protocol][0]
    key = struct.pack("=B3x", number) + struct.pack("!H2x", each.host_port)
    if host.is_unspecified:
        return f"any{host.version}", key
    return f"ports{host.version}", host.packed + key


def target_of(each: Published, addresses: Sequence[Address]) -> Address:
    """Which of a container's addresses a port leads to.

    Raises :class:`NotSupported` when the container has no address of the host address's kind.
    """
    version = ipaddress.ip_address(each.port.host).version
    target = next((address for address in addresses if address.version == version), None)
    if target is None:
        raise NotSupported(
            f"the container has no address of IPv{version} to publish {each.port.host} at",
            "put it on a network made with ipv6=True" if version == 6 else "publish at an address of IPv6",
        )
    return target


def lead(table: str, each: Published, target: Address) -> Message:
    """Send a port to a container's address."""
    name, key = _element(each)
    value = target.packed + struct.pack("!H2x", each.port.number)
    return nft.add_elements(table, name, nft.Element(key=key, data=value), exclusive=True)


def unlead(table: str, each: Published) -> Message:
    """The way back."""
    name, key = _element(each)
    return nft.delete_elements(table, name, key)
