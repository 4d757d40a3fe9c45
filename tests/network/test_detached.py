"""Detached containers on networks: what they have lasts as long as they run, whoever is killed, and is given back then."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import pycontainer as pc
from pycontainer.network import keeping
from pycontainer.network.keeping import Keeper
from tests.detached.conftest import gone, until
from tests.detached.test_killed import guard_of
from tests.network.lab import HOST, WORLD, Lab, ask, serve, started, tables
from tests.network.lasting import MAKE, answer, keepers, links, make, plain, reached, ready

pytestmark = pytest.mark.needs("root", "bridge_network")


def test_a_port_lasts_when_its_maker_is_killed(lab: Lab, other: Any) -> None:
    options = {"name": "web", "network": "bridge", "ports": {"80": [None]}}
    identity, addresses, ports = other(MAKE, json.dumps(serve(80)), json.dumps(options))
    web = ready(pc.default_engine().containers.get("web"))
    assert web.id == identity
    assert web.addresses == addresses
    assert web.ports == {"80/tcp": [("127.0.0.1", ports["80/tcp"][0][1])]}
    told = answer(lab, "127.0.0.1", web.host_port(80))
    assert told == str(pc.Network.get("bridge").gateways[0])
    web.stop(timeout=0)
    assert answer(lab, "127.0.0.1", ports["80/tcp"][0][1]) == "ECONNREFUSED"


def test_names_last_when_the_maker_is_killed(lab: Lab, other: Any) -> None:
    pc.Network.create("mynet", subnet="10.9.0.0/24")
    first = {"name": "one", "network": "mynet", "aliases": ["uno"], **lab.no_other_names()}
    other(MAKE, json.dumps(serve(80)), json.dumps(first))
    other(MAKE, json.dumps(serve(80)), json.dumps({"name": "two", "network": "mynet"}))
    containers = pc.default_engine().containers
    one, two = ready(containers.get("one")), ready(containers.get("two"))
    assert reached(two, "uno", 80) == "10.9.0.3"
    assert reached(one, "two", 80) == "10.9.0.2"
    done = pc.run(
        "host:",
        ["python3", "-c", "import socket; print(socket.gethostbyname('uno'))"],
        network="mynet",
        text=True,
    )
    assert done.stdout.strip() == "10.9.0.2"
    two.stop(timeout=0)
    assert reached(one, "two", 80) == "unknown name"


@pytest.fixture
def mynet(lab: Lab, other: Any) -> pc.Network | None:
    """A network of IPv4 and IPv6."""
    if lab is None:
        return None  # the test runs in a child
    return pc.Network.create("mynet", subnet="10.9.0.0/24", ipv6="fd00:9::/64")


def test_names_between_detached_containers_and_those_of_a_process(lab: Lab, mynet: pc.Network) -> None:
    web = make("web", network="mynet", **lab.no_other_names())
    with started(serve(80, address="::"), network="mynet", name="bound", aliases=["tied"]) as bound:
        assert reached(web, "tied", 80) in web.addresses["mynet"]
        assert reached(bound, "web", 80) in bound.addresses["mynet"]
        assert [each["name"] for each in mynet.inspect()["containers"]] == ["web", "bound"]
    assert reached(web, "tied", 80) == "unknown name"


def test_a_keeper_that_was_killed_comes_back_when_anybody_looks(lab: Lab, mynet: pc.Network) -> None:
    web = make("web", network="mynet", ports={80: ("::1", None)})
    two = make("two", network="mynet")
    for look in (lambda: web.ports, lambda: pc.default_engine().containers.list()):
        (keeper,) = keepers()
        os.kill(keeper, signal.SIGKILL)
        until(lambda keeper=keeper: gone(keeper))
        assert keepers() == []
        look()
        assert reached(two, "web", 80) in two.addresses["mynet"]
        assert answer(lab, "::1", web.host_port(80)) == "fd00:9::1"
    (keeper,) = keepers()
    relay = int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()[-1])
    assert b"network.relay" in Path(f"/proc/{relay}/cmdline").read_bytes()
    os.kill(relay, signal.SIGKILL)
    assert answer(lab, "::1", web.host_port(80)) == "fd00:9::1"
    for each in (web, two):
        each.stop(timeout=0)
    until(lambda: not keepers())


def test_all_is_given_back_when_the_monitor_is_killed(lab: Lab, mynet: pc.Network) -> None:
    web = make("web", network="mynet", ports={80: None})
    port = web.host_port(80)
    assert [each for each in tables() if web.id[:12] in each] != []
    monitor = web.run_state.monitor
    for pid in filter(None, [guard_of(web), monitor]):
        os.kill(pid, signal.SIGKILL)
    until(lambda: gone(monitor))
    until(lambda: not [each for each in tables() if web.id[:12] in each])
    assert answer(lab, "127.0.0.1", port) == "ECONNREFUSED"
    assert web.status == "dead"
    assert mynet.inspect()["containers"] == []
    until(lambda: not [each for each in links(lab) if each.startswith("pcv")])
    web.start()
    until(lambda: answer(lab, "127.0.0.1", web.host_port(80)) == "10.9.0.1")


def test_the_same_network_after_a_restart(lab: Lab, mynet: pc.Network) -> None:
    web = make("web", network="mynet", ports={80: None}, restart="always")
    before = web.addresses, web.ports
    web.kill("INT")
    until(lambda: (web.run_state.phase, web.run_state.restarts) == ("running", 1))
    assert (web.addresses, web.ports) == before
    until(lambda: answer(lab, "127.0.0.1", web.host_port(80)) == "10.9.0.1")
    assert reached(web, "web", 80) in web.addresses["mynet"]
    web.restart(timeout=0)
    assert web.addresses["mynet"][0].startswith("10.9.0.")


CHANGE = """
made = engine.containers.get("web")
made.connect("second", aliases=["also"])
made.disconnect("mynet")
say(made.addresses)
"""


def test_networks_are_changed_by_any_process(lab: Lab, mynet: pc.Network, other: Any) -> None:
    pc.Network.create("second", subnet="10.8.0.0/24")
    web = make("web", network="mynet")
    there = make("there", network="second")
    assert reached(web, WORLD, 9) != "ENETUNREACH"
    assert other(CHANGE) == {"second": ["10.8.0.3"]}
    assert web.addresses == {"second": ["10.8.0.3"]}
    assert reached(there, "also", 80) == "10.8.0.2"
    assert reached(web, "there", 80) == "10.8.0.3"
    assert reached(web, WORLD, 9) != "ENETUNREACH"
    assert "10.8.0.3" in web.exec(["cat", "/etc/hosts"], text=True).stdout
    web.restart(timeout=0)
    assert list(web.addresses) == ["second"]
    web.stop(timeout=0)
    web.connect("mynet")
    with pytest.raises(pc.StateError, match="on network mynet already"):
        web.connect("mynet")
    web.start()
    assert sorted(web.addresses) == ["mynet", "second"]


@pytest.mark.parametrize("verb", ["connect", "disconnect"])
def test_a_change_that_was_noted_by_half_is_completed(
    lab: Lab, mynet: pc.Network, other: Any, verb: str
) -> None:
    pc.Network.create("second", subnet="10.8.0.0/24")
    web = make("web", network="mynet" if verb == "connect" else ["mynet", "second"])
    other(f"""
