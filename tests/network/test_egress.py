"""Egress networks: what is allowed passes, and every attempt at a way around is refused at once and listed."""

from __future__ import annotations

import time

import pytest

import pycontainer as pc
from tests.network.lab import HOST, WORLD, Lab, ask, asked, serve, started

pytestmark = pytest.mark.needs("root", "bridge_network")

#: Addresses of the world that stand for public ones; nothing leaves the lab.
API, OTHER, BAD = "93.184.216.10", "93.184.216.11", "93.184.216.12"
NAMES = {
    "api.example.com": API,
    "www.example.org": OTHER,
    "evil.example.net": BAD,
    "inner.example.org": "10.1.1.1",
    "meta.example.org": "169.254.169.254",
}
ALLOW = ["api.example.com", "*.example.org:443"]
REFUSED = {"EHOSTUNREACH", "EACCES", "ECONNREFUSED", "ENETUNREACH"}


@pytest.fixture
def world(lab: Lab | None) -> Lab:
    if lab is None:
        return None  # type: ignore[return-value]  # the test runs in the child
    lab.outside("\n".join(f"ip addr add {each}/32 dev world" for each in (API, OTHER, BAD)))
    for port in (80, 443, 8443):
        lab.serve(port, world=True)
    lab.serve(6000)
    return lab


def inside(allow: list[str] = ALLOW, **options: object) -> pc.Container:
    return started(serve(9999), network=pc.Network.egress(allow), dns=[WORLD], **options)


def quickly(container: pc.Container, name: str, port: int, kind: str = "tcp") -> str:
    start = time.monotonic()
    found = asked(container, name, port, kind, seconds=8)
    # Refused, not timed out: half of the time that a timeout would take.
    assert time.monotonic() - start < 4
    return found


def test_what_is_allowed(world: Lab) -> None:
    world.name_server(WORLD, NAMES)
    with inside() as container:
        assert asked(container, "api.example.com", 80) == HOST
        assert asked(container, "api.example.com", 443) == HOST
        assert asked(container, "www.example.org", 443) == HOST
        assert container.denied == ()


def test_what_is_not_allowed(world: Lab) -> None:
    log = world.name_server(WORLD, NAMES)
    with inside() as container:
        assert quickly(container, "www.example.org", 80) in REFUSED
        assert quickly(container, "evil.example.net", 443) == "unknown name"
        assert quickly(container, "example.org", 443) == "unknown name"
        assert quickly(container, "api.example.com.evil.example.net", 443) == "unknown name"
        assert container.denied[:3] == ("evil.example.net", "example.org", "api.example.com.evil.example.net")
        assert f"{OTHER}:80/tcp" in container.denied
    assert "evil" not in log.read_text()


def test_raw_addresses(world: Lab) -> None:
    world.name_server(WORLD, NAMES)
    with inside() as container:
        # Not even that of an allowed name, before the name was asked for.
        assert quickly(container, API, 80) in REFUSED
        assert quickly(container, BAD, 443) in REFUSED
        assert quickly(container, BAD, 443, "udp") in REFUSED
        assert {f"{API}:80/tcp", f"{BAD}:443/tcp", f"{BAD}:443/udp"} <= set(container.denied)
        assert asked(container, "api.example.com", 80) == HOST
        assert quickly(container, API, 80) == HOST
        assert quickly(container, "169.254.169.254", 80) in REFUSED


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_other_resolvers(world: Lab, kind: str) -> None:
    world.name_server(WORLD, NAMES)
    with inside() as container:
        assert quickly(container, WORLD, 53, kind) in REFUSED
        assert f"{WORLD}:53/{kind}" in container.denied


def test_names_that_lead_inwards(world: Lab) -> None:
    """DNS rebinding."""
    world.name_server(WORLD, NAMES)
    with inside() as container:
        for name in ("inner.example.org", "meta.example.org"):
            assert quickly(container, name, 443) == "unknown name"
            assert name in container.denied
        assert quickly(container, "10.1.1.1", 443) in REFUSED


def test_the_host_and_other_containers(world: Lab) -> None:
    world.name_server(WORLD, NAMES)
    pc.Network.create("lab")
    with inside(["10.0.0.0/8", "192.0.2.0/24", "172.16.0.0/12"]) as container, started(
        serve(80), network="lab", ports={80: ("0.0.0.0", 8080)}
    ) as neighbour, inside() as other:  # fmt: skip
        assert quickly(container, HOST, 6000) in REFUSED
        assert quickly(container, str(pc.Network.get("lab").gateways[0]), 6000) in REFUSED
        assert quickly(container, neighbour.addresses["lab"][0], 80) in REFUSED
        assert quickly(container, HOST, 8080) in REFUSED
        assert quickly(container, other.addresses["egress"][0], 9999) in REFUSED
        assert quickly(container, WORLD, 80) == HOST


