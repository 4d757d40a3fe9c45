"""Networks of an ordinary user, who may make no link and no rule on the host."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.network import wayout
from tests.network.lab import HOST, HOST6, WORLD, WORLD6, ask, asked, serve, started
from tests.network.surroundings import Surroundings

pytestmark = pytest.mark.needs("user", "userns", "bridge_network")


@pytest.fixture
def inside() -> Iterator[pc.Network]:
    """A network from which nothing leads out; it needs nothing of the host, not even a lab."""
    network = pc.Network.create("inside", subnet="10.9.0.0/24", ipv6="fd00:9::/64", internal=True)
    yield network
    engine = pc.default_engine()
    engine.close()
    engine.networks.prune()
    engine.networks.close()


def asked_here(address: str, port: int, kind: str = "tcp") -> str:
    """What a program of the host gets from a server."""
    done = subprocess.run(ask(address, port, kind), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_containers_reach_each_other_by_name(inside: pc.Network) -> None:
    with (
        started(serve(80, address="::"), network="inside", name="web", aliases=["www"]) as web,
        started(serve(80, address="::"), network="inside", name="other") as other,
    ):
        assert web.addresses == {"inside": ["10.9.0.2", "fd00:9::2"]}
        for name in ("web", "www", "10.9.0.2", "fd00:9::2", "web.inside"):
            assert asked(other, name, 80).removeprefix("::ffff:") in other.addresses["inside"], name
        assert asked(other, WORLD, 80) == "ENETUNREACH"
        web.disconnect("inside")
        assert asked(other, "www", 80) == "unknown name"
        web.connect("inside", aliases=["again"])
        assert asked(other, "again", 80).removeprefix("::ffff:") in other.addresses["inside"]


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_published_ports(inside: pc.Network, kind: str) -> None:
    ports = {f"80/{kind}": [("127.0.0.1", None), ("127.0.0.2", None), ("::1", None)]}
    with started(serve(80, kind, "::"), network="inside", ports=ports) as web:
        published = web.ports[f"80/{kind}"]
        assert [address for address, _ in published] == ["127.0.0.1", "127.0.0.2", "::1"]
        for address, port in published:
            assert asked_here(address, port, kind).removeprefix("::ffff:") in ("10.9.0.1", "fd00:9::1")
        assert asked_here("127.0.0.3", published[0][1], kind) == "ECONNREFUSED"
    for address, port in published:
        assert asked_here(address, port, kind) == "ECONNREFUSED"


def test_a_port_that_is_taken_or_not_allowed(inside: pc.Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(pc.KernelError, match="take port"):
            pc.run("host:", ["true"], network="inside", ports={80: taken.getsockname()[1]})
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 1:
        with pytest.raises(pc.NotSupported, match="ip_unprivileged_port_start"):
            pc.run("host:", ["true"], network="inside", ports={80: 1})
    assert inside.inspect()["containers"] == []


ECHO = """
import socket, sys
s = socket.create_server(("0.0.0.0", 80))
print("ready", flush=True)
while True:
    c, _ = s.accept()
    total = 0
    while data := c.recv(65536):
        total += len(data)
        c.sendall(data)
    c.sendall(b"%020d" % total)
    c.close()