from pycontainer.container.detached.networking import DetachedNetworking
def stop(self, places): say(1); time.sleep(1000)
DetachedNetworking._change_places = stop
engine.containers.get("web").{verb}("second")
""")
    getattr(web, verb)("second")
    with pytest.raises(pc.StateError, match="on network second"):
        getattr(web, verb)("second")
    now = list(web.addresses)
    web.restart(timeout=0)
    assert list(web.addresses) == now == (["mynet", "second"] if verb == "connect" else ["mynet"])


def test_what_a_killed_change_left_is_given_back_by_the_next(lab: Lab, mynet: pc.Network, other: Any) -> None:
    pc.Network.create("second", subnet="10.8.0.0/24")
    web = make("web", network="mynet")
    before = links(lab)
    other("""
from pycontainer.network.lasting import LastingStack
def stop(self): say(1); time.sleep(1000)
LastingStack._changed = stop
engine.containers.get("web").connect("second")
""")
    assert len(links(lab)) == len(before) + 2
    web.connect("second")
    assert len(links(lab)) == len(before) + 2
    assert list(web.addresses) == ["mynet", "second"]


@pytest.mark.parametrize("target", ["mynet", "none"])
def test_on_the_network_of_a_detached_container(lab: Lab, mynet: pc.Network, target: str) -> None:
    ports = {"ports": {80: None}} if target == "mynet" else {}
    web = make("web", network=target, **ports)
    ask_it = ask("127.0.0.1", 80)
    assert pc.run("host:", ask_it, network="container:web", text=True).stdout.strip() in (
        "127.0.0.1",
        "::ffff:127.0.0.1",
    )
    beside = pc.run("host:", ["sleep", "1000"], detach=True, network=f"container:{web.id[:12]}")
    assert reached(beside, "127.0.0.1", 80) == "127.0.0.1"
    assert (beside.ports, beside.addresses) == (web.ports, web.addresses)
    if target == "mynet":
        assert beside.read_bytes("/etc/hosts") == web.read_bytes("/etc/hosts")
    with pytest.raises(pc.NotSupported):
        beside.connect("mynet")
    with started(serve(80), network="mynet", name="bound"):
        with pytest.raises(pc.InvalidArgument, match="detach=True"):
            pc.run("host:", ["true"], detach=True, network="container:bound")
    with pytest.raises(pc.InvalidArgument, match="no container of this name runs"):
        pc.run("host:", ["true"], network="container:nobody")


def test_egress_of_a_detached_container(lab: Lab, other: Any) -> None:
    lab.serve(80, world=True)
    script = f"""
