"""From what a caller says of a network to its definition."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from pycontainer.errors import InvalidArgument
from pycontainer.network import address, pool, underlay
from pycontainer.network.address import Subnet
from pycontainer.network.netlink import ROUTE, Netlink
from pycontainer.network.network import Definition, Segment


class NetworkOptions(TypedDict, total=False):
    """The optional arguments of ``Network.create``."""

    driver: str
    subnet: str | None
    gateway: str | None
    ipv6: bool | str
    internal: bool
    mtu: int | None
    labels: Mapping[str, str] | None
    ip_range: str | None
    parent: str | None
    local: str | None
    peers: Sequence[str]
    vni: int | None
    port: int


def define(name: str, options: Mapping[str, Any], others: Iterable[Definition], seed: str) -> Definition:
    """Check and complete; ``others`` are the networks that there are. Raises :class:`InvalidArgument`."""
    driver = options.get("driver", "bridge")
    mtu = options.get("mtu")
    if mtu is not None and (isinstance(mtu, bool) or not isinstance(mtu, int) or not 576 <= mtu <= 65535):
        raise InvalidArgument("mtu", mtu, "a number of bytes from 576 to 65535 is needed")
    internal = options.get("internal", False)
    if internal is not True and internal is not False:
        raise InvalidArgument("internal", internal, "True or False is needed")
    more = _of_driver(driver, options)
    taken = [segment.subnet for each in others for segment in each.segments]
    segments = _segments(options, taken, seed)
    ip_range = options.get("ip_range")
    if ip_range is not None:
        parsed = pool.parse_subnet("ip_range", ip_range)
        if parsed.version != 4 or not parsed.subnet_of(segments[0].subnet):  # type: ignore[arg-type]
            raise InvalidArgument("ip_range", ip_range, f"a part of {segments[0].subnet} is needed")
        more["ip_range"] = str(parsed)
    identity = os.urandom(32).hex()
    return Definition(
        name=name,
        id=identity,
        driver=driver,
        link=f"pc-{identity[:10]}",
        segments=segments,
        internal=internal,
        mtu=mtu,
        labels=_labels(options.get("labels") or {}),
        options=tuple(more.items()),
        created=time.time(),
    )


def _of_driver(driver: str, options: Mapping[str, Any]) -> dict[str, str]:
    own = {"macvlan": {"parent"}, "ipvlan": {"parent"}, "overlay": {"local", "peers", "vni", "port"}}
    mine = own.get(driver, set())
    for each in ("parent", "local", "peers", "vni", "port"):
        if each not in mine and options.get(each) not in (None, ()):
            raise InvalidArgument(each, options[each], f"it means nothing to the driver {driver!r}")
    if mine and options.get("subnet") is None:
        raise InvalidArgument(
            "subnet", None, f"the driver {driver!r} needs the one that others there have, too"
        )
    if driver in {"macvlan", "ipvlan"}:
        if options.get("internal"):
            raise InvalidArgument("internal", True, f"the driver {driver!r} is on the parent's network")
        parent = options.get("parent")
        if not isinstance(parent, str) or not 0 < len(parent) < 16 or "/" in parent:
            raise InvalidArgument("parent", parent, "the name of a link of the host is needed")
        return {"parent": parent}
    if driver == "overlay":
        return underlay.check_overlay(
            options.get("peers", ()),
            options.get("local"),
            options.get("vni"),
            options.get("port", underlay.VXLAN_PORT),
        )
    return {}


def _segments(options: Mapping[str, Any], taken: Sequence[Subnet], seed: str) -> tuple[Segment, ...]:
    asked, gateway, ipv6 = options.get("subnet"), options.get("gateway"), options.get("ipv6", False)
    if asked is None:
        with Netlink(ROUTE) as route:
            routes = [each.target for each in address.routes(route) if not each.is_default]
        subnet: Subnet = pool.free_subnet([*taken, *routes], seed)
    else:
        subnet = pool.parse_subnet("subnet", asked)
        if subnet.version != 4:
            raise InvalidArgument("subnet", asked, "one of IPv4 is needed; IPv6 is given as ipv6='fd00::/64'")
    _refuse_overlap("subnet", subnet, taken)
    first = subnet.network_address + 1
    chosen = first if gateway is None else pool.parse_address("gateway", gateway, subnet)
    segments = [Segment(subnet=subnet, gateway=chosen)]
    if ipv6:
        subnet6 = pool.random_subnet6() if ipv6 is True else pool.parse_subnet("ipv6", ipv6)
        if subnet6.version != 6:
            raise InvalidArgument("ipv6", ipv6, "True or a subnet of IPv6 is needed")
        _refuse_overlap("ipv6", subnet6, taken)
        segments.append(Segment(subnet=subnet6, gateway=subnet6.network_address + 1))
    return tuple(segments)


def _refuse_overlap(name: str, subnet: Subnet, taken: Iterable[Subnet]) -> None:
    for other in taken:
        if other.version == subnet.version and subnet.overlaps(other):
            raise InvalidArgument(name, str(subnet), f"it overlaps {other} of another network")


def _labels(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    if not isinstance(labels, Mapping) or not all(
        isinstance(each, str) for pair in labels.items() for each in pair
    ):
        raise InvalidArgument("labels", labels, "a dict of str is needed")
    return tuple(labels.items())
