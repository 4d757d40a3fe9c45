"""Detached containers on networks of an ordinary user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pycontainer as pc
from tests.detached.conftest import gone, until
from tests.detached.test_killed import guard_of
from tests.network.lab import HOST, WORLD, ask, serve, started
from tests.network.lasting import MAKE, keepers, make, plain, reached, ready
from tests.network.surroundings import Surroundings

pytestmark = pytest.mark.needs("user", "userns", "bridge_network")


@pytest.fixture
def inside(other: Any) -> Iterator[pc.Network]:
    """A network from which nothing leads out."""
    yield pc.Network.create("inside", subnet="10.9.0.0/24", ipv6="fd00:9::/64", internal=True)
    for each in pc.default_engine().containers.list(all=True):
        each.remove(force=True)
    engine = pc.default_engine()
    engine.close()
    engine.networks.prune()
    engine.networks.close()


def answer(address: str, port: int, kind: str = "tcp") -> str:
    """What a program of the host gets from a server."""
    done = subprocess.run(ask(address, port, kind), capture_output=True, text=True, check=True)
    return plain(done.stdout.strip())


def test_ports_and_names_last_when_the_makers_are_killed(inside: pc.Network, other: Any) -> None:
    for name, ports in (("one", {"80": None}), ("two", {})):
        options = {"name": name, "network": "inside", "ports": ports}
        other(MAKE, json.dumps(serve(80, address="::")), json.dumps(options))
    containers = pc.default_engine().containers
    one, two = ready(containers.get("one")), ready(containers.get("two"))
    assert answer("127.0.0.1", one.host_port(80)) == "10.9.0.1"
    assert reached(two, "one", 80) in two.addresses["inside"]
    assert reached(one, "two", 80) in one.addresses["inside"]
    with started(serve(80, address="::"), network="inside", name="bound") as bound:
        assert reached(one, "bound", 80) in one.addresses["inside"]
        assert reached(bound, "one", 80) in bound.addresses["inside"]
    port = one.host_port(80)
    one.stop(timeout=0)
    until(lambda: answer("127.0.0.1", port) == "ECONNREFUSED")
    assert reached(two, "one", 80) == "unknown name"


def test_a_keeper_that_was_killed_comes_back(inside: pc.Network, other: Any) -> None:
    make("web", network="inside", ports={80: ("::1", None)})
    script = """
