"""Our table of nf_tables: who reaches whom.

One table ``inet pycontainer`` for all engines of a network namespace.  Its chains and rules are made once, in one
transaction, and never change; networks are elements of its sets, added and removed each in a transaction of its own.
Nothing of others is read or changed.  What a packet meets::

    prerouting (raw)   from a container to 127.0.0.0/8: dropped (CVE-2020-8558: loopback is routed on bridges)
    prerouting, output to a published port of the host: sent on (see publish)
    forward            within a network, and answers: accepted; from or to an internal network: refused;
                       to a published port: accepted; from one network to another: refused; else into one: dropped
    input              from an internal network to the host: refused
    postrouting        out of a network: masqueraded; so is what a published port sends back where it came from
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pycontainer.errors import KernelError
from pycontainer.network import expression as ex
from pycontainer.network import nft, others
from pycontainer.network.netlink import Message, Netlink
from pycontainer.network.network import Definition

if TYPE_CHECKING:
    from pycontainer.network.site import Site

TABLE = "pycontainer"
#: How the kernel orders what hooks in at one place (linux/netfilter_ipv4.h).
_RAW, DSTNAT, _FILTER, _SRCNAT = -300, -100, 0, 100
_ESTABLISHED_OR_RELATED = struct.pack("=I", 2 | 4)
_NEW = struct.pack("=I", 8)
_DNAT = struct.pack("=I", 1 << 5)
_NOTHING = bytes(4)
#: How many refused attempts are remembered, and for how many milliseconds.
_DENIED, _REMEMBERED = 65535, 3_600_000
_ICMP6 = bytes([58])
#: Offset of the source and the destination address in a header, and their length.
PLACES = {4: (12, 16, 4), 6: (8, 24, 16)}
FAMILIES = {4: nft.IPV4, 6: nft.IPV6}


def interface_key(name: str) -> bytes:
    """The name of a link as a key."""
    return name.encode().ljust(16, b"\0")


def _state(wanted: bytes) -> bytes:
    return ex.track("state") + ex.masked(wanted) + ex.compare(_NOTHING, unequal=True)


def _sent_on(*, yes: bool = True) -> bytes:
    return ex.track("status") + ex.masked(_DNAT) + ex.compare(_NOTHING, unequal=yes)


def _from(name: str, *, absent: bool = False) -> bytes:
    return ex.meta("iifname") + ex.lookup(name, absent=absent)


def _to(name: str, *, absent: bool = False) -> bytes:
    return ex.meta("oifname") + ex.lookup(name, absent=absent)


def _within() -> bytes:
    return ex.meta("iifname", 0) + ex.meta("oifname", 4) + ex.lookup("within")


def is_version(version: int) -> bytes:
    """Go on only with packets of IPv4, or of IPv6."""
    return ex.meta("nfproto") + ex.compare(bytes([FAMILIES[version]]))


def loopback(where: int, *, unequal: bool = False) -> bytes:
    """Source (0) or destination (1) in 127.0.0.0/8."""
    return (
        ex.payload("network", PLACES[4][where], 4)
        + ex.masked(b"\xff\0\0\0")
        + ex.compare(b"\x7f\0\0\0", unequal=unequal)
    )


def destination(version: int, register: int) -> bytes:
    """Load the destination address."""
    _, offset, length = PLACES[version]
    return ex.payload("network", offset, length, register)


def service(register: int) -> bytes:
    """Load the protocol and the destination port, into two registers."""
    return ex.meta("l4proto", register) + ex.payload("transport", 2, 2, register + 1)


def _table() -> list[Message]:
    made = [nft.add_table(TABLE)]
    made += [nft.add_set(TABLE, name, [nft.IFNAME]) for name in ("bridges", "internal", "sealed", "uplinks")]
    made.append(nft.add_set(TABLE, "within", [nft.IFNAME, nft.IFNAME]))
    for version, address in ((4, nft.ADDRESS4), (6, nft.ADDRESS6)):
        place = [nft.IFNAME, address]
        service_there = [*place, nft.PROTOCOL, nft.PORT]
        made.append(nft.add_set(TABLE, f"open{version}", place, flags=nft.TIMEOUT))
        made.append(nft.add_set(TABLE, f"service{version}", service_there, flags=nft.TIMEOUT))
        flags = nft.TIMEOUT | nft.DYNAMIC
        made.append(nft.add_set(TABLE, f"denied{version}", service_there, flags=flags, size=_DENIED))
    made.append(nft.add_chain(TABLE, "refuse"))
    made.append(nft.add_set(TABLE, "egress", [nft.IFNAME], verdicts=True))
    for name, hook, kind, priority in (
        ("raw", "prerouting", "filter", _RAW),
        ("input", "input", "filter", _FILTER),
        ("forward", "forward", "filter", _FILTER),
        ("postrouting", "postrouting", "nat", _SRCNAT),
    ):
        made.append(nft.add_chain(TABLE, name, hook=hook, kind=kind, priority=priority))
    return made + _rules()


def _rules() -> list[Message]:
    accept, drop, refuse = ex.verdict("accept"), ex.verdict("drop"), ex.jump("refuse")
    answers = _state(_ESTABLISHED_OR_RELATED)
    found = [nft.add_rule(TABLE, "raw", _from("bridges") + is_version(4) + loopback(1) + drop)]
    found += _refusal()
    found += [
        nft.add_rule(TABLE, chain, rule)
        for chain, rule in (
            ("input", _from("sealed") + answers + accept),
            ("input", _from("sealed") + ex.meta("l4proto") + ex.compare(_ICMP6) + accept),
            ("input", _from("sealed") + refuse),
            ("forward", _within() + accept),
            ("forward", _from("bridges") + answers + accept),
            ("forward", _to("bridges") + answers + accept),
            ("forward", _from("internal") + refuse),
            ("forward", _from("bridges") + _to("internal") + refuse),
            ("forward", _to("internal") + drop),
            ("forward", _from("sealed") + _to("bridges") + refuse),
            ("forward", ex.meta("iifname") + ex.decide("egress")),
            ("forward", _to("bridges") + _sent_on() + accept),
            ("forward", _from("bridges") + _to("bridges") + refuse),
            ("forward", _to("bridges") + drop),
            # What is forwarded only since we let the uplink: not for others.
            ("forward", _from("uplinks") + _state(_NEW) + _sent_on(yes=False) + drop),
            ("postrouting", _from("bridges") + _to("bridges", absent=True) + ex.masquerade()),
            ("postrouting", _within() + _sent_on() + ex.masquerade()),
            # From the host itself, or where bridges call the rules (br_netfilter), which tell no link that it came by.
            (
                "postrouting",
                ex.meta("iifname") + ex.compare(bytes(16)) + _to("bridges") + _sent_on() + ex.masquerade(),
            ),
            ("postrouting", is_version(4) + loopback(0) + _to("bridges") + ex.masquerade()),
        )
    ]
    return found


def _refusal() -> list[Message]:
    """Refuse at once; what containers that are shut in tried is remembered."""
    found = []
    for version in (4, 6):
        size = PLACES[version][2] // 4
        key = ex.meta("iifname", 0) + destination(version, 4) + service(4 + size)
        for number in (6, 17):
            head = _from("sealed") + is_version(version) + ex.meta("l4proto") + ex.compare(bytes([number]))
            tried = ex.remember(f"denied{version}", timeout=_REMEMBERED)
            found.append(nft.add_rule(TABLE, "refuse", head + key + tried))
    return [*found, nft.add_rule(TABLE, "refuse", ex.reject())]


def change(site: Site, messages: Iterable[Message]) -> None:
    """Change elements of our table in one transaction; the table is made where it is not there."""
    wanted = list(messages)
    with site.rules() as netfilter:
        for _ in range(8):  # others may remove the table between
            try:
                nft.commit(netfilter, wanted)
                return
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
            try:
                nft.commit(netfilter, _table())
            except KernelError as error:
                if error.errno != errno.EEXIST:
                    raise
        nft.commit(netfilter, wanted)


def _memberships(network: Definition) -> list[tuple[str, bytes]]:
    link = interface_key(network.link)
    found = [("bridges", link), ("within", link + link)]
    return found + ([("internal", link), ("sealed", link)] if network.internal else [])


def open_network(site: Site, network: Definition) -> None:
    """Let a network's bridge take part. Idempotent."""
    change(site, (nft.add_elements(TABLE, name, nft.Element(key=key)) for name, key in _memberships(network)))


