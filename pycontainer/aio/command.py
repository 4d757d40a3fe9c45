"""A command on the event loop: the asynchronous twin of ``container.command.complete``."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

from pycontainer.aio.loop import Bell, in_thread, make, to_the_end
from pycontainer.container.command import UNEXECUTABLE, Command
from pycontainer.container.deadline import Deadline
from pycontainer.container.result import Result
from pycontainer.container.streams import KILLED_SECONDS, Streams
from pycontainer.errors import WaitTimeout


async def complete(prepare: Callable[[], Command]) -> Result[Any]:
    """Prepare and start a command, pump its streams on the running loop, wait for its end; its result.

    Whatever ends this early, a cancellation too, ends the command first.
    """
    command = await in_thread(prepare)
    try:
        try:
            await make(command.start, lambda _: command.abort())
        except UNEXECUTABLE as error:
            return command.unexecutable(error)
        try:
            limit = await _communicate(command)
        except BaseException:
            command.kill()  # now: the executor may be busy
            await to_the_end(command.abort)
            raise
        finally:
            command.streams.close()
        if limit is not None:
            await in_thread(command.settle)
        command.ended()
        return await in_thread(partial(command.finish, limit=limit))
    finally:
        await to_the_end(command.close)


async def _communicate(command: Command) -> str | None:
    """Move bytes until the program has ended and its output is drained; which deadline passed, if one did."""
    process, bell, deadline = command.process, Bell(), command.deadline() or Deadline()
    limit = None
    with _Pump(command.streams, bell) as pump:

        def poll() -> int | None:
            if pump.failure is not None:
                raise pump.failure
            return process.poll()

        def pollable() -> list[int]:
            return [process.fileno()]

        while await bell.until(poll, pollable, deadline.left()) is None:
            if deadline.left() > 0:
                continue
            limit = deadline.passed()
            command.kill()
            if await bell.until(poll, pollable, KILLED_SECONDS) is None:
                raise WaitTimeout(f"process {process.pid} runs on {KILLED_SECONDS:g} s after it was killed")
            break
    command.streams.program_ended()
    return limit


class _Pump:
    """Has the loop advance streams whose fds are ready, within a ``with`` block.

    What ``input`` or ``on_output`` raises stops it and rings the bell; ``failure`` is for who waits there.
    """

    def __init__(self, streams: Streams, bell: Bell) -> None:
        self.failure: BaseException | None = None
        self._streams = streams
        self._bell = bell
        self._loop = asyncio.get_running_loop()

    def _advance(self, fd: int) -> None:
        try:
            self._streams.advance(fd)
        except BaseException as error:  # noqa: BLE001  the loop would only log it; the waiting call raises it
            self.failure = error
            self._stop()
            self._bell.ring()

    def _forget(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)

    def _stop(self) -> None:
        for fd, _ in self._streams.pollable():
            self._forget(fd)
        self._streams.forget = None

    def __enter__(self) -> _Pump:
        self._streams.forget = self._forget
        for fd, events in self._streams.pollable():
            watch = self._loop.add_reader if events & select.POLLIN else self._loop.add_writer
            watch(fd, self._advance, fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
