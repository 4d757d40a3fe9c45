"""The same servers on networks of an ordinary user: by published port, by name, over IPv6, and not by others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pycontainer as pc
from tests.network.test_servers import EVERY, answer, running
from tests.support.servers import Server

pytestmark = pytest.mark.needs("user", "userns", "subuid", "bridge_network", "servers")


@pytest.fixture
def networks() -> Iterator[None]:
    """Networks from which nothing leads out; they need nothing of the host, not even a lab."""
    for name in ("lab", "other"):
        pc.Network.create(name, ipv6=True, internal=True)
    yield
    engine = pc.default_engine()
    engine.close()
    engine.networks.prune()
    engine.networks.close()


@EVERY
def test_by_port_name_and_address(networks: None, server: Server) -> None:
    ports = {server.port: [None, ("::1", None)]}
    with running(server, network="lab", name="server-1", aliases=["db"], ports=ports) as container:
        for host, port in container.ports[f"{server.port}/tcp"]:
            assert answer(server, host, port, network="host") == server.answer
        for name in ("server-1", "db", *container.addresses["lab"]):
            assert answer(server, name, network="lab") == server.answer
            assert answer(server, name, network="other") != server.answer
