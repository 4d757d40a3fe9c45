"""What our resolver does with messages of DNS, by dnspython: questions read, answers written and looked into.

Bytes come from containers and from outside: they are bounded, and what is wrong is :class:`Malformed`.  Imported in
the resolver's process alone, for the library takes 40 ms to load: no start waits for that.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from pycontainer.network.address import Address

NO_ERROR = dns.rcode.NOERROR
SERVER_FAILURE = dns.rcode.SERVFAIL
NO_NAME = dns.rcode.NXDOMAIN
NOT_IMPLEMENTED = dns.rcode.NOTIMP
REFUSED = dns.rcode.REFUSED
#: The largest message over UDP without extensions (RFC 1035).
PLAIN_LIMIT = 512
_LIMIT = 65535
_HEADER = 12
_COUNTS = range(4, _HEADER, 2)
#: No resolver's answer has more; to read one costs time for each.
_MOST_RECORDS = 256


class Malformed(Exception):
    """It is no message that can be understood."""


def _read(data: bytes, *, question_only: bool) -> dns.message.Message:
    if len(data) < _HEADER or sum(int.from_bytes(data[at : at + 2], "big") for at in _COUNTS) > _MOST_RECORDS:
        raise Malformed
    try:
        return dns.message.from_wire(data, question_only=question_only, ignore_trailing=True)
    except Exception as error:  # whatever a stranger's bytes make the library raise
        raise Malformed from error


class Question:
    """One question as it came; ``name`` is in lower case, without the last dot. Raises :class:`Malformed`."""

    __slots__ = ("_message", "data", "name")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._message = _read(data, question_only=True)
        if self._message.flags & dns.flags.QR or len(self._message.question) != 1:
            raise Malformed
        asked = self._message.question[0]
        if asked.rdclass not in (dns.rdataclass.IN, dns.rdataclass.ANY):
            raise Malformed
        self.name = asked.name.to_text(omit_final_dot=True).lower()

    @property
    def is_query(self) -> bool:
        """Whether it is the usual kind of request, and no update or notification."""
        return self._message.opcode() == dns.opcode.QUERY

    def answer(self, code: dns.rcode.Rcode) -> bytes:
        """An answer that has nothing but a code."""
        return self._encode(code, ())

    def addresses(self, found: Iterable[str]) -> bytes:
        """The answer with those of these addresses that are of the kind which was asked for."""
        return self._encode(NO_ERROR, [(_kind(each), each) for each in found])

    def pointer(self, name: str) -> bytes:
        """The answer to whose address this is; a name that is too long for DNS is none."""
        try:
            return self._encode(NO_ERROR, [(dns.rdatatype.PTR, f"{name}.")])
        except dns.exception.DNSException:
            return self.answer(NO_NAME)

    def _encode(
        self, code: dns.rcode.Rcode, records: Iterable[tuple[dns.rdatatype.RdataType, str]], flags: int = 0
    ) -> bytes:
        made = dns.message.make_response(self._message, recursion_available=True)
        made.set_rcode(code)
        made.flags |= flags
        asked = self._message.question[0]
        for kind, text in records:
            if asked.rdtype in (kind, dns.rdatatype.ANY):
                made.flags |= dns.flags.AA
                # Never kept: what was said once may be wrong by now.
                made.answer.append(dns.rrset.from_text(asked.name, 0, dns.rdataclass.IN, kind, text))
        return made.to_wire(max_size=_LIMIT)

    def truncated(self) -> bytes:
        """The answer that has one ask again over TCP."""
        return self._encode(NO_ERROR, (), dns.flags.TC)

    def renumbered(self, identity: int) -> bytes:
        """The same bytes with another number: what else a client asks for in them is for the server."""
        return identity.to_bytes(2, "big") + self.data[2:]

    def fits(self, answer: bytes, identity: int) -> bool:
        """Is this an answer to the question that was sent with that number?"""
        try:
            told = _read(answer, question_only=True)
        except Malformed:
            return False
        return (
            told.id == identity
            and bool(told.flags & dns.flags.QR)
            and told.question == self._message.question
        )


def addresses(answer: bytes) -> list[tuple[Address, int]]:
    """The addresses in the answers of a message, each with its time to live in seconds. Raises :class:`Malformed`."""
    found: list[tuple[Address, int]] = []
    for records in _read(answer, question_only=False).answer:
        if records.rdclass == dns.rdataclass.IN and records.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
            found += [(ipaddress.ip_address(each.to_text()), records.ttl) for each in records]
    return found


def _kind(address: str) -> dns.rdatatype.RdataType:
    return dns.rdatatype.AAAA if ":" in address else dns.rdatatype.A


def reversed_address(name: str) -> Address | None:
    """The address that a name below in-addr.arpa or ip6.arpa asks about."""
    if not name.endswith(".arpa"):
        return None
    try:
        return ipaddress.ip_address(dns.reversename.to_address(dns.name.from_text(name)))
    except (dns.exception.DNSException, ValueError):
        return None
