"""Datagrams that the relay leads from a port of the host to a container, and back to who sent them."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

_LIMIT = 65535
#: After how many seconds without a datagram one is forgotten, and how many are known at once.
_IDLE = 120.0
_MOST = 1024
#: How many datagrams are taken in one go.
_ROUND = 64
# linux/in.h, linux/in6.h: with a datagram comes the address that it was sent to.
_IP_PKTINFO, _IPV6_RECVPKTINFO, _IPV6_PKTINFO = 8, 49, 50
_SPACE = socket.CMSG_SPACE(20)

Peer = tuple[object, ...]
Control = list[tuple[int, int, bytes]]


class Watcher(Protocol):
    """What is needed of the relay."""

    def watch(self, end: socket.socket, wanted: int, work: Callable[[], None]) -> None:
        """Have ``work`` called when the socket is ready for what is wanted; nothing: not any more."""


class Flows:
    """A port of UDP: one socket to the container for each who sends to it."""

    def __init__(self, bound: socket.socket, target: tuple[str, int], relay: Watcher) -> None:
        self._bound, self._target, self._relay = bound, target, relay
        self._flows: OrderedDict[tuple[Peer, bytes], tuple[socket.socket, float]] = OrderedDict()
        bound.setblocking(False)
        if bound.family == socket.AF_INET:
            bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        else:
            bound.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        relay.watch(bound, selectors.EVENT_READ, self._arrived)

    def _arrived(self) -> None:
        for _ in range(_ROUND):
            try:
                data, control, _, peer = self._bound.recvmsg(_LIMIT, _SPACE)
            except OSError:
                return
            from_there = _back(control)
            key = (peer, b"".join(value for _, _, value in from_there))
            with suppress(OSError):
                self._flow(key, peer, from_there).send(data)

    def _flow(self, key: tuple[Peer, bytes], peer: Peer, control: Control) -> socket.socket:
        found = self._flows.pop(key, None)
        if found is not None:
            self._flows[key] = (found[0], time.monotonic())
            return found[0]
        if len(self._flows) >= _MOST:
            self._forget(next(iter(self._flows)))
        family = socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            made.connect(self._target)
        except BaseException:
            made.close()
            raise
        self._flows[key] = (made, time.monotonic())
        self._relay.watch(made, selectors.EVENT_READ, lambda: self._answered(made, peer, control))
        return made

    def _answered(self, flow: socket.socket, peer: Peer, control: Control) -> None:
        for _ in range(_ROUND):
            try:
                data = flow.recv(_LIMIT)
            except OSError:  # nothing more, or that nobody listens there, which is no news for a sender
                return
            with suppress(OSError):
                self._bound.sendmsg([data], control, 0, peer)

    def _forget(self, key: tuple[Peer, bytes]) -> None:
        flow, _ = self._flows.pop(key)
        self._relay.watch(flow, 0, lambda: None)
        flow.close()

    def expire(self, now: float) -> None:
        """Forget who has been silent for long; the longest are first."""
        while self._flows:
            key, (_, last) = next(iter(self._flows.items()))
            if last + _IDLE > now:
                return
            self._forget(key)

    def close(self) -> None:
        """Close the port."""
        while self._flows:
            self._forget(next(iter(self._flows)))
        self._relay.watch(self._bound, 0, lambda: None)
        self._bound.close()


def _back(control: Control) -> Control:
    """So that the answer comes from where the question went."""
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            _, local, _ = struct.unpack("=I4s4s", data)
            return [(level, kind, struct.pack("=I4s4s", 0, local, bytes(4)))]
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
            return [(level, kind, data[:16] + bytes(4))]
    return []
