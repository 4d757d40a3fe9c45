"""New network namespaces, with sockets that were opened inside of them.

A namespace is made by a process that shares this one's memory, executes nothing and has ended when the call
returns: no exec, no fork.  It belongs to the user namespace that is given, so that the root of that one may
configure it (network_namespaces(7)).  Sockets stay in the namespace that they were opened in (socket(2)): with them
this process speaks in there without ever entering it.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from functools import cache

import attrs

from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib, wait_usage
from pycontainer.kernel.script import Operation, Script
from pycontainer.kernel.spawn import Spawn, Template

#: Slots: the user namespace, the socket for what is sent back, and what is sent.
_OWNER, _EXPORT, _NET, _ROUTE, _FILTER, _UDP, _TCP = range(7)
_CONTROL = socket.CMSG_LEN(4)

#: Where containers ask for names (Docker's address of its resolver).
RESOLVER_ADDRESS = "127.0.0.11"
# At any port: 53 is for what the container itself may listen with.
_RESOLVER = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(RESOLVER_ADDRESS))
_BACKLOG = 64

#: Settings of a new namespace.  As in Docker every user may listen at low ports.  Links get their addresses from
#: us alone: what a neighbour advertises is not heard (CVE-2020-13401).
_SETTINGS = {
    "ipv4/ip_unprivileged_port_start": b"0",
    "ipv6/conf/default/accept_ra": b"0",
    "ipv6/conf/default/addr_gen_mode": b"1",
    "ipv6/conf/default/accept_dad": b"0",
}
#: Of one that is a host to others: it sends on what is not for itself.
_ROUTING = {"ipv4/ip_forward": b"1", "ipv6/conf/all/forwarding": b"1"}


@attrs.define(eq=False)
class NetworkNamespace:
    """A network namespace held by its fd, with ``lo`` up; :meth:`close` lets go of it. Idempotent.

    In there are: ``route``, a NETLINK_ROUTE socket; and, or ``None``, ``rules``, a NETLINK_NETFILTER socket, ``udp``
    and ``tcp``, each bound to some port of 127.0.0.11.
    """

    fd: int
    route: socket.socket
    rules: socket.socket | None
    udp: socket.socket | None
    tcp: socket.socket | None

    def close(self) -> None:
        """Close the fd and the sockets; with its last process and fd the kernel removes the namespace."""
        for each in (self.route, self.rules, self.udp, self.tcp):
            if each is not None:
                each.close()
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def create(
    owner: int | None = None,
    *,
    ids: tuple[int, int] = (0, 0),
    resolver: bool = False,
    routing: bool = False,
) -> NetworkNamespace:
    """Make one that belongs to the user namespace ``owner``, whose root has ``ids`` in there; ``None``: to the caller's.

    With ``resolver`` it has the sockets that names are asked at; with ``routing`` it sends packets on from link to
    link.  Raises :class:`KernelError` with nothing left.
    """
    sent = _start(_maker(owner is not None, ids, resolver, routing), -1 if owner is None else owner, -1)
    return NetworkNamespace(
        sent[_NET],
        socket.socket(fileno=sent[_ROUTE]),
        socket.socket(fileno=sent[_FILTER]) if resolver else None,
        socket.socket(fileno=sent[_UDP]) if resolver else None,
        socket.socket(fileno=sent[_TCP]) if resolver else None,
    )


def open_netlink(owner: int, netns: int, family: int) -> socket.socket:
    """A netlink socket in a namespace that belongs to the user namespace ``owner``.

    What may be done with it is asked of who sends a message to an explicit address (``__netlink_ns_capable`` in the
    kernel's net/netlink/af_netlink.c), and this process may do all in user namespaces that it made.
    """
    return socket.socket(fileno=_start(_opener(family), owner, netns)[_ROUTE])


def _start(template: Template, owner: int, netns: int) -> dict[int, int]:
    """Run it to its end; the fds that it sent, by their slots."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        _, pidfd = template.start([owner, theirs.fileno(), netns, -1, -1, -1, -1])
        try:
            wait_usage(pidfd, os.WEXITED)
        finally:
            os.close(pidfd)
        return _receive(ours)


def _receive(ours: socket.socket) -> dict[int, int]:
    sent: dict[int, int] = {}
    while True:
        try:
            tag, control, _, _ = ours.recvmsg(1, _CONTROL, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return sent
        sent[tag[0]] = int.from_bytes(control[0][2], sys.byteorder)


@cache
def _opener(family: int) -> Template:
    ops = [op.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol=family, out=_ROUTE)]
    return Template(
        Spawn(
            argv=(b"netns",),
            fds=(-1,) * 7,
            script=Script.of(inner=[*ops, op.send(_ROUTE, to=_EXPORT, tag=_ROUTE)]),
            joins=((_OWNER, lib.CLONE_NEWUSER), (_NET, lib.CLONE_NEWNET)),
            ns_root=True,
            session=False,
            ends=True,
        )
    )


@cache
def _maker(owned: bool, ids: tuple[int, int], resolver: bool, routing: bool) -> Template:
    opened = [_NET, _ROUTE, *((_FILTER, _UDP, _TCP) if resolver else ())]
    ops: list[Operation] = [op.loopback()]
    for name, value in (_SETTINGS | _ROUTING if routing else _SETTINGS).items():
        # Without IPv6 there are none of its settings.
        setting = op.write_file(f"/proc/sys/net/{name}", value)
        ops.append(attrs.evolve(setting, options=lib.PC_OP_MAY_MISS))
    ops.append(op.open_path("/proc/thread-self/ns/net", out=_NET, flags=os.O_RDONLY))
    ops.append(op.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol=lib.NETLINK_ROUTE, out=_ROUTE))
    if resolver:
        ops.append(
            op.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol=lib.NETLINK_NETFILTER, out=_FILTER)
        )
        ops.append(op.open_socket(socket.AF_INET, socket.SOCK_DGRAM, address=_RESOLVER, out=_UDP))
        ops.append(
            op.open_socket(socket.AF_INET, socket.SOCK_STREAM, address=_RESOLVER, backlog=_BACKLOG, out=_TCP)
        )
    ops += [op.send(slot, to=_EXPORT, tag=slot) for slot in opened]
    return Template(
        Spawn(
            argv=(b"netns",),
            fds=(-1,) * 7,
            script=Script.of(inner=ops),
            joins=((_OWNER, lib.CLONE_NEWUSER),) if owned else (),
            namespaces=lib.CLONE_NEWNET,
            ns_root=owned,
            ns_ids=ids,
            session=False,
            ends=True,
        )
    )
