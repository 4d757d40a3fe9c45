"""Nothing stays of networks: after many cycles, after kill -9 in the middle, and what is another's stays as it was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

import pycontainer as pc
from pycontainer.network import expression as ex
from pycontainer.network import link, nft
from pycontainer.network.netlink import NETFILTER, ROUTE, Netlink
from tests.network import evidence
from tests.network.lab import Lab, tables

pytestmark = pytest.mark.needs("root", "bridge_network")

BUSY = """
import pycontainer as pc
while True:
    with pc.Container.create("host:", ["sleep", "100"], network="lab", ports={80: None}) as c:
        c.start()
        print("x", flush=True)
"""
SOME = """
import pycontainer as pc
for _ in range(10):
    pc.run("host:", ["true"], network="lab", ports={80: None}).check()
pc.default_engine().close()
"""


@pytest.fixture
def theirs(lab: Lab) -> Iterator[list[str]]:
    """What others have of rules, Docker's way and nft's own; in the end it is what it was, to the number of each rule."""
    if lab is None:
        yield []
        return
    lab.sh("iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER")
    lab.sh("iptables -A DOCKER-USER -j RETURN; iptables -t nat -A POSTROUTING -s 10.77.0.0/16 -j MASQUERADE")
    dropped = ex.meta("iifname") + ex.lookup("links") + ex.verdict("drop")
    with Netlink(NETFILTER) as netfilter:
        made = [nft.add_table("theirs"), nft.add_set("theirs", "links", [nft.IFNAME])]
        made.append(nft.add_elements("theirs", "links", nft.Element(key=b"eth7".ljust(16, b"\0"))))
        made.append(nft.add_chain("theirs", "first", hook="prerouting", priority=-50))
        nft.commit(netfilter, [*made, nft.add_rule("theirs", "first", dropped)])
        before = evidence.rules_of_others()
        assert len(before) > 10
        yield before
        lab.forget()
        assert evidence.rules_of_others() == before
        nft.commit(netfilter, [nft.delete_table("theirs")])
    lab.drop_tables("filter", "nat")


def ours() -> set[str]:
    with Netlink(ROUTE) as route:
        return {each.name for each in link.every(route) if each.name.startswith("pc")}


def cycles(count: int) -> None:
    for number in range(count):
        network = pc.Network.create(f"n{number}", ipv6=number % 2 == 0, internal=number % 3 == 0)
        pc.run("host:", ["true"], network=network.name, ports={80: None}).check()
        network.remove()


def test_network_cycles(lab: Lab, theirs: list[str]) -> None:
    cycles(30)
    assert {each for each in tables() if not each.startswith("pycontainer-")} == {"filter", "nat", "theirs"}
    assert evidence.rules_of_others() == theirs
    assert evidence.leases() == []


@pytest.mark.slow
def test_a_thousand_network_cycles(lab: Lab, theirs: list[str]) -> None:
    addresses = evidence.addresses()
    cycles(10)
    descriptors = len(os.listdir("/proc/self/fd"))
    cycles(990)
    assert evidence.rules_of_others() == theirs
    assert evidence.leases() == []
    assert evidence.addresses() == addresses
    assert len(os.listdir("/proc/self/fd")) < descriptors + 10  # what is kept ready is not always the same


@pytest.mark.parametrize("seed", range(4))
def test_killed_in_the_middle(lab: Lab, theirs: list[str], seed: int) -> None:
    network = pc.Network.create("lab", subnet="10.9.0.0/24")
    pause = random.Random(seed)
    for _ in range(3):
        host = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE)
        assert host.stdout is not None
        assert host.stdout.readline() == b"x\n"
        time.sleep(pause.random() * 0.05)
        os.kill(host.pid, signal.SIGKILL)
        host.communicate()
    deadline = time.monotonic() + 30
    while network.inspect()["containers"] or ours() != {network.definition.link}:
        assert time.monotonic() < deadline, (network.inspect()["containers"], ours())
        time.sleep(0.05)
    assert tables() == ["filter", "nat", "pycontainer", "theirs"]
    assert evidence.rules_of_others() == theirs
    network.remove()
    assert tables() == ["filter", "nat", "theirs"]
    assert evidence.leases() == []


def test_several_processes_and_threads_at_once(lab: Lab, theirs: list[str]) -> None:
    pc.Network.create("lab", subnet="10.9.0.0/24")
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", SOME]
        )
        for _ in range(3)
    ]  # fmt: skip
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                pc.run("host:", ["true"], network="lab").check()
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed
    assert [each.wait(60) for each in hosts] == [0, 0, 0]
    assert evidence.rules_of_others() == theirs


def test_every_step_that_fails_leaves_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses the n-th batch of messages."""
    from pycontainer.errors import KernelError
    from pycontainer.network.netlink import Message, Netlink

    network = pc.Network.create("lab", subnet="10.9.0.0/24", ipv6=True)
    pc.run("host:", ["true"], network="lab", ports={80: None}).check()
    network.remove()
    network = pc.Network.create("lab", subnet="10.9.0.0/24", ipv6=True)
    genuine = Netlink.send
    before = len(os.listdir("/proc/self/fd"))
    for place in range(1, 40):
        count = 0

        def send(self: Netlink, messages: list[Message], place: int = place) -> None:
            nonlocal count
            count += 1
            if count == place:
                raise KernelError(5, "the test's own failure")
            genuine(self, messages)

        monkeypatch.setattr(Netlink, "send", send)
        try:
            pc.run("host:", ["true"], network="lab", ports={80: None})
        except KernelError as error:
            assert error.step == "the test's own failure"
        finally:
            monkeypatch.setattr(Netlink, "send", genuine)
        assert network.inspect()["containers"] == []
        if count < place:
            break
    assert place > 5
    assert pc.run("host:", ["true"], network="lab", ports={80: None}).exit_code == 0
    assert len(os.listdir("/proc/self/fd")) <= before
