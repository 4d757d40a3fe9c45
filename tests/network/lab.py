"""A host of its own for a test of networks: the caller's network namespace, an uplink, and a world behind it.

::

    world (192.0.2.1, 2001:db8::1) ---- uplink (192.0.2.2, 2001:db8::2) host ---- bridges ---- containers

The addresses are those of documentation (RFC 5737, RFC 3849): nothing leaves the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pycontainer as pc
from tests.network import evidence

WORLD, HOST = "192.0.2.1", "192.0.2.2"
WORLD6, HOST6 = "2001:db8::1", "2001:db8::2"

#: A server that says who asks: ``serve ADDRESS PORT tcp|udp``.
SERVE = """
import socket, sys
address, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((address, port))
if kind == "tcp":
    s.listen()
print("ready", flush=True)
while True:
    if kind == "tcp":
        c, peer = s.accept()
        c.sendall(peer[0].encode()); c.close()
    else:
        data, peer = s.recvfrom(100)
        s.sendto(peer[0].encode(), peer)
"""
#: What comes of asking such a server: who it says we are, or the name of an error: ``ask ADDRESS PORT tcp|udp``.
ASK = """
import errno, socket, sys
name, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
try:
    info = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)[0]
    s = socket.socket(info[0], info[1])
    s.settimeout(float(sys.argv[4]) if len(sys.argv) > 4 else 5)
    s.connect(info[4])
    if kind == "udp":
        s.send(b"?")
    print(s.recv(100).decode())
except socket.gaierror as error:
    print("unknown name")
except socket.timeout:
    print("timeout")
except OSError as error:
    print(errno.errorcode[error.errno])
"""
#: A server of names, which knows addresses of IPv4 alone.
NAME_SERVER = """
import json, select, socket, struct, sys
address, known, log = sys.argv[1], json.loads(sys.argv[2]), open(sys.argv[3], "a", buffering=1)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind((address, 53))
t = socket.socket(); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); t.bind((address, 53)); t.listen()
print("ready", flush=True)
def answer(data):
    place, labels = 12, []
    while data[place]:
        labels.append(data[place + 1:place + 1 + data[place]].decode()); place += 1 + data[place]
    name, kind = ".".join(labels).lower(), struct.unpack_from("!H", data, place + 1)[0]
    log.write(name + "\\n")
    end = place + 5
    if name not in known:
        return data[:2] + struct.pack("!HHHHH", 0x8183, 1, 0, 0, 0) + data[12:end]
    found = b""
    if kind == 1:
        found = struct.pack("!HHHIH", 0xC00C, 1, 1, 5, 4) + socket.inet_aton(known[name])
    return data[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if found else 0, 0, 0) + data[12:end] + found
while True:
    for s in select.select([u, t], [], [])[0]:
        if s is u:
            data, peer = u.recvfrom(4096); u.sendto(answer(data), peer)
        else:
            c, _ = t.accept(); data = answer(c.recv(4096)[2:]); c.sendall(struct.pack("!H", len(data)) + data); c.close()
