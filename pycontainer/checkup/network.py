"""Probes of what containers' networks are made of, each in a network namespace of its own."""

from __future__ import annotations

import os
import struct
from importlib.metadata import PackageNotFoundError, version

from pycontainer.checkup.feature import Lacking, Probes
from pycontainer.checkup.host import Host, run
from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib

PROBES = Probes()

# linux/rtnetlink.h, linux/if_link.h, linux/netfilter/nfnetlink.h
_RTM_NEWLINK, _IFLA_LINKINFO, _IFLA_INFO_KIND = 16, 18, 1
_NFT_GETGEN = 10 << 8 | 16
_TUN = "/dev/net/tun"
_REQUEST, _ACK, _CREATE, _EXCL = 1, 4, 0x400, 0x200


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    """struct nlmsghdr of netlink(7) and what follows it."""
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def _add_link(host: Host, kind: str) -> str:
    info = _attribute(_IFLA_LINKINFO, _attribute(_IFLA_INFO_KIND, kind.encode()))
    message = _message(_RTM_NEWLINK, _REQUEST | _ACK | _CREATE | _EXCL, bytes(16) + info)
    host.inside(
        [op.netlink(lib.NETLINK_ROUTE, message, purpose=f"make a {kind} device")], namespaces=lib.CLONE_NEWNET
    )
    return "works"


@PROBES.add(
    "veth",
    tries="made a pair of veth devices in a new network namespace",
    needed_for="networks between containers and to the host",
    fix="modprobe veth",
)
def _veth(host: Host) -> str:
    return _add_link(host, "veth")


@PROBES.add(
    "bridge",
    tries="made a bridge in a new network namespace",
    needed_for="networks of several containers",
    fix="modprobe bridge",
)
def _bridge(host: Host) -> str:
    return _add_link(host, "bridge")


@PROBES.add(
    "nftables",
    tries="asked nf_tables for its generation in a new network namespace",
    needed_for="published ports, and rules of who reaches whom",
    fix="modprobe nf_tables nft_nat nft_masq",
)
def _nftables(host: Host) -> str:
    message = _message(_NFT_GETGEN, _REQUEST | _ACK, struct.pack("=BBH", 0, 0, 0))
    host.inside(
        [op.netlink(lib.NETLINK_NETFILTER, message, purpose="ask nf_tables")], namespaces=lib.CLONE_NEWNET
    )
    return "works"


@PROBES.add(
    "tun",
    tries=f"opened {_TUN}",
    needed_for="pasta and slirp4netns",
    fix=f"modprobe tun; chmod 666 {_TUN}",
)
def _tun(_: Host) -> str:
    os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    return "works"


@PROBES.add(
    "pasta",
    tries="ran pasta --version",
    needed_for="the outside world for containers of ordinary users",
    fix="apt install passt",
)
def _pasta(_: Host) -> str:
    return run("pasta", "--version")


@PROBES.add(
    "slirp4netns",
    tries="ran slirp4netns --version",
    needed_for="the same where there is no pasta",
    fix="apt install slirp4netns",
)
def _slirp4netns(_: Host) -> str:
    return run("slirp4netns", "--version")


@PROBES.add(
    "dnspython",
    tries="looked for the Python package dnspython",
    needed_for="the names of containers on networks of yours",
    fix="pip install 'pycontainer-linux[network]'",
)
def _dnspython(_: Host) -> str:
    try:
        return version("dnspython")
    except PackageNotFoundError:
        raise Lacking("this Python has none") from None
