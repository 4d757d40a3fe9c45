"""Waiting for the end of a detached container, which its monitor tells."""

from __future__ import annotations

import select
from types import TracebackType
from typing import TYPE_CHECKING

from pycontainer.container.detached.state import GONE
from pycontainer.errors import StateError
from pycontainer.kernel.monitorclient import Answer, Client
from pycontainer.kernel.native import lib
from pycontainer.kernel.process import LONGEST_POLL

if TYPE_CHECKING:
    from pycontainer.container.detached.state import DetachedState

#: How long one rests that no monitor can wake, in seconds.
_PAUSE = 0.01
_OVER = frozenset({"exited", "dead"})


class Ending:
    """The end of a container, to be asked for again and again; ``with`` lets go of the monitor."""

    def __init__(self, container: DetachedState) -> None:
        self._container = container
        self._client: Client | None = None
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, once the container has ended for good (255: nobody saw how it ended)."""
        try:
            if self._client is None:
                self._client = Client(self._container.socket)
                answer: Answer | None = self._client.ask(lib.PC_MONITOR_WATCH)[0]
            else:
                answer = self._client.news(0)
        except StateError:
            self.close()
            return self._settled()
        if answer is None or answer.phase not in _OVER:
            return None
        self._code = answer.code if answer.phase == "exited" else None
        self.close()
        return self._settled()

    def _settled(self) -> int | None:
        status = self._container.status
        if status not in GONE:
            return None  # its monitor is about to end, or has not begun to listen
        code = self._container.exit_code
        if code is None:
            code = self._code
        return 255 if code is None else code

    @property
    def patience(self) -> float | None:
        """After how many seconds it is to be asked for at the latest; ``None``: the monitor will tell."""
        return _PAUSE if self._client is None else None

    def within(self, timeout: float | None) -> float | None:
        """How long to rest at the most for one who has so many seconds; ``None``: for ever."""
        return min((each for each in (timeout, self.patience) if each is not None), default=None)

    def pollable(self) -> list[int]:
        """What becomes readable when there is something new."""
        return [] if self._client is None else [self._client.fileno()]

    def rest(self, timeout: float | None) -> None:
        """Rest until there may be something new, at most ``timeout`` seconds."""
        poller = select.poll()
        for fd in self.pollable():
            poller.register(fd, select.POLLIN)
        left = self.within(timeout)
        poller.poll(None if left is None else min(left, LONGEST_POLL) * 1000)

    def close(self) -> None:
        """Let go of the monitor; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> Ending:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
