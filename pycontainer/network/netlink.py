"""Messages to the kernel over netlink(7), built as bytes and sent in batches.

The codec of rtnetlink and nf_tables alike: attributes, headers, answers.  Knows no message's meaning.  Written here
because a start must not wait for it: to import pyroute2 takes 200 ms and to make one veth pair with it 1.0 ms, where
the same bytes take the kernel 0.3 ms; and its sockets own an event loop, which does not work inside a caller's.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

import attrs

from pycontainer.errors import KernelError

ROUTE = 0
NETFILTER = 12

# linux/netlink.h
NLM_F_REQUEST = 1
NLM_F_ACK = 4
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
_ERROR, _DONE = 2, 3
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER = 1 << 16


@attrs.frozen
class Message:
    """One message; ``what`` is what it does, in words, for an error."""

    kind: int
    flags: int
    body: bytes
    what: str

    def encode(self, sequence: int) -> bytes:
        """The bytes of it."""
        length = _HEADER.size + len(self.body)
        head = _HEADER.pack(length, self.kind, self.flags | NLM_F_REQUEST, sequence, 0)
        return head + self.body + bytes(-length % 4)


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data + bytes(-len(data) % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that is made of others."""
    return attribute(kind | _NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    """An attribute that is a text."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    """An attribute that is one byte."""
    return attribute(kind, bytes([value]))


def u16(kind: int, value: int) -> bytes:
    """An attribute that is a number of 16 bits in the machine's order."""
    return attribute(kind, struct.pack("=H", value))


def u32(kind: int, value: int) -> bytes:
    """An attribute that is a number of 32 bits in the machine's order."""
    return attribute(kind, struct.pack("=I", value))


def be16(kind: int, value: int) -> bytes:
    """An attribute that is a number of 16 bits in the network's order."""
    return attribute(kind, struct.pack("!H", value))


def be32(kind: int, value: int) -> bytes:
    """An attribute that is a number of 32 bits in the network's order."""
    return attribute(kind, struct.pack("!I", value))


def be64(kind: int, value: int) -> bytes:
    """An attribute that is a number of 64 bits in the network's order."""
    return attribute(kind, struct.pack("!Q", value))


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in a message's body, by kind; of several of one kind the last."""
    return dict(each_attribute(data))


def each_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    """All attributes in turn."""
    place = 0
    while place + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, place)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, data[place + _ATTRIBUTE.size : place + length]
        place += length + (-length % 4)


class Netlink:
    """A netlink socket, of the calling thread's network namespace or one that is handed over. ``with`` closes.

    One that is handed over is given to ``done`` instead, if it can be used again.
    The kernel works on a message while it is sent, so that nothing here waits and no event loop is needed.
    """

    def __init__(
        self,
        family: int,
        adopted: socket.socket | None = None,
        done: Callable[[socket.socket], None] | None = None,
    ) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, family) if adopted is None else adopted
        self._owned = adopted is None
        self._done = done
        self._listing = False
        self._sequence = 0

    def send(self, messages: Iterable[Message]) -> None:
        """Send messages together; the first that the kernel refuses is raised as :class:`KernelError`.

        Messages of rtnetlink are worked on one after the other, also after one that fails.
        """
        for error, message in self.try_all(messages):
            raise KernelError(error, message.what)

    def try_all(self, messages: Iterable[Message]) -> list[tuple[int, Message]]:
        """The same; those that were refused with their error numbers."""
        known: dict[int, Message] = {}
        parts = []
        for message in messages:
            self._sequence += 1
            known[self._sequence] = message
            parts.append(message.encode(self._sequence))
        if not parts:
            return []
        self._send(b"".join(parts))
        return [(error, known[sequence]) for error, sequence in self._errors() if error and sequence in known]

    def _send(self, data: bytes) -> None:
        if len(data) > _BUFFER:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(data))
        # To an explicit address: it is the sender whose rights count then, and not also who opened the socket.
        self._socket.sendto(data, (0, 0))

    def _errors(self) -> Iterator[tuple[int, int]]:
        while True:
            try:
                data = self._socket.recv(_BUFFER, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            for kind, sequence, body in _split(data):
                if kind == _ERROR:
                    yield -int.from_bytes(body[:4], "little", signed=True), sequence

    def dump(self, message: Message) -> Iterator[tuple[int, bytes]]:
        """What the kernel lists for a message with NLM_F_DUMP: kind and body of each. Raises :class:`KernelError`."""
        self._sequence += 1
        self._listing = True
        self._send(message.encode(self._sequence))
        while True:
            for kind, sequence, body in _split(self._socket.recv(_BUFFER)):
                if sequence != self._sequence:
                    continue
                self._listing = kind not in (_DONE, _ERROR)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise KernelError(-int.from_bytes(body[:4], "little", signed=True), message.what)
                yield kind, body

    def ask(self, message: Message) -> bytes | None:
        """The body of the one answer, or ``None`` when there is no such thing. Raises :class:`KernelError`."""
        self._sequence += 1
        self._send(message.encode(self._sequence))
        for kind, _, body in _split(self._socket.recv(_BUFFER)):
            if kind != _ERROR:
                return body
            error = -int.from_bytes(body[:4], "little", signed=True)
            if error in (errno.ENODEV, errno.ENOENT):
                return None
            raise KernelError(error, message.what)
        return None

    def fileno(self) -> int:
        """The socket."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket, unless it was handed over. Idempotent."""
        done, self._done = self._done, None
        if done is not None and not self._listing:
            done(self._socket)
        elif done is not None or self._owned:
            self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    place = 0
    while place + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, place)
        if length < _HEADER.size:
            return
        yield kind, sequence, data[place + _HEADER.size : place + length]
        place += length + (-length % 4)
