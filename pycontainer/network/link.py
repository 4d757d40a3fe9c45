"""Messages about links: bridges, pairs of veth devices (rtnetlink(7), linux/if_link.h)."""

from __future__ import annotations

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
    nested,
    text,
    u8,
    u32,
)

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_IFINFO = struct.Struct("=BxHiII")
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 10, 18
_IFLA_AF_SPEC, _IFLA_NET_NS_FD = 26, 28
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_INFO_PEER = 1
_BR_VLAN_FILTERING = 7
_BRPORT_MODE, _BRPORT_ISOLATED = 4, 33
_UP = 1
_INET6, _ADDR_GEN_MODE, _GEN_NONE = 10, 8, 1


@attrs.frozen
class Link:
    """A network device as the kernel lists it."""

    index: int
    name: str
    flags: int
    mtu: int
    master: int | None

    @property
    def is_up(self) -> bool:
        """Whether it was brought up."""
        return bool(self.flags & _UP)


def information(index: int = 0, *, up: bool = False) -> bytes:
    """The head of a message about the link of that number."""
    return _IFINFO.pack(0, 0, index, _UP if up else 0, _UP if up else 0)


def add_bridge(name: str, *, mtu: int, mac: bytes) -> Message:
    """A bridge, still down; it has a hardware address of its own, which does not change with its ports."""
    kind = nested(_IFLA_LINKINFO, text(_INFO_KIND, "bridge"))
    body = information() + text(_IFLA_IFNAME, name) + attribute(_IFLA_ADDRESS, mac)
    return Message(
        _NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body + u32(_IFLA_MTU, mtu) + kind, f"make bridge {name}"
    )


def bring_up(index: int, name: str) -> Message:
    """Bring a link up."""
    return Message(_SETLINK, 0, information(index, up=True), f"bring {name} up")


@attrs.frozen(kw_only=True)
class Pair:
    """A pair of veth devices: ``name`` on the host, a port of ``bridge`` unless that is 0; ``inside`` in the namespace ``netns``."""

    name: str
    bridge: int
    inside: str
    index: int
    netns: int
    mac: bytes
    mtu: int


def add_pair(pair: Pair) -> Message:
    """The pair in one message; the end that is a port of the bridge is up.

    The other one cannot be at once: it is made first, and has no peer then (veth_open).
    """
    peer = (
        information(pair.index)
        + text(_IFLA_IFNAME, pair.inside)
        + attribute(_IFLA_ADDRESS, pair.mac)
        + u32(_IFLA_MTU, pair.mtu)
        + u32(_IFLA_NET_NS_FD, pair.netns)
    )
    kind = nested(_IFLA_LINKINFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, nested(_VETH_INFO_PEER, peer)))
    body = (
        information(up=True)
        + text(_IFLA_IFNAME, pair.name)
        + (u32(_IFLA_MASTER, pair.bridge) if pair.bridge else b"")
    )
    return Message(
        _NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        body + u32(_IFLA_MTU, pair.mtu) + kind,
        f"make the pair of links {pair.name} and {pair.inside}",
    )


def isolate(name: str) -> Message:
    """Let a bridge's port reach no other port that is isolated (bridge(8))."""
    kind = nested(
        _IFLA_LINKINFO, text(_INFO_SLAVE_KIND, "bridge"), nested(_INFO_SLAVE_DATA, u8(_BRPORT_ISOLATED, 1))
    )
    return Message(_NEWLINK, 0, information() + text(_IFLA_IFNAME, name) + kind, f"isolate {name}")


def reflect(name: str) -> Message:
    """Let a bridge's port send back to where a frame came from: to a container's own published port (bridge(8))."""
    kind = nested(
        _IFLA_LINKINFO, text(_INFO_SLAVE_KIND, "bridge"), nested(_INFO_SLAVE_DATA, u8(_BRPORT_MODE, 1))
    )
    return Message(_NEWLINK, 0, information() + text(_IFLA_IFNAME, name) + kind, f"configure port {name}")


def without_own_addresses(index: int, name: str) -> Message:
    """No address of IPv6 of the kernel's own choice; the ones that are given are all."""
    spec = nested(_IFLA_AF_SPEC, nested(_INET6, u8(_ADDR_GEN_MODE, _GEN_NONE)))
    return Message(_SETLINK, 0, information(index) + spec, f"configure {name}")


def delete(name: str) -> Message:
    """Remove a link; the other end of a pair goes with it."""
    return Message(_DELLINK, 0, information() + text(_IFLA_IFNAME, name), f"remove link {name}")


def find(route: Netlink, name: str) -> Link | None:
    """The link of that name, or ``None``."""
    body = route.ask(Message(_GETLINK, 0, information() + text(_IFLA_IFNAME, name), f"look for link {name}"))
    return None if body is None else _parse(body)


def every(route: Netlink) -> Iterator[Link]:
    """All links of the namespace."""
    for _, body in route.dump(Message(_GETLINK, NLM_F_DUMP, information(), "list the links")):
        yield _parse(body)


def _parse(body: bytes) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    told = attributes(body[_IFINFO.size :])
    master = told.get(_IFLA_MASTER)
    return Link(
        index,
        told[_IFLA_IFNAME].rstrip(b"\0").decode(errors="replace"),
        flags,
        int.from_bytes(told.get(_IFLA_MTU, b""), "little"),
        None if master is None else int.from_bytes(master, "little"),
    )
