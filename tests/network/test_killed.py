"""Killed at each step of making and removing networks: the next one who looks finds nothing of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import pycontainer as pc
from tests.network.lab import Lab

pytestmark = pytest.mark.needs("root", "bridge_network")

#: All that networks do to a host and to the record, ended before or after the step of that number.
CYCLE = """
import itertools, os, signal, sys
import pycontainer as pc
from pycontainer.network import forwarding
from pycontainer.network.netlink import Netlink
place, options = int(sys.argv[1]), eval(sys.argv[2])
steps = itertools.count()
def ending(function):
    def ended(*arguments):
        if next(steps) == place:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return function(*arguments)
        finally:
            if next(steps) == place:
                os.kill(os.getpid(), signal.SIGKILL)
    return ended
Netlink._send = ending(Netlink._send)
forwarding.write = ending(forwarding.write)
if options:
    pc.Network.create("lab", **options)
    pc.run("host:", ["true"], network="lab", ports={80: None}).check()
else:
    pc.run("host:", ["true"], network=pc.Network.egress(["10.0.0.0/8:80"])).check()
for each in pc.Network.list():
    each.remove()
pc.default_engine().close()
"""


def clean_up() -> None:
    """What one does who finds a host after a crash."""
    networks = pc.default_engine().networks
    deadline = time.monotonic() + 20
    while True:
        networks.prune()
        if not networks.list():
            return
        assert time.monotonic() < deadline, [each.inspect() for each in networks.list()]
        time.sleep(0.02)


def settled(lab: Lab, before: dict[str, Any]) -> dict[str, Any]:
    """What the host has once the kernel has removed the namespaces of who was killed."""
    deadline = time.monotonic() + 10
    while (found := lab.state()) != before and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@pytest.mark.parametrize(
    "options",
    [{"subnet": "10.9.0.0/24", "ipv6": True}, {"subnet": "10.9.0.0/24", "internal": True}, {}],
    ids=["both", "internal", "egress"],
)
@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_every_step(lab: Lab, options: dict[str, Any], stride: int) -> None:
    lab.sh(
        "iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -t nat -A PREROUTING -p tcp --dport 9 -j ACCEPT"
    )
    before = lab.state()
    place, killed = 0, 0
    while True:
        done = subprocess.run(
            [sys.executable, "-c", CYCLE, str(place), repr(options)], timeout=60, check=False
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        killed += 1
        clean_up()
        assert settled(lab, before) == before, f"killed at step {place}"
        place += stride
    assert killed * stride > 40
    lab.drop_tables("filter", "nat")
