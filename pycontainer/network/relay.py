"""The program that leads ports of the host to containers: one for each host process, and it ends with that.

It stands where the containers are reached; in a namespace apart it has no rights.  The host's process hands it
sockets that are bound on the host.  A connection's bytes are moved by the kernel, from socket to socket (splice(2)).

It is told over a socket, a JSON text in each packet: a number, a target and a socket beside it; or a number that is
over, which it answers with a byte.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from pycontainer.network.companion import CONTROL, LIMIT
from pycontainer.network.flows import Flows

#: How much waits between two sockets at most, and how many empty pipes are kept.
_PIPE = 1 << 16
_PIPES = 64
#: How often a direction goes on before it is others' turn.
_ROUND = 8
_BACKOFF = 0.05
_RESET = struct.pack("ii", 1, 0)
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Target = tuple[str, int]


class Half:
    """One direction of a connection: what waits between its ends is in a pipe, which it has for as long."""

    def __init__(self, source: socket.socket, sink: socket.socket, pipes: list[tuple[int, int]]) -> None:
        self.source, self.sink = source, sink
        self._pipes = pipes
        self._pipe: tuple[int, int] | None = None
        self.waiting = 0
        self.at_end = False
        self.is_done = False

    def move(self) -> None:
        """Move what can be moved now. Raises :class:`OSError` when an end is broken."""
        for _ in range(_ROUND):
            if self.is_done or (not self.waiting and not self.at_end and not self._take()):
                return
            if self.waiting and not self._give():
                return
            if self.at_end and not self.waiting:
                self.close()
                self.sink.shutdown(socket.SHUT_WR)
                self.is_done = True

    def _take(self) -> bool:
        if self._pipe is None:
            self._pipe = self._pipes.pop() if self._pipes else os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.waiting = os.splice(self.source.fileno(), self._pipe[1], _PIPE)
        except BlockingIOError:
            self.close()
            return False
        self.at_end = not self.waiting
        return True

    def _give(self) -> bool:
        if self._pipe is None:
            return False
        try:
            self.waiting -= os.splice(self._pipe[0], self.sink.fileno(), self.waiting)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let go of the pipe."""
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return
        if not self.waiting and len(self._pipes) < _PIPES:
            self._pipes.append(pipe)
        else:
            os.close(pipe[0])
            os.close(pipe[1])


class Connection:
    """A client's connection and ours to the container."""

    def __init__(self, client: socket.socket, target: Target, relay: Relay, door: Door) -> None:
        self._relay, self._door = relay, door
        self._client = client
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        client.setblocking(False)
        for each in (client, self._server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._halves = [Half(client, self._server, relay.pipes), Half(self._server, client, relay.pipes)]
        self._connected = False
        self._masks: dict[socket.socket, int] = {}
        door.connections.add(self)
        with suppress(BlockingIOError):
            self._server.connect(target)
        relay.watch(self._server, selectors.EVENT_WRITE, self.work)

    def work(self) -> None:
        """Go on, after something happened at either end."""
        try:
            if not self._connected:
                error = self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, os.strerror(error))
                self._connected = True
            for half in self._halves:
                half.move()
        except OSError:
            self.close(broken=True)
            return
        if all(half.is_done for half in self._halves):
            self.close()
            return
        for end in (self._client, self._server):
            self._relay.watch(end, self._wanted(end), self.work)

    def _wanted(self, end: socket.socket) -> int:
        wanted = 0
        for half in self._halves:
            if half.source is end and not half.waiting and not half.at_end:
                wanted |= selectors.EVENT_READ
            if half.sink is end and half.waiting:
                wanted |= selectors.EVENT_WRITE
        return wanted

    def close(self, *, broken: bool = False) -> None:
        """End it; one that is ``broken`` at one end is reset at the other."""
        self._door.connections.discard(self)
        for half in self._halves:
            half.close()
        for end in (self._client, self._server):
            self._relay.watch(end, 0, self.work)
            if broken:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.close()


class Door:
    """A port of TCP."""

    def __init__(self, listening: socket.socket, target: Target, relay: Relay) -> None:
        self._listening, self._target, self._relay = listening, target, relay
        self.connections: set[Connection] = set()
        listening.setblocking(False)
        relay.watch(listening, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        try:
            accepted, _ = self._listening.accept()
        except OSError as error:
            time.sleep(_BACKOFF if error.errno in _FULL else 0)
            return
        try:
            Connection(accepted, self._target, self._relay, self)
        except OSError:
            accepted.close()

    def expire(self, now: float) -> None:
        """Connections have no end but their own."""

    def close(self) -> None:
        """Close the port and its connections."""
        self._relay.watch(self._listening, 0, self._accept)
        self._listening.close()
        for each in list(self.connections):
            each.close(broken=True)


class Relay:
    """The whole program: one loop over all sockets."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._doors: dict[int, Door | Flows] = {}
        self.pipes: list[tuple[int, int]] = []
        self.watch(control, selectors.EVENT_READ, self._told)

    def watch(self, end: socket.socket, wanted: int, work: Callable[[], None]) -> None:
        """Have ``work`` called when the socket is ready for what is wanted; nothing: not any more."""
        try:
            key = self._selector.get_key(end)
        except (KeyError, ValueError):
            if wanted:
                self._selector.register(end, wanted, work)
            return
        if not wanted:
            self._selector.unregister(end)
        elif key.events != wanted:
            self._selector.modify(end, wanted, work)

    def run(self) -> None:
        """Serve until the host's process is gone."""
        while True:
            for key, _ in self._selector.select(5.0 if self._doors else None):
                # An earlier one may have closed it.
                if key.fileobj.fileno() >= 0:  # type: ignore[union-attr]
                    key.data()
            now = time.monotonic()
            for door in self._doors.values():
                door.expire(now)

    def _told(self) -> None:
        data, fds, _, _ = socket.recv_fds(self._control, LIMIT, 1)
        if not data:
            sys.exit(0)
        told = json.loads(data)
        before = self._doors.pop(told["id"], None)
        if before is not None:
            before.close()
        if not fds:
            self._control.send(b"\0")
            return
        kind = Door if told["tcp"] else Flows
        host, port = told["target"]
        self._doors[told["id"]] = kind(socket.socket(fileno=fds[0]), (host, port), self)


def serve(_: str) -> None:
    """The program: the host's process is at the other end of fd 3."""
    Relay(socket.socket(fileno=CONTROL)).run()