"""


def test_a_port_carries_much_both_ways_and_closes_by_halves(inside: pc.Network) -> None:
    size = 30_000_000
    with started(["python3", "-c", ECHO], network="inside", ports={80: None}) as web:
        script = (
            "import socket, threading, sys\n"
            f"s = socket.create_connection(('127.0.0.1', {web.host_port(80)}))\n"
            "def send():\n"
            f"    s.sendall(bytes(range(250)) * ({size} // 250)); s.shutdown(socket.SHUT_WR)\n"
            "threading.Thread(target=send).start()\n"
            "got = b''.join(iter(lambda: s.recv(1 << 16), b''))\n"
            f"assert got[:-20] == bytes(range(250)) * ({size} // 250)\n"
            "print(int(got[-20:]))\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == str(size), done.stderr


def test_many_connections_at_once_and_a_container_that_refuses(inside: pc.Network) -> None:
    with started(serve(80), network="inside", ports={80: None, 81: None}) as web:
        address = ("127.0.0.1", web.host_port(80))
        for _ in range(20):
            waiting = [socket.create_connection(address, 10) for _ in range(20)]
            for each in waiting:
                assert each.recv(100) == b"10.9.0.1"
                each.close()
        with socket.create_connection(("127.0.0.1", web.host_port(81)), 10) as refused:
            with pytest.raises(ConnectionResetError):
                refused.recv(100)


def test_a_relay_that_was_killed_comes_back(inside: pc.Network) -> None:
    with started(serve(80), network="inside", ports={80: None}) as web:
        assert asked_here("127.0.0.1", web.host_port(80)) == "10.9.0.1"
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            if b"network.relay" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGKILL)
        with started(serve(80), network="inside", ports={80: None}) as other:
            for each in (web, other):
                assert asked_here("127.0.0.1", each.host_port(80)) == "10.9.0.1"


def test_drivers_on_the_hosts_links_are_roots(inside: pc.Network) -> None:
    pc.Network.create("far", driver="macvlan", parent="lo", subnet="10.8.0.0/24")
    with pytest.raises(pc.NotSupported, match="root"):
        pc.run("host:", ["true"], network="far")


@pytest.fixture(params=["pasta", "slirp4netns"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By this program, as if it were the only one."""
    kept = {request.param: wayout._PROGRAMS[request.param]}
    monkeypatch.setattr(wayout, "_PROGRAMS", kept)
    return str(request.param)


@pytest.mark.needs("pasta", "slirp4netns", "tun")
def test_the_outside(ordinary: Surroundings, way: str) -> None:
    for kind in ("tcp", "udp"):
        ordinary.ask("serve", 80, kind, "::", world=True)
        ordinary.ask("serve", 81, kind, "::")
        ordinary.ask("serve", 82, kind, "127.0.0.1")
    pc.Network.create("lab", ipv6=True)
    with started(serve(80, address="::"), network="lab", ports={80: ("0.0.0.0", 8080)}) as web:
        for kind in ("tcp", "udp"):
            assert asked(web, WORLD, 80, kind).removeprefix("::ffff:") == HOST
            assert asked(web, WORLD6, 80, kind) == HOST6
            assert asked(web, "host.docker.internal", 81, kind).removeprefix("::ffff:") == HOST
        gateway = str(pc.Network.get("lab").gateways[0])
        for address in ("127.0.0.1", gateway, "192.0.0.2", "192.0.0.1"):
            assert asked(web, address, 82, "tcp", 2) != "127.0.0.1", address
        assert ordinary.ask("ask_from_world", HOST, 8080).removeprefix("::ffff:") == gateway
        assert asked(web, HOST, 8080).removeprefix("::ffff:") == gateway
    assert ordinary.ask("ask_from_world", HOST, 8080) == "ECONNREFUSED"


@pytest.mark.needs("pasta", "tun")
def test_networks_are_isolated_and_a_port_is_where_it_was_asked_for(ordinary: Surroundings) -> None:
    ordinary.ask("serve", 80, world=True)
    for name in ("a", "b"):
        pc.Network.create(name)
    pc.Network.create("closed", internal=True)
    with (
        started(serve(80), network="a", ports={80: ("127.0.0.1", 8080), "80/udp": (HOST, 8080)}) as one,
        started(serve(80), network="b") as two,
        started(serve(80), network="closed") as three,
        started(serve(80), network="bridge") as usual,
    ):
        every = {each: next(iter(each.addresses.values()))[0] for each in (one, two, three, usual)}
        for each in every:
            for other, address in every.items():
                if each is not other:
                    assert asked(each, address, 80, "tcp", 2) not in every.values()
        assert asked(usual, WORLD, 80) == HOST
        assert asked(three, WORLD, 80, "tcp", 2) != HOST
        assert ordinary.ask("ask_from_world", HOST, 8080) == "ECONNREFUSED"


@pytest.mark.needs("pasta", "tun")
def test_egress(ordinary: Surroundings) -> None:
    known = {"api.example.com": "198.51.100.7", "good.example.org": WORLD}
    ordinary.ask("outside", "ip addr add 198.51.100.7/32 dev lo")
    ordinary.ask("name_server", WORLD, known)
    ordinary.ask("serve", 80, world=True)
    ordinary.ask("serve", 81, world=True)
    net = pc.Network.egress(["good.example.org:80", "198.51.100.0/24"])
    with started(serve(9), network=net, dns=[WORLD]) as container:
        assert asked(container, "198.51.100.7", 81) == HOST
        assert asked(container, "bad.example.org", 80) == "unknown name"
        assert asked(container, WORLD, 80) == "EHOSTUNREACH"
        assert asked(container, WORLD6, 80) in ("EHOSTUNREACH", "ENETUNREACH", "EACCES")
        assert asked(container, HOST, 22) == "EHOSTUNREACH"
        assert {f"{WORLD}:80/tcp", "bad.example.org"} <= {*container.denied}


