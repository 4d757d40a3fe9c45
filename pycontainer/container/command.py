"""A command on its way from start to result; what a run and an exec have in common.

Driven by :func:`complete` here, and by the asynchronous face on an event loop.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from pycontainer.container.accounting import limit_of, usage_of
from pycontainer.container.arguments import flag
from pycontainer.container.bounds import CGROUP_FIX
from pycontainer.container.deadline import Deadline
from pycontainer.container.result import Result, Usage
from pycontainer.container.stdio import PIPE, STDOUT, Stdio, check_stream, refuse_beside_terminal
from pycontainer.container.streams import KILLED_SECONDS, Streams, communicate
from pycontainer.container.text import Text
from pycontainer.errors import (
    CommandNotExecutable,
    CommandNotFound,
    InvalidArgument,
    NotSupported,
    PyContainerError,
)
from pycontainer.kernel.cgroup import Cgroup
from pycontainer.kernel.ended import Ended
from pycontainer.kernel.process import Process
from pycontainer.kernel.terminal import Terminal
from pycontainer.size import parse_size

#: Failures that are results: a program that is not there, or cannot be run.
UNEXECUTABLE = (CommandNotFound, CommandNotExecutable)


@attrs.frozen(kw_only=True)
class Exchange:
    """What goes in and out of a command, and how long it may take; arguments as of ``subprocess.run``."""

    input: Any = None
    stdin: Any = None
    stdout: Any = PIPE
    stderr: Any = PIPE
    timeout: float | None = None
    cpu_timeout: float | None = None
    text: Text | None = None
    output_limit: int | None = None
    on_output: Callable[[str, Any], object] | None = None

    @classmethod
    def of(
        cls,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        output_limit: int | str | None = None,
        **fields: Any,
    ) -> Exchange:
        """From arguments in the manner of ``subprocess.run``. Raises :class:`InvalidArgument`."""
        return cls(text=_text_mode(text, encoding, errors), output_limit=_limit(output_limit), **fields)

    def __attrs_post_init__(self) -> None:
        if self.input is not None:
            if self.stdin is not None:
                raise InvalidArgument("stdin", self.stdin, "give either 'input' or 'stdin'")
            _check_input(self.input, self.text)
        for name in ("timeout", "cpu_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not (_is_number(seconds) and seconds > 0):
                raise InvalidArgument(name, seconds, "a positive number of seconds is needed")
        if self.on_output is not None and not callable(self.on_output):
            raise InvalidArgument("on_output", self.on_output, "a function of (name, data) is needed")
        for name in ("stdin", "stdout", "stderr"):
            check_stream(name, getattr(self, name))

    def open(self) -> Stdio:
        """The descriptors of a program that is not on a terminal."""
        stdin = PIPE if self.input is not None else self.stdin
        return Stdio.create(stdin=stdin, stdout=self.stdout, stderr=self.stderr)

    def streams(self, stdio: Stdio | None, terminal: Terminal | None) -> Streams:
        """The pump, over pipes or over a terminal."""
        options: dict[str, Any] = {
            "input": self.input,
            "output_limit": self.output_limit,
            "on_output": self.on_output,
            "text": self.text,
        }
        if terminal is not None:
            return Streams.on_terminal(terminal, **options)
        assert stdio is not None  # noqa: S101  one of the two is given
        return Streams(stdio, **options)


#: Of a command that is told nothing: no input, both outputs captured.
PLAIN = Exchange()


def _is_number(value: object) -> bool:
    # A clock's number is a float, which has no room for every int.
    return isinstance(value, float) or (
        isinstance(value, int) and not isinstance(value, bool) and value < 1 << 63
    )


def _limit(value: int | str | None) -> int | None:
    if value is None or (value == 0 and type(value) is int):
        return value
    return parse_size("output_limit", value)


def _text_mode(text: Any, encoding: Any, errors: Any) -> Text | None:
    if text is not None:
        flag("text", text)
    for name, value in (("encoding", encoding), ("errors", errors)):
        if value is not None and not isinstance(value, str):
            raise InvalidArgument(name, value, "a name is needed")
    return Text.choose(text, encoding, errors)


def _check_input(data: Any, text: Text | None) -> None:
    """Before anything starts; the pieces of an iterable are looked at when their turn comes."""
    if isinstance(data, str) and text is None:
        raise InvalidArgument("input", data[:40], "bytes are accepted; for str say text=True")
    if isinstance(data, Mapping) or not isinstance(data, (str, bytes, bytearray, memoryview, Iterable)):
        raise InvalidArgument(
            "input", data, "bytes, text (with text=True) or an iterable of pieces is accepted"
        )


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
