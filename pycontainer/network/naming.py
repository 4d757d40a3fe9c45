"""The host's end of our resolver: starts it when the first container needs it, and tells it of containers."""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
from typing import Any

import attrs

from pycontainer.errors import NotSupported
from pycontainer.kernel.netns import RESOLVER_ADDRESS, NetworkNamespace
from pycontainer.network import expression as ex
from pycontainer.network import nft
from pycontainer.network.companion import Companion
from pycontainer.network.firewall import DSTNAT, destination, is_version
from pycontainer.network.netlink import NETFILTER, Netlink
from pycontainer.network.site import Site

_PORT = (53).to_bytes(2, "big")


def redirect(netns: NetworkNamespace) -> None:
    """Lead what is asked at port 53 of 127.0.0.11 to our sockets; the port itself stays free, as in Docker."""
    if netns.rules is None or netns.udp is None or netns.tcp is None:
        return
    address = socket.inet_aton(RESOLVER_ADDRESS)
    messages = [
        nft.add_table("pycontainer"),
        nft.add_chain("pycontainer", "output", hook="output", kind="nat", priority=DSTNAT),
    ]
    for protocol, ours in ((socket.IPPROTO_UDP, netns.udp), (socket.IPPROTO_TCP, netns.tcp)):
        port: int = ours.getsockname()[1]
        messages.append(
            nft.add_rule(
                "pycontainer",
                "output",
                is_version(4) + destination(4, 0) + ex.compare(address),
                ex.meta("l4proto") + ex.compare(bytes([protocol])),
                ex.payload("transport", 2, 2) + ex.compare(_PORT),
                ex.load(address, 0) + ex.load(port.to_bytes(2, "big"), 1),
                ex.destination_nat(nft.IPV4, 0, 1),
            )
        )
    nft.commit(Netlink(NETFILTER, netns.rules), messages)


@attrs.frozen(kw_only=True)
class Asker:
    """A container as the resolver knows it; ``servers`` are asked for names outside, and none: nothing is forwarded."""

    id: str
    networks: tuple[str, ...]
    servers: tuple[str, ...]
    egress: dict[str, Any] | None = None


class Naming:
    """The resolver of this process. Thread-safe; the constructor touches nothing, :meth:`close` ends it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._program = Companion("pycontainer.network.resolver", site.ledger.path)
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Asker, NetworkNamespace]] = {}
        self._logs: dict[str, int] = {}

    def add(self, asker: Asker, netns: NetworkNamespace) -> None:
        """Have a container answered, at the sockets of its namespace; it may ask before the program runs.

        Raises :class:`NotSupported` without the package dnspython, and where ``sys.executable`` is no interpreter
        that can be started.
        """
        need_library()
        with self._lock:
            self._known[asker.id] = (asker, netns)
            if asker.egress is not None:
                self._logs[asker.id] = os.memfd_create("refused", os.MFD_CLOEXEC)
            if not self._tell(asker, netns):
                self._restart()

    def change(self, asker: Asker) -> None:
        """Its networks are others now."""
        with self._lock:
            if asker.id in self._known:
                self._known[asker.id] = (asker, self._known[asker.id][1])
                if not self._program.tell(attrs.asdict(asker)):
                    self._restart()

    def drop(self, identity: str) -> None:
        """It is gone. Idempotent."""
        with self._lock:
            if self._known.pop(identity, None) is not None:
                self._program.tell({"id": identity})
            log = self._logs.pop(identity, None)
            if log is not None:
                os.close(log)

    def refused(self, identity: str) -> list[str]:
        """The names that a container asked for and may not, each once, in the order of asking."""
        with self._lock:
            log = self._logs.get(identity)
            text = b"" if log is None else os.pread(log, 1 << 21, 0)
        return list(dict.fromkeys(text.decode(errors="replace").split()))

    def _tell(self, asker: Asker, netns: NetworkNamespace) -> bool:
        if netns.udp is None or netns.tcp is None:
            return True
        fds = (netns.udp.fileno(), netns.tcp.fileno())
        log = self._logs.get(asker.id)
        if log is None:
            return self._program.tell(attrs.asdict(asker), fds)
        with self._site.socket(NETFILTER) as rules:
            return self._program.tell(attrs.asdict(asker), (*fds, log, rules.fileno()))

    def _restart(self) -> None:
        """Start the program, with all that is known: somebody may have killed the one before."""
        self._program.start()
        for asker, netns in self._known.values():
            self._tell(asker, netns)

    def close(self) -> None:
        """End the program. Idempotent."""
        with self._lock:
            self._known.clear()
            while self._logs:
                os.close(self._logs.popitem()[1])
            self._program.end()


def need_library() -> None:
    """Refuse to be without dnspython, which is looked for and not loaded: that is the program's business."""
    if importlib.util.find_spec("dns") is None:
        raise NotSupported(
            "names on networks are answered with dnspython, which is not installed",
            "pip install 'pycontainer-linux[network]'",
        )
