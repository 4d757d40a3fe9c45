"""Real servers on networks: reached by those who should, in every way that there is, and by nobody else."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pycontainer as pc
from tests.network.lab import HOST, HOST6, WORLD, Lab
from tests.support import distribution, servers
from tests.support.servers import NGINX, POSTGRES, REDIS, SERVERS, Server

pytestmark = pytest.mark.needs("root", "bridge_network", "servers")
EVERY = pytest.mark.parametrize("server", SERVERS, ids=[each.name for each in SERVERS])
#: How long a server may take to be there, in seconds; they take one or two.
_START = 60.0

#: A client on another host: a process in the world, whose container is in that host's network.
_CLIENT = """
import sys
from tests.support import distribution, servers
import pycontainer as pc
server = next(each for each in servers.SERVERS if each.name == sys.argv[1])
done = pc.run(servers.image(), server.ask(sys.argv[2], int(sys.argv[3])), network="host", env=server.env, text=True)
print(done.stdout + done.stderr)
pc.default_engine().close()
"""
#: Another host: its network of the same name, and a server on it, until its stdin ends.
_OTHER_HOST = """
import sys
import pycontainer as pc
from tests.network.test_servers import running
from tests.support.servers import POSTGRES
pc.Network.create("over", driver="overlay", subnet="10.50.0.0/24", gateway="10.50.0.2", ip_range="10.50.0.32/28",
                  local=sys.argv[1], peers=[sys.argv[2]], vni=9)
with running(POSTGRES, network="over") as server:
    print(server.addresses["over"][0], flush=True)
    sys.stdin.read()
pc.Network.get("over").remove()
pc.default_engine().close()
"""


@pytest.fixture
def installed(lab: Lab | None) -> Path:
    """The layout of an image of a whole Debian; made where there is a way out to its packages, not in the lab."""
    return distribution.layout()


@contextmanager
def running(server: Server, **options: object) -> Iterator[pc.Container]:
    """The server in a container that is ready for its clients; removed at the end."""
    with pc.Container.create(servers.image(), server.command, env=dict(server.env), **options) as container:
        output = os.memfd_create("output")
        try:
            container.start(stdout=output, stderr=output)
            deadline = time.monotonic() + _START
            while answer_in(container, server, "127.0.0.1") != server.answer:
                words = os.pread(output, 4000, 0).decode(errors="replace")
                assert container.status == "running", words
                assert time.monotonic() < deadline, words
                time.sleep(0.05)
        finally:
            os.close(output)
        yield container


def answer_in(container: pc.Container, server: Server, host: object) -> str:
    """What the server's client prints in a running container."""
    done = container.exec(server.ask(host), env=dict(server.env), text=True, timeout=30)
    return str(done.stdout + done.stderr).strip()


def answer(server: Server, host: object, port: int | None = None, **options: object) -> str:
    """What the client prints in a container of its own."""
    env = {**server.env, "PGCONNECT_TIMEOUT": "3"}
    done = pc.run(servers.image(), server.ask(host, port), env=env, text=True, timeout=30, **options)
    return (done.stdout + done.stderr).strip()


