"""The options that describe a container's networks, and the arguments of the library that they are."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from pycontainer.cli.parser import Parser
from pycontainer.errors import InvalidArgument, NotSupported

#: The network of those who name none: Docker's default.
_DEFAULT = "bridge"
#: Names another one.
VARIABLE = "PYCONTAINER_NETWORK"
#: A port, or a range of them.
_PORTS = re.compile(r"\d+(-\d+)?")
#: Keys of ``--network name=lab,alias=db,ip=10.9.0.5`` -> ours.
_KEYS = {"alias": "aliases", "ip": "ip", "ip6": "ip6"}


def add(parser: Parser) -> None:
    """Have them among the options of a command."""
    parser.each("--add-host", help="Add a host-to-IP mapping (host:ip); 'host-gateway' is the host's address")
    parser.each("--dns", help="Set custom DNS servers")
    parser.each("--dns-option", help="Set DNS options")
    parser.each("--dns-search", help="Set custom DNS search domains")
    parser.each("--expose", help="A port that --publish-all publishes, too")
    parser.value("--ip", help="IPv4 address (e.g., 172.30.100.104)")
    parser.value("--ip6", help="IPv6 address (e.g., 2001:db8::33)")
    parser.each(
        "--network",
        metavar="network",
        help="Connect the container to a network: 'bridge' (the default), 'none', 'host', a name, or name=lab,alias=db",
    )
    parser.each("--network-alias", help="Add network-scoped alias for the container")
    parser.each(
        "--publish",
        "-p",
        help="Publish ports ([[ip:]host:]port[/udp]), on 127.0.0.1 unless an address is told",
    )
    parser.flag("--publish-all", "-P", help="Publish all exposed ports to random ports")


def arguments(given: Namespace, exposed: Sequence[str]) -> dict[str, Any]:
    """The library's arguments; ``exposed`` are the ports that the image tells of. Raises :class:`InvalidArgument`."""
    found: dict[str, Any] = {
        "aliases": given.network_alias,
        "dns": given.dns,
        "dns_search": given.dns_search,
        "dns_options": given.dns_option,
        "extra_hosts": dict(map(_host, given.add_host)),
        "ip": given.ip,
        "ip6": given.ip6,
        "ports": _ports(given, exposed),
    }
    found = {name: value for name, value in found.items() if value}
    network = _networks(given.network)
    found["network"] = _default(needed=bool(found)) if network is None else network
    if given.publish and (network in {"none", "host"} or str(network).startswith("container:")):
        reason = f"it needs a network of the container's own: --network bridge, and not {network}"
        raise InvalidArgument("publish", ", ".join(given.publish), reason)
    return found


def _default(*, needed: bool) -> str:
    """The network of a container for which none is named; an ordinary user may have no way to have one, and is told."""
    named = os.environ.get(VARIABLE)
    if named and not needed:
        return named
    if os.geteuid() != 0 and not needed:
        from pycontainer.network import wayout

        try:
            wayout.find()
        except NotSupported as error:
            print(f"pycontainer: no network: {error} (--network none: without this word)", file=sys.stderr)
            return "none"
    return _DEFAULT


def _networks(texts: Sequence[str]) -> Any:
    """One by its name, or several with what is to be so on each; ``None`` where nobody has said."""
    texts = [*filter(None, texts)]
    if not texts:
        return None
    if len(texts) == 1 and "=" not in texts[0]:
        return _DEFAULT if texts[0] == "default" else texts[0]
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, told = _network(text)
        if name in found:
            raise InvalidArgument("network", text, "it is named twice")
        found[name] = told
    return found


def _network(text: str) -> tuple[str, dict[str, Any]]:
    if "=" not in text:
        return text, {}
    name = ""
    told: dict[str, Any] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key == "name":
            name = value
        elif key == "alias":
            told.setdefault("aliases", []).append(value)
        elif key in _KEYS:
            told[key] = value
        else:
            raise InvalidArgument("network", text, f"unknown key {key!r}: name, alias, ip and ip6 are known")
    if not name:
        raise InvalidArgument("network", text, "name= is missing")
    return name, told


def _host(text: str) -> tuple[str, str]:
    name, sign, address = text.partition("=" if "=" in text else ":")
    if not sign or not name or not address:
        raise InvalidArgument("add-host", text, "host:address is needed")
    return name, address.removeprefix("[").removesuffix("]")


def _ports(given: Namespace, exposed: Sequence[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for text in given.publish:
        key, target = port(text)
        found.setdefault(key, []).append(target)
    if given.publish_all:
        for each in (*exposed, *given.expose):
            key = each if "/" in each else f"{each}/tcp"
            found.setdefault(key, [None])
    return found


def port(text: str) -> tuple[str, Any]:
    """``[[ip:]host:]port[/protocol]``, also with ranges, as the library takes it. Raises :class:`InvalidArgument`."""
    rest, _, protocol = text.partition("/")
    address = ""
    if rest.startswith("["):
        address, _, rest = rest[1:].partition("]")
        rest = rest.removeprefix(":")
    parts = rest.split(":")
    if not address and len(parts) == 3:
        address = parts.pop(0)
    if len(parts) > 2 or not _PORTS.fullmatch(parts[-1]):
        raise InvalidArgument("publish", text, "[[ip:]host port:]port[/udp] is needed, such as 8080:80")
    inside = parts[-1]
    outside: Any = parts[0] if len(parts) == 2 and parts[0] else None
    if outside is not None and "-" in outside and "-" not in inside:
        raise InvalidArgument("publish", text, "as many ports of the host as of the container are needed")
    if outside is not None and "-" not in outside:
        try:
            outside = int(outside)
        except ValueError:
            raise InvalidArgument("publish", text, "ports are numbers, such as 8080:80") from None
    return f"{inside}/{protocol or 'tcp'}", (address, outside) if address else outside