allow = pc.Network.egress(["{WORLD}/32", "api.example.com"])
made = pc.run("host:", ["sleep", "1000"], detach=True, name="web", network=allow)
say(1)
"""
    other(script)
    web = pc.default_engine().containers.get("web")
    assert reached(web, WORLD, 80) == HOST
    assert reached(web, "192.0.2.77", 80) != HOST
    assert reached(web, "example.net", 80) == "unknown name"
    assert web.denied == ("example.net", "192.0.2.77:80/tcp")
    (keeper,) = keepers()
    os.kill(keeper, signal.SIGKILL)
    until(lambda: gone(keeper))
    assert reached(pc.default_engine().containers.list()[0], "example.org", 80) == "unknown name"
    assert web.denied[:2] == ("example.net", "example.org")


@pytest.mark.parametrize("wrong", ["command", "port", "name", "address"])
def test_a_start_that_fails_leaves_nothing(lab: Lab, mynet: pc.Network, wrong: str) -> None:
    make("first", network="mynet", ports={80: 8080})
    before = lab.state(), mynet.inspect()
    options: dict[str, Any] = {"ports": {80: 8080 if wrong == "port" else None}, "network": "mynet"}
    if wrong == "name":
        options["network"] = "nowhere"
    if wrong == "address":
        options["network"] = {"mynet": {"ip": "10.9.0.2"}}
    command = ["/no/such/program"] if wrong == "command" else ["true"]
    made = pc.Container.create("host:", command, detach=True, name="second", **options)
    with pytest.raises(pc.PyContainerError):
        made.start()
    until(lambda: (lab.state(), mynet.inspect()) == before)
    assert made.status == "created"


def test_a_new_name_is_known_to_the_others(lab: Lab, mynet: pc.Network) -> None:
    web = make("web", network={"mynet": {"aliases": ["also"]}})
    two = make("two", network="mynet", **lab.no_other_names())
    web.rename("renamed")
    assert reached(two, "web", 80) == "unknown name"
    for name in ("renamed", "also", web.id[:12]):
        assert reached(two, name, 80) in two.addresses["mynet"], name


@pytest.mark.parametrize("options", [{}, {"ports": {80: ("0.0.0.0", None)}}])
def test_waiting_for_a_server(lab: Lab, mynet: pc.Network, options: dict[str, Any]) -> None:
    command = ["python3", "-m", "http.server", "80"]
    web = pc.run("host:", command, detach=True, network="mynet", **options)
    web.wait_for(pc.wait.http(80), timeout=20)
    web.wait_for(pc.wait.port(80), timeout=20)


def test_many_ports(lab: Lab, other: Any) -> None:
    web = make("web", network="bridge", ports={"1-300": None, "1-300/udp": None})
    assert len(web.ports) == 600
    assert answer(lab, "127.0.0.1", web.host_port(80)) == str(pc.Network.get("bridge").gateways[0])


def test_what_inspect_tells(lab: Lab, mynet: pc.Network) -> None:
    web = make("web", network={"mynet": {"aliases": ["db"]}}, ports={80: ("0.0.0.0", 8080)})
    told = web.inspect()
    settings = told["NetworkSettings"]
    assert settings["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}
    assert settings["IPAddress"] == ""
    (entry,) = settings["Networks"].values()
    assert entry["DNSNames"] == ["web", web.id[:12], "db"]
    assert list(settings["Networks"]) == ["mynet"]
    assert {key: entry[key] for key in ("IPAddress", "IPPrefixLen", "Gateway", "GlobalIPv6Address", "Aliases", "NetworkID")} == {
        "IPAddress": "10.9.0.2", "IPPrefixLen": 24, "Gateway": "10.9.0.1", "GlobalIPv6Address": "fd00:9::2",
        "Aliases": ["db"], "NetworkID": mynet.id,
    }  # fmt: skip
    mac = web.exec(["cat", "/sys/class/net/eth0/address"], text=True).stdout.strip()
    assert entry["MacAddress"] == mac
    assert told["HostConfig"]["NetworkMode"] == "mynet"
    assert told["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}
    web.connect("bridge")
    settings = web.inspect()["NetworkSettings"]
    assert settings["IPAddress"] == settings["Networks"]["bridge"]["IPAddress"] == web.addresses["bridge"][0]
    containers = pc.default_engine().containers
    for name, expected in (("bridge", [web]), ("mynet", [web]), ("none", [])):
        assert [each.id for each in containers.list(filters={"network": name})] == [
            each.id for each in expected
        ]
    web.stop(timeout=0)
    settings = web.inspect()["NetworkSettings"]
    assert settings["Ports"] == {}
    assert settings["Networks"]["mynet"]["IPAddress"] == ""


#: All that is done to a network of a detached container, ended before or after the step of that number.
CYCLE = """
import itertools, os, signal, sys
import pycontainer as pc
from pycontainer.kernel.monitorclient import Client
from pycontainer.network import keeping
from pycontainer.network.kept import Kept
from pycontainer.network.netlink import Netlink
place = int(sys.argv[1])
steps = itertools.count()
def ending(function):
    def ended(*arguments, **options):
        if next(steps) == place:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return function(*arguments, **options)
        finally:
            if next(steps) == place:
                os.kill(os.getpid(), signal.SIGKILL)
    return ended
