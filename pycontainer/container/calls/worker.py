"""One container with a warm interpreter, and the calls in it, one after the other.

What a call may leave behind is gone before the next: its processes are killed by the container's first one, and a
container whose files or kernel objects it has changed is ended, and another one started.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from pycontainer.container import slots
from pycontainer.container.calls import values
from pycontainer.container.calls.exchange import JobExchange
from pycontainer.container.calls.traces import find_traces, is_untouched
from pycontainer.container.exchange import PLAIN
from pycontainer.container.mounts import Tmpfs
from pycontainer.container.oneshot import OneShot
from pycontainer.container.result import Usage
from pycontainer.container.spec import Spec
from pycontainer.container.stdio import Stdio
from pycontainer.container.workspace import Workspace
from pycontainer.errors import CallFailed, CallTimeout, InvalidArgument, NotSupported
from pycontainer.kernel.process import LONGEST_POLL

#: How long a warm interpreter may take to kill what a call left, in seconds.
_PATIENCE = 5.0
#: How long its start, with all that it imports, may take.
_START = 120.0
_LONGEST_MESSAGE = 1 << 16


@attrs.frozen(kw_only=True)
class Kind:
    """What the containers of an executor are."""

    spec: Spec
    preload: tuple[str, ...]
    result_limit: int
    stdout: Any
    stderr: Any

    @property
    def words(self) -> tuple[str, ...]:
        """The command: the text of the zygote, and what it is told."""
        places = [mount.target for mount, _ in self.spec.mounts if isinstance(mount, Tmpfs)]
        told = json.dumps([self.preload, ["/dev", *places]])
        return (*self.spec.argv, "-I", "-c", zygote(), told)


@cache
def zygote() -> str:
    """The program's text."""
    folder = Path(__file__).with_name("inside")
    first, second = ((folder / name).read_text(encoding="utf-8") for name in ("job.py", "zygote.py"))
    # Which holds for all of a text, and stands at its beginning.
    return first + second.replace("from __future__ import annotations\n", "")


@attrs.frozen
class Answer:
    """What came of a job: why there is no result, or its bytes; and what it used."""

    failed: CallFailed | None
    result: bytearray | None
    usage: Usage

    def value(self) -> Any:
        """The function's result. Raises its exception, or :class:`CallFailed`."""
        if self.failed is not None:
            raise self.failed
        if self.result is None:
            raise CallFailed(what="its process ended without a result")
        try:
            return values.decode(self.result)
        except values.Wrong:
            raise CallFailed(what="what its process wrote is no result") from None


class Gone(Exception):
    """The zygote has ended, or says what it would not."""


