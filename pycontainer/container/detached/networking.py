"""What a detached container's networks are asked and told, by any process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import attrs

from pycontainer.container import networked
from pycontainer.container.detached import codec
from pycontainer.container.detached.life import DetachedLife
from pycontainer.errors import InvalidArgument, NotSupported, StateError
from pycontainer.network.wish import Place

if TYPE_CHECKING:
    from pycontainer.network.kept import Kept
    from pycontainer.network.lasting import LastingStack
    from pycontainer.network.network import Definition

_RUNS = frozenset({"running", "paused"})
_VERB = "change its networks"


class DetachedNetworking(DetachedLife):
    """The part of a detached container that is about its networks; base of ``Detached``."""

    @property
    def ports(self) -> dict[str, list[tuple[str, int]]]:
        """Of each published port (``"5432/tcp"``) the addresses and ports of the host that lead to it.

        Raises :class:`StateError` unless it runs.
        """
        noted = self._noted()
        return {} if noted is None else noted.ports

    @property
    def addresses(self) -> dict[str, list[str]]:
        """Its addresses by the names of its networks, that of IPv4 first. Raises :class:`StateError` unless it runs."""
        noted = self._noted()
        return {} if noted is None else noted.addresses

    @property
    def denied(self) -> tuple[str, ...]:
        """What it has tried through an egress network and may not reach: names, and addresses with ports."""
        noted = self._noted()
        if noted is None or self.spec.network.egress is None or not noted.places:
            return ()
        from pycontainer.network import gate, kept
        from pycontainer.network.networks import networks_at

        site = networks_at(self._workspace.root).site
        with site.visit():
            return (*kept.refused(self._home.folder), *gate.denied(site, noted.places[0].link))

    def connect(
        self, network: Any, *, aliases: Iterable[str] = (), ip: str | None = None, ip6: str | None = None
    ) -> None:
        """Put it on a further network, now and at its further starts (``docker network connect``).

        ``network`` is a name or a :class:`Network`; the rest as for :func:`pycontainer.run`.  Raises
        :class:`StateError` when it is there already, :class:`InvalidArgument`, :class:`KernelError`.
        """
        from pycontainer.network.parse import place

        wanted = place(network, aliases=aliases, ip=ip, ip6=ip6)
        with self._changing() as stack:
            if self.spec.network.egress is not None:
                raise StateError(
                    "the container", "on an egress network, which is to be its only way", "connect"
                )
            definition, left, runs = self._where(wanted.network, stack)
            # Who was killed in the midst of it may have done the one, and not the other.
            if runs and len(left) < len(self.spec.network.places):
                raise StateError("the container", f"on network {definition.name} already", "connect")
            if stack is not None and not runs:
                stack.connect(wanted)
            self._change_places((*left, wanted))

    def disconnect(self, network: Any) -> None:
        """Take it off a network, now and at its further starts. Raises :class:`StateError` when it is not on it."""
        from pycontainer.network.parse import name_of

        with self._changing() as stack:
            definition, left, runs = self._where(name_of(network), stack)
            if len(left) == len(self.spec.network.places) and not (stack is not None and runs):
                raise StateError("the container", f"not on network {definition.name}", "disconnect")
            if stack is not None and runs:
                stack.disconnect(definition.id)
            self._change_places(left)

    def _where(self, name: str, stack: LastingStack | None) -> tuple[Definition, tuple[Place, ...], bool]:
        """A network; the places of further starts that are not on it; and is the running one on it, if one runs?"""
        from pycontainer.network.networks import networks_at

        networks = networks_at(self._workspace.root)
        definition = networks.find(name)

        def is_there(each: Place) -> bool:
            with suppress(InvalidArgument):  # it was removed since
                return networks.find(each.network).id == definition.id
            return False

        left = tuple(each for each in self.spec.network.places if not is_there(each))
        runs = stack is None or any(each.network.id == definition.id for each in stack.endpoints)
        return definition, left, runs

    def network_settings(self) -> Kept | None:
        """What is noted of the network of one that runs, and ``None`` of others."""
        return self._noted() if self.status in _RUNS else None

    def _noted(self) -> Kept | None:
        self.allow("tell of its networks")
        if self.spec.network.mode not in {"networks", "container"}:
            return None
        from pycontainer.network import keeping, kept

        keeping.revive(self._workspace.root)
        return kept.follow(self._workspace.root, self.id)[1]

    @contextmanager
    def _changing(self) -> Iterator[LastingStack | None]:
        """The stack, while no other process changes it; ``None``: it does not run."""
        with self._places.verb(self.id) as verb:
            if verb is None:
                raise StateError(f"container {self.name}", "removed", _VERB)
            self._read_again()
            if self.spec.network.mode != "networks":
                raise NotSupported(
                    f"container {self.name} was made without networks of its own",
                    "make it with network='bridge'",
                )
            if self.status not in {"running", "paused", "restarting"}:
                yield None
                return
            with self._stack_of_networks() as stack:
                yield stack

    @contextmanager
    def _stack_of_networks(self) -> Iterator[LastingStack]:
        from pycontainer.network import kept
        from pycontainer.network.lasting import Lasting
        from pycontainer.network.networks import networks_at

        noted = kept.read(self._home.folder)
        if noted is None:
            raise StateError(f"container {self.name}", self.status, _VERB)
        if noted.host != kept.host():
            raise NotSupported(
                f"the networks of container {self.name} are in another network namespace than this process",
                "call it from there",
            )
        who = networked.who(self.spec, None, self.id[:12], self.name)
        means = Lasting(networks_at(self._workspace.root), self.id, self._home.folder)
        with means, self._client(_VERB) as client:
            stack = means.found(noted, self.spec.network, who, client)
            try:
                yield stack
            finally:
                stack.let_go()

    def _change_places(self, places: tuple[Place, ...]) -> None:
        self.spec = attrs.evolve(self.spec, network=attrs.evolve(self.spec.network, places=places))
        self._records.change(self.id, spec=codec.encode(self.spec))
        self._read_again()
