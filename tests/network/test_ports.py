"""Published ports and who reaches whom: proven by trying."""

from __future__ import annotations

import socket

import pytest

import pycontainer as pc
from tests.network.lab import HOST, HOST6, WORLD, Lab, asked, drop_table, serve, started

pytestmark = pytest.mark.needs("root", "bridge_network")


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_free_port_of_loopback(lab: Lab, kind: str) -> None:
    pc.Network.create("lab")
    with started(serve(53, kind), network="lab", ports={f"53/{kind}": None}) as server:
        port = server.host_port(f"53/{kind}")
        assert server.ports == {f"53/{kind}": [("127.0.0.1", port)]}
        assert lab.ask("127.0.0.1", port, kind) == str(pc.Network.get("lab").gateways[0])
        assert lab.ask(HOST, port, kind, 0.5) in {"ECONNREFUSED", "timeout"}
        assert lab.ask_from_world(HOST, port, kind, 0.5) in {"ECONNREFUSED", "timeout"}


def test_a_fixed_port_of_every_address(lab: Lab) -> None:
    pc.Network.create("lab", ipv6=True)
    ports = {80: [("0.0.0.0", 8080), ("::", 8080)]}
    with (
        started(serve(80, address="::"), network="lab", ports=ports) as server,
        started(serve(80), network="lab") as neighbour,
    ):
        assert lab.ask_from_world(HOST, 8080) == f"::ffff:{WORLD}"
        assert lab.ask_from_world(HOST6, 8080) == "2001:db8::1"
        assert lab.ask("127.0.0.1", 8080).startswith("::ffff:")
        assert asked(neighbour, HOST, 8080).startswith("::ffff:")
        assert asked(server, HOST, 8080).startswith("::ffff:")
        taken = socket.socket()
        with taken, pytest.raises(OSError, match="in use"):
            taken.bind(("0.0.0.0", 8080))
        with pytest.raises(pc.KernelError, match="8080"):
            pc.run("host:", ["true"], network="lab", ports={80: 8080})
    assert lab.ask("127.0.0.1", 8080) == "ECONNREFUSED"


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_loopback_of_ipv6(lab: Lab, kind: str) -> None:
    """By the relay: alone, and as one of all addresses."""
    pc.Network.create("lab", ipv6=True)
    gateway = str(pc.Network.get("lab").gateways[1])
    ports = {f"80/{kind}": [("::1", None), ("::", 8080)]}
    with started(serve(80, kind, "::"), network="lab", ports=ports) as server:
        (_, alone), _ = server.ports[f"80/{kind}"]
        for port in (alone, 8080):
            assert lab.ask("::1", port, kind) == gateway
        assert lab.ask_from_world(HOST6, 8080, kind) == "2001:db8::1"
        assert lab.ask_from_world(HOST6, alone, kind, 0.5) in {"ECONNREFUSED", "timeout"}
    for port in (alone, 8080):
        assert lab.ask("::1", port, kind, 0.5) in {"ECONNREFUSED", "timeout"}


def test_a_range_of_ports(lab: Lab) -> None:
    pc.Network.create("lab")
    with started(serve(9001), network="lab", ports={"9000-9002": "7000-7002"}) as server:
        assert server.ports["9001/tcp"] == [("127.0.0.1", 7001)]
        assert lab.ask("127.0.0.1", 7001) != "ECONNREFUSED"
        assert lab.ask("127.0.0.1", 7002) == "ECONNREFUSED"


def test_loopback_is_not_reached_from_a_container_or_a_neighbour_of_the_host(lab: Lab) -> None:
    """CVE-2020-8558, and moby's that version 28 mended: routes to 127.0.0.1 over the bridge, or over the uplink."""
    lab.serve(6000, address="127.0.0.1")
    pc.Network.create("lab")
    with started(serve(80), network="lab", ports={80: 8080}, privileged=True) as server:
        gateway = pc.Network.get("lab").gateways[0]
        script = "ip route del local 127.0.0.0/8 dev lo table local; ip addr del 127.0.0.1/8 dev lo"
        server.exec(["sh", "-ec", f"{script}; ip route add 127.0.0.1 via {gateway}"]).check()
        assert asked(server, "127.0.0.1", 6000, seconds=1) == "timeout"
        lab.outside(
            "ip addr del 127.0.0.1/8 dev lo; ip route del local 127.0.0.0/8 dev lo table local 2>/dev/null || true;"
            f"ip route add 127.0.0.1 via {HOST}; echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet"
        )
        assert lab.ask_from_world("127.0.0.1", 8080, seconds=1) == "timeout"
        assert lab.ask("127.0.0.1", 8080) == str(gateway)


def test_networks_are_isolated_from_each_other(lab: Lab) -> None:
    pc.Network.create("one", ipv6=True)
    pc.Network.create("two", ipv6=True)
    with (
        started(serve(80, address="::"), network="one", ports={80: ("0.0.0.0", 8080)}) as server,
        started(serve(80), network="two") as stranger,
    ):
        for address in server.addresses["one"]:
            assert asked(stranger, address, 80, seconds=2) in {"EHOSTUNREACH", "EACCES"}
        # What is published for all is for containers, too.
        assert asked(stranger, HOST, 8080).startswith("::ffff:")


