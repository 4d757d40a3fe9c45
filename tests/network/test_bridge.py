"""Bridge networks: containers on one reach each other, and each is configured before its program begins."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pycontainer as pc
from tests.network.lab import HOST, WORLD, WORLD6, Lab, ask, asked, serve, started

pytestmark = pytest.mark.needs("root", "bridge_network")


def addresses(link: str = "eth0") -> list[str]:
    return ["sh", "-c", f"ip -j addr show {link}"]


def test_a_container_has_its_address_before_its_program_begins(lab: Lab) -> None:
    network = pc.Network.create("lab", subnet="10.9.0.0/24")
    done = pc.run("host:", ["sh", "-c", "ip -j addr; ip -j route"], network="lab", text=True).check()
    shown, routes = (json.loads(line) for line in done.stdout.splitlines())
    by_name = {each["ifname"]: each for each in shown}
    assert set(by_name) == {"lo", "eth0"}
    assert "UP" in by_name["lo"]["flags"]
    found = [each["local"] for each in by_name["eth0"]["addr_info"]]
    assert found == ["10.9.0.2"]
    assert {(each["dst"], each.get("gateway")) for each in routes} == {
        ("default", "10.9.0.1"),
        ("10.9.0.0/24", None),
    }
    assert network.gateways == (ipaddress.ip_address("10.9.0.1"),)


def test_two_containers_reach_each_other(lab: Lab) -> None:
    network = pc.Network.create("lab", ipv6=True)
    with (
        started(serve(80, address="::"), network=network) as server,
        started(serve(80), network="lab") as other,
    ):
        for address in server.addresses["lab"]:
            assert asked(other, address, 80).removeprefix("::ffff:") in other.addresses["lab"]


def test_the_outside_world_is_reached_and_sees_the_host(lab: Lab) -> None:
    lab.serve(80, world=True)
    lab.serve(81, world=True, address="::")
    pc.Network.create("lab", ipv6=True)
    with started(serve(80), network="lab") as container:
        assert asked(container, WORLD, 80) == HOST
        assert asked(container, WORLD6, 81) == "2001:db8::2"
        assert lab.ask_from_world(container.addresses["lab"][0], 80, seconds=0.5) == "ENETUNREACH"


def test_the_default_network_is_made_when_it_is_asked_for(lab: Lab) -> None:
    assert pc.Network.list() == []
    assert pc.run("host:", ["true"], network="bridge").exit_code == 0
    assert [each.name for each in pc.Network.list()] == ["bridge"]


def test_the_namespace_belongs_to_the_containers_root(lab: Lab) -> None:
    """So that settings of it are the container's to make, and privileged ports its own."""
    pc.Network.create("lab")
    done = pc.run(
        "host:",
        ["sh", "-c", "cat /proc/sys/net/ipv4/ip_forward; ls /sys/class/net"],
        network="lab",
        sysctls={"net.ipv4.ip_forward": 1},
        text=True,
    ).check()
    assert done.stdout.split() == ["1", "eth0", "lo"]
    with started(serve(80), network="lab", user="1000"):
        pass


def test_the_files_of_names(lab: Lab) -> None:
    pc.Network.create("lab", subnet="10.9.0.0/24")
    script = "cat /etc/hosts; echo --; cat /etc/hostname; echo --; cat /etc/resolv.conf; echo x >>/etc/hosts"
    done = pc.run(
        "host:",
        ["sh", "-c", script],
        network="lab",
        hostname="box",
        extra_hosts={"db": "10.1.2.3", "gate": "host-gateway"},
        dns_search=["example.org"],
        text=True,
    ).check()
    hosts, hostname, resolv = (each.strip() for each in done.stdout.split("--\n"))
    lines = [line.split("\t") for line in hosts.splitlines()]
    assert ["127.0.0.1", "localhost"] in lines
    assert lines[-1] == ["10.9.0.2", "box"]
    assert ["10.1.2.3", "db"] in lines
    assert ["10.9.0.1", "gate"] in lines
    assert ["10.9.0.1", "host.docker.internal"] in lines
    assert hostname == "box"
    assert "search example.org" in resolv
    assert not done.changes()
    again = pc.run("host:", ["cat", "/etc/hosts"], network="lab", text=True).stdout
    assert "x" not in again.split()


