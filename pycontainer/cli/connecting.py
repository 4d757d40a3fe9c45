"""``network connect`` and ``disconnect``."""

from __future__ import annotations

from pycontainer.cli.command import Call, Command
from pycontainer.cli.parser import Parser
from pycontainer.errors import InvalidArgument, StateError


def _connect_options(parser: Parser) -> None:
    parser.each("--alias", help="Add network-scoped alias for the container")
    parser.value("--ip", help="IPv4 address (e.g., 172.30.100.104)")
    parser.value("--ip6", help="IPv6 address (e.g., 2001:db8::33)")


def _connect(call: Call) -> None:
    network, name = call.words
    given = call.given
    call.container(name).connect(network, aliases=given.alias, ip=given.ip, ip6=given.ip6)


CONNECT = Command(
    "[OPTIONS] NETWORK CONTAINER",
    _connect,
    _connect_options,
    least=2,
    most=2,
    completes=("network", "container"),
)


def _disconnect_options(parser: Parser) -> None:
    parser.flag("--force", "-f", help="Don't mind a container that is not there, or not on the network")


def _disconnect(call: Call) -> None:
    network, name = call.words
    try:
        call.container(name).disconnect(network)
    except (InvalidArgument, StateError):
        if not call.given.force:
            raise


DISCONNECT = Command(
    "[OPTIONS] NETWORK CONTAINER",
    _disconnect,
    _disconnect_options,
    least=2,
    most=2,
    completes=("network", "container"),
)
