"""Messages about nf_tables (linux/netfilter/nf_tables.h), and their transactions.

A transaction is a batch between two marks: the kernel takes all of it or nothing.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator, Sequence

import attrs

from pycontainer.errors import KernelError, NotSupported
from pycontainer.network.expression import DATA_VALUE, GOTO, LIST_ELEM, verdict_data
from pycontainer.network.netlink import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    Message,
    Netlink,
    attribute,
    attributes,
    be32,
    be64,
    each_attribute,
    nested,
    text,
)

INET, IPV4, IPV6 = 1, 2, 10
_TABLE, _CHAIN, _RULE, _SET, _ELEMENT = 0, 3, 6, 9, 12
_NEW, _GET, _DELETE = 0, 1, 2
_GETGEN = 16
_OWNER = 2
_BEGIN, _END = 16, 17
_SUBSYSTEM = 10

# Set flags, and how nft(8) calls types when it lists them.
INTERVAL, MAP, TIMEOUT, DYNAMIC = 4, 8, 0x10, 0x20
IFNAME, ADDRESS4, ADDRESS6, PROTOCOL, PORT = (41, 16), (7, 4), (8, 16), (12, 1), (13, 2)
VERDICT_TYPE = 0xFFFFFF00
DROP = 0
#: For nft(8): how it shows keys that are names.
_HOST_ORDER = struct.pack("=BBI", 0, 4, 1)
HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}


def _generic(family: int) -> bytes:
    return struct.pack("!BBH", family, 0, 0)


def _message(kind: int, verb: int, flags: int, body: bytes, what: str, family: int = INET) -> Message:
    return Message(_SUBSYSTEM << 8 | kind + verb, flags, _generic(family) + body, what)


# -- tables, chains, sets --------------------------------------------------------------------


def add_table(name: str, *, owned: bool = False) -> Message:
    """A table that must not be there yet; one that is ``owned`` goes when the socket is closed that makes it."""
    body = text(1, name) + (be32(2, _OWNER) if owned else b"")
    return _message(_TABLE, _NEW, NLM_F_CREATE | NLM_F_EXCL, body, f"make the nft table {name}")


def delete_table(name: str) -> Message:
    """Remove a table with all that is in it."""
    return _message(_TABLE, _DELETE, 0, text(1, name), f"remove the nft table {name}")


def add_chain(table: str, name: str, *, hook: str = "", kind: str = "filter", priority: int = 0) -> Message:
    """A chain; one with a ``hook`` is a base chain, whose policy is to accept."""
    body = text(1, table) + text(3, name)
    if hook:
        body += nested(4, be32(1, HOOKS[hook]), be32(2, priority & 0xFFFFFFFF)) + text(7, kind)
    return _message(_CHAIN, _NEW, NLM_F_CREATE | NLM_F_EXCL, body, f"make the nft chain {name}")


def delete_chain(table: str, name: str) -> Message:
    """Remove a chain with its rules."""
    return _message(_CHAIN, _DELETE, 0, text(1, table) + text(3, name), f"remove the nft chain {name}")


Type = tuple[int, int]


def _concat(types: Sequence[Type]) -> tuple[int, int]:
    kind = length = 0
    for each, size in types:
        kind = kind << 6 | each
        length += size + -size % 4 if len(types) > 1 else size
    return kind, length


def add_set(
    table: str,
    name: str,
    key: Sequence[Type],
    *,
    data: Sequence[Type] = (),
    verdicts: bool = False,
    flags: int = 0,
    size: int = 0,
) -> Message:
    """A set, or with ``data`` or ``verdicts`` a map; ``size`` bounds how many elements it may come to have."""
    kind, length = _concat(key)
    body = text(1, table) + text(2, name) + be32(4, kind) + be32(5, length)
    if data:
        data_kind, data_length = _concat(data)
        flags |= MAP
        body += be32(6, data_kind) + be32(7, data_length)
    if verdicts:
        flags |= MAP
        body += be32(6, VERDICT_TYPE) + be32(7, 16)
    body += be32(3, flags) + be32(10, 1)
    description = be32(1, size) if size else b""
    if description:
        body += nested(9, description)
    if list(key) == [IFNAME]:
        body += attribute(13, _HOST_ORDER)
    return _message(_SET, _NEW, NLM_F_CREATE | NLM_F_EXCL, body, f"make the nft set {name}")


def delete_set(table: str, name: str) -> Message:
    """Remove a set."""
    return _message(_SET, _DELETE, 0, text(1, table) + text(2, name), f"remove the nft set {name}")


@attrs.frozen(kw_only=True)
class Element:
    """An element: its key, with the value or the chain to go to of a map's; for so many milliseconds if any."""

    key: bytes
    data: bytes = b""
    goto: str = ""
    timeout: int = 0
    interval_end: bool = False

    def encode(self) -> bytes:
        """The bytes of it."""
        parts = [nested(1, attribute(DATA_VALUE, self.key))]
        if self.data:
            parts.append(nested(2, attribute(DATA_VALUE, self.data)))
        if self.goto:
            parts.append(nested(2, verdict_data(GOTO, self.goto)))
        if self.timeout:
            parts.append(be64(4, self.timeout))
        if self.interval_end:
            parts.append(be32(3, 1))
        return nested(LIST_ELEM, *parts)