def test_what_the_caller_mounts_is_not_covered(lab: Lab) -> None:
    pc.Network.create("lab")
    own = lab.tmp_path / "hosts"
    own.write_text("mine\n")
    done = pc.run("host:", ["cat", "/etc/hosts"], network="lab", mounts=[f"{own}:/etc/hosts"], text=True)
    assert done.stdout == "mine\n"


def test_a_static_address(lab: Lab) -> None:
    pc.Network.create("lab", subnet="10.9.0.0/24", ipv6="fd00:9::/64")
    with started(serve(80), network="lab", ip="10.9.0.77", ip6="fd00:9::77", name="fixed") as container:
        assert container.addresses == {"lab": ["10.9.0.77", "fd00:9::77"]}
        with pytest.raises(pc.InvalidArgument, match=r"10\.9\.0\.77"):
            pc.run("host:", ["true"], network="lab", ip="10.9.0.77")
        with pytest.raises(pc.InvalidArgument, match="no address for a host"):
            pc.run("host:", ["true"], network="lab", ip="10.8.0.1")
        assert len(pc.Network.get("lab").inspect()["containers"]) == 1
    assert pc.run("host:", ["true"], network="lab", ip="10.9.0.77").exit_code == 0


def test_several_networks(lab: Lab) -> None:
    pc.Network.create("front", subnet="10.9.1.0/24")
    pc.Network.create("back", subnet="10.9.2.0/24", internal=True)
    with (
        started(serve(80), network={"back": {"ip": "10.9.2.9"}, "front": None}) as both,
        started(serve(80), network="back") as behind,
        started(serve(80), network="front") as before,
    ):
        assert set(both.addresses) == {"front", "back"}
        assert asked(behind, "10.9.2.9", 80) == behind.addresses["back"][0]
        assert asked(before, both.addresses["front"][0], 80) == before.addresses["front"][0]
        assert "default via 10.9.1.1" in both.exec(["ip", "route"], text=True).stdout


def test_connect_and_disconnect_while_it_runs(lab: Lab) -> None:
    one, two = pc.Network.create("one"), pc.Network.create("two")
    with started(serve(80), network="one") as server, started(serve(80), network="two") as other:
        server.connect("two")
        assert list(server.addresses) == ["one", "two"]
        assert asked(other, server.addresses["two"][0], 80) == other.addresses["two"][0]
        assert server.addresses["two"][0] in server.read_bytes("/etc/hosts").decode()
        with pytest.raises(pc.StateError, match="two already"):
            server.connect(two)
        one.disconnect(server)
        assert list(server.addresses) == ["two"]
        routes = server.exec(["ip", "route"], text=True).stdout
        assert f"default via {two.gateways[0]}" in routes
        two.disconnect(server)
        assert server.addresses == {}
        with pytest.raises(pc.StateError, match="not on network one"):
            server.disconnect("one")


def test_the_network_of_another_container(lab: Lab) -> None:
    pc.Network.create("lab")
    with started(serve(80, address="127.0.0.1"), network="lab", name="web") as web:
        done = pc.run("host:", ask("127.0.0.1", 80), network="container:web", text=True)
        assert done.stdout.strip() == "127.0.0.1"
        with pc.Container.create("host:", ["sleep", "100"], network=f"container:{web.id}") as beside:
            beside.start()
            web.remove(force=True)
            lists = beside.exec(addresses(), text=True).stdout
            assert json.loads(lists)[0]["addr_info"]
            assert len(pc.Network.get("lab").inspect()["containers"]) == 1
        assert pc.Network.get("lab").inspect()["containers"] == []
    with pytest.raises(pc.InvalidArgument, match="no container of this name"):
        pc.run("host:", ["true"], network="container:web")


