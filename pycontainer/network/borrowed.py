"""The network stack of a detached container, as one of this process has it that is on its network."""

from __future__ import annotations

from typing import NoReturn

from pycontainer.errors import NotSupported
from pycontainer.network import kept
from pycontainer.network.kept import Kept
from pycontainer.network.stack import Stack


class BorrowedStack(Stack):
    """The stack of a detached container, for one that is on its network. Closing it changes nothing of that."""

    def __init__(self, noted: Kept, container: str, folder: str) -> None:
        self.container = container
        self._kept = noted
        self.endpoints = []
        self.folder = kept.names(folder)

    @property
    def ports(self) -> dict[str, list[tuple[str, int]]]:
        """Those of the other container."""
        return self._kept.ports

    @property
    def addresses(self) -> dict[str, list[str]]:
        """Those of the other container."""
        return self._kept.addresses

    def denied(self) -> tuple[str, ...]:
        """The other container is asked."""
        return ()

    def connect(self, *_: object) -> NoReturn:
        """The other container is connected."""
        raise NotSupported(f"the network is that of container {self.container[:12]}", "connect that one")

    def disconnect(self, *_: object) -> NoReturn:
        """The other container is disconnected."""
        raise NotSupported(f"the network is that of container {self.container[:12]}", "disconnect that one")

    def share(self) -> Stack:
        """It is anybody's."""
        return self

    def close(self) -> None:
        """Nothing of it is ours."""
