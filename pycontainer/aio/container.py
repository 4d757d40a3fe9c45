"""A container whose verbs are awaitable: the face of :class:`pycontainer.Container` on an event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from pycontainer import engine as sync
from pycontainer.aio.command import complete
from pycontainer.aio.creation import Creation
from pycontainer.aio.filesystem import FileSystem
from pycontainer.aio.logs import Output
from pycontainer.aio.loop import Bell, in_thread, make, to_the_end
from pycontainer.aio.networking import Networking
from pycontainer.aio.process import Process
from pycontainer.container.arguments import Tty, flag, grace, seconds
from pycontainer.container.journal import LOG
from pycontainer.container.options import refuse_unknown
from pycontainer.container.result import Result
from pycontainer.container.running import Running
from pycontainer.container.spec import Spec
from pycontainer.container.stdio import DEVNULL
from pycontainer.container.streams import KILLED_SECONDS
from pycontainer.container.waiting import PAUSE, Condition, checked, holds_now, not_ready
from pycontainer.errors import StateError, WaitTimeout
from pycontainer.image.image import Image
from pycontainer.kernel import process as kernel
from pycontainer.kernel.terminal import Terminal

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import CreateOptions, ExchangeOptions


@attrs.frozen
class _Seen:
    status: str
    exit_code: int | None
    pid: int | None


class Container(FileSystem, Networking, Output):
    """A container with awaitable verbs, of the same names, arguments and errors as :class:`pycontainer.Container`.

    Attributes answer at once: during a verb of another task that changes the container they say what
    was before it.  For the tasks of one event loop.

    >>> async with aio.Container.create("host:", ["sleep", "60"]) as c:     # doctest: +SKIP
    ...     await c.start()
    ...     (await c.exec(["hostname"])).stdout
    """

    def __init__(self, container: sync.Container) -> None:
        super().__init__(container)
        self._before: _Seen | None = None
        self._holders = 0

    @classmethod
    def create(
        cls,
        image: str | Image,
        command: Sequence[str] | str | None = None,
        *,
        engine: sync.Engine | None = None,
        **options: Unpack[CreateOptions],
    ) -> Creation[Container]:
        """Make a container, not yet started: ``await`` it, or enter it with ``async with``, which removes it."""
        return Creation(_create(partial(sync.Container.create, image, command, engine=engine, **options)))

    async def __aenter__(self) -> Container:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held():
            await to_the_end(partial(self._container.remove, force=True))

    def __repr__(self) -> str:
        return f"<aio.Container {self.name} {self.status}>"

    # -- state -----------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self._container.id

    @property
    def name(self) -> str:
        """The name that was given, or the start of the id."""
        return self._container.name

    @property
    def spec(self) -> Spec:
        """What the container is to be."""
        return self._container.spec

    @property
    def status(self) -> str:
        """``created``, ``running``, ``paused``, ``exited`` or ``removed``."""
        return self._container.status if self._before is None else self._before.status

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last run (128 + n for signal n), or ``None``."""
        return self._container.exit_code if self._before is None else self._before.exit_code

    @property
    def pid(self) -> int:
        """The host's pid of the container's first process. Raises :class:`StateError` when it does not run."""
        if self._before is None:
            return self._container.pid
        if self._before.pid is None:
            raise StateError(f"container {self.name}", self._before.status, "tell its pid")
        return self._before.pid

    @property
    def terminal(self) -> Terminal:
        """The host's side of the terminal of a container made with ``tty=True``: a raw file, to be polled."""
        terminal: Terminal = self._container.terminal
        return terminal

    def _look(self) -> _Seen:
        try:
            pid = self._container.pid
        except StateError:
            pid = None
        return _Seen(self._container.status, self._container.exit_code, pid)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Around a verb that holds the container's lock for long: the loop does not wait for that."""
        if self._before is None:
            self._before = self._look()
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if self._holders == 0:
                self._before = None

    # -- life ------------------------------------------------------------------------------

    async def start(self, *, stdin: Any = None, stdout: Any = LOG, stderr: Any = LOG) -> None:
        """Start the container's program; when this returns it runs, and when this is cancelled it does not."""
        container = self._container

        def undo(_: object) -> None:
            # Removed by another task, maybe: then it does not run either.
            with suppress(StateError):
                container.stop(0)

        with self._held():
            await make(partial(container.start, stdin=stdin, stdout=stdout, stderr=stderr), undo)

    async def wait(self, timeout: float | None = None) -> int:
        """Wait until the container's program has ended; its exit code.

        Raises :class:`WaitTimeout` after ``timeout`` seconds; then, and when cancelled, the container goes on.
        """
        timeout = seconds("timeout", timeout)
        running = await in_thread(partial(self._container.alive, "wait"))
        code = await _ended(running, timeout)
        if code is None:
            raise WaitTimeout(f"the container did not end within {timeout:g} s")
        return code

    async def wait_for(self, *conditions: Condition, timeout: float | None = 60) -> None:
        """Wait until the container is ready; see :meth:`pycontainer.Container.wait_for`.

        Conditions are functions of the synchronous container, and are asked in the loop's default executor.
        """
        container, loop = self._container, asyncio.get_running_loop()
        timeout = seconds("timeout", timeout)
        deadline = None if timeout is None else loop.time() + timeout
        for condition in checked(conditions):
            while not await in_thread(partial(holds_now, container, condition)):
                if deadline is not None and loop.time() > deadline:
                    raise not_ready(container, condition, timeout)
                await asyncio.sleep(PAUSE)

    async def kill(self, signal: int | str = "KILL") -> None:
        """Send a signal to the container's program; KILL ends all others, too, and is waited for."""
        await in_thread(partial(self._container.kill, signal))

    async def stop(self, timeout: float = 10) -> int | None:
        """End the program: its stop signal, ``timeout`` seconds, then KILL. The exit code; idempotent.

        When cancelled, the signal stays sent; KILL is left out.
        """
        grace("timeout", timeout)
        container = self._container
        running = await in_thread(container.ask_to_stop)
        if running is not None and await _ended(running, timeout) is None:
            await in_thread(running.kill)
        return await in_thread(lambda: container.exit_code)

    async def restart(self, timeout: float = 10) -> None:
        """Stop and start again, with the same writable layer."""
        await self.stop(timeout)
        await self.start()

    async def pause(self) -> None:
        """Stop every process of the container where it stands. Raises :class:`NotSupported` without a cgroup."""
        with self._held():
            await in_thread(self._container.pause)

    async def unpause(self) -> None:
        """Let the processes go on."""
        with self._held():
            await in_thread(self._container.unpause)

    async def remove(self, *, force: bool = False) -> None:
        """Remove the container and its writable layer; idempotent. ``force`` ends a running one first."""
        with self._held():
            await in_thread(partial(self._container.remove, force=force))

    # -- programs --------------------------------------------------------------------------

    async def exec(
        self,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        workdir: str | os.PathLike[str] | None = None,
        user: str | int | None = None,
        tty: Tty = False,
        check: bool = False,
        **exchange: Unpack[ExchangeOptions],
    ) -> Result[Any]:
        """Run a further program in the container and wait for it; see :meth:`pycontainer.Container.exec`.

        Cancelling the task ends the program as a timeout does, and spares the rest of the container.
        """
        flag("check", check)
        container = self._container
        result = await complete(
            partial(container.prepare, command, env=env, workdir=workdir, user=user, tty=tty, **exchange)
        )
        return result.check() if check else result

    def popen(
        self,
        command: Sequence[str] | str,
        *,
        stdin: Any = None,
        stdout: Any = DEVNULL,
        stderr: Any = DEVNULL,
        env: Mapping[str, str] | Sequence[str] | None = None,
        workdir: str | os.PathLike[str] | None = None,
        user: str | int | None = None,
        tty: Tty = False,
        limit: int = 65536,
        **unknown: NoReturn,
    ) -> Creation[Process]:
        """Start a further program with live streams: ``await`` it, or enter it, which waits for its end.

        With ``tty`` its ``stdin`` and ``stdout`` are a terminal of the container.  ``limit`` bounds each
        reader's buffer, in bytes, and with it the longest line.
        """
        refuse_unknown("popen", unknown)
        streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr, "bufsize": 0}
        call = partial(
            self._container.popen, command, env=env, workdir=workdir, user=user, tty=tty, **streams
        )
        return Creation(_popen(call, limit))


async def _create(call: Callable[[], sync.Container]) -> Container:
    from pycontainer.aio.detached import adopt

    return adopt(await make(call, lambda made: made.remove(force=True)))


async def _popen(call: Callable[[], kernel.Process], limit: int) -> Process:
    return await Process.adopt(await make(call, _end), limit=limit)


async def _ended(running: Running, timeout: float | None) -> int | None:
    with running.newcomers() as news:
        return await Bell().until(running.poll, partial(running.pollable, news), timeout)


def _end(process: kernel.Process) -> None:
    process.kill()
    process.wait(KILLED_SECONDS)
    process.close()
