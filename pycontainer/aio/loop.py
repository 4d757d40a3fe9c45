"""What the event loop waits with: calls in its executor, and a bell that fds ring."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from typing import TypeVar
from weakref import WeakValueDictionary

_T = TypeVar("_T")

#: What the loop throws into a task that is to end. On Python 3.10 Ctrl-C may arrive in any of them.
_INTERRUPTS = (asyncio.CancelledError, KeyboardInterrupt)

#: How many calls of a loop start something at once: its default executor has some threads more
#: (``ThreadPoolExecutor``), so that what ends does not queue behind what is still to start.
_STARTS = min(32, (os.cpu_count() or 1) + 4) - 2
_turns: WeakValueDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakValueDictionary()


async def make(call: Callable[[], _T], undo: Callable[[_T], object]) -> _T:
    """Run ``call``, which makes something, when it is its turn; else as :func:`in_thread`."""
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_STARTS)):
        return await in_thread(call, undo=undo)


async def in_thread(call: Callable[[], _T], *, undo: Callable[[_T], object] | None = None) -> _T:
    """Run ``call`` in the loop's default executor.

    When the task is cancelled, a call that waits for a thread is forgotten.  One that has begun is waited
    for, and what it returned is handed to ``undo``, in the executor again, before the cancellation goes on.
    """
    # Who takes it first decides: the thread, to begin, or a cancellation, to forget the call.
    begun = threading.Lock()

    def begin() -> _T:
        if not begun.acquire(blocking=False):
            raise asyncio.CancelledError
        return call()

    future = asyncio.get_running_loop().run_in_executor(None, begin)
    try:
        await asyncio.wait({future})
    except _INTERRUPTS as interrupt:
        if begun.acquire(blocking=False):
            future.cancel()
            raise
        while not future.done():
            with suppress(*_INTERRUPTS):
                await asyncio.wait({future})
        failure = future.exception()
        if failure is None and undo is not None:
            await to_the_end(lambda: undo(future.result()))
        raise interrupt from failure
    return future.result()


async def to_the_end(call: Callable[[], _T]) -> _T:
    """Run ``call``, which cleans up, in the loop's default executor; a cancellation goes on after it."""
    future = asyncio.get_running_loop().run_in_executor(None, call)
    interrupt: BaseException | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except _INTERRUPTS as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt from future.exception()
    return future.result()


class Bell:
    """Wakes one coroutine; rung by fds that become readable, or by hand."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake who waits; on the loop's thread."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _rung(self, fds: Iterable[int], seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            self._waiter = loop.create_future()
            for fd in fds:
                # The loop keeps one callback for each number, and others may wait for the same process.
                own = os.dup(fd)
                stack.callback(os.close, own)
                loop.add_reader(own, self.ring)
                stack.callback(loop.remove_reader, own)
            if seconds is not None:
                stack.callback(loop.call_later(seconds, self.ring).cancel)
            await self._waiter

    async def until(
        self, poll: Callable[[], _T | None], pollable: Callable[[], Iterable[int]], timeout: float | None
    ) -> _T | None:
        """What ``poll`` gives when it gives something, or ``None`` after ``timeout`` seconds.

        It is asked first, and whenever the bell is rung or one of the ``pollable`` fds is readable.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while (found := poll()) is None:
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                return None
            try:
                await self._rung(pollable(), left)
            except OSError as error:
                # A process that another thread has reaped and closed since it was listed.
                if error.errno != errno.EBADF:
                    raise
        return found
