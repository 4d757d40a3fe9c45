"""The same names, awaitable: ``pycontainer.aio``.

A thin face over the synchronous core: processes are awaited by their pidfds and streams by their fds, on
the running loop; what takes longer than a moment (starting, removing, copying) runs in the loop's default
executor.  No thread of its own, no child watcher, no signal handler.

Cancelling a task ends the command that it runs, and waits for that; ``async with`` removes its container.
A call in the executor cannot be stopped: a cancellation goes on when it has returned and, where it made
something, when that is gone again.

>>> import asyncio
>>> from pycontainer import aio
>>> asyncio.run(aio.run("host:", ["true"])).exit_code       # doctest: +SKIP
0
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

from pycontainer.aio.command import complete
from pycontainer.aio.container import Container
from pycontainer.aio.detached import DetachedContainer, adopt
from pycontainer.aio.loop import make
from pycontainer.aio.pool import Pool
from pycontainer.aio.process import Process
from pycontainer.container.arguments import flag
from pycontainer.container.result import Result
from pycontainer.engine import Engine, default_engine
from pycontainer.image.image import Image

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import DetachedOptions, RunOptions

__all__ = ["Container", "DetachedContainer", "Pool", "Process", "run"]


@overload
async def run(
    image: str | Image,
    command: Sequence[str] | str | None = None,
    *,
    engine: Engine | None = None,
    detach: Literal[True],
    **options: Unpack[DetachedOptions],
) -> Container: ...
@overload
async def run(
    image: str | Image,
    command: Sequence[str] | str | None = None,
    *,
    engine: Engine | None = None,
    detach: Literal[False] = False,
    **options: Unpack[RunOptions],
) -> Result[Any]: ...
async def run(
    image: str | Image,
    command: Sequence[str] | str | None = None,
    *,
    engine: Engine | None = None,
    detach: bool = False,
    **given: Any,
) -> Any:
    """Run a command in a fresh container; arguments, result and errors as of :func:`pycontainer.run`.

    It belongs to ``engine``, or to the default one.  ``on_output`` and the pieces of ``input`` are called
    for on the loop: they must not block; what they raise ends the command and leaves this call.
    Cancelling the task kills the container before the cancellation goes on.

    >>> results = await asyncio.gather(*(aio.run("host:", ["hostname"]) for _ in range(50)))   # doctest: +SKIP
    """
    chosen = engine or default_engine()
    if flag("detach", detach):
        call = partial(chosen.run, image, command, detach=True, **given)
        return adopt(await make(call, lambda made: made.remove(force=True)))
    check = flag("check", given.pop("check", False))
    result = await complete(partial(chosen.prepare, image, command, **given))
    return result.check() if check else result
