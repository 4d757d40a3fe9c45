"""A container that outlives this process, with awaitable verbs."""

from __future__ import annotations

import asyncio
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pycontainer.aio.container import Container
from pycontainer.aio.loop import Bell, in_thread
from pycontainer.container.arguments import grace, seconds
from pycontainer.container.detached.ending import Ending
from pycontainer.errors import WaitTimeout

if TYPE_CHECKING:
    from pycontainer import engine
    from pycontainer.engine.detached import DetachedContainer as Detached


class DetachedContainer(Container):
    """A detached container with awaitable verbs: ``aio.Container.create(..., detach=True)``, or of one that was found.

    ``async with`` lets go of it and does not end it.  What :attr:`sync` tells without waiting, such as ``health`` or
    ``inspect()``, has no twin here.

    >>> db = aio.DetachedContainer(engine.containers.get("db"))         # doctest: +SKIP
    >>> await db.wait()                                                 # doctest: +SKIP
    """

    def __init__(self, container: Detached) -> None:
        super().__init__(container)
        self._detached = container

    @property
    def sync(self) -> Detached:
        """The container with blocking verbs."""
        return self._detached

    async def start(self, **streams: Any) -> None:
        """Start the container's program; when this returns it runs. A start that is cancelled is ended."""
        container = self._detached
        with self._held():
            await in_thread(partial(container.start, **streams), undo=lambda _: container.stop(0))

    async def wait(self, timeout: float | None = None) -> int:
        """Wait until the container has ended for good; its exit code. See :meth:`DetachedContainer.wait`."""
        timeout = seconds("timeout", timeout)
        self._detached.allow_wait()
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        with Ending(self._detached) as ending:
            while True:
                left = None if deadline is None else max(0.0, deadline - loop.time())
                code = await Bell().until(ending.poll, ending.pollable, ending.within(left))
                if code is not None:
                    return code
                if left == 0:
                    raise WaitTimeout(f"container {self.name} did not end within {timeout:g} s")

    async def stop(self, timeout: float = 10) -> int | None:
        """End the program: its stop signal, ``timeout`` seconds, then KILL. No restart follows. Idempotent."""
        grace("timeout", timeout)
        container = self._detached
        if not await in_thread(container.begin_to_stop):
            return container.exit_code
        try:
            return await self.wait(timeout)
        except WaitTimeout:
            await in_thread(container.kill)
            return await self.wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._detached.close()


def adopt(container: engine.Container) -> Container:
    """The awaitable face of a container, detached or not."""
    from pycontainer.engine.detached import DetachedContainer as Detached

    return DetachedContainer(container) if isinstance(container, Detached) else Container(container)
