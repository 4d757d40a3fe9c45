"""A network as a value, and the public handle of one."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs

from pycontainer.network.address import Address, Interface, Subnet

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.network.definition import NetworkOptions
    from pycontainer.network.egress import Egress
    from pycontainer.network.networks import Networks

#: The driver, and the name, of what :meth:`Network.egress` is made of.
EGRESS = "egress"
#: The network that containers are on where the caller names none but asks for one, as in Docker.
DEFAULT = "bridge"


@attrs.frozen(kw_only=True)
class Segment:
    """One subnet of a network and the host's address in it."""

    subnet: Subnet
    gateway: Address

    @property
    def interface(self) -> Interface:
        """The gateway with the length of the subnet."""
        return ipaddress.ip_interface(f"{self.gateway}/{self.subnet.prefixlen}")

    def of(self, address: Address) -> Interface:
        """Another address with the length of the subnet."""
        return ipaddress.ip_interface(f"{address}/{self.subnet.prefixlen}")


@attrs.frozen(kw_only=True)
class Definition:
    """All that was decided when a network was made."""

    name: str
    id: str
    driver: str
    link: str
    segments: tuple[Segment, ...]
    internal: bool = False
    mtu: int | None = None
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    created: float = 0.0

    @property
    def is_default(self) -> bool:
        """Whether it is the default network, on which names are not answered, as in Docker."""
        return self.name == DEFAULT

    def segment(self, version: int) -> Segment | None:
        """The subnet of IPv4 or IPv6."""
        return next((each for each in self.segments if each.subnet.version == version), None)

    def encode(self) -> str:
        """As text, for the record."""
        return json.dumps({
            **{
                field.name: getattr(self, field.name)
                for field in attrs.fields(Definition)
                if field.name != "segments"
            },
            "segments": [[str(each.subnet), str(each.gateway)] for each in self.segments],
        })  # fmt: skip

    @classmethod
    @lru_cache(maxsize=64)
    def decode(cls, text: str) -> Definition:
        """From the record; what was read before is the same value."""
        told = json.loads(text)
        for name in ("labels", "options"):
            told[name] = tuple((key, value) for key, value in told[name])
        told["segments"] = tuple(
            Segment(subnet=ipaddress.ip_network(subnet), gateway=ipaddress.ip_address(gateway))
            for subnet, gateway in told["segments"]
        )
        return cls(**told)


class Network:
    """A network that containers are put on. Got from :meth:`create`, :meth:`get` and :meth:`list`.

    It is of an engine's root, lives until it is removed (``with`` does that at its end) and belongs to no process.  Its bridge is made when the
    first container needs it, in the network namespace of the thread that starts that; for an ordinary user, who may
    make none there, in one that this user's processes share.

    >>> lab = Network.create("lab", subnet="10.9.0.0/24")              # doctest: +SKIP
    >>> pc.run("host:", ["ping", "-c1", "db"], network=["lab"])        # doctest: +SKIP
    >>> lab.remove()                                                   # doctest: +SKIP
    """

    def __init__(self, networks: Networks, definition: Definition) -> None:
        self._networks = networks
        self.definition = definition

    @classmethod
    def create(cls, name: str, **options: Unpack[NetworkOptions]) -> Network:
        """Make a network of the default engine; see :meth:`Networks.create`."""
        return _default().create(name, **options)

    @classmethod
    def get(cls, name: str) -> Network:
        """The network of that name or id. Raises :class:`InvalidArgument` when there is none."""
        return _default().get(name)

    @classmethod
    def list(cls) -> Sequence[Network]:
        """All networks, the default one among them once it was used; by name."""
        return _default().list()

    @classmethod
    def egress(cls, allow: Iterable[str]) -> Egress:
        """A way out that leads to these places alone, each container's own: for ``network=``.

        ``"api.example.com"`` is a name, ``"*.example.org:443"`` every name below at one port, ``"10.0.0.0/8"`` a
        subnet.  Names are answered by our resolver only when they are allowed, and the addresses that it
        answered, which must be public ones or in an allowed subnet, are open for as long as the answer
        holds, 30 seconds at least.  All else, the host itself and other containers among it, is refused at once
        by the kernel, and told: ``result.denied``, ``Container.denied``.  Raises :class:`InvalidArgument`.

        >>> pc.run("host:", ["pip", "download", "attrs"], network=Network.egress(["pypi.org:443"])).denied  # doctest: +SKIP
        ('files.pythonhosted.org',)
        """
        from pycontainer.network.egress import parse_egress

        return parse_egress(allow)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.definition.name

    @property
    def id(self) -> str:
        """Its own among all networks, also those to come: 64 hexadecimal digits."""
        return self.definition.id

    @property
    def driver(self) -> str:
        """``bridge``."""
        return self.definition.driver

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        """Its subnets, of IPv4 first."""
        return tuple(each.subnet for each in self.definition.segments)

    @property
    def gateways(self) -> tuple[Address, ...]:
        """The host's address in each of them."""
        return tuple(each.gateway for each in self.definition.segments)

    @property
    def internal(self) -> bool:
        """Whether nothing leads out of it."""
        return self.definition.internal

    @property
    def labels(self) -> Mapping[str, str]:
        """As given when it was made."""
        return dict(self.definition.labels)

    def inspect(self) -> dict[str, Any]:
        """All that is known of it as plain values, with the containers that are on it now."""
        made = self.definition
        return {
            "name": made.name,
            "id": made.id,
            "driver": made.driver,
            "link": made.link,
            "subnets": [str(each) for each in self.subnets],
            "gateways": [str(each) for each in self.gateways],
            "internal": made.internal,
            "mtu": made.mtu,
            "labels": dict(made.labels),
            "options": dict(made.options),
            "created": made.created,
            "containers": self._networks.members(made),
        }

    def connect(self, container: Any, **options: Any) -> None:
        """Put a running container on it, too; as ``container.connect(network)``."""
        container.connect(self, **options)

    def disconnect(self, container: Any) -> None:
        """Take a running container off; as ``container.disconnect(network)``."""
        container.disconnect(self)

    def remove(self) -> None:
        """Remove it with its bridge and its rules; idempotent. Raises :class:`StateError` while containers are on it."""
        self._networks.remove(self.definition)

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<Network {self.name} {' '.join(map(str, self.subnets))}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


def _default() -> Networks:
    from pycontainer.home import default_root
    from pycontainer.network.networks import networks_at

    return networks_at(default_root())
