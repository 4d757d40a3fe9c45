"""A container on a link of its own that the host routes to, without a bridge: the way of egress networks.

::

    host: pcv… (gateway/32, route to the address)  ----  eth0 (address/32, default over the gateway) :container
"""

from __future__ import annotations

import errno
import ipaddress
from typing import TYPE_CHECKING

from pycontainer.errors import KernelError
from pycontainer.kernel.netns import NetworkNamespace
from pycontainer.network import address, bridge, forwarding, gate, link, others
from pycontainer.network.egress import Egress
from pycontainer.network.netlink import ROUTE, Netlink
from pycontainer.network.site import Site

if TYPE_CHECKING:
    from pycontainer.network.endpoint import Endpoint


def attach(site: Site, made: Endpoint, netns: NetworkNamespace, egress: Egress, *, mac: bytes) -> None:
    """Make the rules, then the links. Raises :class:`KernelError`; what there is by then is the caller's to remove."""
    own, segment = made.addresses[0], made.network.segments[0]
    with site.route() as route:
        forwarding.of_uplinks(site, made.network, route)
        gate.open_gate(site, made.link, egress)
        if not site.is_apart:
            others.make_way(site)
        mtu = bridge.uplink_mtu(route)
        pair = link.Pair(
            name=made.link, bridge=0, inside=made.inside, index=made.index, netns=netns.fd, mac=mac, mtu=mtu
        )
        try:
            route.send([link.add_pair(pair)])
        except KernelError as error:
            raise bridge.explained(error) from None
        device = link.find(route, made.link)
        if device is None:
            raise KernelError(errno.ENODEV, f"find link {made.link}")
        forwarding.of_link(site, made.link, ipv6=False)
        route.send(
            [
                address.add_address(device.index, ipaddress.ip_interface(f"{segment.gateway}/32")),
                address.add_link_route(device.index, own),
            ]
        )
    Netlink(ROUTE, netns.route).send(
        [
            link.bring_up(made.index, made.inside),
            address.add_address(made.index, ipaddress.ip_interface(f"{own}/32")),
            address.add_link_route(made.index, segment.gateway),
            address.add_default_route(made.index, segment.gateway),
        ]
    )
