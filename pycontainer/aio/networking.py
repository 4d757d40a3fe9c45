"""A container's networks from the event loop."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from pycontainer import engine as sync
from pycontainer.aio.loop import in_thread


class Networking:
    """What a running container's networks are asked and told; base of :class:`pycontainer.aio.Container`."""

    _container: sync.Container

    @property
    def ports(self) -> dict[str, list[tuple[str, int]]]:
        """Of each published port the host's; see :attr:`pycontainer.Container.ports`."""
        return self._container.ports

    @property
    def addresses(self) -> dict[str, list[str]]:
        """Its addresses by the names of its networks. Raises :class:`StateError` unless it runs."""
        return self._container.addresses

    @property
    def denied(self) -> tuple[str, ...]:
        """What it has tried through an egress network and may not reach."""
        return self._container.denied

    async def host_port(self, port: int | str) -> int:
        """The first port of the host that leads to this one. ``KeyError`` if there is none."""
        return self._container.host_port(port)

    async def connect(
        self, network: Any, *, aliases: Iterable[str] = (), ip: str | None = None, ip6: str | None = None
    ) -> None:
        """Put it on a further network while it runs; see :meth:`pycontainer.Container.connect`."""
        await in_thread(partial(self._container.connect, network, aliases=aliases, ip=ip, ip6=ip6))

    async def disconnect(self, network: Any) -> None:
        """Take it off a network while it runs."""
        await in_thread(partial(self._container.disconnect, network))