def test_without_a_program_only_what_is_inside_works(
    inside: pc.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wayout, "_PROGRAMS", {})
    assert pc.run("host:", ["true"], network="inside").exit_code == 0
    for network in ("bridge", pc.Network.egress([])):
        with pytest.raises(pc.NotSupported, match="passt"):
            pc.run("host:", ["true"], network=network)
    for each in pc.default_engine().networks.list():
        assert each.inspect()["containers"] == []


def test_bandwidth(inside: pc.Network) -> None:
    wish = pc.Bandwidth(download="100K", upload="100K", burst="20K")
    with started(["python3", "-c", ECHO], network="inside", name="slow", bandwidth=wish) as slow:
        script = (
            "import socket, time\n"
            "s = socket.create_connection(('slow', 80)); start = time.monotonic()\n"
            "s.sendall(bytes(100_000)); s.shutdown(socket.SHUT_WR)\n"
            "while s.recv(1 << 16): pass\n"
            "print(time.monotonic() - start)\n"
        )
        done = pc.run("host:", ["python3", "-c", script], network="inside", text=True).check()
        assert float(done.stdout) > 0.5, slow.name


CYCLE = """
import sys
import pycontainer as pc
pc.Network.create("lab", internal=len(sys.argv) < 2)
print("x", flush=True)
while True:
    with pc.Container.create("host:", ["sleep", "100"], network="lab", ports={80: None}) as c:
        c.start()
        print("x", flush=True)
"""


def cycles(count: int) -> None:
    for number in range(count):
        network = pc.Network.create(f"n{number}", ipv6=number % 2 == 0, internal=True)
        pc.run("host:", ["true"], network=network.name, ports={80: None}).check()
        network.remove()