class Worker(OneShot):
    """A warm interpreter. For one thread at a time, but for :meth:`kill`; :meth:`close` ends it and removes all that belongs to it; idempotent."""

    def __init__(self, workspace: Workspace, kind: Kind) -> None:
        """Start it, which takes as long as an interpreter and its imports do; nothing is left on failure.

        Raises :class:`PyContainerError`.
        """
        spec = attrs.evolve(kind.spec, argv=kind.words)
        super().__init__(workspace, spec, PLAIN, changes=True)
        self._kind = kind
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._closers.append(self._control.close)
        self._job: socket.socket | None = None
        self._oom_kills = 0
        self._is_done = False
        try:
            with theirs:
                stdio = Stdio.create(stdin=theirs, stdout=kind.stdout, stderr=kind.stderr)
                try:
                    self._set_up(stdio.child)
                finally:
                    stdio.close()
            self._closers.append(self._end)
            self._await_ready()
            self._traces = find_traces(self._upper)
            self.prepare()
        except BaseException:
            self.close()
            raise

    # -- the zygote ------------------------------------------------------------------------

    def _await_ready(self) -> None:
        try:
            told = self._hear(time.monotonic() + _START)
        except Gone:
            raise NotSupported(
                f"{self._kind.spec.argv[0]} of the image ended before it was ready",
                "the image needs a Python of version 3.7 or later; stderr=2 shows what it says",
            ) from None
        if "ready" in told:
            return
        reason = str(told.get("failed", ""))[:1000]
        raise InvalidArgument("preload", list(self._kind.preload), f"the image's Python says: {reason!r}")

    def _hear(self, deadline: float) -> dict[str, Any]:
        """The next message of the zygote. Raises :class:`Gone`, also when it is none in time."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise Gone
        return self._message()

    def _message(self) -> dict[str, Any]:
        try:
            data = self._control.recv(_LONGEST_MESSAGE, socket.MSG_DONTWAIT)
            told = json.loads(data)
        except (OSError, ValueError, RecursionError):
            raise Gone from None
        if not isinstance(told, dict):
            raise Gone
        return told

    def prepare(self) -> None:
        """Have the next copy made, which waits for its job. Raises :class:`Gone`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                socket.send_fds(self._control, [b"fork"], [theirs.fileno()], socket.MSG_NOSIGNAL)
        except OSError:
            ours.close()
            raise Gone from None
        ours.setblocking(False)
        self._job = ours

    # -- calls -----------------------------------------------------------------------------

    def call(self, job: bytes, timeout: float | None) -> Answer:
        """Do a job. Raises :class:`Gone` when there was no copy to give it to: nothing was done."""
        ours = self._job
        if ours is None or self.process.poll() is not None:
            raise Gone
        self._job = None
        started = time.monotonic()
        with ours:
            exchange = JobExchange(ours, job, self._kind.result_limit)
            failed, told = self._drive(exchange, None if timeout is None else started + timeout)
            exchange.drain()
        self._is_done = told is not None and "status" in told
        usage = _usage(told, time.monotonic() - started)
        return Answer(failed or self._judge(told), exchange.result, usage)

    def prepare_next(self) -> bool:
        """After a call: whether the container can serve another one, for which a copy is made then."""
        try:
            if not self._is_done or self._hear(time.monotonic() + _PATIENCE).get("clean") is not True:
                return False
            if not is_untouched(self._upper, self._traces):
                return False
            self.prepare()
        except Gone:
            return False
        return True

    def _drive(
        self, exchange: JobExchange, deadline: float | None
    ) -> tuple[CallFailed | None, dict[str, Any] | None]:
        """Move bytes until the zygote says that the copy has ended: why it was ended, and what was said."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(exchange.job, exchange.events)
        failed: CallFailed | None = None
        while True:
            left = None if deadline is None else max(0.0, min(deadline - time.monotonic(), LONGEST_POLL))
            ready = dict(poller.poll(None if left is None else left * 1000))
            if self._control.fileno() in ready:
                return failed, self._last_words()
            if exchange.job.fileno() in ready:
                exchange.advance()
                if exchange.events:
                    poller.modify(exchange.job, exchange.events)
                else:
                    poller.unregister(exchange.job)
            late = deadline is not None and deadline <= time.monotonic()
            if failed is None and (late or exchange.is_too_long):
                failed = (
                    CallFailed(exit_code=137, signal=9, limit="result_limit")
                    if exchange.is_too_long
                    else CallTimeout(exit_code=137, signal=9, limit="timeout")
                )
                deadline = time.monotonic() + _PATIENCE
                with suppress(OSError):
                    self._control.send(b"kill", socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
            elif late:
                return failed, None

    def _last_words(self) -> dict[str, Any] | None:
        try:
            return self._message()
        except Gone:
            return None

    def _judge(self, told: dict[str, Any] | None) -> CallFailed | None:
        """What ended the copy, if it was not its job's end."""
        if told is not None and "refused" in told:
            return CallFailed(what=f"no process can be made for it: {str(told['refused'])[:200]!r}")
        status = 9 if told is None else told.get("status")
        if status == 0:
            return None
        if not isinstance(status, int) or not 0 <= status < 1 << 16:
            return CallFailed(what="the interpreter in the container says nothing sensible")
        number = status & 0x7F  # wait(2)
        limit = "memory" if number == signal.SIGKILL and self._ran_out_of_memory() else None
        return CallFailed(
            exit_code=128 + number if number else status >> 8, signal=number or None, limit=limit
        )

    def _ran_out_of_memory(self) -> bool:
        before = self._oom_kills
        self._oom_kills = 0 if self.cgroup is None else self.cgroup.account().get("oom_kills") or 0
        return self._oom_kills > before

    @property
    def _upper(self) -> int:
        launched = self._launched
        assert launched is not None  # noqa: S101  it was set up
        return launched.received[slots.SENT_UPPER]

    # -- the end ---------------------------------------------------------------------------

    def kill(self) -> None:
        """End it, with the call under way; another thread disposes of it."""
        with suppress(ValueError):  # closed by that thread in this moment
            self.process.kill()

    def _end(self) -> None:
        if self._job is not None:
            self._job.close()
        self._end_process()


def _usage(told: dict[str, Any] | None, wall: float) -> Usage:
    """As the zygote tells, of all processes of a call: numbers, or they are not known."""
    used = None if told is None else told.get("used")
    good = isinstance(used, list) and len(used) == 3 and all(_is_amount(each) for each in used)
    user, system, peak = used if isinstance(used, list) and good else (0.0, 0.0, 0)
    return Usage(wall=wall, cpu_user=user, cpu_system=system, memory_peak=int(peak) * 1024 if peak else None)


def _is_amount(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < 1 << 53