def close_network(site: Site, network: Definition) -> None:
    """Take it out again. Idempotent."""
    with site.rules() as netfilter:
        forget(netfilter, [nft.delete_elements(TABLE, name, key) for name, key in _memberships(network)])
        remove_if_unused(netfilter)


def forget(netfilter: Netlink, messages: list[Message]) -> None:
    """Take out what may be gone already: all of it or nothing."""
    try:
        nft.commit(netfilter, messages)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise


def remove_if_unused(netfilter: Netlink) -> None:
    """Only if nobody changes anything meanwhile: the kernel compares the generation."""
    try:
        generation = nft.generation(netfilter)
        for name in ("bridges", "uplinks"):
            if any(True for _ in nft.elements(netfilter, TABLE, name)):
                return
        nft.commit(netfilter, [nft.delete_table(TABLE)], generation=generation)
    except KernelError as error:
        if error.errno == errno.ERESTART:
            return
        if error.errno != errno.ENOENT:
            raise
    # Also where there is no table: who removed it may have been killed then.
    others.unmake(netfilter)


def guard_uplinks(site: Site, names: list[str]) -> None:
    """Links on which forwarding is on for our networks alone."""
    if names:
        change(
            site,
            [nft.add_elements(TABLE, "uplinks", *(nft.Element(key=interface_key(name)) for name in names))],
        )


def release_uplinks(site: Site, names: list[str]) -> None:
    """They forward nothing for us any more; the table goes when nobody needs it. Idempotent."""
    with site.rules() as netfilter:
        for name in names:
            forget(netfilter, [nft.delete_elements(TABLE, "uplinks", interface_key(name))])
        remove_if_unused(netfilter)
