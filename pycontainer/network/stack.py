"""The network stack of one container: its namespace, its places on networks, its ports and its name files.

Made before the container's first process, which joins it; so everything is configured when its program begins.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import attrs

from pycontainer.errors import InvalidArgument, NotSupported, StateError
from pycontainer.kernel.netns import NetworkNamespace
from pycontainer.network import endpoint, gate, link, names, traffic
from pycontainer.network.address import Address
from pycontainer.network.bandwidth import Bandwidth
from pycontainer.network.endpoint import Endpoint, Member
from pycontainer.network.naming import Asker
from pycontainer.network.netlink import ROUTE, Netlink
from pycontainer.network.network import EGRESS, Definition
from pycontainer.network.ports import Published
from pycontainer.network.wish import HOST_GATEWAY, Place, Wish

if TYPE_CHECKING:
    from pycontainer.network.lasting import Lasting
    from pycontainer.network.stacks import Stacks

_HOST_NAME = "host.docker.internal"


@attrs.frozen(kw_only=True)
class Who:
    """A container as its networks know it: its id (12 digits), its name, its host name, and the root of its ids."""

    id: str
    name: str
    hostname: str
    userns: int | None
    ids: tuple[int, int]


class Stack:
    """What one container has of networks. Got from ``Stacks.open``; :meth:`close` is idempotent."""

    def __init__(self, stacks: Stacks | Lasting, wish: Wish, who: Who) -> None:
        self._stacks: Stacks | Lasting = stacks
        self._site = stacks.networks.site
        self._wish = wish
        self._who = who
        self._lock = threading.RLock()
        self._netns: NetworkNamespace | None = None
        self._next = 2  # behind lo
        self._with_resolver = False
        self.endpoints: list[Endpoint] = []
        self.published: list[Published] = []
        self.folder: str | None = None
        self._users = 1

    def prepare(self) -> None:
        """Make the namespace of the next container that is like this one, while there is nothing else to do."""
        self._stacks.spare.prepare(self._who.userns, self._who.ids, resolver=self._with_resolver)

    @property
    def namespace(self) -> NetworkNamespace:
        """The namespace. Raises :class:`StateError` when it was let go."""
        if self._netns is None:
            raise StateError("the container's network", "closed", "use it")
        return self._netns

    def open(self, definitions: Sequence[Definition]) -> None:
        """Make everything; once."""
        # On the default network names are the host's business, as in Docker; unless only the host can ask there.
        servers = self._wish.dns or names.host_configuration()["nameserver"]
        self._with_resolver = not all(each.is_default for each in definitions) or names.only_loopback(servers)
        self._netns = self._stacks.spare.take(self._who.userns, self._who.ids, resolver=self._with_resolver)
        for place, definition in zip(self._wish.places, definitions, strict=True):
            self._take(place, definition)
        self._publish()
        self.folder = self._stacks.folders.take()
        self._write_files()
        if self._with_resolver:
            self._stacks.naming.add(self._asker(), self.namespace)

    def _asker(self) -> Asker:
        """The container as the resolver is to know it; from internal networks nothing is asked outside."""
        networks = [each.network for each in self.endpoints]
        closed = all(each.internal for each in networks)
        servers = self._wish.dns or tuple(names.host_configuration()["nameserver"])
        return Asker(
            id=self._who.id,
            networks=tuple(each.id for each in networks if not each.is_default and each.driver != EGRESS),
            servers=() if closed else tuple(servers),
            egress=self._egress(),
        )

    def _egress(self) -> dict[str, Any] | None:
        egress = self._wish.egress
        if egress is None:
            return None
        return {"names": egress.names, "subnets": egress.subnets, "link": self.endpoints[0].link}

    def denied(self) -> tuple[str, ...]:
        """What the container tried through an egress network and may not: names, then addresses with ports."""
        if self._wish.egress is None or not self.endpoints:
            return ()
        return (*self._stacks.naming.refused(self._who.id), *gate.denied(self._site, self.endpoints[0].link))

    def _take(self, place: Place, definition: Definition) -> Endpoint:
        index, self._next = self._next, self._next + 1
        has_gateway = any(not each.network.internal for each in self.endpoints)
        made = endpoint.take(
            self._site,
            definition,
            Member(
                owner=self._stacks.owner,
                container=self._who.id,
                name=self._who.name,
                names=tuple(
                    dict.fromkeys((self._who.name, self._who.id, self._who.hostname, *place.aliases))
                ),
            ),
            self.namespace,
            index=index,
            inside=f"eth{index - 2}",
            wanted=place.addresses,
            gateway=not has_gateway,
            egress=self._wish.egress,
            need_outside=self._stacks.need_outside,
        )
        self.endpoints.append(made)
        if self._wish.bandwidth is not None:
            self._shape(made, self._wish.bandwidth)
        return made

    def _shape(self, made: Endpoint, bandwidth: Bandwidth) -> None:
        if made.network.driver in {"macvlan", "ipvlan"}:
            raise NotSupported(
                f"the driver {made.network.driver!r} has no link of the host's to bound traffic at",
                "use a bridge",
            )
        with self._site.route() as route:
            host = link.find(route, made.link)
            if host is not None:
                traffic.shape(route, host.index, rate=bandwidth.download, bandwidth=bandwidth)
        inside = Netlink(ROUTE, self.namespace.route)
        traffic.shape(inside, made.index, rate=bandwidth.upload, bandwidth=bandwidth)

    # -- ports -----------------------------------------------------------------------------

    def _publish(self) -> None:
        if not self._wish.ports or not self.endpoints:
            return
        ways = self._ways()
        first = ways[0]
        for port in self._wish.ports if first.network.internal else ():
            if not ipaddress.ip_address(port.host).is_loopback:
                raise InvalidArgument(
                    "ports", port.host, "from an internal network nothing leads out: publish on 127.0.0.1"
                )
        publisher = self._stacks.publisher
        for port in self._wish.ports:
            self.published.append(publisher.reserve(port))
        publisher.publish(self.published, [a for each in ways for a in each.addresses])
        # Where bridges call the rules (br_netfilter) the packet does not leave the bridge on its way back.
        if first.network.driver != EGRESS:
            with self._site.route() as route:
                route.send([link.reflect(first.link)])

    def _ways(self) -> list[Endpoint]:
        # From outside an internal network is not reached, whatever leads there.
        return sorted(self.endpoints, key=lambda each: each.network.internal)

    @property
    def ports(self) -> dict[str, list[tuple[str, int]]]:
        """Of each published port (``"80/tcp"``) the host addresses and ports that lead to it."""
        found: dict[str, list[tuple[str, int]]] = {}
        for each in self.published:
            found.setdefault(each.port.key, []).append((each.port.host, each.host_port))
        return found

    @property
    def addresses(self) -> dict[str, list[str]]:
        """The addresses by the names of the networks, that of IPv4 first."""
        return {each.network.name: [str(address) for address in each.addresses] for each in self.endpoints}

    # -- names -----------------------------------------------------------------------------

    def _write_files(self) -> None:
        if self.folder is None:
            return
        own = [(address, self._who.hostname) for each in self.endpoints for address in each.addresses]
        names.write(self.folder, "hosts", names.hosts(own, self._extra_hosts()))
        names.write(self.folder, "hostname", f"{self._who.hostname}\n")
        text = names.configuration(
            self._wish.dns, self._wish.dns_search, self._wish.dns_options, resolver=self._with_resolver
        )
        names.write(self.folder, "resolv.conf", text)

    def _extra_hosts(self) -> list[tuple[str, str]]:
        gateway = self._gateway()
        found = []
        for name, address in self._wish.hosts:
            if address != HOST_GATEWAY:
                found.append((name, address))
            elif gateway is None:
                raise InvalidArgument(
                    "extra_hosts", address, "the container reaches no host: its networks are internal"
                )
            else:
                found.append((name, str(gateway)))
        if gateway is not None and _HOST_NAME not in dict(found):
            found.append((_HOST_NAME, str(gateway)))
        return found

    def _gateway(self) -> Address | None:
        for each in self.endpoints:
            if not each.network.internal:
                return self._site.host_address(each.network.segments[0].gateway)
        return None

    # -- while it runs ---------------------------------------------------------------------

    def connect(self, place: Place) -> Endpoint:
        """Put the container on a further network. Raises :class:`StateError` when it is on it already."""
        definition = self._stacks.networks.find(place.network)
        if self._wish.egress is not None:
            raise StateError("the container", "on an egress network, which is to be its only way", "connect")
        with self._lock:
            if any(each.network.id == definition.id for each in self.endpoints):
                raise StateError("the container", f"on network {definition.name} already", "connect")
            made = self._take(place, definition)
            self._changed()
            return made

    def disconnect(self, network: str) -> None:
        """Take the container off a network. Raises :class:`StateError` when it is not on it."""
        definition = self._stacks.networks.find(network)
        with self._lock:
            found = [each for each in self.endpoints if each.network.id == definition.id]
            if not found:
                raise StateError("the container", f"not on network {definition.name}", "disconnect")
            self.endpoints.remove(found[0])
            endpoint.leave(self._site, found[0], self.namespace)
            self._reroute()
            self._changed()

    def _changed(self) -> None:
        self._write_files()
        if self._with_resolver:
            self._stacks.naming.change(self._asker())

    def _reroute(self) -> None:
        """Give the default route to the first network that is left, if the one that had it is gone."""
        left = [each for each in self.endpoints if not each.network.internal]
        if left:
            endpoint.route_over(left[0], self.namespace)

    def share(self) -> Stack:
        """This stack, for a further container, which closes it, too."""
        with self._lock:
            self.namespace  # noqa: B018  raises when it is closed
            self._users += 1
            return self

    # -- the end ---------------------------------------------------------------------------

    def close(self) -> None:
        """Give everything back, once all who share it have said so; no process of the namespace must be left."""
        with self._lock, ExitStack() as stack:
            self._users -= 1
            if self._users > 0:
                return
            if self.folder is not None:
                stack.callback(self._stacks.folders.give_back, self.folder)
                self.folder = None
            published, self.published = self.published, []
            for each in published:
                stack.callback(each.close)
            if published:
                stack.callback(self._stacks.publisher.withdraw, published)
            namespace, self._netns = self._netns, None
            if namespace is not None:
                stack.callback(namespace.close)
                self._stacks.naming.drop(self._who.id)
            while self.endpoints:
                stack.callback(endpoint.forget, self._site, self.endpoints.pop())
