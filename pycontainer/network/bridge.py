"""The bridge of a network on the host's side: made when the first container needs it, found by the others."""

from __future__ import annotations

import errno
import hashlib
import os

import attrs

from pycontainer.errors import KernelError, NotSupported
from pycontainer.network import address, firewall, forwarding, link, underlay
from pycontainer.network.ledger import Ledger
from pycontainer.network.netlink import ROUTE, Message, Netlink
from pycontainer.network.network import Definition

#: What an Ethernet link carries; the uplink's own, where it is smaller.
_MTU = 1500


def ensure(ledger: Ledger, network: Definition, route: Netlink) -> link.Link:
    """The bridge, up and with its addresses and rules, made if it is not there.

    Raises :class:`NotSupported` where the kernel has no bridges, and :class:`KernelError`, with nothing left.
    """
    found = link.find(route, network.link)
    if found is not None and found.is_up:
        return found
    forwarding.of_uplinks(ledger, network, route)
    with ledger.transaction():  # several processes may need it at once: one makes it
        found = link.find(route, network.link)
        if found is None or not found.is_up:
            found = _make(network, route)
    return found


def _make(network: Definition, route: Netlink) -> link.Link:
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
        _configure(network)
        addresses = [address.add_address(made.index, each.interface) for each in network.segments]
        route.send(addresses)
        if network.driver == "overlay":
            underlay.join_overlay(network, attrs.evolve(made, mtu=mtu), route)
        firewall.open_network(network)
        forwarding.of_link(network.link)
        route.send([link.bring_up(made.index, network.link)])
    except BaseException:
        firewall.close_network(network)
        route.try_all(_deletions(network))
        raise
    return link.Link(made.index, made.name, made.flags | 1, mtu, None)


def _deletions(network: Definition) -> list[Message]:
    names = [network.link] + ([underlay.tunnel_name(network)] if network.driver == "overlay" else [])
    return [link.delete(name) for name in names]


def remove(ledger: Ledger, network: Definition) -> None:
    """Take the bridge and its rules away; nothing happens where there is none."""
    with Netlink(ROUTE) as route:
        try:
            firewall.close_network(network)
        except KernelError as error:
            if error.errno == errno.EPERM and link.find(route, network.link) is None:
                return  # who may make nothing has made nothing
            raise explained(error) from None
        for number, message in route.try_all(_deletions(network)):
            if number != errno.ENODEV:
                raise KernelError(number, message.what)
    forwarding.disable(ledger)


def explained(error: KernelError) -> Exception:
    """The error of making a link, with its likely cause."""
    if error.errno == errno.EPERM:
        return NotSupported(
            f"only root of this network namespace may {error.step}",
            "run as root, or in namespaces of your own: unshare --user --map-root-user --net",
        )
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


def _configure(network: Definition) -> None:
    folder = f"/proc/sys/net/ipv6/conf/{network.link}"
    if os.path.isdir(folder):
        # What containers advertise is not for the host (CVE-2020-13401).
        forwarding.write(f"{folder}/accept_ra", "0")
        forwarding.write(f"{folder}/accept_dad", "0")
        if network.segment(6) is None:
            forwarding.write(f"{folder}/disable_ipv6", "1")
    elif network.segment(6) is not None:
        raise NotSupported("this kernel has no IPv6", "boot without ipv6.disable=1, or leave ipv6 out")
