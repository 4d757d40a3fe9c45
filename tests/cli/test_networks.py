"""Networks and published ports, on a host of the test's own: a network namespace that a process holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from pycontainer.cli.netoptions import port
from pycontainer.cli.ports import published
from pycontainer.errors import InvalidArgument
from tests.support.commandline import PROGRAM, CommandLine

#: Says that it is there, and ends with its input.
_HOLD = "import subprocess, sys; subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True); print('up', flush=True); sys.stdin.read()"
_SERVE = "import http.server as h; s = h.HTTPServer(('', 80), h.SimpleHTTPRequestHandler); print('up', flush=True); s.handle_request()"
_FOREVER = _SERVE.replace("handle_request", "serve_forever")


@pytest.fixture
def lab(cli: CommandLine) -> Iterator[CommandLine]:
    """The command line in a network namespace of its own, the same for all calls."""
    holder = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"up\n"
    yield attrs.evolve(cli, program=("nsenter", f"--net=/proc/{holder.pid}/ns/net", *PROGRAM))
    holder.stdin.close()
    holder.stdout.close()
    holder.wait()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", ("80/tcp", None)),
        ("8080:80", ("80/tcp", 8080)),
        ("53:53/udp", ("53/udp", 53)),
        ("0.0.0.0:8080:80", ("80/tcp", ("0.0.0.0", 8080))),
        ("127.0.0.1::80", ("80/tcp", ("127.0.0.1", None))),
        ("[::]:8080:80", ("80/tcp", ("::", 8080))),
        ("7000-7002:9000-9002", ("9000-9002/tcp", "7000-7002")),
        ("9000-9002", ("9000-9002/tcp", None)),
    ],
)
def test_a_published_port_in_dockers_notation(text: str, expected: object) -> None:
    assert port(text) == expected


@pytest.mark.parametrize("text", ["", "a:80", "80:", "1:2:3:4", "8000-8010:80"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        port(text)


@pytest.mark.needs("root", "netns", "busybox")
class TestNetworks:
    """All that makes links."""

    def test_a_network_from_its_making_to_its_removal(self, lab: CommandLine) -> None:
        identity = (
            lab("network", "create", "--subnet", "10.77.0.0/24", "--label", "team=a", "lab")
            .good()
            .out.strip()
        )
        assert len(identity) == 64
        lab("network", "create", "--internal", "-o", "mtu=1400", "inner").good()
        lines = lab("network", "ls").good().lines
        assert lines[0].split() == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
        assert lines[2].split() == [identity[:12], "lab", "bridge", "local"]
        assert lab("network", "ls", "-q", "-f", "label=team=a").lines == [identity[:12]]
        assert lab("network", "ls", "-f", "name=inn", "--format", "{{.Name}} {{.Internal}}").lines == [
            "inner true"
        ]
        (found,) = json.loads(lab("network", "inspect", identity[:6]).good().out)
        assert found["IPAM"]["Config"] == [{"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1"}]
        assert lab("inspect", "-f", "{{.Options.mtu}}{{.Name}}", "inner").good().out.endswith("inner\n")
        done = lab("network", "rm", "nope", "lab")
        assert (done.status, done.out) == (1, "lab\n")
        assert "network 'nope': no such network" in done.err
        assert lab("network", "prune", "-f").good().lines == ["Deleted Networks:", "inner"]

    def test_options_are_what_the_program_finds(self, lab: CommandLine, app: str) -> None:
        lab("network", "create", "--subnet", "10.77.0.0/24", "lab").good()
        script = "cat /etc/hosts; ls /sys/class/net; cat /proc/net/fib_trie"
        options = ("--network", "lab", "--ip", "10.77.0.9", "--add-host", "far:192.0.2.7")
        out = lab("run", "--rm", *options, app, "sh", "-c", script).good().out
        assert "192.0.2.7\tfar" in out
        assert "eth0\nlo\n" in out
        assert "10.77.0.9" in out
        out = lab("run", "--rm", "--network", "name=lab,ip=10.77.0.10", app, "sh", "-c", script).good().out
        assert "10.77.0.10" in out
        out = (
            lab(
                "run",
                "--rm",
                "--dns",
                "192.0.2.53",
                "--dns-search",
                "lab.example",
                app,
                "cat",
                "/etc/resolv.conf",
            )
            .good()
            .out
        )
        assert "search lab.example" in out
        lab("network", "rm", "lab", "bridge").good()

    def test_a_port_is_reached_from_the_host(self, lab: CommandLine) -> None:
        with lab.start("run", "--rm", "-p", "8080:80", "host:", "python3", "-c", _SERVE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080', timeout=20).status)"
            done = subprocess.run(
                [*lab.program[:2], sys.executable, "-c", ask], capture_output=True, text=True, check=True
            )
            assert done.stdout == "200\n"
            assert process.wait(30) == 0
        lab("network", "prune", "-f").good()

    def test_the_default_network_is_dockers(self, lab: CommandLine, app: str) -> None:
        shown = ["run", "--rm", app, "cat", "/proc/net/dev"]

        def links() -> int:
            listed = subprocess.run([*lab.program[:2], "ip", "-br", "link"], capture_output=True, check=True)
            return listed.stdout.count(b"\npc-")

        assert "eth0:" not in lab(*shown).good().out
        assert "eth0:" in lab(*shown, env={"PYCONTAINER_NETWORK": ""}).good().out
        named = lab(
            "run", "-d", "--name", "web", app, "sleep", "1000", env={"PYCONTAINER_NETWORK": ""}
        ).good()
        assert named.err == ""
        assert lab("ps", "--format", "{{.Networks}}").out == "bridge\n"
        assert "eth0:" not in lab(*shown[:2], "--network", "none", *shown[2:]).good().out
        assert "eth0:" in lab(*shown, env={"PYCONTAINER_NETWORK": ""}).good().out
        assert links() == 1
        lab("rm", "-f", "web").good()
        assert links() == 0
        assert "eth0:" in lab(*shown, env={"PYCONTAINER_NETWORK": ""}).good().out
        assert links() == 0

    def test_members_are_told_and_keep_their_network(self, lab: CommandLine, app: str) -> None:
        lab("network", "create", "lab").good()
        command = ("run", "--rm", "-i", "--name", "web", "--network", "lab", app, "sh", "-c", "echo up; cat")
        with lab.start(*command) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            names = "{{range .Containers}}{{.Name}}{{end}}"
            assert lab("network", "inspect", "-f", names, "lab").good().out == "web\n"
            assert "in use by web" in lab("network", "rm", "lab").err
            process.stdin.close()
            process.wait()
        lab("network", "rm", "lab").good()

    def test_detached_containers_on_networks(self, lab: CommandLine) -> None:
        lab("network", "create", "--subnet", "10.77.0.0/24", "lab").good()
        lab("network", "create", "--subnet", "10.78.0.0/24", "other").good()
        server = ["host:", "python3", "-c", _FOREVER]
        identity = (
            lab(
                "run",
                "-d",
                "--name",
                "web",
                "--network",
                "lab",
                "-p",
                "8080:80",
                "-p",
                "9000-9001:9000-9001",
                *server,
            )
            .good()
            .out.strip()
        )
        try:
            while not lab("logs", "web").good().out:
                pass
            assert lab("port", "web").lines == [
                "80/tcp -> 127.0.0.1:8080",
                "9000/tcp -> 127.0.0.1:9000",
                "9001/tcp -> 127.0.0.1:9001",
            ]
            assert lab("port", "web", "80").lines == ["127.0.0.1:8080"]
            assert "no public port 81/tcp" in lab("port", "web", "81").err
            shown = "127.0.0.1:8080->80/tcp, 127.0.0.1:9000-9001->9000-9001/tcp"
            assert lab("ps", "--format", "{{.Ports}} {{.Networks}}").lines == [f"{shown} lab"]
            asking = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080').status)"
            done = subprocess.run(
                [*lab.program[:2], sys.executable, "-c", asking], capture_output=True, text=True, check=True
            )
            assert done.stdout == "200\n"
            by_name = "import urllib.request as u; print(u.urlopen('http://web').status)"
            assert (
                lab("run", "--rm", "--network", "lab", "host:", "python3", "-c", by_name).good().out
                == "200\n"
            )
            assert lab("network", "connect", "--alias", "also", "other", "web").good().out == ""
            by_alias = by_name.replace("http://web", "http://also")
            assert (
                lab("run", "--rm", "--network", "other", "host:", "python3", "-c", by_alias).good().out
                == "200\n"
            )
            address = (
                "{{.NetworkSettings.Networks.other.IPAddress}} {{.NetworkSettings.Networks.lab.Gateway}}"
            )
            assert lab("inspect", "-f", address, "web").lines == ["10.78.0.2 10.77.0.1"]
            assert lab("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web").out.startswith(
                '{"80/tcp":[{"HostIp":"127.0.0.1"'
            )
            lab("network", "disconnect", "other", "web").good()
            assert "not on network other" in lab("network", "disconnect", "other", "web").err
            lab("network", "disconnect", "-f", "other", "web").good()
            assert "in use by web" in lab("network", "rm", "lab").err
            assert lab("ps", "-aq", "--no-trunc").lines == [identity]
            lab("stop", "-t", "0", "web").good()
            assert lab("ps", "-a", "--format", "{{.Ports}}|{{.Networks}}").lines == ["|lab"]
            lab("start", "web").good()
            assert lab("port", "web", "80/tcp").lines == ["127.0.0.1:8080"]
        finally:
            lab("rm", "-f", "web").good()
        lab("create", "--name", "later", "-P", "--expose", "81", "--network", "lab", "host:", "true").good()
        assert lab("inspect", "-f", "{{json .HostConfig.PortBindings}}", "later").lines == [
            '{"81/tcp":[{"HostIp":"127.0.0.1","HostPort":""}]}'
        ]
        lab("rm", "later").good()
        lab("network", "prune", "-f").good()


@pytest.mark.needs("user")
def test_who_can_have_no_network_is_told(cli: CommandLine, app: str, tmp_path: Path) -> None:
    env = {"PYCONTAINER_NETWORK": "", "PATH": str(tmp_path)}
    done = cli("run", "--rm", app, "cat", "/proc/net/dev", env=env).good()
    assert "eth0:" not in done.out
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        assert done.err.startswith(
            "pycontainer: no network: containers of an ordinary user reach the outside by "
        )
        assert cli("run", "--rm", "--network", "none", app, "true", env=env).good().err == ""


def test_what_needs_a_network_of_its_own_says_so(cli: CommandLine) -> None:
    done = cli("run", "--rm", "--network", "host", "-p", "80", "host:", "true")
    assert done.status == 125
    assert done.err.startswith("pycontainer: --publish ")


def test_a_wrong_network_is_refused(cli: CommandLine, tmp_path: Path) -> None:
    assert "unknown key 'colour'" in cli("run", "--network", "name=x,colour=red", "host:").err
    assert "no such network" in cli("run", "--rm", "--network", "nope", "host:", "true").err
    assert "one of mtu," in cli("network", "create", "-o", "colour=red", "x").err


@pytest.mark.parametrize(
    ("ports", "exposed", "expected"),
    [
        ({}, (), ""),
        ({"80/tcp": [("0.0.0.0", 8080), ("::", 8080)]}, ("80/tcp", "90"), "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 90/tcp"),
        ({"53/udp": [("127.0.0.1", 53)]}, ("70/tcp", "71/tcp", "${PORT}"), "127.0.0.1:53->53/udp, 70-71/tcp"),
        ({f"{n}/tcp": [("0.0.0.0", n - 2000)] for n in (9001, 9000, 9003)}, (), "0.0.0.0:7000-7001->9000-9001/tcp, 0.0.0.0:7003->9003/tcp"),
    ],
)  # fmt: skip
def test_ports_as_docker_shows_them(
    ports: dict[str, list[tuple[str, int]]], exposed: tuple[str, ...], expected: str
) -> None:
    assert published(ports, exposed) == expected
