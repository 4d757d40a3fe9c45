"""``network create``, ``ls``, ``rm``, ``prune``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pycontainer.cli import listing, pruning
from pycontainer.cli.command import Call, Command
from pycontainer.cli.confirm import confirmed
from pycontainer.cli.listing import Listing, Row, shortened
from pycontainer.cli.notation import labels, pairs
from pycontainer.cli.notation import whole as number
from pycontainer.cli.parser import Parser
from pycontainer.cli.text import clock, rfc3339
from pycontainer.errors import InvalidArgument

if TYPE_CHECKING:
    from pycontainer.network.network import Network
    from pycontainer.network.networks import Networks

_FILTERS = ("name", "id", "label", "driver", "scope", "type", "dangling")
#: Options of a driver -> our argument; peers are several, with commas between.
_OPTIONS = {"mtu": "mtu", "com.docker.network.driver.mtu": "mtu", "parent": "parent", "local": "local", "peers": "peers", "vni": "vni", "port": "port"}  # fmt: skip
_NUMBERS = {"mtu", "vni", "port"}


def _create_options(parser: Parser) -> None:
    parser.value(
        "--driver",
        "-d",
        help="Driver to manage the network: bridge, macvlan, ipvlan, overlay",
        default="bridge",
    )
    parser.value("--gateway", help="IPv4 gateway for the subnet")
    parser.flag("--internal", help="Restrict external access to the network")
    parser.value("--ip-range", help="Allocate container IPs from a sub-range")
    parser.flag("--ipv6", help="Enable IPv6: a random subnet, or the one of --subnet that is of IPv6")
    parser.each("--label", help="Set metadata on a network")
    parser.each(
        "--opt",
        "-o",
        metavar="map",
        help="Options of the driver: mtu=1400, parent=eth0, local=, peers=, vni=, port=",
    )
    parser.each("--subnet", help="Subnet in CIDR format that represents a network segment")


def _create(call: Call) -> None:
    given = call.given
    told: dict[str, Any] = {"driver": given.driver, "gateway": given.gateway, "ip_range": given.ip_range}
    told |= _subnets(given.subnet, ipv6=given.ipv6)
    for name, value in pairs("opt")(given.opt).items():
        if name not in _OPTIONS:
            raise InvalidArgument("opt", f"{name}={value}", f"one of {', '.join(_OPTIONS)} is needed")
        argument = _OPTIONS[name]
        told[argument] = (
            number("opt")(value)
            if argument in _NUMBERS
            else value.split(",")
            if argument == "peers"
            else value
        )
    told = {name: value for name, value in told.items() if value is not None}
    if given.internal:
        told["internal"] = True
    print(call.networks.create(call.words[0], **labels(given.label, ()), **told).id)


def _subnets(texts: list[str], *, ipv6: bool) -> dict[str, Any]:
    """One of each version of IP, at most."""
    found: dict[str, Any] = {}
    for text in texts:
        name = "ipv6" if ":" in text else "subnet"
        if name in found:
            raise InvalidArgument("subnet", text, "one of IPv4 and one of IPv6 are possible")
        found[name] = text
    if ipv6:
        found.setdefault("ipv6", True)
    return found


CREATE = Command("[OPTIONS] NETWORK", _create, _create_options, least=1, most=1)

_LIST = Listing(
    headings={
        "ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv6": "IPV6",
        "Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
    },
    columns=("ID", "Name", "Driver", "Scope"),
    quiet="ID",
)  # fmt: skip


def _list_options(parser: Parser) -> None:
    listing.options(parser, quiet="Only display network IDs")
    parser.each("--filter", "-f", metavar="filter", help=f"Choose by {', '.join(_FILTERS)}: label=team=a")
    parser.flag("--no-trunc", help="Do not truncate the output")


def _list(call: Call) -> None:
    wanted = listing.filters(call.given.filter, _FILTERS)
    rows = [_row(each, whole=call.given.no_trunc) for each in call.networks.list() if _fits(each, wanted)]
    _LIST.show(rows, call.given)


def _fits(network: Network, wanted: dict[str, list[str]]) -> bool:
    tests = {
        "name": lambda text: text in network.name,
        "id": network.id.startswith,
        "driver": lambda text: text == network.driver,
        "scope": lambda text: text == "local",
        "type": lambda text: text == ("builtin" if network.definition.is_default else "custom"),
        "dangling": lambda text: listing.is_true("dangling", text) != bool(network.inspect()["containers"]),
    }
    if not all(any(map(test, wanted[key])) for key, test in tests.items() if key in wanted):
        return False
    pairs_ = [text.partition("=") for text in wanted.get("label", ())]
    return all(
        key in network.labels and (not equals or network.labels[key] == value)
        for key, equals, value in pairs_
    )


def _row(network: Network, *, whole: bool) -> Row:
    created = network.definition.created
    fields = {
        "ID": shortened(network.id, whole=whole),
        "Name": network.name,
        "Driver": network.driver,
        "Scope": "local",
        "IPv6": str(len(network.subnets) > 1).lower(),
        "Internal": str(network.internal).lower(),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(network.labels.items())),
        "CreatedAt": clock(created),
    }
    value = {
        "id": network.id,
        "name": network.name,
        "driver": network.driver,
        "subnets": [str(each) for each in network.subnets],
        "gateways": [str(each) for each in network.gateways],
        "internal": network.internal,
        "labels": dict(network.labels),
        "created": rfc3339(created),
    }
    return Row(fields, value)


LIST = Command("[OPTIONS]", _list, _list_options)


def find(networks: Networks, name: str) -> Network | None:
    """The network of that name, or that unique start of an id; none is made for the question."""
    every = networks.list()
    found = [each for each in every if each.name == name] or [
        each for each in every if each.id.startswith(name)
    ]
    return found[0] if len(found) == 1 and name else None


def _remove_options(parser: Parser) -> None:
    parser.flag("--force", "-f", help="Don't mind a network that is not there")


def _remove(call: Call) -> int:
    def remove(name: str) -> None:
        network = find(call.networks, name)
        if network is not None:
            network.remove()
        elif not call.given.force:
            raise InvalidArgument("network", name, "no such network: 'pycontainer network ls' lists them")
        print(name)

    return call.each(call.words, remove)


REMOVE = Command(
    "[OPTIONS] NETWORK [NETWORK...]", _remove, _remove_options, least=1, most=None, completes=("network",)
)


def _prune_options(parser: Parser) -> None:
    pruning.option(parser)
    parser.flag("--force", "-f", help="Do not prompt for confirmation")


def _prune(call: Call) -> None:
    wanted = pruning.wanted(call.given.filter)
    if confirmed("WARNING! This will remove all networks that no container is on.", force=call.given.force):
        removed = call.networks.prune(lambda each: wanted(each.labels, each.definition.created))
        if removed:
            print("\n".join(["Deleted Networks:", *removed]))


PRUNE = Command("[OPTIONS]", _prune, _prune_options)