for kind, name in (Netlink, "_send"), (Kept, "write"), (Client, "ask"), (keeping, "_start"), (keeping.Keeper, "tell"):
    setattr(kind, name, ending(getattr(kind, name)))
pc.Network.create("lab", subnet="10.9.0.0/24")
made = pc.run("host:", ["sleep", "1000"], detach=True, name="made", network="lab", ports={80: None})
made.connect("bridge")
made.disconnect("lab")
made.remove(force=True)
"""


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_every_step(lab: Lab, other: Any, stride: int) -> None:
    before = lab.state()
    place = 0
    while True:
        done = subprocess.run([sys.executable, "-c", CYCLE, str(place)], timeout=60, check=False)
        for each in pc.default_engine().containers.list(all=True):
            if each.status == "running":
                assert list(each.addresses) in (["lab"], ["lab", "bridge"], ["bridge"])
                assert each.exec(["true"]).exit_code == 0
            each.remove(force=True)
        pc.default_engine().containers.prune()
        until(lambda: pc.default_engine().networks.prune() or not pc.default_engine().networks.list())
        until(lambda: lab.state() == before and not keepers())
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        place += stride
    assert place > 50


MANY = """
made = [pc.run("host:", ["sleep", "1000"], detach=True, network="mynet", ports={80: ("::1", None)}) for _ in range(3)]
say([each.id for each in made])
"""


def test_many_are_made_at_once_while_keepers_are_killed(lab: Lab, mynet: pc.Network, process: Any) -> None:
    makers = [process(MANY) for _ in range(4)]
    for _ in range(10):
        for pid in keepers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    names = [name for each in makers for name in json.loads(each.stdout.readline())]
    every = pc.default_engine().containers.list()
    assert sorted(each.id for each in every) == sorted(names)
    assert len({each.addresses["mynet"][0] for each in every}) == 12
    assert len(keepers()) == 1
    for each in every:
        first = every[0].id[:12]
        found = each.exec(
            ["python3", "-c", f"import socket; print(socket.gethostbyname('{first}'))"], text=True
        )
        assert found.stdout.strip() == every[0].addresses["mynet"][0], found.stderr
    for each in every:
        each.stop(timeout=0)
    until(lambda: not keepers())


def test_a_keeper_that_is_killed_before_it_was_spoken_to(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    start, killed = keeping._start, []

    def start_and_kill(root: str, listener: socket.socket) -> None:
        start(root, listener)
        if len(killed) < 2:
            killed.extend(keepers())
            os.kill(killed[-1], signal.SIGKILL)
            until(lambda: not keepers())

    monkeypatch.setattr(keeping, "_start", start_and_kill)
    with Keeper.reach(pc.default_engine().networks.root):
        assert len(keepers()) == 1
        assert len(killed) == 2
    until(lambda: not keepers())


def test_on_a_link_of_the_hosts(lab: Lab, other: Any) -> None:
    pc.Network.create(
        "far",
        driver="macvlan",
        parent="uplink",
        subnet="192.0.2.0/24",
        gateway=WORLD,
        ip_range="192.0.2.64/26",
    )
    pc.Network.create("lab", subnet="10.9.0.0/24", internal=True)
    other(MAKE, json.dumps(serve(80)), json.dumps({"name": "web", "network": "far"}))
    web = ready(pc.default_engine().containers.get("web"))
    address = web.addresses["far"][0]
    assert plain(lab.ask_from_world(address, 80)) == WORLD
    web.connect("lab")
    web.disconnect("far")
    assert lab.ask_from_world(address, 80, "tcp", 2) != WORLD
    web.connect("far")
    assert plain(lab.ask_from_world(web.addresses["far"][0], 80)) == WORLD


def test_bounded_traffic(lab: Lab, mynet: pc.Network, other: Any) -> None:
    web = make("web", network="mynet", bandwidth=pc.Bandwidth(download="1M", upload="1M"))
    assert "tbf" in lab.sh("tc qdisc show")
    assert pc.default_engine().containers.get("web").spec.network.bandwidth == pc.Bandwidth(
        download="1M", upload="1M"
    )
    assert reached(web, "web", 80) in web.addresses["mynet"]