def add_elements(table: str, name: str, *elements: Element, exclusive: bool = False) -> Message:
    """Elements of a set; those that are there already stay, unless they must be new (``exclusive``)."""
    body = text(1, table) + text(2, name) + nested(3, *(each.encode() for each in elements))
    flags = NLM_F_CREATE | (NLM_F_EXCL if exclusive else 0)
    return _message(_ELEMENT, _NEW, flags, body, f"add to the nft set {name}")


def delete_elements(table: str, name: str, *keys: bytes) -> Message:
    """Remove elements, all of which must be there."""
    elements = (Element(key=key).encode() for key in keys)
    body = text(1, table) + text(2, name) + nested(3, *elements)
    return _message(_ELEMENT, _DELETE, 0, body, f"remove from the nft set {name}")


def elements(netfilter: Netlink, table: str, name: str) -> Iterator[bytes]:
    """The keys that are in a set. Raises :class:`KernelError` (ENOENT) when there is no such set."""
    body = text(1, table) + text(2, name)
    question = _message(_ELEMENT, _GET, NLM_F_DUMP, body, f"list the nft set {name}")
    for _, answer in netfilter.dump(question):
        for _, element in each_attribute(attributes(answer[4:]).get(3, b"")):
            key = attributes(attributes(element).get(1, b"")).get(DATA_VALUE)
            if key is not None:
                yield key


# -- rules -----------------------------------------------------------------------------------


def add_rule(table: str, chain: str, *expressions: bytes, what: str = "") -> Message:
    """A rule behind those that are there."""
    body = text(1, table) + text(2, chain) + nested(4, *expressions)
    return _message(
        _RULE, _NEW, NLM_F_CREATE | NLM_F_APPEND, body, f"add a rule to the nft chain {chain} {what}".rstrip()
    )


def insert_rule(table: str, chain: str, *expressions: bytes, family: int, userdata: bytes) -> Message:
    """A rule before those that are there, in a table of others, with a mark."""
    body = text(1, table) + text(2, chain) + nested(4, *expressions) + attribute(7, userdata)
    return _message(_RULE, _NEW, NLM_F_CREATE, body, f"insert a rule into the nft chain {chain}", family)


def delete_rule(table: str, chain: str, handle: int, *, family: int) -> Message:
    """Remove one rule."""
    body = text(1, table) + text(2, chain) + be64(3, handle)
    return _message(_RULE, _DELETE, 0, body, f"remove a rule of the nft chain {chain}", family)


def rules(netfilter: Netlink, table: str, chain: str, *, family: int) -> Iterator[tuple[int, bytes]]:
    """Handle and mark of each rule of a chain."""
    body = text(1, table) + text(2, chain)
    question = _message(_RULE, _GET, NLM_F_DUMP, body, f"list the nft chain {chain}", family)
    for _, answer in netfilter.dump(question):
        told = attributes(answer[4:])
        if told.get(1) == table.encode() + b"\0" and told.get(2) == chain.encode() + b"\0":
            yield int.from_bytes(told[3], "big"), told.get(7, b"")


def chains(netfilter: Netlink, family: int) -> Iterator[tuple[str, str, int | None]]:
    """Table, name and policy of each chain of a family; others than base chains have no policy."""
    question = _message(_CHAIN, _GET, NLM_F_DUMP, b"", "list the nft chains", family)
    for _, answer in netfilter.dump(question):
        told = attributes(answer[4:])
        policy = told.get(5)
        yield (
            told[1].rstrip(b"\0").decode(errors="replace"),
            told[3].rstrip(b"\0").decode(errors="replace"),
            None if policy is None else int.from_bytes(policy, "big"),
        )


# -- transactions ----------------------------------------------------------------------------


def _mark(kind: int, generation: int | None = None) -> Message:
    body = struct.pack("!BBH", 0, 0, _SUBSYSTEM)
    if generation is not None:
        body += be32(1, generation)
    return Message(kind, 0, body, "change the nft rules")


def batch(messages: Iterable[Message], *, generation: int | None = None) -> list[Message]:
    """Messages between the marks of a transaction."""
    return [_mark(_BEGIN, generation), *messages, _mark(_END)]


def commit(netfilter: Netlink, messages: Iterable[Message], *, generation: int | None = None) -> None:
    """Have all of it done, or nothing. Raises :class:`NotSupported` without nf_tables, and :class:`KernelError`."""
    try:
        netfilter.send(batch(messages, generation=generation))
    except KernelError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT) or (
            error.errno == errno.EINVAL and error.step == "change the nft rules"
        ):
            raise NotSupported(
                "this kernel has no nf_tables", "modprobe nf_tables nft_nat nft_masq"
            ) from None
        raise


def generation(netfilter: Netlink) -> int:
    """How often the rules of this namespace were changed, by anybody."""
    answer = netfilter.ask(Message(_SUBSYSTEM << 8 | _GETGEN, 0, _generic(0), "ask for the nft generation"))
    return 0 if answer is None else int.from_bytes(attributes(answer[4:])[1], "big")
