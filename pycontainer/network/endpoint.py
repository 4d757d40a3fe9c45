"""A container's place on one network: its addresses, its pair of links, and the way back from there."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import sqlite3
from collections.abc import Callable, Sequence

import attrs

from pycontainer.errors import InvalidArgument, KernelError, NotSupported, StateError
from pycontainer.kernel.netns import NetworkNamespace
from pycontainer.network import address, bridge, gate, link, pool, routed, underlay
from pycontainer.network.address import Address
from pycontainer.network.egress import Egress
from pycontainer.network.netlink import ROUTE, Netlink
from pycontainer.network.network import EGRESS, Definition, Segment
from pycontainer.network.site import Site

#: Drivers whose networks lie on links of the host's.
_ON_LINKS = frozenset({"macvlan", "ipvlan", "overlay"})


@attrs.frozen(kw_only=True)
class Member:
    """Who is on a network: the host process, the container, and what it is called there."""

    owner: str
    container: str
    name: str
    names: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Endpoint:
    """A place on a network that is taken. :func:`release` gives it back."""

    number: int
    network: Definition
    link: str
    inside: str
    index: int
    addresses: tuple[Address, ...]

    def address(self, version: int) -> Address | None:
        """Its address of IPv4 or IPv6."""
        return next((each for each in self.addresses if each.version == version), None)


def take(
    site: Site,
    network: Definition,
    member: Member,
    netns: NetworkNamespace,
    *,
    index: int,
    inside: str,
    wanted: tuple[str, ...] = (),
    gateway: bool = True,
    egress: Egress | None = None,
    need_outside: Callable[[], None],
) -> Endpoint:
    """Put a network namespace on a network: links, addresses and, with ``gateway``, the default routes.

    ``wanted`` are addresses that it must have; through an ``egress`` network only what that allows passes.  ``index`` and ``inside`` are the link's number and name in there.  ``need_outside`` is called where it is to have a way out.
    Raises :class:`InvalidArgument` for an address that is taken, :class:`NotSupported` when there is none left,
    and :class:`KernelError`, with nothing left behind.
    """
    name = f"pcv{os.urandom(5).hex()}"
    number, addresses = _lease(site, network, member, name, wanted)
    made = Endpoint(
        number=number, network=network, link=name, inside=inside, index=index, addresses=addresses
    )
    try:
        if not network.internal and not (site.is_apart and network.driver in _ON_LINKS):
            need_outside()
        made = _attach(site, made, netns, gateway=gateway, egress=egress)
    except KernelError as error:
        release(site, made)
        raise bridge.explained(error) from None
    except BaseException:
        release(site, made)
        raise
    return made


def _attach(
    site: Site, made: Endpoint, netns: NetworkNamespace, *, gateway: bool, egress: Egress | None
) -> Endpoint:
    if site.is_apart and made.network.driver in _ON_LINKS:
        raise NotSupported(
            f"the driver {made.network.driver!r} needs links of the host, which only root may use",
            "run as root, or use a bridge",
        )
    if egress is not None:
        routed.attach(site, made, netns, egress, mac=_mac(made.addresses))
        return made
    if made.network.driver in {"macvlan", "ipvlan"}:
        _attach_child(made, netns)
        configure(made, netns, gateway=gateway)
        return made
    with site.route() as route:
        device = bridge.ensure(site, made.network, route)
        pair = link.Pair(
            name=made.link,
            bridge=device.index,
            inside=made.inside,
            index=made.index,
            netns=netns.fd,
            mac=_mac(made.addresses),
            mtu=device.mtu,
        )
        try:
            route.send([link.add_pair(pair)])
        except KernelError as error:
            raise bridge.explained(error) from None
    inside = link.find(Netlink(ROUTE, netns.route), made.inside)
    if inside is not None:
        # The kernel counts on, whatever was removed since, and asks nobody about this end (veth_newlink).
        made = attrs.evolve(made, index=inside.index)
    configure(made, netns, gateway=gateway)
    return made


def _attach_child(made: Endpoint, netns: NetworkNamespace) -> None:
    with Netlink(ROUTE) as route:
        parent = underlay.parent_of(route, made.network)
        child = underlay.add_child(
            made.network, parent, netns, index=made.index, inside=made.inside, mac=_mac(made.addresses)
        )
        try:
            route.send([child])
        except KernelError as error:
            raise bridge.explained(error) from None


def configure(made: Endpoint, netns: NetworkNamespace, *, gateway: bool) -> None:
    """Give the link inside its addresses and routes."""
    messages = [link.bring_up(made.index, made.inside)]
    for each in made.addresses:
        segment = _segment(made.network, each.version)
        messages.append(address.add_address(made.index, segment.of(each)))
        if each.version == 6:
            # The kernel makes none of its own here (conf/default/addr_gen_mode).
            local = ipaddress.ip_interface(f"{_link_local(_mac(made.addresses))}/64")
            messages.append(address.add_address(made.index, local, link_local=True))
    if gateway and not made.network.internal:
        messages += [
            address.add_default_route(made.index, _segment(made.network, each.version).gateway)
            for each in made.addresses
        ]
    Netlink(ROUTE, netns.route).send(messages)


def route_over(made: Endpoint, netns: NetworkNamespace) -> None:
    """Make the default routes over this network, where there are none."""
    messages = [
        address.add_default_route(made.index, _segment(made.network, each.version).gateway)
        for each in made.addresses
    ]
    for error, message in Netlink(ROUTE, netns.route).try_all(messages):
        if error != errno.EEXIST:
            raise KernelError(error, message.what)


def _segment(network: Definition, version: int) -> Segment:
    found = network.segment(version)
    if found is None:
        raise KernelError(errno.EAFNOSUPPORT, f"find a subnet of network {network.name}")
    return found


def _mac(addresses: Sequence[Address]) -> bytes:
    """Of the address, as in Docker: who had the address before is not looked for at another hardware address."""
    return b"\x02\x42" + addresses[0].packed[-4:]


def mac_of(addresses: Sequence[Address]) -> str:
    """The hardware address of who has these."""
    return _mac(addresses).hex(":")


def _link_local(mac: bytes) -> ipaddress.IPv6Address:
    """The modified EUI-64 of RFC 4291, appendix A."""
    return ipaddress.IPv6Address(
        b"\xfe\x80" + bytes(6) + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    )


def _lease(
    site: Site, network: Definition, member: Member, name: str, wanted: tuple[str, ...]
) -> tuple[int, tuple[Address, ...]]:
    with site.ledger.transaction() as record:
        row = record.execute("SELECT cursor FROM networks WHERE id = ?", (network.id,)).fetchone()
        if row is None:
            raise StateError(f"network {network.name}", "removed", "put a container on it")
        addresses = [_choose(record, network, each, row[0], wanted) for each in network.segments]
        for each in wanted:
            if ipaddress.ip_address(each) not in addresses:
                raise InvalidArgument("ip", each, f"it is in no subnet of network {network.name}")
        texts = {each.version: str(each) for each in addresses}
        number = record.execute(
            "INSERT INTO endpoints (network, owner, container, name, names, link, address4, address6)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                network.id, member.owner, member.container, member.name, json.dumps(member.names), name,
                texts.get(4), texts.get(6),
            ),
        ).lastrowid  # fmt: skip
        first = int(addresses[0]) - int(network.segments[0].subnet.network_address)
        if not wanted:
            record.execute("UPDATE networks SET cursor = ? WHERE id = ?", (first, network.id))
    return number or 0, tuple(addresses)


def _choose(
    record: sqlite3.Connection, network: Definition, segment: Segment, cursor: int, wanted: tuple[str, ...]
) -> Address:
    version = segment.subnet.version
    column = f"address{version}"
    rows = record.execute(f"SELECT {column} FROM endpoints WHERE network = ?", (network.id,))
    taken = {str(segment.gateway), *(value for (value,) in rows)}
    asked = [each for each in wanted if ipaddress.ip_address(each).version == version]
    if asked:
        chosen = pool.parse_address("ip", asked[0], segment.subnet)
        if str(chosen) in taken:
            raise InvalidArgument("ip", asked[0], f"it is in use on network {network.name}")
        return chosen
    ip_range = dict(network.options).get("ip_range") if version == 4 else None
    allowed = None if ip_range is None else ipaddress.IPv4Network(ip_range)
    for each in pool.candidates(segment.subnet, cursor):
        if str(each) not in taken and (allowed is None or each in allowed):
            return each
    raise NotSupported(
        f"network {network.name} has no address left in {segment.subnet}",
        "remove containers, or make a network with a larger subnet=",
    )


def leave(site: Site, endpoint: Endpoint, netns: NetworkNamespace) -> None:
    """As :func:`release`, of a namespace that stays."""
    remove_inside(netns, endpoint.inside)
    release(site, endpoint)


def remove_inside(netns: NetworkNamespace, name: str) -> None:
    """Remove a link of a container, with its other end, if it has one; nothing happens where there is none."""
    for error, message in Netlink(ROUTE, netns.route).try_all([link.delete(name)]):
        if error != errno.ENODEV:
            raise KernelError(error, message.what)


def release(site: Site, endpoint: Endpoint) -> None:
    """Give a place back: its links, its addresses. Idempotent."""
    remove_link(site, endpoint.link)
    forget(site, endpoint)


def forget(site: Site, endpoint: Endpoint) -> None:
    """As :func:`release` of one whose namespace is gone: the links go with that."""
    if endpoint.network.driver == EGRESS:
        gate.close_gate(site, endpoint.link)
    site.ledger.write("DELETE FROM endpoints WHERE id = ?", endpoint.number)


def remove_link(site: Site, name: str) -> None:
    """Remove a pair of links; nothing happens where there is none."""
    with site.route() as route:
        for error, message in route.try_all([link.delete(name)]):
            if error != errno.ENODEV:
                raise KernelError(error, message.what)
