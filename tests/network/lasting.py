"""Detached servers on networks, other processes that make them, and who does what for them."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pycontainer as pc
from tests.detached.conftest import until
from tests.network import lab as labs
from tests.network.lab import Lab, serve


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


def links(lab: Lab) -> list[str]:
    """The names of the host's links."""
    return sorted(each["ifname"] for each in json.loads(lab.sh("ip -j link")))


#: Makes a server.
MAKE = """
options = json.loads(sys.argv[2])
made = pc.run("host:", json.loads(sys.argv[1]), detach=True, **options)
say([made.id, made.addresses, made.ports])
"""


def plain(address: str) -> str:
    """An address as a server of IPv4 alone would say it."""
    return address.removeprefix("::ffff:")


def reached(container: Any, *what: Any) -> str:
    """What a program in a container gets from a server."""
    return plain(labs.asked(container, *what))


def answer(lab: Lab, *what: Any) -> str:
    """What a program of the host gets from a server."""
    return plain(lab.ask(*what))


def make(name: str, command: Any = None, **options: Any) -> Any:
    """A detached server that is ready."""
    return ready(pc.run("host:", command or serve(80, address="::"), detach=True, name=name, **options))
