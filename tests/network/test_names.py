"""Containers on one network find each other by name; other names are asked outside, or nowhere."""

from __future__ import annotations

import pytest

import pycontainer as pc
from tests.network.lab import HOST, WORLD, Lab, asked, serve, started

pytestmark = pytest.mark.needs("root", "bridge_network")

#: Asks 127.0.0.11 itself: ``query NAME TYPE udp|tcp`` prints the code and the addresses.
QUERY = """
import socket, struct, sys
name, kind, way = sys.argv[1], int(sys.argv[2]), sys.argv[3]
labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split(".")) + b"\\0"
data = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + struct.pack("!HH", kind, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if way == "tcp" else socket.SOCK_DGRAM)
s.settimeout(20)
s.connect(("127.0.0.11", 53))
s.send((struct.pack("!H", len(data)) if way == "tcp" else b"") + data)
answer = s.recv(4096)[2 if way == "tcp" else 0:]
_, flags, _, count, _, _ = struct.unpack_from("!HHHHHH", answer)
print(flags & 15, count, answer[len(data):].hex())
"""


def query(container: pc.Container, name: str, kind: int = 1, way: str = "udp") -> list[str]:
    """The code, the number of answers and their bytes."""
    done = container.exec(["python3", "-c", QUERY, name, str(kind), way], text=True)
    assert done.exit_code == 0, done.stderr
    return str(done.stdout).split()


def test_names_aliases_and_ids(lab: Lab) -> None:
    pc.Network.create("lab", ipv6=True)
    with (
        started(serve(80, address="::"), network="lab", name="web", aliases=["www", "cache"]) as web,
        started(serve(80), network="lab", name="other", hostname="box", **lab.no_other_names()) as other,
    ):
        for name in ("web", "www", "cache", "WEB", web.id[:12], "web.lab"):
            assert asked(other, name, 80).removeprefix("::ffff:") in other.addresses["lab"], name
        assert asked(other, "nobody", 80) == "unknown name"
        for way in ("udp", "tcp"):
            code, count, answer = query(other, "web", 1, way)
            assert (code, count) == ("0", "1")
            assert answer.endswith("".join(f"{int(each):02x}" for each in web.addresses["lab"][0].split(".")))
            assert query(other, "web", 28, way)[:2] == ["0", "1"]
            assert query(other, "web", 16, way)[:2] == ["0", "0"]
        reverse = ".".join(reversed(web.addresses["lab"][0].split("."))) + ".in-addr.arpa"
        assert bytes.fromhex(query(other, reverse, 12)[2]).endswith(b"\x03web\x03lab\0")


def test_names_of_other_networks_are_not_known(lab: Lab) -> None:
    pc.Network.create("one")
    pc.Network.create("two")
    with (
        started(serve(80), network="one", name="web"),
        started(serve(80), network="two", name="other", **lab.no_other_names()) as other,
    ):
        assert asked(other, "web", 80) == "unknown name"
        other.connect("one")
        assert asked(other, "web", 80) == other.addresses["one"][0]
        other.disconnect("one")
        assert asked(other, "web", 80) == "unknown name"


def test_several_with_one_alias(lab: Lab) -> None:
    pc.Network.create("lab")
    with (
        started(serve(80), network="lab", aliases=["db"]),
        started(serve(80), network="lab", aliases=["db"]),
        started(serve(80), network="lab") as other,
    ):
        assert query(other, "db")[:2] == ["0", "2"]


@pytest.mark.parametrize("way", ["udp", "tcp"])
def test_other_names_are_asked_outside(lab: Lab, way: str) -> None:
    lab.name_server(WORLD, {"api.example.org": "192.0.2.80"})
    pc.Network.create("lab")
    with started(serve(80), network="lab", dns=[WORLD]) as container:
        assert query(container, "api.example.org", 1, way) == ["0", "1", "c00c00010001000000050004c0000250"]
        assert query(container, "none.example.org", 1, way)[:2] == ["3", "0"]
        assert "nameserver 127.0.0.11" in container.read_bytes("/etc/resolv.conf").decode()


def test_the_next_server_is_asked_when_one_is_silent(lab: Lab) -> None:
    lab.name_server(WORLD, {"api.example.org": "192.0.2.80"})
    pc.Network.create("lab")
    with started(serve(80), network="lab", dns=[HOST, WORLD]) as container:
        assert query(container, "api.example.org")[:2] == ["0", "1"]


def test_nothing_is_asked_outside_from_an_internal_network(lab: Lab) -> None:
    """CVE-2024-29018."""
    log = lab.name_server(WORLD, {"api.example.org": "192.0.2.80"})
    pc.Network.create("inner", internal=True)
    with started(serve(80), network="inner", dns=[WORLD], name="me") as container:
        assert query(container, "secret.example.org")[:2] == ["5", "0"]
        assert query(container, "me")[:2] == ["0", "1"]
    assert log.read_text() == ""


def test_a_resolver_that_was_killed_comes_back(lab: Lab) -> None:
    pc.Network.create("lab")
    with started(serve(80), network="lab", name="web") as web:
        assert query(web, "web")[:2] == ["0", "1"]
        lab.kill_child("pycontainer.network.resolver")
        with started(serve(80), network="lab", name="other") as other:
            assert query(other, "web")[:2] == ["0", "1"]
            assert query(web, "other")[:2] == ["0", "1"]


def test_garbage_does_no_harm(lab: Lab) -> None:
    pc.Network.create("lab")
    script = (
        "import os, socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "for n in range(300): s.sendto(os.urandom(n), ('127.0.0.11', 53))\n"
        "for n in range(50):\n"
        "    t = socket.create_connection(('127.0.0.11', 53)); t.send(os.urandom(1 + n * 7)); t.close()\n"
    )
    with started(serve(80), network="lab", name="web") as web:
        assert web.exec(["python3", "-c", script]).exit_code == 0
        assert query(web, "web")[:2] == ["0", "1"]


def test_who_asks_without_end_takes_nothing_from_others(lab: Lab) -> None:
    """Hundreds of connections that say nothing, and of questions that nobody answers."""
    lab.name_server(WORLD, {"api.example.org": "192.0.2.80"})
    pc.Network.create("lab")
    script = (
        "import resource, socket, struct, time\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n"
        "kept = [socket.create_connection(('127.0.0.11', 53)) for _ in range(700)]\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "head = struct.pack('!HHHHHH', 7, 0x100, 1, 0, 0, 0)\n"
        "print('begun', flush=True)\n"
        "while True:\n"
        "    for n in range(100):\n"
        "        s.sendto(head + b'\\x04x%03d' % n + b'\\0' + struct.pack('!HH', 1, 1), ('127.0.0.11', 53))\n"
        "    time.sleep(0.01)\n"
    )
    with (
        started(serve(80), network="lab", name="greedy", dns=[HOST]) as greedy,
        started(serve(80), network="lab", name="other", dns=[WORLD]) as other,
    ):
        with greedy.popen(["python3", "-c", script], stdout=pc.PIPE, text=True) as process:
            assert process.stdout.readline() == "begun\n"
            for way in ("udp", "tcp"):
                assert query(other, "greedy", 1, way)[:2] == ["0", "1"]
                assert query(other, "api.example.org", 1, way)[:2] == ["0", "1"]
            process.kill()
