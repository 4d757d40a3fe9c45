"""The bridge of a network on the host's side: made when the first container needs it, found by the others."""

from __future__ import annotations

import errno
import hashlib

import attrs

from pycontainer.errors import KernelError, NotSupported
from pycontainer.network import address, firewall, forwarding, link, others, underlay
from pycontainer.network.netlink import Message, Netlink
from pycontainer.network.network import Definition
from pycontainer.network.site import Site

#: What an Ethernet link carries; the uplink's own, where it is smaller.
_MTU = 1500


def ensure(site: Site, network: Definition, route: Netlink) -> link.Link:
    """The bridge, up and with its addresses and rules, made if it is not there.

    Raises :class:`NotSupported` where the kernel has no bridges, and :class:`KernelError`, with nothing left.
    """
    found = link.find(route, network.link)
    if found is not None and found.is_up:
        return found
    forwarding.of_uplinks(site, network, route)
    with site.ledger.transaction():  # several processes may need it at once: one makes it
        found = link.find(route, network.link)
        if found is None or not found.is_up:
            found = _make(site, network, route)
    return found


def _make(site: Site, network: Definition, route: Netlink) -> link.Link:
    # A process that was killed in the middle left it half made.
    route.try_all(_deletions(network))
    mtu = network.mtu or uplink_mtu(route)
    if network.driver == "overlay":
        mtu = underlay.overlay_mtu(network, uplink_mtu(route))
    try:
        route.send([link.add_bridge(network.link, mtu=mtu, mac=_mac(network.id))])
    except KernelError as error:
        raise explained(error) from None
    try:
        made = link.find(route, network.link)
        if made is None:
            raise KernelError(errno.ENODEV, f"find bridge {network.link}")
        forwarding.of_link(site, network.link, ipv6=network.segment(6) is not None)
        addresses = [address.add_address(made.index, each.interface) for each in network.segments]
        route.send(addresses)
        if network.driver == "overlay":
            underlay.join_overlay(network, attrs.evolve(made, mtu=mtu), route)
        firewall.open_network(site, network)
        if not site.is_apart:
            others.make_way(site)
        route.send([link.bring_up(made.index, network.link)])
    except BaseException:
        firewall.close_network(site, network)
        route.try_all(_deletions(network))
        raise
    return link.Link(made.index, made.name, made.flags | 1, mtu, None)


def _deletions(network: Definition) -> list[Message]:
    names = [network.link] + ([underlay.tunnel_name(network)] if network.driver == "overlay" else [])
    return [link.delete(name) for name in names]


def remove(site: Site, network: Definition) -> None:
    """Take the bridge and its rules away; nothing happens where there is none."""
    with site.route() as route:
        for number, message in route.try_all(_deletions(network)):
            if number != errno.ENODEV:
                raise KernelError(number, message.what)
    firewall.close_network(site, network)


def explained(error: KernelError) -> Exception:
    """The error of making a link, with its likely cause."""
    if error.errno == errno.EOPNOTSUPP:
        return NotSupported(
            f"this kernel cannot {error.step}", "modprobe bridge veth macvlan ipvlan, as needed"
        )
    return error


def uplink_mtu(route: Netlink) -> int:
    """The smallest MTU of the links that a default route leads over."""
    uplinks = {each.link for each in address.routes(route) if each.is_default}
    found = [each.mtu for each in link.every(route) if each.index in uplinks and each.mtu]
    return min([_MTU, *found])


def _mac(network_id: str) -> bytes:
    """A hardware address that is locally administered, of the network's own."""
    return b"\x02\x42" + hashlib.sha256(network_id.encode()).digest()[:4]
