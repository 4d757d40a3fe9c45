"""The little of DNS that our resolver needs (RFC 1035): questions read, answers written, addresses found in answers.

Bytes come from containers and from outside: everything is bounded, and what is wrong is :class:`Malformed`.
"""

from __future__ import annotations

import ipaddress
import socket
import struct

A, PTR, AAAA, ANY = 1, 12, 28, 255
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_NAME, NOT_IMPLEMENTED, REFUSED = range(6)
_HEADER = struct.Struct("!HHHHHH")
_IN = 1
_MOST_LABELS = 128
_MOST_RECORDS = 256
_RESPONSE, _OPCODE, _AUTHORITATIVE, _TRUNCATED, _WANTED, _AVAILABLE = (
    0x8000,
    0x7800,
    0x400,
    0x200,
    0x100,
    0x80,
)
#: The largest message over UDP without extensions.
PLAIN_LIMIT = 512


class Malformed(Exception):
    """It is no message that can be understood."""


class Question:
    """One question as it came; ``name`` is in lower case, without the last dot."""

    __slots__ = ("data", "end", "flags", "identity", "kind", "name")

    def __init__(self, data: bytes) -> None:
        if len(data) < _HEADER.size:
            raise Malformed
        self.identity, self.flags, count, _, _, _ = _HEADER.unpack_from(data)
        if self.flags & _RESPONSE or count != 1:
            raise Malformed
        self.name, place = _name(data, _HEADER.size)
        if place + 4 > len(data):
            raise Malformed
        self.kind, kind_of_class = struct.unpack_from("!HH", data, place)
        if kind_of_class not in (_IN, ANY):
            raise Malformed
        self.data, self.end = data, place + 4

    @property
    def is_query(self) -> bool:
        """Whether it is the usual kind of request, and no update or notification."""
        return not self.flags & _OPCODE

    def answer(self, code: int, records: list[tuple[int, bytes]] | None = None, *, ttl: int = 0) -> bytes:
        """An answer to it with records of a type and data, all about the name that was asked for."""
        flags = _RESPONSE | _AVAILABLE | (self.flags & (_OPCODE | _WANTED)) | code
        flags |= _AUTHORITATIVE if records else 0
        found = records or []
        head = _HEADER.pack(self.identity, flags, 1, len(found), 0, 0)
        rest = b"".join(
            struct.pack("!HHHIH", 0xC000 | _HEADER.size, kind, _IN, ttl, len(data)) + data
            for kind, data in found
        )
        return head + self.data[_HEADER.size : self.end] + rest

    def truncated(self) -> bytes:
        """The answer that has one ask again over TCP."""
        flags = _RESPONSE | _AVAILABLE | _TRUNCATED | (self.flags & _WANTED)
        return _HEADER.pack(self.identity, flags, 1, 0, 0, 0) + self.data[_HEADER.size : self.end]

    def renumbered(self, identity: int) -> bytes:
        """The same question with another number."""
        return struct.pack("!H", identity) + self.data[2:]

    def fits(self, answer: bytes, identity: int) -> bool:
        """Is this an answer to the question that was sent with that number?"""
        if len(answer) < self.end or answer[:2] != struct.pack("!H", identity) or not answer[2] & 0x80:
            return False
        return answer[_HEADER.size : self.end].lower() == self.data[_HEADER.size : self.end].lower()


def _name(data: bytes, place: int) -> tuple[str, int]:
    """A name without compression, as questions have them, and where it ends."""
    labels: list[str] = []
    for _ in range(_MOST_LABELS):
        if place >= len(data):
            raise Malformed
        length = data[place]
        if length == 0:
            return ".".join(labels), place + 1
        if length > 63 or place + 1 + length > len(data):
            raise Malformed
        labels.append(data[place + 1 : place + 1 + length].decode("ascii", "replace").lower())
        place += 1 + length
    raise Malformed


def _skip(data: bytes, place: int) -> int:
    """Where a name ends that may be compressed."""
    for _ in range(_MOST_LABELS):
        if place >= len(data):
            raise Malformed
        length = data[place]
        if length == 0:
            return place + 1
        if length >= 0xC0:
            return place + 2
        place += 1 + length
    raise Malformed


def addresses(answer: bytes) -> list[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """The addresses in the answers of a message, each with its time to live in seconds."""
    if len(answer) < _HEADER.size:
        raise Malformed
    _, _, questions, count, _, _ = _HEADER.unpack_from(answer)
    place = _HEADER.size
    if questions > 1 or count > _MOST_RECORDS:
        raise Malformed
    for _ in range(questions):
        place = _skip(answer, place) + 4
    found = []
    for _ in range(count):
        place = _skip(answer, place)
        if place + 10 > len(answer):
            raise Malformed
        kind, kind_of_class, ttl, length = struct.unpack_from("!HHIH", answer, place)
        data = answer[place + 10 : place + 10 + length]
        place += 10 + length
        if len(data) != length:
            raise Malformed
        if kind_of_class == _IN and (kind, length) in ((A, 4), (AAAA, 16)):
            found.append((ipaddress.ip_address(data), ttl))
    return found


def encode_name(name: str) -> bytes:
    """A name as the data of a record."""
    parts = [label.encode("ascii", "replace")[:63] for label in name.split(".") if label]
    return b"".join(bytes([len(each)]) + each for each in parts) + b"\0"


def record(address: str) -> tuple[int, bytes]:
    """The type and data of an address."""
    if ":" in address:
        return AAAA, socket.inet_pton(socket.AF_INET6, address)
    return A, socket.inet_aton(address)


def reversed_address(name: str) -> str | None:
    """The address that a name below in-addr.arpa or ip6.arpa asks about."""
    labels = name.split(".")
    try:
        if name.endswith(".in-addr.arpa") and len(labels) == 6:
            return str(ipaddress.IPv4Address(".".join(labels[3::-1])))
        if name.endswith(".ip6.arpa") and len(labels) == 34:
            digits = "".join(labels[31::-1])
            return str(ipaddress.IPv6Address(bytes.fromhex(digits)))
    except ValueError:
        return None
    return None