def test_a_network_in_use_is_not_removed(lab: Lab) -> None:
    network = pc.Network.create("lab")
    with started(serve(80), network="lab", name="web"):
        with pytest.raises(pc.StateError, match="in use by web"):
            network.remove()
    network.remove()
    network.remove()
    with pytest.raises(pc.InvalidArgument, match="no such network"):
        pc.run("host:", ["true"], network="lab")


def test_what_a_killed_process_had_is_given_back(lab: Lab) -> None:
    network = pc.Network.create("lab", subnet="10.9.0.0/29")
    program = (
        "import pycontainer as pc, time\n"
        "cs = [pc.Container.create('host:', ['sleep', '1000'], network='lab', ports={80: None}) for _ in range(5)]\n"
        "[c.start() for c in cs]\n"
        "print('ready', flush=True); time.sleep(1000)\n"
    )
    host = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert host.stdout is not None
    assert host.stdout.readline() == b"ready\n"
    with pytest.raises(pc.NotSupported, match="no address left"):
        pc.run("host:", ["true"], network="lab")
    assert len(network.inspect()["containers"]) == 5
    os.kill(host.pid, signal.SIGKILL)
    host.communicate()
    deadline = time.monotonic() + 20
    while network.inspect()["containers"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert pc.run("host:", ["true"], network="lab").exit_code == 0


def test_forty_networks_at_once(lab: Lab) -> None:
    lab.sh("ip link add spare type bridge; ip addr add 10.200.0.1/16 dev spare; ip link set spare up")
    networks = [pc.Network.create(f"n{number}") for number in range(40)]
    subnets = [each.subnets[0] for each in networks]
    assert len(set(subnets)) == 40
    assert not any(each.overlaps(ipaddress.IPv4Network("10.200.0.0/16")) for each in subnets)
    with pytest.raises(pc.InvalidArgument, match="overlaps"):
        pc.Network.create("again", subnet=str(subnets[7]))
    with pytest.raises(pc.InvalidArgument, match="has this name"):
        pc.Network.create("n7")
    lab.sh("ip link del spare")


def test_the_mtu_is_that_of_the_uplink(lab: Lab) -> None:
    lab.sh("ip link set uplink mtu 1400")
    pc.Network.create("lab")
    pc.Network.create("small", mtu=1280)
    for name, mtu in (("lab", 1400), ("small", 1280)):
        shown = pc.run("host:", ["ip", "-j", "link", "show", "eth0"], network=name, text=True).stdout
        assert json.loads(shown)[0]["mtu"] == mtu


def test_a_container_that_starts_again_has_a_network_again(lab: Lab) -> None:
    pc.Network.create("lab")
    with pc.Container.create("host:", ["sleep", "100"], network="lab", ports={80: None}) as container:
        for _ in range(3):
            container.restart(timeout=0)
            assert container.addresses["lab"]
            assert container.host_port(80)


def test_a_failed_start_leaves_no_address_taken(lab: Lab) -> None:
    network = pc.Network.create("lab")
    for _ in range(3):
        assert pc.run("host:", ["no-such-program"], network="lab").exit_code == 127
    with pytest.raises(pc.KernelError):
        pc.run(
            "host:",
            ["true"],
            network="lab",
            ports={80: ("0.0.0.0", 999), 81: None},
            sysctls={"net.nonsense": 1},
        )
    assert network.inspect()["containers"] == []


def test_a_network_of_a_block(lab: Lab) -> None:
    with pc.Network.create("lab", subnet="10.9.0.0/24") as network:
        assert pc.run("host:", ["true"], network=[network]).exit_code == 0
    assert network not in pc.Network.list()


def test_the_files_of_names_are_no_change(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "rootfs/etc").mkdir(parents=True)
    binaries = tmp_path / "rootfs/bin"
    binaries.mkdir()
    shutil.copy("/bin/busybox", binaries / "sh")
    result = pc.run(f"rootfs:{tmp_path}/rootfs", ["sh", "-c", "echo x > /new"], network="bridge")
    assert [each.path for each in result.changes()] == ["/new"]
