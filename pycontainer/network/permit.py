"""What one container may reach through an egress network, for the resolver: which names, and how they are opened."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Any

from pycontainer.errors import PyContainerError
from pycontainer.network import dns
from pycontainer.network.egress import matches
from pycontainer.network.gate import let_through
from pycontainer.network.netlink import NETFILTER, Netlink

#: For how many seconds an address stays open at least, for a client that is slow to connect, and at most.
_LEAST, _MOST = 30, 3600
#: How many bytes of refused names are kept.
_LOG_LIMIT = 1 << 20


class Permit:
    """The allow-list of one container: ``told`` has its names, its subnets, its link; ``log`` takes refused names.

    ``rules`` is a netlink socket for nf_tables where the link is; both fds are closed in the end.
    """

    def __init__(self, told: dict[str, Any], log: int, rules: int) -> None:
        self._rules = socket.socket(fileno=rules)
        self._names: list[tuple[str, int]] = [(str(name), int(port)) for name, port in told["names"]]
        self._subnets = [ipaddress.ip_network(subnet) for subnet, _ in told["subnets"]]
        self._link = str(told["link"])
        self._log = log

    def allows(self, name: str) -> bool:
        """May this name be asked for? Else it is noted."""
        if any(matches(pattern, name) for pattern, _ in self._names):
            return True
        self._note(name)
        return False

    def open(self, name: str, answer: bytes) -> bool:
        """Open the addresses of an answer, at the ports that are allowed; whether the answer may be handed on.

        An address that is no public one would lead a stranger's name into the networks here (DNS rebinding): it is
        opened only when it is in an allowed subnet anyway.
        """
        try:
            found = dns.addresses(answer)
        except dns.Malformed:
            return False
        if any(not each.is_global and not self._is_inside(each) for each, _ in found):
            self._note(name)
            return False
        ports = [port for pattern, port in self._names if matches(pattern, name)]
        opened = [(each.packed, min(max(ttl, _LEAST), _MOST)) for each, ttl in found]
        try:
            netfilter = Netlink(NETFILTER, self._rules)
            let_through(netfilter, self._link, opened, [] if 0 in ports else ports)
        except PyContainerError:
            return False
        return True

    def _is_inside(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(address.version == each.version and address in each for each in self._subnets)

    def _note(self, name: str) -> None:
        if os.fstat(self._log).st_size < _LOG_LIMIT:
            os.write(self._log, (name.encode("unicode_escape").decode() + "\n").encode())

    def close(self) -> None:
        """Close the log and the socket."""
        self._rules.close()
        os.close(self._log)