"""


def serve(port: int, kind: str = "tcp", address: str = "0.0.0.0") -> list[str]:
    """The command of a server."""
    return ["python3", "-c", SERVE, address, str(port), kind]


def ask(name: object, port: int, kind: str = "tcp", seconds: float = 5) -> list[str]:
    """The command of one who asks it."""
    return ["python3", "-c", ASK, str(name), str(port), kind, str(seconds)]


class Lab:
    """The host, in whose network namespace this process is, and the world behind its uplink."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self._processes: list[subprocess.Popen[bytes]] = []
        self.world = self._namespace()
        self.sh(f"""
            ip link set lo up
            ip link add uplink type veth peer name world netns {self.world}
            ip addr add {HOST}/24 dev uplink
            ip -6 addr add {HOST6}/64 dev uplink nodad
            ip link set uplink up
        """)
        self.outside(f"""
            ip addr add {WORLD}/24 dev world
            ip -6 addr add {WORLD6}/64 dev world nodad
            ip link set world up
            ip link set lo up
        """)
        self.sh(f"ip route add default via {WORLD}; ip -6 route add default via {WORLD6}")
        while "linkdown" in self.sh("ip route; ip -6 route"):
            time.sleep(0.005)

    def _namespace(self) -> int:
        """A process that does nothing in a further network namespace."""
        process = subprocess.Popen(["unshare", "--net", "sleep", "1000"], stdin=subprocess.DEVNULL)
        self._processes.append(process)
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{process.pid}/ns/net") == own:
            time.sleep(0.001)
        return process.pid

    def add_host_side(self, host: str, other: str) -> int:
        """A further namespace with a link to the host; its pid."""
        pid = self._namespace()
        self.sh(f"""
            ip link add side type veth peer name far netns {pid}
            ip addr add {host} dev side; ip link set side up
            nsenter --net=/proc/{pid}/ns/net sh -c 'ip addr add {other} dev far; ip link set far up'
        """)
        return pid

    def sh(self, script: str) -> str:
        """Run a shell script on the host, which must succeed; its output."""
        done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def outside(self, script: str) -> str:
        """The same in the world."""
        return self.sh(f"nsenter --net=/proc/{self.world}/ns/net sh -ec '{script}'")

    def ask(self, name: object, port: int, kind: str = "tcp", seconds: float = 5) -> str:
        """What a program of the host gets from a server."""
        done = subprocess.run(ask(name, port, kind, seconds), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def ask_from_world(self, name: object, port: int, kind: str = "tcp", seconds: float = 5) -> str:
        """What one from outside gets."""
        command = ["nsenter", f"--net=/proc/{self.world}/ns/net", *ask(name, port, kind, seconds)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def serve(self, port: int, kind: str = "tcp", address: str = "0.0.0.0", *, world: bool = False) -> None:
        """Start a server on the host or in the world, until the end."""
        self._begin(serve(port, kind, address), world=world)

    def run_outside(self, command: list[str]) -> None:
        """Start a program in the world, until the end; it says "ready" first."""
        self._begin(command, world=True)

    def _begin(self, command: list[str], *, world: bool) -> None:
        enter = ["nsenter", f"--net=/proc/{self.world}/ns/net"] if world else []
        process = subprocess.Popen([*enter, *command], stdout=subprocess.PIPE)
        self._processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

    def name_server(self, address: str, known: dict[str, str]) -> Path:
        """A server of names in the world, over UDP and TCP; the file that tells what it was asked."""
        log = self.tmp_path / "asked"
        log.touch()
        command = ["python3", "-c", NAME_SERVER, address, json.dumps(known), str(log)]
        enter = ["nsenter", f"--net=/proc/{self.world}/ns/net"]
        process = subprocess.Popen([*enter, *command], stdout=subprocess.PIPE)
        self._processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return log

    def no_other_names(self) -> dict[str, Any]:
        """Options of a container whose questions for names of others are denied at once, not when nobody answers."""
        self.name_server(WORLD, {})
        return {"dns": [WORLD]}

    def kill_child(self, word: str) -> None:
        """Kill the child of this process whose command line has that word."""
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), 9)
                return
        raise AssertionError(word)

    def state(self) -> dict[str, Any]:
        """What a test must leave as it was: links, addresses, leases, routes, rules of all, settings."""
        links = json.loads(self.sh("ip -j link"))
        settings = self.sh(
            "cd /proc/sys/net; grep -rs . ipv4/conf/*/forwarding ipv4/ip_forward ipv6/conf/*/forwarding || [ $? = 2 ]"
        )
        return {
            "links": sorted(each["ifname"] for each in links),
            "addresses": evidence.addresses(),
            "leases": evidence.leases(),
            "rules of others": evidence.rules_of_others(),
            "routes": self.sh("ip route; ip -6 route"),
            "tables": tables(),
            "settings": settings,
        }

    def drop_tables(self, *names: str) -> None:
        """Remove tables of iptables."""
        for name in names:
            drop_table(name)

    def forget(self) -> None:
        """Remove the networks, and the containers of this process."""
        engine = pc.default_engine()
        engine.close()
        deadline = time.monotonic() + 5
        while engine.networks.list():
            engine.networks.prune()
            assert time.monotonic() < deadline, [each.inspect() for each in engine.networks.list()]
        engine.networks.close()

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.communicate()


def drop_table(name: str) -> None:
    """Remove a table of IPv4, as iptables makes them."""
    from pycontainer.network import nft
    from pycontainer.network.netlink import NETFILTER, Message, Netlink, text

    with Netlink(NETFILTER) as netfilter:
        nft.commit(netfilter, [Message(10 << 8 | 2, 0, b"\x02\0\0\0" + text(1, name), "remove a table")])


def tables() -> list[str]:
    """The names of the tables of nf_tables in this namespace."""
    from pycontainer.network.netlink import NETFILTER, NLM_F_DUMP, Message, Netlink, attributes

    question = Message(10 << 8 | 1, NLM_F_DUMP, bytes(4), "list the nft tables")
    with Netlink(NETFILTER) as netfilter:
        return sorted(attributes(body[4:])[1].rstrip(b"\0").decode() for _, body in netfilter.dump(question))


def started(command: list[str], **options: Any) -> pc.Container:
    """A running container whose server is ready."""
    container = pc.Container.create("host:", command, **options)
    output = os.memfd_create("output")
    try:
        container.start(stdout=output, stderr=output)
        deadline = time.monotonic() + 20
        while not os.pread(output, 1000, 0).startswith(b"ready"):
            assert container.status == "running", os.pread(output, 4000, 0)
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        os.close(output)
    return container


def asked(container: pc.Container, name: object, port: int, kind: str = "tcp", seconds: float = 5) -> str:
    """What a program in a container gets from a server."""
    done = container.exec(ask(name, port, kind, seconds), text=True)
    assert done.exit_code == 0, done.stderr
    return str(done.stdout).strip()
