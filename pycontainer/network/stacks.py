"""Makes the network stacks of one host process's containers, and keeps what they share."""

from __future__ import annotations

import threading

from pycontainer.network import names
from pycontainer.network.naming import Naming
from pycontainer.network.networks import Networks
from pycontainer.network.publish import Publisher
from pycontainer.network.relaying import Relaying
from pycontainer.network.spare import Spare
from pycontainer.network.stack import Stack, Who
from pycontainer.network.wish import Wish


class Stacks:
    """Makes the stacks of one host process's containers. Thread-safe; the constructor touches nothing."""

    def __init__(self, networks: Networks, owner: str, folder: str) -> None:
        self.networks = networks
        self.owner = owner
        self.folders = names.Folders(folder)
        self.naming = Naming(networks.site)
        self.spare = Spare()
        self._lock = threading.Lock()
        self._publisher: Publisher | Relaying | None = None

    @property
    def publisher(self) -> Publisher | Relaying:
        """What leads from ports of the host to containers; the place of the networks is entered then."""
        with self._lock:
            if self._publisher is None:
                self.networks.site.enter()
                self._publisher = self.networks.site.publisher(self.owner)
                self.networks.sweep()
            return self._publisher

    def open(self, wish: Wish, who: Who) -> Stack:
        """A stack as wished for, ready to be joined.

        Raises :class:`InvalidArgument`, :class:`NotSupported` and :class:`KernelError`, with nothing left behind.
        """
        definitions = [self.networks.find(each.network) for each in wish.places]
        self.publisher  # noqa: B018  the place is there from now on
        made = Stack(self, wish, who)
        try:
            made.open(definitions)
        except BaseException:
            made.close()
            raise
        return made

    def need_outside(self) -> None:
        """Have a way to the host's networks. Raises :class:`NotSupported` where there can be none."""
        self.networks.site.need_outside()

    def close(self) -> None:
        """End the resolver and remove the table of ports; the stacks must have been closed."""
        self.naming.close()
        self.spare.close()
        with self._lock:
            publisher, self._publisher = self._publisher, None
            if publisher is not None:
                publisher.close()
                self.networks.site.leave()
