"""Networks that lie on a link of the host's: macvlan and ipvlan on a parent, and VXLAN between hosts.

::

    macvlan, ipvlan    container eth0 ---- parent (eth0 of the host) ---- the parent's own network
    overlay            containers ---- bridge ---- vxlan ==== UDP to each peer ==== vxlan ---- bridge ---- containers
"""

from __future__ import annotations

import errno
import ipaddress
import struct

from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.kernel.netns import NetworkNamespace
from pycontainer.network import link
from pycontainer.network.netlink import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    Message,
    Netlink,
    attribute,
    be16,
    nested,
    text,
    u8,
    u16,
    u32,
)
from pycontainer.network.network import Definition

#: UDP port of VXLAN (RFC 7348), and what its headers take of a packet over IPv4 and IPv6.
VXLAN_PORT = 4789
_OVERHEAD = {4: 50, 6: 70}
_NEWLINK, _NEWNEIGH = 16, 28
_IFLA_LINK = 5
_VXLAN_ID, _VXLAN_LEARNING, _VXLAN_PORT, _VXLAN_LOCAL, _VXLAN_LOCAL6 = 1, 7, 15, 4, 17
_NDMSG = struct.Struct("=BxxxiHBB")
_BRIDGE_FAMILY, _PERMANENT, _SELF = 7, 0x80, 2
_NDA_DST, _NDA_LLADDR = 1, 2
_MACVLAN_BRIDGE = 4


def parent_of(route: Netlink, network: Definition) -> link.Link:
    """The host's link that a network lies on. Raises :class:`NotSupported` when it is gone."""
    name = dict(network.options)["parent"]
    found = link.find(route, name)
    if found is None:
        raise NotSupported(
            f"network {network.name} lies on the link {name}, which is not there", f"ip link show {name}"
        )
    return found


def add_child(
    network: Definition, parent: link.Link, netns: NetworkNamespace, *, index: int, inside: str, mac: bytes
) -> Message:
    """A link on the parent, made right in the container's namespace."""
    if network.driver == "macvlan":
        data, address = u32(1, _MACVLAN_BRIDGE), attribute(1, mac)
    else:
        data, address = u16(1, 0), b""  # of ipvlan: layer 2; its address is the parent's
    kind = nested(18, text(1, network.driver), nested(2, data))
    body = link.information(index) + text(3, inside) + address + u32(_IFLA_LINK, parent.index)
    body += u32(4, network.mtu or parent.mtu) + u32(28, netns.fd) + kind
    return Message(
        _NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"make a {network.driver} link on {parent.name}"
    )


def overlay_mtu(network: Definition, uplink: int) -> int:
    """What is left for packets inside of packets."""
    options = dict(network.options)
    version = ipaddress.ip_address(options["local"]).version
    return network.mtu or uplink - _OVERHEAD[version]


def join_overlay(network: Definition, bridge: link.Link, route: Netlink) -> None:
    """Make the VXLAN device of a network a port of its bridge, and tell it of the peers."""
    options = dict(network.options)
    local = ipaddress.ip_address(options["local"])
    name = tunnel_name(network)
    data = [
        u32(_VXLAN_ID, int(options["vni"])),
        attribute(_VXLAN_LOCAL if local.version == 4 else _VXLAN_LOCAL6, local.packed),
        u8(_VXLAN_LEARNING, 1),
        be16(_VXLAN_PORT, int(options["port"])),
    ]
    kind = nested(18, text(1, "vxlan"), nested(2, *data))
    body = link.information(0, up=True) + text(3, name) + u32(4, bridge.mtu) + u32(10, bridge.index) + kind
    try:
        route.send([Message(_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"make the VXLAN link {name}")])
    except KernelError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise NotSupported("this kernel has no VXLAN", "modprobe vxlan") from None
        raise
    made = link.find(route, name)
    if made is None:
        raise KernelError(errno.ENODEV, f"find link {name}")
    route.send([_flood_to(made.index, peer) for peer in options["peers"].split()])


def tunnel_name(network: Definition) -> str:
    """What the VXLAN device of a network is called."""
    return network.link.replace("pc-", "pcx")


def _flood_to(index: int, peer: str) -> Message:
    """What is for all, or for one whose place is not known yet, goes to this peer, too."""
    address = ipaddress.ip_address(peer)
    body = _NDMSG.pack(_BRIDGE_FAMILY, index, _PERMANENT, _SELF, 0)
    body += attribute(_NDA_LLADDR, bytes(6)) + attribute(_NDA_DST, address.packed)
    return Message(_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND, body, f"tell of the peer {peer}")


def check_overlay(peers: object, local: object, vni: object, port: object) -> dict[str, str]:
    """The options of an overlay network. Raises :class:`InvalidArgument`."""
    if isinstance(peers, (str, bytes)) or not isinstance(peers, (list, tuple)):
        raise InvalidArgument("peers", peers, "a list of the other hosts' addresses is needed")
    found = []
    for name, each in [("local", local), *(("peers", each) for each in peers)]:
        try:
            found.append(ipaddress.ip_address(each))
        except ValueError:
            raise InvalidArgument(name, each, "an address of a host is needed") from None
    if len({each.version for each in found}) > 1:
        raise InvalidArgument("peers", peers, "they are to be of the same kind as local")
    for name, value, most in (("vni", vni, (1 << 24) - 1), ("port", port, 65535)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise InvalidArgument(name, value, f"a number from 1 to {most} is needed")
    return {
        "local": str(found[0]),
        "peers": " ".join(map(str, found[1:])),
        "vni": str(vni),
        "port": str(port),
    }
