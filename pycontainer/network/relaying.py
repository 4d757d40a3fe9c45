"""The host's end of our relay: ports of the host that lead to containers where no rule of the kernel can lead them.

To those in a namespace apart, and from ::1.

The port is taken, and listened at, by this process, at the very address that was asked for, so that a connection finds
it at once; what comes is the relay's.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

from pycontainer.network import ports
from pycontainer.network.address import Address
from pycontainer.network.companion import Companion
from pycontainer.network.ports import Published, target_of
from pycontainer.network.wish import Port

_BACKLOG = 512


class Reserving:
    """Takes ports for a container that outlives this process, whose ports the keeper leads (see :mod:`.keeper`)."""

    def reserve(self, port: Port) -> Published:
        """Take a port of the host, as :func:`pycontainer.network.ports.reserve`."""
        return ports.reserve(port, backlog=_BACKLOG)

    def publish(self, published: Sequence[Published], addresses: Sequence[Address]) -> None:
        """Check that they can be led. Raises :class:`NotSupported` where the container has no address of the kind."""
        for each in published:
            target_of(each, addresses)

    def withdraw(self, published: Sequence[Published]) -> None:
        """They are led nowhere by this process."""

    def close(self) -> None:
        """Nothing runs."""


class Relaying:
    """The relay of this process. Thread-safe; the constructor touches nothing, :meth:`close` ends it."""

    def __init__(self, joins: Sequence[tuple[int, int]] = ()) -> None:
        """``joins`` are the namespaces in which the containers are reached, by default those of the host."""
        self._program = Companion("pycontainer.network.relay", joins=joins)
        self._lock = threading.Lock()
        self._known: dict[Published, Address] = {}

    def reserve(self, port: Port) -> Published:
        """Take a port of the host, as :func:`pycontainer.network.ports.reserve`."""
        return ports.reserve(port, backlog=_BACKLOG)

    def publish(self, published: Sequence[Published], addresses: Sequence[Address]) -> None:
        """Lead ports to the addresses of a container. Raises :class:`NotSupported` where it has none of the kind."""
        self.lead(published, [target_of(each, addresses) for each in published])

    def lead(self, published: Sequence[Published], targets: Sequence[Address]) -> None:
        """Lead each port to its own target."""
        with self._lock:
            self._known.update(zip(published, targets, strict=True))
            if not all(self._tell(each) for each in published):
                self._program.start()
                for each in self._known:
                    self._tell(each)

    def _tell(self, each: Published) -> bool:
        told = {
            "id": each.held.fileno(),
            "tcp": each.held.type == socket.SOCK_STREAM,
            "target": [str(self._known[each]), each.port.number],
        }
        return self._program.tell(told, [each.held.fileno()])

    def revive(self) -> None:
        """Start the program anew, if somebody killed it."""
        with self._lock:
            if self._program.has_ended:
                self._program.start()
                for each in self._known:
                    self._tell(each)

    @property
    def pidfd(self) -> int:
        """The program's, readable once it has ended; -1: there is none."""
        return self._program.pidfd

    def withdraw(self, published: Sequence[Published]) -> None:
        """Lead them nowhere; when this returns the relay has let go of the ports. Idempotent."""
        with self._lock:
            for each in published:
                if self._known.pop(each, None) is not None:
                    self._program.ask({"id": each.held.fileno()})

    def close(self) -> None:
        """End the program. Idempotent."""
        with self._lock:
            self._known.clear()
            self._program.end()
