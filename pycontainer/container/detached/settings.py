"""What ``inspect`` tells of a container's networks, by Docker's keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pycontainer.errors import InvalidArgument
from pycontainer.network.wish import Wish

if TYPE_CHECKING:
    from pycontainer.container.detached.container import Detached
    from pycontainer.network.kept import Kept, Place
    from pycontainer.network.network import Definition
    from pycontainer.network.networks import Networks


def network_settings(container: Detached) -> dict[str, Any]:
    """``NetworkSettings``; of one that does not run, the names of its networks."""
    from pycontainer.network.network import DEFAULT

    spec = container.spec
    found: dict[str, dict[str, Any]] = {}
    ports: dict[str, list[dict[str, str]]] = {}
    if spec.network.mode == "networks":
        noted = container.network_settings()
        ports = {} if noted is None else port_bindings(noted)
        found = _networks(container, () if noted is None else noted.places)
    elif spec.network.mode != "container":
        found = {spec.network.mode: _entry(None, None, ())}
    # Docker says what is so on the default network once more, for those who knew no others.
    usual = found.get(DEFAULT) or _entry(None, None, ())
    return {"Ports": ports, "Networks": found, **{key: usual[key] for key in _USUAL}}


def _networks(container: Detached, places: Sequence[Place]) -> dict[str, dict[str, Any]]:
    from pycontainer.network.networks import networks_at

    networks = networks_at(container._workspace.root)
    own = container.name, container.id[:12], container.spec.hostname
    found = {}
    for wanted in container.spec.network.places:
        definition = _definition(networks, wanted.network)
        place = next(
            (each for each in places if definition is not None and each.network == definition.id), None
        )
        name = wanted.network if definition is None else definition.name
        known = [each for each in (*own, *wanted.aliases) if each]
        found[name] = {**_entry(definition, place, wanted.aliases), "DNSNames": list(dict.fromkeys(known))}
    return found


def _definition(networks: Networks, name: str) -> Definition | None:
    try:
        return networks.find(name)
    except InvalidArgument:
        return None  # removed since


def port_bindings(noted: Kept) -> dict[str, list[dict[str, str]]]:
    """The ports that lead into it now."""
    return {
        key: [{"HostIp": host, "HostPort": str(port)} for host, port in ways]
        for key, ways in noted.ports.items()
    }


def _entry(definition: Definition | None, place: Place | None, aliases: Sequence[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Aliases": list(aliases),
        "NetworkID": "" if definition is None else definition.id,
        "EndpointID": "" if place is None else place.link,
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": "",
    }
    if definition is None or place is None:
        return entry
    from pycontainer.network.endpoint import mac_of

    for address in place.endpoint_addresses:
        segment = definition.segment(address.version)
        if segment is not None:
            keys = _KEYS[address.version]
            values = str(segment.gateway), str(address), segment.subnet.prefixlen
            entry.update(zip(keys, values, strict=True))
    return {**entry, "MacAddress": mac_of(place.endpoint_addresses)}


_USUAL = (
    "EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway",
    "MacAddress",
)  # fmt: skip
_KEYS = {
    4: ("Gateway", "IPAddress", "IPPrefixLen"),
    6: ("IPv6Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen"),
}


def host_config(wish: Wish) -> Mapping[str, Any]:
    """What ``HostConfig`` says of it: as it was asked for."""
    mode = wish.mode
    if mode == "container":
        mode = f"container:{wish.target}"
    elif mode == "networks":
        mode = wish.places[0].network if wish.places else "none"
    bindings: dict[str, list[dict[str, str]]] = {}
    for each in wish.ports:
        port = "" if each.host_port is None else str(each.host_port)
        bindings.setdefault(each.key, []).append({"HostIp": each.host, "HostPort": port})
    return {
        "NetworkMode": mode,
        "PortBindings": bindings,
        "Dns": list(wish.dns),
        "DnsSearch": list(wish.dns_search),
        "DnsOptions": list(wish.dns_options),
        "ExtraHosts": [f"{name}:{address}" for name, address in wish.hosts],
    }
