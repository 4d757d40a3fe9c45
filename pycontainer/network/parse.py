"""What a caller says about a container's network, checked. Loaded only for containers that are on one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from pycontainer.errors import InvalidArgument
from pycontainer.network.bandwidth import Bandwidth
from pycontainer.network.egress import Egress
from pycontainer.network.network import EGRESS, Network
from pycontainer.network.ports import parse_ports
from pycontainer.network.wish import HOST_GATEWAY, Place, Wish

_NAME = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,252}[a-zA-Z0-9_])?")
_OPTION = re.compile(r"[a-zA-Z0-9:._-]+")
_CONTAINER = "container:"
_NEEDED = "'none', 'host', 'bridge', the name of a network, a list of names, or 'container:<name>' is needed"


def parse(
    network: Any = "none",
    *,
    aliases: Iterable[str] = (),
    ip: str | None = None,
    ip6: str | None = None,
    ports: Any = None,
    dns: Iterable[str] = (),
    dns_search: Iterable[str] = (),
    dns_options: Iterable[str] = (),
    extra_hosts: Mapping[str, str] | None = None,
    bandwidth: Bandwidth | None = None,
) -> Wish:
    """Check and complete; pure. Raises :class:`InvalidArgument`."""
    egress = network if isinstance(network, Egress) else None
    mode, target, places = _mode(network if egress is None else EGRESS)
    if egress is None and any(each.network == EGRESS for each in places):
        raise InvalidArgument("network", network, "say what is allowed: Network.egress(allow=[...])")
    first = Place(
        network="", aliases=_names("aliases", aliases), addresses=_addresses({"ip": (ip, 4), "ip6": (ip6, 6)})
    )
    published = parse_ports(ports)
    servers = tuple(str(_address("dns", each)) for each in _list("dns", dns))
    search = _names("dns_search", dns_search)
    options = _list("dns_options", dns_options)
    for option in options:
        if not isinstance(option, str) or not _OPTION.fullmatch(option):
            raise InvalidArgument("dns_options", option, "an option of resolv.conf(5) is needed")
    hosts = _hosts(extra_hosts)
    if bandwidth is not None and not isinstance(bandwidth, Bandwidth):
        raise InvalidArgument("bandwidth", bandwidth, "a Bandwidth is needed: Bandwidth(download='10M')")
    if mode != "networks":
        for name, value in (
            ("aliases", first.aliases), ("ip", first.addresses), ("ports", published), ("dns", servers),
            ("dns_search", search), ("dns_options", options), ("extra_hosts", hosts), ("bandwidth", bandwidth),
        ):  # fmt: skip
            if value:
                raise InvalidArgument(
                    name,
                    value,
                    f"it needs a network of the container's own: network='bridge', not {network!r}",
                )
    if first.aliases or first.addresses:
        merged = attrs.evolve(
            places[0],
            aliases=places[0].aliases + first.aliases,
            addresses=places[0].addresses or first.addresses,
        )
        places = (merged, *places[1:])
    return Wish(
        mode=mode,
        target=target,
        places=places,
        ports=published,
        dns=servers,
        dns_search=search,
        dns_options=tuple(options),
        hosts=hosts,
        egress=egress,
        bandwidth=bandwidth,
    )


def name_of(network: Any) -> str:
    """The name of a network, given as that or as a :class:`Network`. Raises :class:`InvalidArgument`."""
    if isinstance(network, Egress):
        raise InvalidArgument(
            "network", network, "an egress network is a container's only one: give it by itself"
        )
    if isinstance(network, Network):
        return network.id
    if not isinstance(network, str) or not network or "\0" in network:
        raise InvalidArgument("network", network, _NEEDED)
    return network


def _mode(network: Any) -> tuple[str, str, tuple[Place, ...]]:
    if isinstance(network, str):
        if network in {"none", "host"}:
            return network, "", ()
        if network.startswith(_CONTAINER):
            target = network[len(_CONTAINER) :]
            if not target:
                raise InvalidArgument("network", network, "the name or id of a container is missing")
            return "container", target, ()
    if isinstance(network, (str, Network)):
        return "networks", "", (Place(network=name_of(network)),)
    if isinstance(network, Mapping):
        places = tuple(_place(name, options) for name, options in network.items())
    elif isinstance(network, (list, tuple)):
        places = tuple(Place(network=name_of(each)) for each in network)
    else:
        raise InvalidArgument("network", network, _NEEDED)
    names = [each.network for each in places]
    for name in names:
        if name in {"none", "host"} or name.startswith(_CONTAINER) or names.count(name) > 1:
            raise InvalidArgument("network", network, f"{name!r} cannot be one of several")
    return ("networks", "", places) if places else ("none", "", ())


def _place(name: Any, options: Any) -> Place:
    """One of a dictionary: ``{"lab": {"aliases": ["db"], "ip": "10.9.0.5"}}``."""
    given = dict(options or {}) if isinstance(options, Mapping) or options is None else None
    if given is None or not given.keys() <= {"aliases", "ip", "ip6"}:
        raise InvalidArgument("network", options, "of each network 'aliases', 'ip' and 'ip6' can be said")
    return place(name, **given)


def place(
    network: Any, *, aliases: Iterable[str] = (), ip: str | None = None, ip6: str | None = None
) -> Place:
    """One network to be on, checked."""
    return Place(
        network=name_of(network),
        aliases=_names("aliases", aliases),
        addresses=_addresses({"ip": (ip, 4), "ip6": (ip6, 6)}),
    )


def _list(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise InvalidArgument(name, value, "a list is needed")
    return tuple(value)


def _names(name: str, value: Any) -> tuple[str, ...]:
    for each in _list(name, value):
        if not isinstance(each, str) or not _NAME.fullmatch(each):
            raise InvalidArgument(name, each, "a name of letters, digits, '_', '.' and '-' is needed")
    return tuple(value)


def _address(name: str, value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if isinstance(value, str):
        try:
            return ipaddress.ip_address(value)
        except ValueError:
            pass
    raise InvalidArgument(name, value, "an address is needed")


def _addresses(given: Mapping[str, tuple[Any, int]]) -> tuple[str, ...]:
    found = []
    for name, (value, version) in given.items():
        if value is not None:
            address = _address(name, value)
            if address.version != version:
                raise InvalidArgument(name, value, f"an address of IPv{version} is needed")
            found.append(str(address))
    return tuple(found)


def _hosts(value: Any) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise InvalidArgument("extra_hosts", value, "a dictionary of names and addresses is needed")
    _names("extra_hosts", list(value))
    return tuple(
        (name, address if address == HOST_GATEWAY else str(_address("extra_hosts", address)))
        for name, address in value.items()
    )
