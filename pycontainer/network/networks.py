"""The networks of an engine: making, finding, removing; and the sweep of what ended processes left."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pycontainer.errors import InvalidArgument, StateError
from pycontainer.network import bridge, forwarding, gate, owner
from pycontainer.network.definition import NetworkOptions, define
from pycontainer.network.endpoint import remove_link
from pycontainer.network.network import DEFAULT, EGRESS, Definition, Network
from pycontainer.network.site import Site

if TYPE_CHECKING:
    from typing_extensions import Unpack

_DRIVERS = ("bridge", "macvlan", "ipvlan", "overlay")
#: What cannot be the name of a network, for it means something else as ``network=``.
_WORDS = frozenset({"none", "host", "container", "default", EGRESS})
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


class Networks:
    """The networks of an engine root. Thread-safe; the constructor touches nothing.

    >>> Engine().networks.create("lab", internal=True)                 # doctest: +SKIP
    <Network lab 10.149.3.0/24>
    """

    def __init__(self, root: str, site: Site | None = None) -> None:
        self.root = root
        self.site = site or Site(root)
        self.ledger = self.site.ledger

    def create(self, name: str, **options: Unpack[NetworkOptions]) -> Network:
        """Make a network; nothing of it is in the kernel before a container is on it.

        ``subnet`` is one of IPv4, by default a free one; ``gateway`` the host's address in it, by default the
        first.  ``ipv6`` adds a subnet of IPv6, a random unique local one, or the one given.  From an
        ``internal`` network nothing leads out, not even to the host.  ``mtu`` in bytes is by default that of the
        host's uplink.  Addresses are taken from ``ip_range`` where that is given.  ``labels`` are the caller's.

        The ``driver`` is ``bridge``; ``macvlan`` or ``ipvlan`` on the host's link ``parent``, whose ``subnet`` must
        be said and whose ``gateway`` is a router there; or ``overlay``, one network on several hosts: ``local`` is this
        host's address, ``peers`` those of the others, ``vni`` the same number on all; the ``subnet`` is the same on
        all, ``gateway`` and ``ip_range`` are each host's own.

        The name is one of letters, digits, ``_``, ``.`` and ``-``.  Raises :class:`InvalidArgument`, also for a name
        or a subnet that is in use, and ``TypeError`` for an unknown option.
        """
        check_name(name)
        driver = options.get("driver", "bridge")
        if driver not in _DRIVERS:
            raise InvalidArgument("driver", driver, f"one of {', '.join(_DRIVERS)} is needed")
        return self._create(name, **options)

    def _create(self, name: str, **options: Any) -> Network:
        unknown = options.keys() - NetworkOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"create() got an unexpected keyword argument {min(unknown)!r}")
        with self.ledger.transaction() as record:
            if record.execute("SELECT 1 FROM networks WHERE name = ?", (name,)).fetchone():
                raise InvalidArgument("name", name, "a network has this name: remove it, or choose another")
            made = define(name, options, _all(record), self.root)
            record.execute(
                "INSERT INTO networks (name, id, link, value) VALUES (?, ?, ?, ?)",
                (name, made.id, made.link, made.encode()),
            )
        return Network(self, made)

    def get(self, name: str) -> Network:
        """The network of that name, id or unique start of an id. Raises :class:`InvalidArgument` when there is none."""
        every = self.list()
        found = [each for each in every if each.name == name] or [
            each for each in every if name and each.id.startswith(name)
        ]
        if len(found) == 1:
            return found[0]
        if name in {DEFAULT, EGRESS}:
            return self._implied(name)
        reason = "several networks match" if found else "no such network: make it with Network.create"
        raise InvalidArgument("network", name, reason)

    def find(self, name: str) -> Definition:
        """The definition of a network that a container is to be on."""
        rows = self.ledger.read("SELECT value FROM networks WHERE name = ? OR id = ?", name, name)
        return Definition.decode(rows[0][0]) if rows else self.get(name).definition

    def _implied(self, name: str) -> Network:
        try:
            return self._create(name, driver="bridge" if name == DEFAULT else name)
        except InvalidArgument:  # another process made it meanwhile
            return self.get(name)

    def list(self) -> Sequence[Network]:
        """All of them, by name."""
        rows = self.ledger.read("SELECT value FROM networks ORDER BY name")
        return [Network(self, Definition.decode(value)) for (value,) in rows]

    def members(self, network: Definition) -> Sequence[dict[str, Any]]:
        """The containers that are on a network now."""
        self.sweep()
        rows = self.ledger.read(
            "SELECT container, name, address4, address6 FROM endpoints WHERE network = ? ORDER BY id",
            network.id,
        )
        return [dict(zip(("id", "name", "ipv4", "ipv6"), row, strict=True)) for row in rows]

    def remove(self, network: Definition) -> None:
        """Remove a network; see :meth:`Network.remove`."""
        self.sweep()
        with self.site.visit() as is_there, self.ledger.transaction() as record:
            rows = record.execute("SELECT name FROM endpoints WHERE network = ?", (network.id,)).fetchall()
            if rows:
                names = ", ".join(sorted(name for (name,) in rows))
                raise StateError(f"network {network.name}", f"in use by {names}", "remove")
            # The record goes last: whenever this ends, it tells what there may still be to remove.
            if is_there:
                bridge.remove(self.site, network)
            record.execute("DELETE FROM networks WHERE id = ?", (network.id,))
            forwarding.disable(self.site, record)

    def prune(self, where: Callable[[Network], bool] = lambda _: True) -> Sequence[str]:
        """Remove every network that no container is on, and for which ``where`` says true; their names."""
        removed = []
        for each in filter(where, self.list()):
            try:
                each.remove()
            except StateError:
                continue
            removed.append(each.name)
        return removed

    def rest(self) -> None:
        """Take the default network's bridge away if nobody is on it, and what it changed of the host; made again when needed."""
        self.sweep()
        with self.site.visit() as is_there, self.ledger.transaction() as record:
            every = _all(record)
            default = next((each for each in every if each.is_default), None)
            # Who is about to be on it has a row before he looks for the bridge.
            if (
                default is None
                or not is_there
                or record.execute("SELECT 1 FROM endpoints WHERE network = ?", (default.id,)).fetchone()
            ):
                return
            bridge.remove(self.site, default)
            if len(every) == 1:
                forwarding.restore(self.site, record)

    def sweep(self) -> None:
        """Give back what containers of ended processes, and ended detached containers, had: links, addresses."""
        for (each,) in self.ledger.read("SELECT DISTINCT owner FROM endpoints"):
            if not owner.is_alive(self.root, each):
                self.give_back(each)

    def give_back(self, owner_: str, *, but: Collection[int] = ()) -> None:
        """Give back what one owner had, ``but`` for places of these numbers."""
        query = "SELECT id, link, address4, address6 FROM endpoints WHERE owner = ?"
        rows = self.ledger.read(query, owner_)
        gone = [row for row in rows if row[0] not in but]
        if not gone:
            return
        with self.site.visit() as is_there:
            for number, name, *addresses in gone:
                if is_there:
                    remove_link(self.site, name)
                    self.site.forget_ways(map(ipaddress.ip_address, filter(None, addresses)))
                    gate.close_gate(self.site, name)
                self.ledger.write("DELETE FROM endpoints WHERE id = ?", number)

    def rename(self, owner_: str, before: str, name: str) -> None:
        """Have a container be found by another name."""
        with self.ledger.transaction() as record:
            rows = record.execute("SELECT id, names FROM endpoints WHERE owner = ?", (owner_,)).fetchall()
            for number, names in rows:
                told = [name, *(each for each in json.loads(names) if each != before)]
                values = name, json.dumps(told), number
                record.execute("UPDATE endpoints SET name = ?, names = ? WHERE id = ?", values)

    def close(self) -> None:
        """Close the record; it is opened again when needed."""
        self.ledger.close()


@cache
def networks_at(root: str) -> Networks:
    """The networks below a root; one object for each."""
    return Networks(root)


def _forget_in_fork() -> None:
    # The record is open in the parent: a child opens its own.
    networks_at.cache_clear()


os.register_at_fork(after_in_child=_forget_in_fork)


def check_name(name: Any) -> str:
    """Refuse what is no name of a network."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 128:
        raise InvalidArgument("name", name, "letters, digits, '_', '.' and '-' are needed")
    if name in _WORDS:
        raise InvalidArgument("name", name, "this word means something else as network=: choose another")
    return name


def _all(record: sqlite3.Connection) -> list[Definition]:
    return [Definition.decode(value) for (value,) in record.execute("SELECT value FROM networks")]
