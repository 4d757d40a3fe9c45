"""What the resolver keeps of those who ask: containers, their connections, and questions on their way to a server."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable

from pycontainer.network import dns
from pycontainer.network.permit import Permit

#: How long a connection may be idle, in seconds.
IDLE = 10.0


class Client:
    """A container: its sockets, the networks that it is on, and whom to ask for it."""

    def __init__(self, told: dict[str, object], fds: list[int]) -> None:
        self.udp = socket.socket(fileno=fds[0])
        self.tcp = socket.socket(fileno=fds[1])
        self.udp.setblocking(False)
        self.tcp.setblocking(False)
        self.networks: list[str] = []
        self.servers: list[str] = []
        self.asked = 0
        self.connected = 0
        egress = told.get("egress")
        self.permit = None if egress is None else Permit(egress, fds[2], fds[3])  # type: ignore[arg-type]
        self.update(told)

    def update(self, told: dict[str, object]) -> None:
        """Take what the host's process says of it."""
        self.networks = [str(each) for each in told["networks"]]  # type: ignore[attr-defined]
        self.servers = [str(each) for each in told["servers"]]  # type: ignore[attr-defined]


class Upstream:
    """A question on its way to a server, over UDP or TCP as it came."""

    def __init__(
        self, client: Client, question: dns.Question, tcp: bool, done: Callable[[bytes], None]
    ) -> None:
        self.client, self.question, self.is_tcp, self.done = client, question, tcp, done
        self.servers = list(client.servers)
        # Not to be guessed from those before: a forged answer would be believed.
        self.identity = secrets.randbits(16)
        self.socket: socket.socket | None = None
        self.received = b""
        self.to_send = b""
        self.deadline = 0.0


class Connection:
    """A client's connection of TCP: questions one after the other."""

    def __init__(self, client: Client, accepted: socket.socket) -> None:
        self.client, self.socket = client, accepted
        self.received = b""
        self.deadline = time.monotonic() + IDLE
