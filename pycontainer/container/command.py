"""A command on its way from start to result; what a run and an exec have in common.

Driven by :func:`complete` here, and by the asynchronous face on an event loop.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from pycontainer.container.accounting import limit_of, usage_of
from pycontainer.container.bounds import CGROUP_FIX
from pycontainer.container.deadline import Deadline
from pycontainer.container.exchange import Exchange
from pycontainer.container.result import Result, Usage
from pycontainer.container.stdio import PIPE, STDOUT, Stdio, refuse_beside_terminal
from pycontainer.container.streams import KILLED_SECONDS, Streams, communicate
from pycontainer.errors import (
    CommandNotExecutable,
    CommandNotFound,
    NotSupported,
    PyContainerError,
)
from pycontainer.kernel.cgroup import Cgroup
from pycontainer.kernel.ended import Ended
from pycontainer.kernel.process import Process
from pycontainer.kernel.terminal import Terminal

#: Failures that are results: a program that is not there, or cannot be run.
UNEXECUTABLE = (CommandNotFound, CommandNotExecutable)


class Command(ABC):
    """A command to be started, pumped and judged; ``close`` lets go of all it held, at any point."""

    process: Process
    streams: Streams
    #: Where it runs, if the host gives cgroups: a leaf of its own.
    cgroup: Cgroup | None = None

    def __init__(self, argv: tuple[str, ...], exchange: Exchange, *, tty: bool) -> None:
        self.argv = argv
        self.exchange = exchange
        self._tty = tty
        if tty:
            refuse_beside_terminal(
                stdin=(exchange.stdin, None),
                stdout=(exchange.stdout, PIPE),
                stderr=(exchange.stderr, PIPE, STDOUT),
            )
        # Not an ExitStack, which costs as much as three system calls.
        self._closers: list[Callable[[], object]] = []
        self._started = 0.0
        self._wall = 0.0

    def start(self) -> None:
        """Start it, which takes milliseconds. Raises :class:`PyContainerError`; ``close`` is needed then, too."""
        stdio = None
        if not self._tty:
            stdio = self._open()
            self._closers.append(stdio.close)
        self._started = time.monotonic()
        terminal = self._launch(None if stdio is None else stdio.child)
        self._closers.append(self.process.close)
        try:
            if stdio is not None:
                stdio.close_child()
            self.streams = self.exchange.streams(stdio, terminal)
        except BaseException:
            self.abort()
            raise

    def _open(self) -> Stdio:
        """The descriptors of a program that is not on a terminal."""
        return self.exchange.open()

    @abstractmethod
    def _launch(self, fds: tuple[int, int, int] | None) -> Terminal | None:
        """Start the program and set ``process``; its terminal, if it has one."""

    def kill(self) -> None:
        """End the program and all that came of it."""
        self.process.kill()

    def settle(self) -> None:  # noqa: B027  most have nothing to wait for
        """After a kill: wait until all that was killed is gone. Raises :class:`WaitTimeout`."""

    def abort(self) -> None:
        """End it and wait for that, so that it can be closed. Raises :class:`WaitTimeout` for one that is stuck."""
        self.kill()
        self.process.wait(KILLED_SECONDS)

    def ended(self) -> None:
        """Note that the program has ended: its wall time ends here."""
        self._wall = time.monotonic() - self._started

    def check_clock(self) -> None:
        """Refuse a ``cpu_timeout`` that nobody can count. Raises :class:`NotSupported`."""
        if self.exchange.cpu_timeout is not None and self.cgroup is None:
            raise NotSupported(
                "cpu_timeout: processor time cannot be counted without a cgroup",
                CGROUP_FIX,
            )

    def deadline(self) -> Deadline | None:
        """When its time is up, from now on; ``None``: never."""
        exchange, cgroup = self.exchange, self.cgroup
        if exchange.timeout is None and exchange.cpu_timeout is None:
            return None
        used = None if cgroup is None else cgroup.cpu_seconds
        return Deadline(exchange.timeout, exchange.cpu_timeout, used)

    def finish(self, *, limit: str | None) -> Result[Any]:
        """The result, once the program has ended and its streams are drained; ``limit`` is what ended it."""
        ended = self.process.ended
        assert ended is not None  # noqa: S101  whoever drives this waits for the end
        usage = self._usage(ended)
        found = limit or limit_of(ended, usage)
        if found is None and ended.exit_code != 0 and self._layer_is_full():
            found = "size"
        return Result(
            args=self.argv,
            exit_code=ended.exit_code,
            signal=ended.signal,
            stdout=self.streams.stdout,
            stderr=self.streams.stderr,
            timed_out=limit is not None,
            oom_killed=bool(usage.oom_kills),
            limit=found,
            truncated=self.streams.truncated,
            usage=usage,
            changes=self._changes_or_error(),
            denied=self._denied(),
        )

    def _usage(self, ended: Ended) -> Usage:
        return usage_of(ended, self.cgroup, wall=self._wall)

    def _changes_or_error(self) -> Any:
        """What changed, or why that cannot be told: the rest of the result is good all the same."""
        try:
            return self._changes()
        except (PyContainerError, OSError) as error:
            return error

    def _changes(self) -> Any:
        return None

    def _denied(self) -> tuple[str, ...]:
        return ()

    def _layer_is_full(self) -> bool:
        """Has its writable layer a bound, and no byte left below that?"""
        return False

    def unexecutable(self, error: CommandNotFound | CommandNotExecutable) -> Result[Any]:
        """The result of a program that does not exist (127) or cannot be run (126), as Docker gives it."""
        # A name of the file system need not be text.
        message = f"pycontainer: {error}\n".encode(errors="backslashreplace")
        as_text = self.exchange.text is not None
        return Result(
            args=self.argv,
            exit_code=error.exit_code,
            stdout="" if as_text else b"",
            stderr=message.decode() if as_text else message,
            usage=Usage(wall=0.0, cpu_user=0.0, cpu_system=0.0),
            changes=(),
        )

    def close(self) -> None:
        """Let go of everything; idempotent. The program must have ended or not have been started."""
        while self._closers:
            try:
                self._closers.pop()()
            except BaseException:
                self.close()
                raise


def complete(command: Command) -> Result[Any]:
    """Start a command, pump its streams, wait for its end; the calling thread does all of it."""
    try:
        try:
            command.start()
        except UNEXECUTABLE as error:
            return command.unexecutable(error)
        limit = communicate(
            command.process,
            command.streams,
            deadline=command.deadline(),
            on_timeout=command.kill,
            on_interrupt=command.kill,
        )
        if limit is not None:
            command.settle()
        command.ended()
        return command.finish(limit=limit)
    finally:
        command.close()