def test_what_is_not_published_is_not_reached_from_outside(lab: Lab) -> None:
    pc.Network.create("lab")
    with started(serve(80), network="lab", ports={81: 8081}) as server:
        address = server.addresses["lab"][0]
        lab.outside(f"ip route add {address} via {HOST}")
        assert lab.ask_from_world(address, 80, seconds=1) == "timeout"
        assert lab.ask(address, 80) == str(pc.Network.get("lab").gateways[0])


def test_an_internal_network_has_no_way_out(lab: Lab) -> None:
    lab.serve(80, world=True)
    lab.serve(7000)
    pc.Network.create("inner", internal=True, subnet="10.9.0.0/24")
    with started(serve(80), network="inner") as server, started(serve(80), network="inner") as other:
        assert asked(other, server.addresses["inner"][0], 80) == other.addresses["inner"][0]
        assert asked(other, WORLD, 80) == "ENETUNREACH"
        assert asked(other, "10.9.0.1", 7000) in {"EHOSTUNREACH", "EACCES"}
    with started(serve(80), network="inner", cap_add=["NET_ADMIN"]) as tricky:
        tricky.exec(["ip", "route", "add", "default", "via", "10.9.0.1"]).check()
        assert asked(tricky, WORLD, 80) in {"EHOSTUNREACH", "EACCES"}
        assert asked(tricky, HOST, 7000) in {"EHOSTUNREACH", "EACCES"}


def test_the_host_is_reached_as_with_docker(lab: Lab) -> None:
    lab.serve(7000)
    pc.Network.create("lab")
    with started(serve(80), network="lab") as container:
        assert asked(container, "host.docker.internal", 7000) == container.addresses["lab"][0]


def test_the_host_becomes_no_router_for_others(lab: Lab) -> None:
    """Forwarding is on for the uplink, but nothing goes from there to what is not ours."""
    other = lab.add_host_side("10.77.0.1/24", "10.77.0.2/24")
    pc.Network.create("lab")
    with started(serve(80), network="lab"):
        assert lab.sh("cat /proc/sys/net/ipv4/conf/uplink/forwarding").strip() == "1"
        assert lab.sh("cat /proc/sys/net/ipv4/ip_forward").strip() == "0"
        lab.outside(f"ip route add 10.77.0.0/24 via {HOST}")
        assert lab.ask_from_world("10.77.0.2", 80, seconds=0.5) == "timeout"
    assert other
    lab.sh("ip link del side")


@pytest.mark.parametrize("with_docker", [True, False])
def test_rules_that_drop_what_they_do_not_know(lab: Lab, with_docker: bool) -> None:
    """As Docker's, and as they are called by bridges, too (br_netfilter)."""
    lab.serve(80, world=True)
    lab.sh("iptables -P FORWARD DROP")
    if with_docker:
        lab.sh(
            "iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER; iptables -A DOCKER-USER -j RETURN"
        )
    before = lab.sh("iptables-save | grep -v ^#")
    network = pc.Network.create("mine")
    with (
        started(serve(80), network="mine", ports={80: ("0.0.0.0", 8080)}) as server,
        started(serve(81), network="mine") as other,
    ):
        assert asked(server, WORLD, 80) == HOST
        assert lab.ask_from_world(HOST, 8080) == WORLD
        assert asked(other, server.addresses["mine"][0], 80) == other.addresses["mine"][0]
    network.remove()
    assert lab.sh("iptables-save | grep -v ^#") == before
    drop_table("filter")


def test_rules_of_others_stay_as_they_are(lab: Lab) -> None:
    lab.sh(
        "iptables -t nat -A PREROUTING -p tcp --dport 9 -j REDIRECT --to-ports 10; iptables -A INPUT -s 10.1.1.1 -j DROP"
    )
    before = lab.sh("iptables-save | grep -v ^#")
    network = pc.Network.create("mine")
    pc.run("host:", ["true"], network="mine", ports={80: None}).check()
    network.remove()
    assert lab.sh("iptables-save | grep -v ^#") == before
    for name in ("nat", "filter"):
        drop_table(name)


def test_an_internal_network_is_published_to_this_host_alone(lab: Lab) -> None:
    pc.Network.create("inner", internal=True)
    pc.Network.create("outer")
    with started(serve(80), network="inner", ports={80: None}) as server:
        assert lab.ask("127.0.0.1", server.host_port(80)) != "ECONNREFUSED"
    with pytest.raises(pc.InvalidArgument, match="internal"):
        pc.run("host:", ["true"], network="inner", ports={80: ("0.0.0.0", 8080)})
    with started(serve(80), network=["inner", "outer"], ports={80: ("0.0.0.0", 8080)}):
        assert lab.ask_from_world(HOST, 8080) == WORLD
