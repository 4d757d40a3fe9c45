"""What a host has of networks, as exactly as the kernel tells it: addresses, and every rule of nf_tables with its number.

A rule that is removed and made again has another number (handle): so equal evidence says that it was left alone.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import struct
import subprocess
from pathlib import Path

from pycontainer.network.netlink import NETFILTER, NLM_F_DUMP, Message, Netlink, attributes, text

#: Numbers of linux/netfilter/nf_tables.h: the message that lists, and what of its answer is about others: packets and
#: holders that are counted, and the rule before, which may be ours.
_TABLES, _CHAINS, _RULES, _SETS, _ELEMENTS = 1, 4, 7, 10, 13
_PASSING = {_TABLES: {3}, _CHAINS: {6, 8}, _RULES: {6}, _SETS: set(), _ELEMENTS: set()}
_TABLE_OF = 1
_SET_NAME = 2
#: Our tables, and what we insert into chains of others and take out again.
_OURS, _MARK = b"pycontainer", b"\0\x0cpycontainer\0"
_COUNTER = re.compile(rb"(counter\0.{4}).{24}", re.DOTALL)


def addresses() -> list[str]:
    """The addresses of all links, by link."""
    listed = subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True, check=True).stdout
    return sorted(
        f"{link['ifname']} {each['local']}/{each['prefixlen']}"
        for link in json.loads(listed)
        for each in link["addr_info"]
    )


def rules_of_others() -> list[str]:
    """Tables, chains, sets with elements and rules that are not ours, of all families, in order, without their counters."""
    found = []
    with Netlink(NETFILTER) as netfilter:
        for kind in (_TABLES, _CHAINS, _RULES, _SETS):
            for family, told in _listed(netfilter, kind, b""):
                if told[_TABLE_OF].startswith(_OURS) or _MARK in b"".join(told.values()):
                    continue
                found.append(_shown(kind, family, told))
                if kind == _SETS:
                    named = told[_TABLE_OF].rstrip(b"\0").decode(), told[_SET_NAME].rstrip(b"\0").decode()
                    within = text(1, named[0]) + text(2, named[1])
                    found += [
                        _shown(_ELEMENTS, family, each)
                        for _, each in _listed(netfilter, _ELEMENTS, within, family)
                    ]
    return found


def _listed(
    netfilter: Netlink, kind: int, within: bytes, family: int = 0
) -> list[tuple[int, dict[int, bytes]]]:
    question = Message(
        10 << 8 | kind, NLM_F_DUMP, struct.pack("=BBH", family, 0, 0) + within, "list what there is"
    )
    return [(body[0], attributes(body[4:])) for _, body in netfilter.dump(question)]


def _shown(kind: int, family: int, told: dict[int, bytes]) -> str:
    kept = {key: _COUNTER.sub(rb"\1", value) for key, value in told.items() if key not in _PASSING[kind]}
    return f"{kind} {family} {sorted(kept.items())}"


def leases() -> list[object]:
    """What the record of the default engine still says of containers on networks, and of settings of the host."""
    path = Path(os.environ["PYCONTAINER_ROOT"], "network.db")
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT owner, container, address4 FROM endpoints").fetchall()
        return [*rows, *connection.execute("SELECT path, before FROM settings")]
    finally:
        connection.close()
