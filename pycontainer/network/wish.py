"""What a container is to have of networks, as a frozen value; made by :func:`pycontainer.network.parse.parse`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from pycontainer.network.bandwidth import Bandwidth
    from pycontainer.network.egress import Egress

#: What is said of networks beside which ones: the arguments of :func:`pycontainer.network.parse.parse`.
ARGUMENTS = frozenset("aliases ip ip6 ports dns dns_search dns_options extra_hosts bandwidth".split())
#: As an address of ``extra_hosts``: the host's own on the container's first network.
HOST_GATEWAY = "host-gateway"


@attrs.frozen
class Port:
    """One port of a container to be reached at a host address; ``host_port`` ``None`` is any free one."""

    number: int
    protocol: str
    host: str
    host_port: int | None

    @property
    def key(self) -> str:
        """As Docker writes it: ``"80/tcp"``."""
        return f"{self.number}/{self.protocol}"


@attrs.frozen(kw_only=True)
class Place:
    """A network that the container is to be on."""

    network: str
    aliases: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Wish:
    """``mode`` is ``none``, ``host``, ``container`` (of ``target``) or ``networks`` (``places``)."""

    mode: str = "none"
    target: str = ""
    places: tuple[Place, ...] = ()
    ports: tuple[Port, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    egress: Egress | None = None
    bandwidth: Bandwidth | None = None

    @property
    def is_own(self) -> bool:
        """Whether the container has a network namespace of its own."""
        return self.mode in {"none", "networks"}


NOTHING = Wish()
HOST = Wish(mode="host")
