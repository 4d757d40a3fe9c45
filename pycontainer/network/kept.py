"""What is noted of a detached container's network: by who started it, for every process after.

The file ``network`` in the container's folder.  What has to be there for as long as the container runs is open in its
monitor, and here are the numbers that it has there: so the kernel gives it back, however the monitor ends.  What is
written holds while there is a monitor.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from pycontainer.kernel.monitorclient import Client
from pycontainer.network import owner
from pycontainer.network.address import Address
from pycontainer.network.ports import Published
from pycontainer.network.wish import Port

_FILE = "network"
_REFUSED = "refused"
#: Below the engine's root.
_CONTAINERS = "containers"
#: How many containers may be on each other's network, one after the other.
_LONGEST = 100


@attrs.frozen(kw_only=True)
class Place:
    """A place on a network: the number of its row, the network's id and name, its links, its addresses."""

    number: int
    network: str
    name: str
    link: str
    inside: str
    index: int
    addresses: tuple[str, ...]

    @property
    def endpoint_addresses(self) -> tuple[Address, ...]:
        """The addresses as values."""
        return tuple(ipaddress.ip_address(each) for each in self.addresses)


@attrs.frozen(kw_only=True)
class Lead:
    """A published port, what it leads to, and the number of the socket that holds it."""

    number: int
    protocol: str
    host: str
    host_port: int
    target: str
    fd: int

    @property
    def port(self) -> Port:
        """As a caller says it."""
        return Port(self.number, self.protocol, self.host, self.host_port)


@attrs.frozen(kw_only=True)
class Kept:
    """All of it. ``start`` is no other start's; ``host`` is the network namespace that is the host's.

    ``fds`` are numbers in the monitor: "net", "route", "udp", "tcp"; "place-user" and "place-net" of a place apart.
    ``asker`` is what a resolver has to know, and ``None`` where nobody asks ours.  ``target``: the network is that
    of another container, of this id.
    """

    start: str
    host: str
    hostname: str = ""
    next: int = 2
    fds: Mapping[str, int] = attrs.Factory(dict)
    places: tuple[Place, ...] = ()
    leads: tuple[Lead, ...] = ()
    asker: Mapping[str, Any] | None = None
    is_kept: bool = False
    needs_outside: bool = False
    target: str = ""

    @property
    def ports(self) -> dict[str, list[tuple[str, int]]]:
        """Of each published port (``"80/tcp"``) the host addresses and ports that lead to it."""
        found: dict[str, list[tuple[str, int]]] = {}
        for each in self.leads:
            found.setdefault(each.port.key, []).append((each.host, each.host_port))
        return found

    @property
    def addresses(self) -> dict[str, list[str]]:
        """The addresses by the names of the networks."""
        return {each.name: list(each.addresses) for each in self.places}

    def write(self, folder: str) -> None:
        """Write it anew, at once."""
        partial = f"{folder}/.{_FILE}.{os.urandom(4).hex()}"
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(attrs.asdict(self), file)
        os.rename(partial, f"{folder}/{_FILE}")


def read(folder: str) -> Kept | None:
    """What the file in a container's folder says, if there is one."""
    try:
        with open(f"{folder}/{_FILE}", "rb") as file:
            told = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    told["places"] = tuple(
        Place(**{**each, "addresses": tuple(each["addresses"])}) for each in told["places"]
    )
    told["leads"] = tuple(Lead(**each) for each in told["leads"])
    return Kept(**told)


def follow(root: str, identity: str) -> tuple[str, Kept | None]:
    """The same of a detached container, or of that whose network it is on; and whose it is, by its id."""
    noted = read(folder_of(root, identity))
    for _ in range(_LONGEST):
        if noted is None or not noted.target:
            break
        identity = noted.target
        noted = read(folder_of(root, identity))
    return identity, noted


def forget(folder: str) -> None:
    """Have there be none; idempotent."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{folder}/{_FILE}")


def folder_of(root: str, identity: str) -> str:
    """The folder of a detached container."""
    return f"{root}/{_CONTAINERS}/{identity}"


def alive(root: str) -> Iterator[tuple[str, Kept]]:
    """The detached containers below a root that have a network, and a monitor now: id and what is noted."""
    try:
        names = os.listdir(f"{root}/{_CONTAINERS}")
    except FileNotFoundError:
        return
    for name in names:
        kept = None if name.startswith(".") else read(folder_of(root, name))
        if kept is not None and owner.is_alive(root, owner.of_container(name)):
            yield name, kept


def host() -> str:
    """The network namespace of this thread."""
    return os.readlink("/proc/thread-self/ns/net")


def published_of(client: Client, lead: Lead) -> tuple[Published, Address]:
    """A port whose socket the monitor hands out, the caller's to close, with what it leads to."""
    import socket

    held = socket.socket(fileno=client.given(lead.fd))
    return Published(lead.port, lead.host_port, held), ipaddress.ip_address(lead.target)


# -- beside it in the container's folder -----------------------------------------------------


def names(folder: str) -> str:
    """The folder of the name files."""
    return f"{folder}/names"


def refused(folder: str) -> list[str]:
    """The names that the container asked for and may not, each once, in the order of asking."""
    try:
        with open(f"{folder}/{_REFUSED}", "rb") as file:
            text = file.read(1 << 21)
    except FileNotFoundError:
        return []
    return list(dict.fromkeys(text.decode(errors="replace").split()))


def refused_log(folder: str) -> int:
    """The file for such names, the caller's to close."""
    return os.open(f"{folder}/{_REFUSED}", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)


def empty_refused(folder: str) -> None:
    """Have an empty one: what a former start was refused is over."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    os.close(os.open(f"{folder}/{_REFUSED}", flags, 0o600))
