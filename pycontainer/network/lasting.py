"""The network stack of a detached container: made by one process, changed by others, given back by whoever comes after.

It is made by the same code as that of a container of a process.  What differs is to whom things belong: rows are the
container's own; sockets, namespaces and the table of ports are open in its monitor; and what needs a program that
lives is the keeper's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from pycontainer.errors import StateError
from pycontainer.kernel.monitorclient import Client
from pycontainer.kernel.netns import NetworkNamespace
from pycontainer.network import endpoint, kept, owner
from pycontainer.network.endpoint import Endpoint
from pycontainer.network.keeping import Keeper
from pycontainer.network.kept import Kept
from pycontainer.network.naming import Asker, need_library
from pycontainer.network.network import Definition
from pycontainer.network.networks import Networks
from pycontainer.network.ports import target_of
from pycontainer.network.publish import Publisher, is_relayed
from pycontainer.network.relaying import Reserving
from pycontainer.network.spare import Spare
from pycontainer.network.stack import Stack, Who
from pycontainer.network.wish import Place, Wish


class Lasting:
    """What the stack of one detached container is made, or changed, with; ``with`` ends it, and not the stack."""

    def __init__(self, networks: Networks, identity: str, folder: str) -> None:
        """The container of that id, which is kept in ``folder``; touches nothing."""
        self.networks = networks
        self.identity = identity
        self.folder = folder
        self.owner = owner.of_container(identity)
        self.folders = _Folder(kept.names(folder))
        self.naming = _Naming(folder)
        self.spare = Spare()
        self._keeper: Keeper | None = None
        self._publisher: Publisher | Reserving | None = None

    def __enter__(self) -> Lasting:
        self.networks.site.enter()
        return self

    def __exit__(self, *_: object) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.close()
        self.networks.site.leave()

    @property
    def publisher(self) -> Publisher | Reserving:
        """What leads from ports of the host to the container."""
        if self._publisher is None:
            self._publisher = self.networks.site.kept_publisher(self.identity[:12])
        return self._publisher

    def keeper(self) -> Keeper:
        """The keeper, which stays at least until the end of this."""
        if self._keeper is None:
            self._keeper = Keeper.reach(self.networks.root)
        return self._keeper

    def need_outside(self) -> None:
        """Have the keeper make a way out, where one is needed: that of this process would end with it."""
        if self.networks.site.is_apart:
            self.keeper().ask(outside=True)

    def open(self, wish: Wish, who: Who) -> LastingStack:
        """A new stack, after what the container had before is given back; as :meth:`Stacks.open`."""
        kept.forget(self.folder)
        self.networks.sweep()
        self.networks.give_back(self.owner)
        definitions = [self.networks.find(each.network) for each in wish.places]
        made = LastingStack(self, wish, who)
        try:
            made.open(definitions)
        except BaseException:
            made.close()
            raise
        return made

    def found(self, noted: Kept, wish: Wish, who: Who, client: Client) -> LastingStack:
        """The stack of the container that runs, whose monitor ``client`` speaks to; what is half made goes."""
        self.networks.give_back(self.owner, but=[each.number for each in noted.places])
        made = LastingStack(self, wish, who)
        made.adopt(noted, client)
        return made


class LastingStack(Stack):
    """The stack of a detached container. After :meth:`let_go` it goes on; :meth:`close` gives everything back."""

    _stacks: Lasting

    def __init__(self, stacks: Lasting, wish: Wish, who: Who) -> None:
        super().__init__(stacks, wish, who)
        self._start = os.urandom(8).hex()
        self._noted: Kept | None = None

    def adopt(self, noted: Kept, client: Client) -> None:
        """Be the stack that was noted."""
        self._noted = noted
        self._next = noted.next
        self._with_resolver = noted.asker is not None
        self._netns = NetworkNamespace(
            client.given(noted.fds["net"]),
            socket.socket(fileno=client.given(noted.fds["route"])),
            None,
            None,
            None,
        )
        # Of one who was killed in the midst of connecting it.
        endpoint.remove_inside(self._netns, f"eth{noted.next - 2}")
        self.folder = self._stacks.folders.path
        if self._with_resolver:
            self._stacks.naming.asker = noted.asker
        for each in noted.places:
            self.endpoints.append(
                Endpoint(
                    number=each.number,
                    network=self._stacks.networks.find(each.network),
                    link=each.link,
                    inside=each.inside,
                    index=each.index,
                    addresses=each.endpoint_addresses,
                )
            )

    def _take(self, place: Place, definition: Definition) -> Endpoint:
        made = super()._take(place, definition)
        if not definition.internal:
            self._stacks.networks.site.lead(made.addresses)
        return made

    def disconnect(self, network: str) -> None:
        """Take the container off a network. Raises :class:`StateError` when it is not on it."""
        before = {a for each in self.endpoints for a in each.addresses}
        super().disconnect(network)
        after = {a for each in self.endpoints for a in each.addresses}
        self._stacks.networks.site.forget_ways(before - after)

    def close(self) -> None:
        """Give everything back; no process of the namespace must be left."""
        addresses = [a for each in self.endpoints for a in each.addresses]
        try:
            super().close()
        finally:
            self._stacks.networks.site.forget_ways(addresses)

    @property
    def is_kept(self) -> bool:
        """Does it need the keeper?"""
        is_apart = self._stacks.networks.site.is_apart
        return is_apart or self._with_resolver or any(is_relayed(each.port) for each in self.published)

    @property
    def lasting(self) -> dict[str, int]:
        """What has to be open for as long as it is to last, by the names of :attr:`Kept.fds`; others have no name."""
        namespace = self.namespace
        found = {"net": namespace.fd, "route": namespace.route.fileno()}
        for name, end in (("udp", namespace.udp), ("tcp", namespace.tcp)):
            if end is not None:
                found[name] = end.fileno()
        found.update({f"place-{name}": fd for name, fd in self._stacks.networks.site.fds.items()})
        table = getattr(self._stacks.publisher, "owning", None)
        if table is not None:
            found["table"] = table
        return found

    def note(self, numbers: Mapping[str, int], held: Iterable[int]) -> Kept:
        """What is to be noted: ``numbers`` are those of :attr:`lasting` in the monitor, ``held`` of the ports' sockets."""
        addresses = [a for each in self._ways() for a in each.addresses]
        leads = tuple(
            kept.Lead(
                number=each.port.number,
                protocol=each.port.protocol,
                host=each.port.host,
                host_port=each.host_port,
                target=str(target_of(each, addresses)),
                fd=fd,
            )
            for each, fd in zip(self.published, held, strict=True)
        )
        self._noted = Kept(
            start=self._start,
            host=kept.host(),
            hostname=self._who.hostname,
            fds=dict(numbers),
            leads=leads,
            is_kept=self.is_kept,
        )
        return self._changed_note()

    def _changed_note(self) -> Kept:
        if self._noted is None:
            raise StateError("the container's network", "not noted", "change it")
        places = tuple(
            kept.Place(
                number=each.number,
                network=each.network.id,
                name=each.network.name,
                link=each.link,
                inside=each.inside,
                index=each.index,
                addresses=tuple(map(str, each.addresses)),
            )
            for each in self.endpoints
        )
        is_apart = self._stacks.networks.site.is_apart
        self._noted = attrs.evolve(
            self._noted,
            next=self._next,
            places=places,
            asker=self._stacks.naming.asker,
            needs_outside=is_apart and not all(each.network.internal for each in self.endpoints),
        )
        return self._noted

    def _changed(self) -> None:
        super()._changed()
        noted = self._changed_note()
        noted.write(self._stacks.folder)
        if noted.is_kept:
            self.hand_over()

    def hand_over(self) -> None:
        """Tell the keeper that there is something for it to look at."""
        self._stacks.keeper().tell(id=self._stacks.identity)

    def let_go(self) -> None:
        """Close what this process has open of it: it lasts as long as the monitor has the same open."""
        with self._lock:
            for each in self.published:
                each.close()
            namespace, self._netns = self._netns, None
            if namespace is not None:
                namespace.close()


class _Folder:
    """The folder of the container's name files, which goes with the container's own."""

    def __init__(self, path: str) -> None:
        self.path = path

    def take(self) -> str:
        """That folder."""
        os.makedirs(self.path, 0o755, exist_ok=True)
        return self.path

    def give_back(self, path: str) -> None:
        """It stays."""


class _Naming:
    """What the keeper's resolver is to know of the container, and what it has noted."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.asker: Mapping[str, Any] | None = None

    def add(self, asker: Asker, netns: NetworkNamespace) -> None:
        """Have it answered. Raises :class:`NotSupported` without the package dnspython."""
        del netns
        need_library()
        kept.empty_refused(self._folder)
        self.change(asker)

    def change(self, asker: Asker) -> None:
        """Its networks are others now."""
        self.asker = attrs.asdict(asker)

    def drop(self, identity: str) -> None:
        """It is gone."""
        del identity
        self.asker = None

    def refused(self, identity: str) -> list[str]:
        """The names that it asked for and may not, each once, in the order of asking."""
        del identity
        return kept.refused(self._folder)
