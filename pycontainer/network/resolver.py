"""The program that answers names in containers: one for each host process, and it ends with that.

Every container on a network of the user's has two sockets at 127.0.0.11, port 53, opened inside of it and handed over
to this program.  So it knows who asks, and no firewall and no address of the host is involved.  Names of containers it
answers from the engine's record; all others it forwards from the host's side, unless every network of the asker is
internal: then nothing leaves (CVE-2024-29018).

The host's process talks over a socket: a JSON text in each packet, and the sockets of a new container beside it.
"""

from __future__ import annotations

import errno
import json
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pycontainer.network import dns
from pycontainer.network.asking import IDLE, Client, Connection, Upstream
from pycontainer.network.companion import CONTROL, LIMIT
from pycontainer.network.directory import Directory

#: How long an upstream server is waited for, in seconds.
_PATIENCE = 2.5
#: How many questions one container may have under way, and how many connections: the others have theirs all the same.
_QUESTIONS, _CONNECTIONS = 64, 32
#: How long nothing is accepted when no file can be opened, in seconds.
_BACKOFF = 0.05


class Resolver:
    """What answers; the loop over its sockets, those of ``selector``, is the program's."""

    def __init__(self, path: str, selector: selectors.BaseSelector) -> None:
        """The record is at ``path``; of a socket in ``selector`` what is to be called is its data."""
        self.directory = Directory(path)
        self.selector = selector
        self.clients: dict[str, Client] = {}
        self.under_way: dict[Upstream, None] = {}
        self.connections: dict[Connection, None] = {}

    @property
    def is_busy(self) -> bool:
        """Is there something that :meth:`expire` has to look at, every second?"""
        return bool(self.under_way or self.connections)

    # -- what it is told --------------------------------------------------------------------

    def take(self, told: dict[str, Any], fds: list[int]) -> None:
        """A container that is new, with its ``fds``, which are taken; that is on other networks; or that is gone."""
        identity = told["id"]
        if fds:
            client = self.clients[identity] = Client(told, fds)
            self.selector.register(client.udp, selectors.EVENT_READ, lambda: self._datagram(client))
            self.selector.register(client.tcp, selectors.EVENT_READ, lambda: self._accept(client))
        elif "networks" in told and identity in self.clients:
            self.clients[identity].update(told)
        elif identity in self.clients:
            self._drop(self.clients.pop(identity))

    def _drop(self, client: Client) -> None:
        for each in [each for each in self.connections if each.client is client]:
            self._hang_up(each)
        for end in (client.udp, client.tcp):
            self.selector.unregister(end)
            end.close()
        if client.permit is not None:
            client.permit.close()

    # -- questions ----------------------------------------------------------------------------

    def _datagram(self, client: Client) -> None:
        try:
            data, peer = client.udp.recvfrom(LIMIT)
        except OSError:
            return

        def reply(answer: bytes) -> None:
            with suppress(OSError):
                client.udp.sendto(answer, peer)

        self._ask(client, data, reply, tcp=False)

    def _ask(self, client: Client, data: bytes, reply: Callable[[bytes], None], *, tcp: bool) -> None:
        try:
            question = dns.Question(data)
        except dns.Malformed:
            return
        if not question.is_query:
            reply(question.answer(dns.NOT_IMPLEMENTED))
            return
        answer = self.directory.answer(question, client.networks)
        if answer is not None:
            reply(answer if tcp or len(answer) <= dns.PLAIN_LIMIT else question.truncated())
            return
        permit = client.permit
        if not client.servers or (permit is not None and not permit.allows(question.name)):
            reply(question.answer(dns.REFUSED if permit is None else dns.NO_NAME))
            return

        def forward(received: bytes) -> None:
            # Opened first: who has the answer may connect at once.
            if permit is None or permit.open(question.name, received):
                reply(received)
            else:
                reply(question.answer(dns.SERVER_FAILURE))

        if client.asked >= _QUESTIONS:
            reply(question.answer(dns.SERVER_FAILURE))
            return
        client.asked += 1
        asked = Upstream(client, question, tcp, forward)
        self.under_way[asked] = None
        self._forward(asked)

    # -- other servers ------------------------------------------------------------------------

    def _forward(self, asked: Upstream) -> None:
        while asked.servers:
            server = asked.servers.pop(0)
            family = socket.AF_INET6 if ":" in server else socket.AF_INET
            kind = socket.SOCK_STREAM if asked.is_tcp else socket.SOCK_DGRAM
            try:
                asked.socket = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
                with suppress(BlockingIOError):
                    asked.socket.connect((server, 53))
                data = asked.question.renumbered(asked.identity)
                asked.received, asked.to_send = b"", struct.pack("!H", len(data)) + data
                if not asked.is_tcp:
                    asked.socket.send(data)
            except OSError:
                self._close(asked)
                continue
            asked.deadline = time.monotonic() + _PATIENCE
            wanted = selectors.EVENT_WRITE if asked.is_tcp else selectors.EVENT_READ
            self.selector.register(asked.socket, wanted, lambda: self._answered(asked))
            return
        self._finish(asked, asked.question.answer(dns.SERVER_FAILURE))

    def _finish(self, asked: Upstream, answer: bytes) -> None:
        del self.under_way[asked]
        asked.client.asked -= 1
        asked.done(answer)

    def _close(self, asked: Upstream) -> None:
        if asked.socket is not None:
            with suppress(KeyError, ValueError):
                self.selector.unregister(asked.socket)
            asked.socket.close()
            asked.socket = None

    def _answered(self, asked: Upstream) -> None:
        if asked.socket is None:
            return
        try:
            answer = self._exchange(asked, asked.socket)
        except OSError:
            self._close(asked)
            self._forward(asked)  # the next one, if there is one
            return
        if answer is not None and asked.question.fits(answer, asked.identity):
            self._close(asked)
            self._finish(asked, asked.question.data[:2] + answer[2:])

    def _exchange(self, asked: Upstream, server: socket.socket) -> bytes | None:
        if not asked.is_tcp:
            return server.recv(LIMIT)
        if asked.to_send:
            asked.to_send = asked.to_send[server.send(asked.to_send) :]
            if not asked.to_send:
                self.selector.modify(server, selectors.EVENT_READ, lambda: self._answered(asked))
            return None
        piece = server.recv(LIMIT)
        if not piece:
            raise ConnectionResetError
        asked.received += piece
        length = int.from_bytes(asked.received[:2], "big")
        return asked.received[2 : 2 + length] if len(asked.received) >= 2 + length else None

    # -- TCP -----------------------------------------------------------------------------------

    def _accept(self, client: Client) -> None:
        try:
            accepted, _ = client.tcp.accept()
        except OSError as error:
            time.sleep(_BACKOFF if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM} else 0)
            return
        if client.connected >= _CONNECTIONS:
            accepted.close()
            return
        client.connected += 1
        accepted.setblocking(False)
        connection = Connection(client, accepted)
        self.connections[connection] = None
        self.selector.register(accepted, selectors.EVENT_READ, lambda: self._readable(connection))

    def _readable(self, connection: Connection) -> None:
        try:
            piece = connection.socket.recv(LIMIT)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece or len(connection.received) > 2 * LIMIT:
            self._hang_up(connection)
            return
        connection.received += piece
        connection.deadline = time.monotonic() + IDLE

        def reply(answer: bytes) -> None:
            if connection in self.connections:
                try:
                    # Small beside what a socket takes; who reads nothing loses the connection.
                    connection.socket.sendall(struct.pack("!H", len(answer)) + answer)
                except OSError:
                    self._hang_up(connection)

        while len(connection.received) >= 2 and connection in self.connections:
            length = int.from_bytes(connection.received[:2], "big")
            if len(connection.received) < 2 + length:
                return
            data, connection.received = connection.received[2 : 2 + length], connection.received[2 + length :]
            self._ask(connection.client, data, reply, tcp=True)

    def _hang_up(self, connection: Connection) -> None:
        if self.connections.pop(connection, connection) is None:
            self.selector.unregister(connection.socket)
            connection.socket.close()
            connection.client.connected -= 1

    def expire(self) -> None:
        """Give up on those who take too long."""
        now = time.monotonic()
        for asked in [each for each in self.under_way if each.deadline < now]:
            self._close(asked)
            self._forward(asked)
        for connection in [each for each in self.connections if each.deadline < now]:
            self._hang_up(connection)


def serve(path: str) -> None:
    """The program: the record is at ``path``, the host's process at the other end of fd 3."""
    control = socket.socket(fileno=CONTROL)
    selector = selectors.DefaultSelector()
    resolver = Resolver(path, selector)

    def hear() -> None:
        data, fds, _, _ = socket.recv_fds(control, LIMIT, 4)
        if not data:
            sys.exit(0)
        resolver.take(json.loads(data), fds)

    selector.register(control, selectors.EVENT_READ, hear)
    while True:
        for key, _ in selector.select(1.0 if resolver.is_busy else None):
            key.data()
        resolver.expire()
