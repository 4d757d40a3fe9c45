"""Many containers on one network: each is reached, by name, by address and by its published port."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack

import pytest

import pycontainer as pc
from tests.network.lab import SERVE, Lab

pytestmark = pytest.mark.needs("root", "bridge_network")

#: Who answers at each of these places, as JSON: [[host, port], ...] is asked for, in turn.
ASK_ALL = """
import json, socket, sys
found = []
for host, port in json.loads(sys.argv[1]):
    with socket.create_connection((host, port), 10) as s:
        found.append(s.recv(100).decode())
print(json.dumps(found))
"""
#: No more than an interpreter of that size has in memory.
COMMAND = ["python3", "-I", "-S", "-c", SERVE, "0.0.0.0", "80", "tcp"]


@pytest.mark.parametrize("count", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_all_on_one_network_are_reached(lab: Lab, count: int) -> None:
    network = pc.Network.create("lab", subnet="10.9.0.0/23")
    with ExitStack() as stack:
        made = []
        for number in range(count):
            container = pc.Container.create(
                "host:", COMMAND, network="lab", name=f"c{number}", ports={80: None}
            )
            made.append(stack.enter_context(container))
            container.start()
        addresses = [each.addresses["lab"][0] for each in made]
        assert len({*addresses}) == count
        assert {each["name"] for each in network.inspect()["containers"]} == {each.name for each in made}
        # The last ones may not listen yet: the first one waits for each in turn.
        waiting = "import socket, sys, time\nfor host in sys.argv[1:]:\n while socket.socket().connect_ex((host, 80)): time.sleep(0.01)"
        made[0].exec(["python3", "-c", waiting, *addresses], timeout=120).check()
        for places in ([(each.name, 80) for each in made[1:]], [(each, 80) for each in addresses[1:]]):
            done = (
                made[0].exec(["python3", "-c", ASK_ALL, json.dumps(places)], text=True, timeout=120).check()
            )
            assert json.loads(done.stdout) == [addresses[0]] * (count - 1)
        ring = [(each.name, 80) for each in [*made[1:], made[0]]]
        for container, address, place in list(zip(made, addresses, ring, strict=True))[:: count // 10]:
            done = container.exec(
                ["python3", "-c", ASK_ALL, json.dumps([place])], text=True, timeout=30
            ).check()
            assert json.loads(done.stdout) == [address]
        published = [("127.0.0.1", each.host_port(80)) for each in made]
        command = ["python3", "-c", ASK_ALL, json.dumps(published)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        assert json.loads(done.stdout) == [str(network.gateways[0])] * count