(web,) = engine.containers.list()
say(web.host_port(80))
"""
    for _ in range(2):
        (keeper,) = keepers()
        os.kill(keeper, signal.SIGKILL)
        until(lambda keeper=keeper: gone(keeper))
        pc.default_engine().close()  # nobody is in the place of the networks now but the monitor
        port = other(script)
        assert answer("::1", port) == "fd00:9::1"


def test_all_is_given_back_when_the_monitor_is_killed(inside: pc.Network) -> None:
    web = make("web", network="inside", ports={80: None})
    port, monitor = web.host_port(80), web.run_state.monitor
    for pid in filter(None, [guard_of(web), monitor]):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not keepers())
    assert answer("127.0.0.1", port) == "ECONNREFUSED"
    assert web.status == "dead"
    assert inside.inspect()["containers"] == []


CHANGE = """
made = engine.containers.get("web")
made.connect("second", aliases=["also"])
made.disconnect("inside")
say(made.addresses)
"""


def test_networks_are_changed_by_any_process(inside: pc.Network, other: Any) -> None:
    pc.Network.create("second", subnet="10.8.0.0/24", internal=True)
    web = make("web", network="inside")
    there = make("there", network="second")
    assert other(CHANGE) == {"second": ["10.8.0.3"]}
    assert reached(there, "also", 80) == "10.8.0.2"
    assert reached(web, "there", 80) == "10.8.0.3"
    web.restart(timeout=0)
    assert list(web.addresses) == ["second"]


def test_on_the_network_of_a_detached_container(inside: pc.Network) -> None:
    web = make("web", network="inside", ports={80: None})
    assert (
        plain(pc.run("host:", ask("127.0.0.1", 80), network="container:web", text=True).stdout.strip())
        == "127.0.0.1"
    )
    beside = pc.run("host:", ["sleep", "1000"], detach=True, network="container:web")
    assert reached(beside, "127.0.0.1", 80) == "127.0.0.1"
    assert (beside.ports, beside.addresses) == (web.ports, web.addresses)


@pytest.mark.needs("pasta", "tun")
def test_the_outside_lasts_when_the_maker_is_killed(ordinary: Surroundings, other: Any) -> None:
    ordinary.ask("serve", 80, world=True)
    pc.Network.create("lab", subnet="10.7.0.0/24")
    options = {"name": "web", "network": "lab", "ports": {"80": ["0.0.0.0:8080"]}}
    other(MAKE, json.dumps(serve(80)), json.dumps(options))
    web = ready(pc.default_engine().containers.get("web"))
    assert reached(web, WORLD, 80) == HOST
    assert ordinary.ask("ask_from_world", HOST, 8080) == "10.7.0.1"
    (keeper,) = keepers()
    ways = [
        pid
        for pid in map(int, Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split())
        if b"--no-map-gw" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(ways[0], signal.SIGKILL)
    until(lambda: reached(web, WORLD, 80, "tcp", 1) == HOST)
    os.kill(keeper, signal.SIGKILL)
    until(lambda: gone(keeper))
    until(lambda: web.ports and reached(web, WORLD, 80, "tcp", 1) == HOST)
    assert ordinary.ask("ask_from_world", HOST, 8080) == "10.7.0.1"


@pytest.mark.needs("pasta", "tun")
def test_egress(ordinary: Surroundings, other: Any) -> None:
    ordinary.ask("serve", 80, world=True)
    web = make("web", serve(80), network=pc.Network.egress([f"{WORLD}/32"]))
    assert reached(web, WORLD, 80) == HOST
    assert reached(web, HOST, 81) == "EHOSTUNREACH"
    assert reached(web, "example.net", 80) == "unknown name"
    assert web.denied == ("example.net", f"{HOST}:81/tcp")


MIXED = """
from tests.network.lab import serve, started
bound = started(serve(80), network="lab", name="bound")
made = pc.run("host:", json.loads(sys.argv[1]), detach=True, name="made", network="lab")
while b"heard" not in b"".join(made.logs()): pass
say(1)
"""
#: Connects to the outside, and says each time that it is answered there.
TALK = """
import socket, time
s = socket.create_connection(("{world}", 81)); print("ready", flush=True)
while True:
    s.sendall(b"x"); assert s.recv(1) == b"x"; print("heard", flush=True); time.sleep(0.05)
"""
ECHO = """
import socket, threading
s = socket.create_server(("", 81)); print("ready", flush=True)
def echo(c):
    while data := c.recv(100): c.sendall(data)
while True:
    threading.Thread(target=echo, args=s.accept()[:1]).start()
"""


@pytest.mark.needs("pasta", "tun")
def test_a_connection_to_the_outside_lasts_when_the_maker_is_killed(
    ordinary: Surroundings, other: Any
) -> None:
    """Though the maker had a way out of its own, for a container of its own."""
    ordinary.ask("run_outside", ["python3", "-c", ECHO])
    pc.Network.create("lab", subnet="10.7.0.0/24")
    other(MIXED, json.dumps(["python3", "-c", TALK.format(world=WORLD)]))
    made = ready(pc.default_engine().containers.get("made"))
    heard = len(list(made.logs()))
    until(lambda: len(list(made.logs())) > heard + 5)
    with started(serve(80), network="lab", name="bound") as bound:
        assert plain(reached(bound, WORLD, 81)) != "ENETUNREACH"
    heard = len(list(made.logs()))
    until(lambda: len(list(made.logs())) > heard + 5)
    assert made.status == "running"
