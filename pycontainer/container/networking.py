"""What a running container's networks are asked and told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pycontainer.container.life import Life
from pycontainer.errors import NotSupported

if TYPE_CHECKING:
    from pycontainer.network.stack import Stack


class Networking(Life):
    """The part of a container that is about its networks; base of ``Container``."""

    @property
    def ports(self) -> dict[str, list[tuple[str, int]]]:
        """Of each published port (``"5432/tcp"``) the addresses and ports of the host that lead to it.

        >>> container.ports["5432/tcp"]                                # doctest: +SKIP
        [('127.0.0.1', 49153)]

        Raises :class:`StateError` unless it runs.
        """
        stack = self.alive("tell of its networks").launched.stack
        return {} if stack is None else stack.ports

    def host_port(self, port: int | str) -> int:
        """The first port of the host that leads to this one (``5432`` or ``"53/udp"``). ``KeyError`` if there is none."""
        return self.ports[port if isinstance(port, str) else f"{port}/tcp"][0][1]

    @property
    def addresses(self) -> dict[str, list[str]]:
        """Its addresses by the names of its networks, that of IPv4 first. Raises :class:`StateError` unless it runs."""
        stack = self.alive("tell of its networks").launched.stack
        if stack is None:
            return {}
        return {each.network.name: [str(address) for address in each.addresses] for each in stack.endpoints}

    @property
    def denied(self) -> tuple[str, ...]:
        """What it has tried through an egress network and may not reach: names, and addresses with ports."""
        stack = self.alive("tell of its networks").launched.stack
        return () if stack is None else stack.denied()

    def connect(
        self, network: Any, *, aliases: Iterable[str] = (), ip: str | None = None, ip6: str | None = None
    ) -> None:
        """Put it on a further network while it runs, until its end (``docker network connect``).

        ``network`` is a name or a :class:`Network`; the rest as for :func:`pycontainer.run`.  Raises
        :class:`StateError` when it is there already, :class:`InvalidArgument`, :class:`KernelError`.
        """
        from pycontainer.network.parse import place

        self._networks().connect(place(network, aliases=aliases, ip=ip, ip6=ip6))

    def disconnect(self, network: Any) -> None:
        """Take it off a network while it runs; its connections over it break. Raises :class:`StateError`."""
        from pycontainer.network.parse import name_of

        self._networks().disconnect(name_of(network))

    def _networks(self) -> Stack:
        stack = self.alive("change its networks").launched.stack
        if stack is None:
            raise NotSupported(
                f"container {self.name} was made without networks of its own", "make it with network='bridge'"
            )
        return stack