def test_a_forged_source_address_opens_nothing(world: Lab) -> None:
    """Rules go by the link: another container's address is of no use."""
    world.name_server(WORLD, NAMES)
    with inside() as allowed, inside([], cap_add=["NET_ADMIN"]) as forger:
        assert asked(allowed, "api.example.com", 80) == HOST
        address = allowed.addresses["egress"][0]
        forger.exec(["ip", "addr", "add", f"{address}/32", "dev", "eth0"]).check()
        script = f"ip route replace default via {pc.Network.get('egress').gateways[0]} dev eth0 onlink src {address}"
        forger.exec(["sh", "-ec", script]).check()
        assert asked(forger, API, 80, seconds=2) in {*REFUSED, "timeout"}
        assert f"{API}:80/tcp" in forger.denied


def test_ipv6_is_no_way_around(world: Lab) -> None:
    with inside(cap_add=["NET_ADMIN"], sysctls={"net.ipv6.conf.all.disable_ipv6": 0}) as container:
        script = "ip -6 addr add fd00::2/64 dev eth0 nodad; ip -6 route add default via fe80::1 dev eth0"
        container.exec(["sh", "-ec", script]).check()
        assert asked(container, "2001:db8::1", 80, seconds=1) in {*REFUSED, "timeout"}


def test_subnets_with_and_without_a_port(world: Lab) -> None:
    with inside([f"{API}/31:443", f"{BAD}"]) as container:
        assert asked(container, OTHER, 443) == HOST
        assert quickly(container, OTHER, 80) in REFUSED
        assert asked(container, BAD, 8443) == HOST


def test_the_result_of_a_run_tells(world: Lab) -> None:
    done = pc.run("host:", ask(BAD, 443), network=pc.Network.egress([]), text=True)
    assert done.stdout.strip() in REFUSED
    assert done.denied == (f"{BAD}:443/tcp",)
    assert pc.run("host:", ["true"]).denied == ()


def test_an_egress_network_is_the_only_one(world: Lab) -> None:
    pc.Network.create("lab")
    with inside() as container, pytest.raises(pc.StateError, match="only way"):
        container.connect("lab")
    with pytest.raises(pc.InvalidArgument, match="allow"):
        pc.run("host:", ["true"], network=["egress", "lab"])
    with pytest.raises(pc.InvalidArgument):
        pc.run("host:", ["true"], network=[pc.Network.egress([]), "lab"])


def test_a_published_port_works_there_too(world: Lab) -> None:
    with inside(ports={9999: None}) as container:
        assert world.ask("127.0.0.1", container.host_port(9999)) == str(pc.Network.get("egress").gateways[0])


def test_an_address_is_closed_when_its_answer_does_not_hold_any_more(world: Lab) -> None:
    from pycontainer.network import gate
    from pycontainer.network.netlink import NETFILTER, Netlink

    with inside() as container:
        link = container._running.launched.stack.endpoints[0].link
        packed = bytes(int(each) for each in API.split("."))
        with Netlink(NETFILTER) as netfilter:
            gate.let_through(netfilter, link, [(packed, 1)], [])
        assert asked(container, API, 80) == HOST
        deadline = time.monotonic() + 20
        while asked(container, API, 80) == HOST:
            assert time.monotonic() < deadline


def test_rules_are_gone_with_the_container(world: Lab) -> None:
    from pycontainer.network import firewall, nft
    from pycontainer.network.netlink import NETFILTER, Netlink

    with inside() as stays:
        with inside() as container:
            assert quickly(container, BAD, 1) in REFUSED
        with Netlink(NETFILTER) as netfilter:
            assert len(list(nft.elements(netfilter, firewall.TABLE, "egress"))) == 1
            assert list(nft.elements(netfilter, firewall.TABLE, "denied4")) == []
        assert stays.status == "running"


def test_a_run_of_a_pool_tells_its_own(world: Lab) -> None:
    """And the next one, in another container, nothing of it."""
    with pc.Pool("host:", 1, network=pc.Network.egress([])) as pool:
        first = pool.run(ask(BAD, 443), text=True)
        assert first.stdout.strip() in REFUSED
        assert first.denied == (f"{BAD}:443/tcp",)
        assert pool.run(["true"]).denied == ()
