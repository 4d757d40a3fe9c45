"""A container that is set up to the point of exec, and a run in it.

What waits there is our static program, with the confinement that the command will have (``csrc/order.c``).
Each is used once: a run finds a root that nobody has written to.
"""

from __future__ import annotations

import os
from typing import Any, Protocol

from pycontainer.container.command import Command
from pycontainer.container.confinement import candidates, full_environment
from pycontainer.container.exchange import PLAIN, Exchange
from pycontainer.container.oneshot import OneShot
from pycontainer.container.result import Result
from pycontainer.container.spec import Call, Spec
from pycontainer.container.stdio import PIPE, Stdio
from pycontainer.container.workspace import Workspace
from pycontainer.kernel.changes import Change
from pycontainer.kernel.order import NotTaken, Order
from pycontainer.kernel.spawn import exec_failure
from pycontainer.kernel.terminal import Terminal


class Warm(OneShot):
    """A container that waits for its command. :meth:`close` ends and removes it, used or not; idempotent."""

    def __init__(self, workspace: Workspace, spec: Spec) -> None:
        """Set it up, which takes as long as a run. Raises :class:`PyContainerError` with nothing left behind."""
        super().__init__(workspace, spec, PLAIN, changes=True)
        self._order = Order()
        self._closers.append(self._order.close)
        #: For a command that is told nothing.
        self._stdio: Stdio | None = None
        try:
            self._set_up(None, self._order.theirs)
            self._closers.append(self._end)
            assert self._launched is not None  # noqa: S101  it is set up
            self._env = full_environment(spec, self._launched.identity)
            self._env.setdefault("HOSTNAME", self._launched.hostname)
            self._variables = _variables(self._env)
            self._stdio = Stdio.create()
            if self.cgroup is not None:
                self.cgroup.expect()
        except BaseException:
            self.close()
            raise
        self._order.close_theirs()

    def execute(self, call: Call, fds: tuple[int, int, int]) -> None:
        """Have it execute a command on these streams; :meth:`refusal` tells whether it did.

        With a working directory of its own that is waited for, and :class:`NotTaken` raised when it cannot be
        entered, and so it is when nobody waits any more.  Raises :class:`KernelError`.
        """
        env = {**self._env, **(call.env or {})}
        workdir = None if call.workdir in (None, self._spec.workdir) else call.workdir
        self._order.give(
            candidates(call.argv[0], env),
            [os.fsencode(word) for word in call.argv],
            _variables(env) if call.env else self._variables,
            fds,
            workdir=None if workdir is None else os.fsencode(workdir),
        )
        if workdir is not None:
            self._order.outcome(self.process.pid)

    def refusal(self) -> int:
        """Why its command was not executed, an errno, or 0; once it has ended."""
        return self._order.refusal()

    def take_stdio(self) -> Stdio:
        """Descriptors for a command that is told nothing, opened beforehand; the caller's to close."""
        stdio, self._stdio = self._stdio, None
        return stdio or Stdio.create()

    def changes(self) -> list[Change] | None:
        """What was changed in its root, once its program has ended."""
        return self._changes()

    def denied(self) -> tuple[str, ...]:
        """What was tried through an egress network and may not."""
        return self._denied()

    def is_full(self) -> bool:
        """Whether its writable layer has a bound and no byte left below that."""
        return self._layer_is_full()

    def _end(self) -> None:
        if self._stdio is not None:
            self._stdio.close()
        self._end_process()


class Source(Protocol):
    """Where a run gets its container from, and gives it back to."""

    def take(self, call: Call) -> Warm:
        """One that waits, or a new one."""
        ...

    def make(self, call: Call) -> Warm:
        """A new one, made for this command."""
        ...

    def used(self) -> None:
        """One was taken, and runs its program now."""
        ...

    def retire(self, warm: Warm) -> None:
        """It was taken; its program has ended, or is to be ended."""
        ...


def _is_captured(exchange: Exchange) -> bool:
    """Whether its streams are those of a command that is told nothing."""
    return exchange.input is None and (exchange.stdin, exchange.stdout, exchange.stderr) == (None, PIPE, PIPE)


def _variables(env: dict[str, str]) -> list[bytes]:
    return [os.fsencode(f"{name}={value}") for name, value in env.items()]


class WarmRun(Command):
    """A command in a container that was set up before; its result is that of any run."""

    def __init__(self, source: Source, call: Call, exchange: Exchange, *, changes: bool) -> None:
        super().__init__(call.argv, exchange, tty=False)
        self._source = source
        self._call = call
        self._wants_changes = changes
        self._warm: Warm

    def _open(self) -> Stdio:
        self._warm = self._source.take(self._call)
        self._closers.append(self._retire)
        return self._warm.take_stdio() if _is_captured(self.exchange) else super()._open()

    def _launch(self, fds: tuple[int, int, int] | None) -> Terminal | None:
        assert fds is not None  # noqa: S101  never on a terminal
        try:
            self._execute(fds)
        except NotTaken:
            # It was killed while it waited; or its user may not enter the directory, or there is none yet.
            another = self._source.make(self._call)
            self._retire()
            self._warm = another
            self._execute(fds)
        self._source.used()
        return None

    def finish(self, *, limit: str | None) -> Result[Any]:
        """As of any command; only here it is asked whether it was executed.

        To wait for that before the pump begins would be to wait for the program's end, where it runs on the
        processor on which this thread sleeps.
        """
        failed = self._warm.refusal()
        if failed:
            return self.unexecutable(exec_failure(failed, self.argv[0]))
        return super().finish(limit=limit)

    def _execute(self, fds: tuple[int, int, int]) -> None:
        self.process, self.cgroup = self._warm.process, self._warm.cgroup
        self.check_clock()
        self._warm.execute(self._call, fds)

    def _retire(self) -> None:
        self._source.retire(self._warm)

    def _changes(self) -> list[Change] | None:
        return self._warm.changes() if self._wants_changes else None

    def _denied(self) -> tuple[str, ...]:
        return self._warm.denied()

    def _layer_is_full(self) -> bool:
        return self._warm.is_full()
