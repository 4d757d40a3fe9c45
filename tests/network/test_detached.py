"""Detached containers on networks: what they have lasts as long as they run, whoever is killed, and is given back then."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pycontainer as pc
from tests.detached.conftest import SETUP, gone, until
from tests.network.lab import HOST, WORLD, Lab, asked, serve

pytestmark = pytest.mark.needs("root", "bridge_network")


@pytest.fixture
def other() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run a script in a process of its own, which says something in JSON and then waits to be killed."""
    started = []

    def run(script: str, *words: object) -> Any:
        code = SETUP + script + "\ntime.sleep(1000)"
        command = [sys.executable, "-W", "ignore", "-c", code, *map(str, words)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "it failed"
        process.kill()
        process.wait()
        process.stdout.close()
        return json.loads(line)

    yield run
    for each in pc.default_engine().containers.list(all=True):
        each.remove(force=True)
    until(lambda: not keepers())
    for process in started:
        process.kill()
        process.wait()


def keepers() -> list[int]:
    """The keepers of the engine under test."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (each / "cmdline").read_bytes().split(b"\0")
            if any(b"network.keeper" in word for word in words) and os.environb[b"PYCONTAINER_ROOT"] in words:
                found.append(int(each.name))
    return found


def ready(container: Any) -> Any:
    """The container, once its server is ready."""
    until(lambda: b"ready" in b"".join(container.logs()))
    return container


#: Makes a server.
MAKE = """
options = json.loads(sys.argv[2])
made = pc.run("host:", json.loads(sys.argv[1]), detach=True, **options)
say([made.id, made.addresses, made.ports])
"""


def test_a_port_lasts_when_its_maker_is_killed(lab: Lab, other: Any) -> None:
    options = {"name": "web", "network": "bridge", "ports": {"80": [None]}}
    identity, addresses, ports = other(MAKE, json.dumps(serve(80)), json.dumps(options))
    web = ready(pc.default_engine().containers.get("web"))
    assert web.id == identity
    assert web.addresses == addresses
    assert web.ports == {"80/tcp": [("127.0.0.1", ports["80/tcp"][0][1])]}
    answer = lab.ask("127.0.0.1", web.host_port(80))
    assert answer == str(pc.Network.get("bridge").gateways[0])
    web.stop(timeout=0)
    assert lab.ask("127.0.0.1", ports["80/tcp"][0][1]) == "ECONNREFUSED"


def test_names_last_when_the_maker_is_killed(lab: Lab, other: Any) -> None:
    pc.Network.create("mynet", subnet="10.9.0.0/24")
    first = {"name": "one", "network": "mynet", "aliases": ["uno"]}
    other(MAKE, json.dumps(serve(80)), json.dumps(first))
    other(MAKE, json.dumps(serve(80)), json.dumps({"name": "two", "network": "mynet"}))
    containers = pc.default_engine().containers
    one, two = ready(containers.get("one")), ready(containers.get("two"))
    assert asked(two, "uno", 80) == "10.9.0.3"
    assert asked(one, "two", 80) == "10.9.0.2"
    done = pc.run("host:", ["python3", "-c", "import socket; print(socket.gethostbyname('uno'))"], network="mynet", text=True)
    assert done.stdout.strip() == "10.9.0.2"
    two.stop(timeout=0)
    assert asked(one, "two", 80) == "unknown name"
