"""A pool of containers on the event loop: the face of :class:`pycontainer.Pool`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pycontainer import engine as sync
from pycontainer.aio.command import complete
from pycontainer.aio.creation import Creation
from pycontainer.aio.loop import in_thread, make, to_the_end
from pycontainer.container.arguments import flag
from pycontainer.container.result import Result
from pycontainer.image.image import Image

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import PooledOptions, ReadyOptions


class Pool:
    """Containers that wait for a command, of the same arguments and errors as :class:`pycontainer.Pool`.

    >>> async with aio.Pool.create("host:", 4) as pool:                     # doctest: +SKIP
    ...     results = await asyncio.gather(*(pool.run(["hostname"]) for _ in range(8)))
    """

    def __init__(self, pool: sync.Pool) -> None:
        self._pool = pool

    @classmethod
    def create(
        cls,
        image: str | Image,
        size: int = 4,
        *,
        engine: sync.Engine | None = None,
        **options: Unpack[ReadyOptions],
    ) -> Creation[Pool]:
        """Make a pool: ``await`` it, or enter it with ``async with``, which closes it."""
        return Creation(_create(partial(sync.Pool, image, size, engine=engine, **options)))

    async def run(
        self, command: Sequence[str] | str | None = None, **options: Unpack[PooledOptions]
    ) -> Result[Any]:
        """Run a command in a container of the pool; see :meth:`pycontainer.Pool.run` and :func:`aio.run`."""
        given: dict[str, Any] = {**options}
        check = flag("check", given.pop("check", False))
        result = await complete(partial(self._pool.prepare, command, **given))
        return result.check() if check else result

    @property
    def ready(self) -> int:
        """How many containers wait at this moment."""
        return self._pool.ready

    async def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until all containers are ready; see :meth:`pycontainer.Pool.wait_ready`."""
        await in_thread(partial(self._pool.wait_ready, timeout))

    async def close(self) -> None:
        """End what runs, and remove every container; idempotent."""
        await to_the_end(self._pool.close)

    async def __aenter__(self) -> Pool:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<aio.Pool {self._pool!r}>"


async def _create(create: partial[sync.Pool]) -> Pool:
    return Pool(await make(create, lambda made: made.close()))
