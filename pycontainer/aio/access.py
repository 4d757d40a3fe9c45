"""A container's files, limits and usage from the event loop: calls that run in the loop's executor."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

from pycontainer import engine as sync
from pycontainer.aio.loop import in_thread
from pycontainer.container.arguments import flag
from pycontainer.errors import StateError, WaitTimeout
from pycontainer.kernel.rooted import READ_LIMIT
from pycontainer.kernel.transfer import COPY_LIMIT

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import LimitOptions
    from pycontainer.kernel.cgroup import CgroupStat


class Access:
    """What does not change a container's state; base of :class:`pycontainer.aio.Container`."""

    _container: sync.Container

    # -- limits ----------------------------------------------------------------------------

    async def update(self, **limits: Unpack[LimitOptions]) -> None:
        """Change limits of the container; see :meth:`pycontainer.Container.update`."""
        await in_thread(partial(self._container.update, **limits))

    def stats(self, *, stream: bool = False, interval: float = 1.0) -> Any:
        """What the whole container has used, to be awaited; with ``stream`` to be iterated over (``async for``).

        See :meth:`pycontainer.Container.stats`.
        """
        return self._stream(interval) if flag("stream", stream) else in_thread(self._container.stats)

    async def _stream(self, interval: float) -> AsyncIterator[CgroupStat]:
        while True:
            try:
                yield await in_thread(self._container.stats)
                await self.wait(interval)
                return
            except WaitTimeout:
                continue
            except StateError:  # ended or removed meanwhile
                return

    async def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the container's program."""
        raise NotImplementedError

    # -- files -----------------------------------------------------------------------------

    async def read_bytes(self, path: str, *, limit: int | str = READ_LIMIT) -> bytes:
        """The content of a file of the container, of ``limit`` at most. Raises :class:`KernelError`."""
        return await in_thread(partial(self._container.read_bytes, path, limit=limit))

    async def write_bytes(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a file of the container, atomically; it belongs to the container's root."""
        await in_thread(partial(self._container.write_bytes, path, data, mode=mode))

    async def put(self, source: str | os.PathLike[str], target: str) -> None:
        """Copy a file or tree of the host into the container, as ``docker cp`` does."""
        await in_thread(partial(self._container.put, source, target))

    async def get(
        self, source: str, target: str | os.PathLike[str], *, limit: int | str = COPY_LIMIT
    ) -> None:
        """Copy a file or tree of the container to the host, as ``docker cp`` does; never outside of ``target``."""
        await in_thread(partial(self._container.get, source, target, limit=limit))
