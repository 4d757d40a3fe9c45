"""Networks that lie on a link of the host's, or between hosts; and bounds of traffic."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

import pycontainer as pc
from tests.network.lab import HOST, WORLD, Lab, asked, serve, started

pytestmark = pytest.mark.needs("root", "bridge_network")

#: Another host: a process in the world that serves from a container of its own.
OTHER_HOST = """
import sys, time
import pycontainer as pc
from tests.network.lab import serve, started
pc.Network.create("over", driver="overlay", subnet="10.50.0.0/24", gateway="10.50.0.2", ip_range="10.50.0.32/28",
                  local=sys.argv[1], peers=[sys.argv[2]], vni=7)
with started(serve(80), network="over") as server:
    print(server.addresses["over"][0], flush=True)
    sys.stdin.read()
pc.Network.get("over").remove()
pc.default_engine().close()
"""


def test_macvlan(lab: Lab) -> None:
    lab.serve(80, world=True)
    pc.Network.create("wire", driver="macvlan", parent="uplink", subnet="192.0.2.0/24", gateway=WORLD)
    with started(serve(81), network="wire", ip="192.0.2.77") as container:
        assert asked(container, WORLD, 80) == "192.0.2.77"
        assert lab.ask_from_world("192.0.2.77", 81) == WORLD
        container.disconnect("wire")
        assert lab.ask_from_world("192.0.2.77", 81, "tcp", 2) != WORLD


def test_ipvlan_or_what_the_kernel_lacks(lab: Lab) -> None:
    pc.Network.create("wire", driver="ipvlan", parent="uplink", subnet="192.0.2.0/24", gateway=WORLD)
    lab.serve(80, world=True)
    try:
        container = started(serve(81), network="wire", ip="192.0.2.77")
    except pc.NotSupported as error:
        assert "modprobe" in str(error)
        assert pc.Network.get("wire").inspect()["containers"] == []
        return
    with container:
        assert asked(container, WORLD, 80) == "192.0.2.77"


def test_a_parent_that_is_gone(lab: Lab) -> None:
    pc.Network.create("wire", driver="macvlan", parent="nothere", subnet="192.0.2.0/24")
    with pytest.raises(pc.NotSupported, match="nothere"):
        pc.run("host:", ["true"], network="wire")


def test_two_hosts_joined_by_an_overlay(lab: Lab) -> None:
    root = lab.tmp_path / "other"
    root.mkdir(mode=0o700)
    other = subprocess.Popen(
        ["nsenter", f"--net=/proc/{lab.world}/ns/net", sys.executable, "-c", OTHER_HOST, WORLD, HOST],
        env={**os.environ, "PYCONTAINER_ROOT": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    address = other.stdout.readline().decode().strip()
    assert address == "10.50.0.32"
    pc.Network.create(
        "over", driver="overlay", subnet="10.50.0.0/24", gateway="10.50.0.1", ip_range="10.50.0.16/28", local=HOST,
        peers=[WORLD], vni=7,
    )  # fmt: skip
    with started(serve(81), network="over") as container:
        assert asked(container, address, 80) == container.addresses["over"][0]
        mtu = container.exec(["cat", "/sys/class/net/eth0/mtu"], text=True).stdout
        assert int(mtu) == 1450
    other.communicate(timeout=60)
    assert other.returncode == 0


#: Sends or receives so many bytes, and tells the seconds.
TRANSFER = """
import socket, sys, time
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = socket.create_connection((host, port))
start = time.monotonic()
s.sendall(b"x" * count); s.shutdown(socket.SHUT_WR)
got = 0
while piece := s.recv(1 << 16):
    got += len(piece)
print(got, time.monotonic() - start)
"""
#: Takes all that comes, then gives as much back.
ECHO = """
import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("0.0.0.0", 7)); s.listen()
print("ready", flush=True)
while True:
    c, _ = s.accept(); got = 0
    while piece := c.recv(1 << 16):
        got += len(piece)
    c.sendall(b"y" * (0 if got < 1000000 else got)); c.close()
"""


@pytest.mark.parametrize("way", ["upload", "download"])
def test_bandwidth_is_bounded(lab: Lab, way: str) -> None:
    """As many bytes take as long as the bound says at least; how fast the rest is, is the machine's business."""
    pc.Network.create("lab")
    count = 1_000_000
    with started(["python3", "-c", ECHO], network="lab") as server, started(
        serve(80), network="lab", bandwidth=pc.Bandwidth(**{way: "1M"})
    ) as client:  # fmt: skip
        script = ["python3", "-c", TRANSFER, server.addresses["lab"][0], "7", str(count)]
        got, seconds = client.exec(script, text=True).check().stdout.split()
        assert int(got) == count
        assert float(seconds) > (count - 200_000) / (1 << 20)


def test_faults_or_what_the_kernel_lacks(lab: Lab) -> None:
    network = pc.Network.create("lab")
    with started(serve(80), network="lab") as server:
        try:
            client = started(serve(80), network="lab", bandwidth=pc.Bandwidth(delay=0.2))
        except pc.NotSupported as error:
            assert "modprobe sch_netem" in str(error)
            assert len(network.inspect()["containers"]) == 1
            return
        with client:
            start = time.monotonic()
            assert asked(client, server.addresses["lab"][0], 80)
            assert time.monotonic() - start > 0.4
