"""The same names, awaitable: ``pycontainer.aio``.

A thin face over the synchronous core: processes are awaited by their pidfd and streams by their fds, on
the running loop; what takes milliseconds (starting, removing) runs in the loop's default executor.
Cancelling a task ends its command, or its container, and waits for that.

>>> import asyncio
>>> from pycontainer import aio
>>> asyncio.run(aio.run("host:", ["true"])).exit_code       # doctest: +SKIP
0
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from pycontainer.container import container as sync
from pycontainer.container.command import UNEXECUTABLE, Command
from pycontainer.container.result import Result
from pycontainer.engine import Engine, default_engine
from pycontainer.errors import WaitTimeout
from pycontainer.image.image import Image
from pycontainer.kernel.changes import Change
from pycontainer.kernel.process import Process

_T = TypeVar("_T")


async def run(
    image: str | Image, command: Sequence[str] | str | None = None, *, engine: Engine | None = None, **options: Any
) -> Result[Any]:
    """Run a command in a fresh container; arguments, result and errors as of :func:`pycontainer.run`.

    Cancelling the task kills the container before the cancellation goes on.
    """
    check = options.pop("check", False)
    chosen = engine or default_engine()
    prepared = await _in_thread(functools.partial(chosen.prepare, image, command, **options))
    result = await complete(prepared)
    return result.check() if check else result


async def complete(command: Command) -> Result[Any]:
    """Start a command, pump its streams on the running loop, and return its result."""
    try:
        try:
            await _in_thread(command.start)
        except UNEXECUTABLE as error:
            return command.unexecutable(error)
        try:
            timed_out = await _pump(command)
        except BaseException:
            command.kill()
            await asyncio.shield(_ended(command.process))
            raise
        command.ended()
        return await _in_thread(functools.partial(command.finish, timed_out=timed_out))
    finally:
        if getattr(command, "streams", None) is not None:
            command.streams.close()
        await _in_thread(command.close)


async def _pump(command: Command) -> bool:
    """Move bytes until the program has ended and its output is drained; whether it timed out."""
    with _watching(command):
        ended = asyncio.ensure_future(_ended(command.process))
        try:
            done, _ = await asyncio.wait({ended}, timeout=command.exchange.timeout)
            if not done:
                command.kill()
                await ended
        finally:
            ended.cancel()
    command.streams.program_ended()
    return not done


@contextlib.contextmanager
def _watching(command: Command) -> Any:
    """Have the loop advance the streams whenever one of their fds is ready."""
    import select

    loop = asyncio.get_running_loop()
    streams = command.streams
    readers, writers = set(), set()

    def forget(fd: int) -> None:
        if fd in readers:
            readers.discard(fd)
            loop.remove_reader(fd)
        if fd in writers:
            writers.discard(fd)
            loop.remove_writer(fd)

    streams.forget = forget
    for fd, events in streams.pollable():
        if events & select.POLLIN:
            readers.add(fd)
            loop.add_reader(fd, streams.advance, fd)
        else:
            writers.add(fd)
            loop.add_writer(fd, streams.advance, fd)
    try:
        yield
    finally:
        for fd in [*readers, *writers]:
            forget(fd)
        streams.forget = None


async def _ended(process: Process) -> int:
    """The exit code of a process, awaited by its pidfd."""
    loop = asyncio.get_running_loop()
    while True:
        code = process.poll()
        if code is not None:
            return code
        ready = loop.create_future()
        fd = process.fileno()
        loop.add_reader(fd, lambda waiter=ready: waiter.done() or waiter.set_result(None))
        try:
            await ready
        finally:
            loop.remove_reader(fd)


async def _in_thread(call: Callable[[], _T]) -> _T:
    """Run ``call`` in the executor to its end, also when the task is cancelled meanwhile."""
    future = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        # What was begun has an owner only when it has returned; then the caller's clean-up can find it.
        await asyncio.wait({future})
        if not future.cancelled() and future.exception() is None:
            future.result()
        raise


class Container:
    """A container whose verbs are awaitable; see :class:`pycontainer.Container`.

    >>> async with aio.Container.create("host:", ["sleep", "60"]) as c:     # doctest: +SKIP
    ...     await c.start()
    """

    def __init__(self, container: sync.Container) -> None:
        self._container = container

    @classmethod
    @contextlib.asynccontextmanager
    async def create(cls, image: Any, command: Sequence[str] | str | None = None, **options: Any) -> AsyncIterator[Any]:
        """Make a container that is removed when the block is left, also by cancellation."""
        container = await _in_thread(functools.partial(sync.Container.create, image, command, **options))
        try:
            yield cls(container)
        finally:
            await _in_thread(functools.partial(container.remove, force=True))
