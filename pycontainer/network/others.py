"""A way for our packets through chains of others that drop what they do not know, as Docker's FORWARD does.

What our table accepts another base chain may still drop.  Where one of iptables' own tables forwards nothing by
default, two rules for our links are inserted, in Docker's chain for the rules of users if there is one.  They carry a
mark and are removed with our table; nothing else of others is changed.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pycontainer.errors import KernelError
from pycontainer.network import expression as ex
from pycontainer.network import nft
from pycontainer.network.netlink import Message, Netlink

if TYPE_CHECKING:
    from pycontainer.network.site import Site

_TABLE = "filter"
_CHAINS = ("DOCKER-USER", "FORWARD")
#: What all names of our links on the host begin with.
_PREFIX = b"pc"
#: As a comment of nft(8) and iptables(8): type, length, text.
_MARK = b"\0\x0cpycontainer\0"


def make_way(site: Site) -> None:
    """Insert the rules where they are needed and not there yet. Idempotent."""
    with site.rules() as netfilter:
        for family in (nft.IPV4, nft.IPV6):
            chain = _chain(netfilter, family)
            if chain is not None and not any(True for _ in _marked(netfilter, family, chain)):
                nft.commit(netfilter, [_rule(family, chain, key) for key in ("iifname", "oifname")])


def unmake(netfilter: Netlink) -> None:
    """Remove them. Idempotent."""
    for family in (nft.IPV4, nft.IPV6):
        for chain in _CHAINS:
            try:
                found = list(_marked(netfilter, family, chain))
                if found:
                    nft.commit(
                        netfilter, [nft.delete_rule(_TABLE, chain, each, family=family) for each in found]
                    )
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise


def _chain(netfilter: Netlink, family: int) -> str | None:
    """The chain to insert into; ``None`` where nothing is dropped by default."""
    found = {name: policy for table, name, policy in nft.chains(netfilter, family) if table == _TABLE}
    if found.get("FORWARD") != nft.DROP:
        return None
    return next(name for name in _CHAINS if name in found)


def _marked(netfilter: Netlink, family: int, chain: str) -> Iterator[int]:
    for handle, userdata in nft.rules(netfilter, _TABLE, chain, family=family):
        if userdata == _MARK:
            yield handle


def _rule(family: int, chain: str, key: str) -> Message:
    return nft.insert_rule(
        _TABLE,
        chain,
        ex.meta(key) + ex.compare(_PREFIX) + ex.verdict("accept"),
        family=family,
        userdata=_MARK,
    )