def ours() -> list[str]:
    """The programs of this library that this user runs, but for those of this process."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if os.stat(f"/proc/{pid}").st_uid == os.geteuid():
                found += [
                    f"{pid} {each}"
                    for each in ("network.relay", "network.resolver", "pasta", "sleep\x00100")
                    if each.encode() in words
                ]
        except OSError:
            continue
    return sorted(found)


def test_cycles(inside: pc.Network) -> None:
    cycles(30)


@pytest.mark.slow
def test_a_thousand_cycles(inside: pc.Network) -> None:
    cycles(1000)


@pytest.mark.needs("pasta", "tun")
@pytest.mark.parametrize("seed", range(8))
def test_killed_in_the_middle(ordinary: Surroundings, seed: int) -> None:
    before = ours()
    host = subprocess.Popen([sys.executable, "-c", CYCLE, "out"], stdout=subprocess.PIPE)
    assert host.stdout is not None
    for _ in range(seed // 4 + 1):
        assert host.stdout.readline() == b"x\n"
    time.sleep(seed % 4 * 0.03)
    os.kill(host.pid, signal.SIGKILL)
    host.communicate()
    network = pc.Network.get("lab")
    deadline = time.monotonic() + 20
    while ours() != before or network.inspect()["containers"]:
        assert time.monotonic() < deadline, (ours(), network.inspect()["containers"])
        time.sleep(0.05)
    network.remove()


def test_a_container_on_the_network_of_another(inside: pc.Network) -> None:
    with started(serve(80, address="127.0.0.1"), network="inside", name="web") as web:
        assert (
            pc.run("host:", ask("127.0.0.1", 80), network="container:web", text=True).stdout == "127.0.0.1\n"
        )
        with pc.Container.create("host:", ["sleep", "100"], network=f"container:{web.id}") as beside:
            beside.start()
            assert asked(beside, "127.0.0.1", 80) == "127.0.0.1"
            web.remove(force=True)
            assert len(inside.inspect()["containers"]) == 1
            with started(serve(80), network="inside") as another:
                mine = beside.exec(["readlink", "/proc/self/ns/user"], text=True).check().stdout
                its = another.exec(["readlink", "/proc/self/ns/user"], text=True).check().stdout
                assert mine != its
    with started(serve(80, address="127.0.0.1"), name="alone") as alone:
        assert pc.run("host:", ask("127.0.0.1", 80), network=f"container:{alone.id}").stdout == b"127.0.0.1\n"
    with pytest.raises(pc.InvalidArgument, match="no container of this name"):
        pc.run("host:", ["true"], network="container:web")


def other_process(script: str) -> str:
    """What a script prints that runs as another process of this user."""
    done = subprocess.run(
        [sys.executable, "-c", f"import pycontainer as pc\n{script}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


SERVER = """
import sys
import pycontainer as pc
from tests.network.lab import serve, started
with started(serve(80, address="::"), network=sys.argv[1], name="theirs"):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_containers_of_another_process_are_reached(inside: pc.Network) -> None:
    with started(serve(80, address="::"), network="inside", name="web") as web:
        run = f"print(pc.run('host:', {ask('web', 80)!r}, network='inside', text=True).stdout)"
        assert other_process(run) == "fd00:9::3"
        with subprocess.Popen(
            [sys.executable, "-c", SERVER, "inside"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"ready\n"
            assert asked(web, "theirs", 80) == "fd00:9::2"
            other.kill()
        assert asked(web, "fd00:9::2", 80) == "fd00:9::2"
    other_process("pc.Network.get('inside').remove()")
    pc.Network.create("next", subnet="10.9.0.0/24", internal=True)
    with started(serve(80), network="next", ports={80: None}) as web:
        assert asked_here("127.0.0.1", web.host_port(80)) == "10.9.0.1"


@pytest.mark.needs("pasta", "tun")
@pytest.mark.parametrize("first", [True, False])
def test_the_outside_does_not_end_with_another_process(ordinary: Surroundings, first: bool) -> None:
    """Be it that one which made the namespace, or that which came to it."""
    ordinary.ask("serve", 80, world=True)
    pc.Network.create("lab")
    if not first:
        pc.run("host:", ["true"], network="lab").check()
    other = subprocess.Popen(
        [sys.executable, "-c", SERVER, "lab"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"ready\n"
    with started(serve(80), network="lab", ports={80: None}) as web:
        assert asked(web, "theirs", 80).removeprefix("::ffff:") in web.addresses["lab"]
        assert asked(web, WORLD, 80) == HOST
        other.kill()
        other.communicate()
        deadline = time.monotonic() + 10
        while asked(web, WORLD, 80, seconds=1) != HOST:
            assert time.monotonic() < deadline
        assert asked_here("127.0.0.1", web.host_port(80)) == str(pc.Network.get("lab").gateways[0])


@pytest.mark.needs("pasta", "tun")
def test_many_containers_at_once_and_a_way_out_that_was_killed(ordinary: Surroundings) -> None:
    ordinary.ask("serve", 80, world=True)
    pc.Network.create("lab")
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                done = pc.run("host:", ask(WORLD, 80), network="lab", ports={80: None}, text=True).check()
                assert done.stdout.strip() == HOST
        except BaseException as error:  # noqa: BLE001  told below
            failed.append(error)

    for _ in range(2):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert not failed, failed
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            if b"pasta" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGKILL)
                os.waitid(os.P_PID, int(pid), os.WEXITED | os.WNOWAIT)


@pytest.mark.needs("pasta", "tun")
def test_one_goes_on_while_others_come_and_are_killed(ordinary: Surroundings) -> None:
    ordinary.ask("serve", 80, world=True)
    pc.Network.create("lab")
    others: list[subprocess.Popen[bytes]] = []
    for number in range(16):
        script = CYCLE.replace('pc.Network.create("lab", internal=len(sys.argv) < 2)', "")
        others.append(subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE))
        done = pc.run("host:", ["true"], network="lab", ports={80: None})
        assert done.exit_code == 0
        time.sleep(number % 4 * 0.05)
        if number % 2:
            for each in others:
                each.kill()
                each.communicate()
            others.clear()
        if number % 5 == 4:
            pc.default_engine().close()
    deadline = time.monotonic() + 20
    while pc.Network.get("lab").inspect()["containers"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    done = pc.run("host:", ask(WORLD, 80), network="lab", text=True)
    assert done.stdout.strip() == HOST