def answer_in_world(lab: Lab, server: Server, host: str, port: int) -> str:
    """What the client prints on another host."""
    root = lab.tmp_path / "world"
    root.mkdir(mode=0o700, exist_ok=True)
    command = [sys.executable, "-c", _CLIENT, server.name, host, str(port)]
    done = subprocess.run(
        ["nsenter", f"--net=/proc/{lab.world}/ns/net", *command],
        env={**os.environ, "PYCONTAINER_ROOT": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@EVERY
def test_by_published_port(lab: Lab, server: Server) -> None:
    """From the host by loopback, from another host over IPv4 and IPv6, and from a neighbour by the host's address."""
    pc.Network.create("lab", ipv6=True)
    ports = {server.port: [None, ("0.0.0.0", 7000), ("::", 7000)]}
    with running(server, network="lab", ports=ports) as container:
        free = container.host_port(server.port)
        assert answer(server, "127.0.0.1", free, network="host") == server.answer
        assert answer(server, "localhost", 7000, network="host") == server.answer
        assert answer_in_world(lab, server, HOST, 7000) == server.answer
        assert answer_in_world(lab, server, HOST6, 7000) == server.answer
        assert answer(server, HOST, 7000, network="lab") == server.answer
        assert answer_in_world(lab, server, HOST, free) != server.answer
    assert answer(server, "127.0.0.1", free, network="host") != server.answer


@EVERY
def test_by_name_and_over_ipv6(lab: Lab, server: Server) -> None:
    pc.Network.create("lab", ipv6=True)
    with running(server, network="lab", name="server-1", aliases=["db"]) as container:
        four, six = sorted(container.addresses["lab"], key=lambda each: ipaddress.ip_address(each).version)
        for host in ("server-1", "db", "db.lab", four, six):
            assert answer(server, host, network="lab") == server.answer


def test_networks_are_isolated(lab: Lab) -> None:
    """Who is on another network reaches the servers by no address and no name; who is on both does by either."""
    lab.name_server(WORLD, {})  # names of others are denied at once
    pc.Network.create("one", ipv6=True)
    pc.Network.create("two", ipv6=True)
    pc.Network.create("shut", ipv6=True, internal=True)
    with (
        running(POSTGRES, network="one", name="db") as db,
        running(REDIS, network="two", name="cache") as cache,
        running(NGINX, network="shut", name="web") as web,
    ):
        there = ((POSTGRES, db, "one"), (REDIS, cache, "two"), (NGINX, web, "shut"))
        for server, container, home in there:
            for network in ("one", "two", "shut", "none"):
                options = {} if network == "none" else {"dns": [WORLD]}
                for host in (*container.addresses[home], container.name):
                    got = answer(server, host, network=network, **options)
                    assert (got == server.answer) == (network == home), (server.name, network, host, got)
        for server, container, _ in there:
            assert answer(server, container.name, network=["one", "two", "shut"]) == server.answer


def test_a_server_is_taken_off_a_network_and_put_on_another(lab: Lab) -> None:
    lab.name_server(WORLD, {})
    pc.Network.create("one")
    pc.Network.create("two")
    with running(REDIS, network="one", name="cache") as cache:
        cache.connect("two", aliases=["fast"])
        assert answer(REDIS, "fast", network="two") == "PONG"
        assert answer(REDIS, "cache", network="one") == "PONG"
        cache.disconnect("one")
        assert answer(REDIS, "cache", network="one", dns=[WORLD]) != "PONG"
        assert answer(REDIS, "cache", network="two") == "PONG"


def test_a_server_on_one_host_and_its_clients_on_another(lab: Lab) -> None:
    """The hosts are two network namespaces, joined by an overlay network over VXLAN."""
    root = lab.tmp_path / "other"
    root.mkdir(mode=0o700)
    other = subprocess.Popen(
        ["nsenter", f"--net=/proc/{lab.world}/ns/net", sys.executable, "-c", _OTHER_HOST, WORLD, HOST],
        env={**os.environ, "PYCONTAINER_ROOT": str(root)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert other.stdout is not None
    address = other.stdout.readline().decode().strip()
    pc.Network.create(
        "over", driver="overlay", subnet="10.50.0.0/24", gateway="10.50.0.1", ip_range="10.50.0.16/28", local=HOST,
        peers=[WORLD], vni=9,
    )  # fmt: skip
    pc.Network.create("elsewhere")
    assert answer(POSTGRES, address, network="over") == "42"
    assert answer(POSTGRES, address, network="elsewhere") != "42"
    env = {**POSTGRES.env, "PGHOST": address, "PGUSER": "postgres"}
    # More than one packet of the tunnel can carry, both ways.
    query = "select length(repeat('x', 1000000)) + length(:'big')"
    script = f"echo \"{query}\" | psql -At -v big=$(head -c 100000 /dev/zero | tr '\\0' y)"
    done = pc.run(servers.image(), ["sh", "-c", script], network="over", env=env, text=True, timeout=60)
    assert done.stdout.strip() == "1100000", done.stderr
    other.communicate(timeout=60)
    assert other.returncode == 0


@pytest.mark.slow
@pytest.mark.needs("debootstrap")
def test_an_installed_distribution(lab: Lab | None, installed: Path) -> None:
    """The same of a whole Debian, in which apt has installed PostgreSQL, as an image of several layers."""
    image = pc.default_engine().images.load(installed)[0]
    pc.Network.create("lab", ipv6=True)
    script = "initdb -A trust >/dev/null && echo 'host all all all trust' >> $PGDATA/pg_hba.conf"
    script += " && exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp"
    ports = {POSTGRES.port: None}
    with pc.Container.create(image, ["sh", "-c", script], network="lab", name="db", ports=ports) as db:
        db.start()
        deadline = time.monotonic() + _START
        while (got := answer(POSTGRES, "db", network="lab")) != POSTGRES.answer:
            assert db.status == "running"
            assert time.monotonic() < deadline, got
        assert answer(POSTGRES, "127.0.0.1", db.host_port(POSTGRES.port), network="host") == POSTGRES.answer
        assert answer(POSTGRES, db.addresses["lab"][1], network="lab") == POSTGRES.answer
