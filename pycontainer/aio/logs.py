"""What a container wrote, on an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from pycontainer import engine as sync
from pycontainer.aio.loop import Bell, in_thread
from pycontainer.container.logs import Logs

#: How many lines are read at once, in the loop's executor, by who does not follow.
_LINES = 1000


class Output:
    """The part of a container that is about its log; base of :class:`pycontainer.aio.Container`."""

    _container: sync.Container

    @property
    def started_at(self) -> float | None:
        """When it was started last, in seconds since 1970."""
        return self._container.started_at

    def logs(
        self,
        *,
        follow: bool = False,
        since: Any = None,
        until: Any = None,
        tail: int | None = None,
        stdout: bool = True,
        stderr: bool = True,
        entries: bool = False,
        hold: bool = False,
    ) -> AsyncIterator[Any]:
        """What the container wrote, for ``async for``; see :meth:`pycontainer.Container.logs`.

        >>> async for line in db.logs(follow=True): print(line)             # doctest: +SKIP
        """
        found = self._container.logs(
            follow=follow,
            since=since,
            until=until,
            tail=tail,
            stdout=stdout,
            stderr=stderr,
            entries=entries,
            hold=hold,
        )
        return _following(found) if follow else _reading(found)


async def _reading(logs: Logs) -> AsyncIterator[Any]:
    try:
        while lines := await in_thread(lambda: [line for _, line in zip(range(_LINES), logs, strict=False)]):
            for line in lines:
                yield line
    finally:
        logs.close()


async def _following(logs: Logs) -> AsyncIterator[Any]:
    try:
        async for line in logs.each(_wait):
            yield line
    finally:
        logs.close()


async def _wait(pollable: Callable[[], list[int]], seconds: float) -> None:
    looks = iter((None, True))
    # The first look comes before it waits; the second one is when there is something new.
    await Bell().until(lambda: next(looks, True), pollable, seconds)
