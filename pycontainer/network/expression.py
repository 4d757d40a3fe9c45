"""Expressions of nf_tables' rules, as bytes (linux/netfilter/nf_tables.h).

Registers are of 32 bits here, and the parts of a concatenated key begin at a whole one.
"""

from __future__ import annotations

import struct

from pycontainer.network.netlink import attribute, be32, be64, nested, text, u8

LIST_ELEM = 1
DATA_VALUE, DATA_VERDICT = 1, 2
_EXPR_NAME, _EXPR_DATA = 1, 2
_FIRST_REGISTER = 8  # NFT_REG32_00
_VERDICTS = {"drop": 0, "accept": 1, "return": -5}
_JUMP, GOTO = -3, -4


def _expression(name: str, *data: bytes) -> bytes:
    return nested(LIST_ELEM, text(_EXPR_NAME, name), nested(_EXPR_DATA, *data))


def _register(number: int) -> int:
    return _FIRST_REGISTER + number


META = {"iifname": 6, "oifname": 7, "nfproto": 15, "l4proto": 16}


def meta(key: str, register: int = 0) -> bytes:
    """Load what is known of the packet beside its bytes."""
    return _expression("meta", be32(1, _register(register)), be32(2, META[key]))


def payload(base: str, offset: int, length: int, register: int = 0) -> bytes:
    """Load bytes of the packet, from the ``network`` or ``transport`` header on."""
    number = {"network": 1, "transport": 2}[base]
    return _expression(
        "payload", be32(1, _register(register)), be32(2, number), be32(3, offset), be32(4, length)
    )


def compare(value: bytes, register: int = 0, *, unequal: bool = False) -> bytes:
    """Go on only when a register has this value."""
    return _expression(
        "cmp", be32(1, _register(register)), be32(2, int(unequal)), nested(3, attribute(DATA_VALUE, value))
    )


def masked(mask: bytes, register: int = 0) -> bytes:
    """Keep only the bits of the mask."""
    return _expression(
        "bitwise",
        be32(1, _register(register)),
        be32(2, _register(register)),
        be32(3, len(mask)),
        nested(4, attribute(DATA_VALUE, mask)),
        nested(5, attribute(DATA_VALUE, bytes(len(mask)))),
    )


def lookup(name: str, register: int = 0, *, into: int | None = None, absent: bool = False) -> bytes:
    """Go on only when the key is in a set (or not: ``absent``); with ``into`` the map's value is loaded."""
    parts = [text(1, name), be32(2, _register(register))]
    if into is not None:
        parts.append(be32(3, _register(into)))
    if absent:
        parts.append(be32(5, 1))
    return _expression("lookup", *parts)


def decide(name: str, register: int = 0) -> bytes:
    """Do what a map of verdicts says of the key."""
    return _expression("lookup", text(1, name), be32(2, _register(register)), be32(3, 0))


def track(key: str, register: int = 0) -> bytes:
    """Load the state or the status of the packet's connection."""
    return _expression("ct", be32(1, _register(register)), be32(2, {"state": 0, "status": 2}[key]))


def destination_is_ours(register: int = 0) -> bytes:
    """Go on only when the packet is for an address of this host."""
    load = _expression("fib", be32(1, _register(register)), be32(2, 3), be32(3, 2))
    return load + compare(struct.pack("=I", 2), register)


def verdict_data(code: int, chain: str = "") -> bytes:
    """A verdict as the value of a register or an element."""
    parts = [be32(1, code & 0xFFFFFFFF)] + ([text(2, chain)] if chain else [])
    return nested(DATA_VERDICT, *parts)


def verdict(name: str) -> bytes:
    """``accept``, ``drop`` or ``return``."""
    return _expression("immediate", be32(1, 0), nested(2, verdict_data(_VERDICTS[name])))


def jump(chain: str) -> bytes:
    """Go on in another chain, and come back."""
    return _expression("immediate", be32(1, 0), nested(2, verdict_data(_JUMP, chain)))


def reject() -> bytes:
    """Refuse at once: "administratively prohibited" of ICMP or ICMPv6."""
    return _expression("reject", be32(1, 2), u8(2, 3))


def destination_nat(family: int, address: int, port: int) -> bytes:
    """Send the packet on to the address and port in registers."""
    parts = (be32(1, 1), be32(2, family), be32(3, _register(address)), be32(5, _register(port)))
    return _expression("nat", *parts)


def load(value: bytes, register: int) -> bytes:
    """Load a constant."""
    return _expression("immediate", be32(1, _register(register)), nested(2, attribute(DATA_VALUE, value)))


def masquerade() -> bytes:
    """Give the packet the address of the link that it leaves by."""
    return _expression("masq")


def remember(name: str, register: int = 0, *, timeout: int = 0) -> bytes:
    """Add the key to a set, from the packet's path."""
    parts = [text(1, name), be32(3, 0), be32(4, _register(register))]
    if timeout:
        parts.append(be64(6, timeout))
    return _expression("dynset", *parts)
