"""Containers that are ready before they are needed."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pycontainer.container.arguments import flag, seconds
from pycontainer.container.command import complete
from pycontainer.container.exchange import take_exchange
from pycontainer.container.result import Result
from pycontainer.container.spec import Call, Spec, call_of
from pycontainer.container.streams import KILLED_SECONDS
from pycontainer.container.warm import Warm, WarmRun
from pycontainer.container.workspace import Workspace
from pycontainer.errors import PyContainerError, StateError, WaitTimeout

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import CallOptions, PooledOptions


class Pool:
    """``size`` containers of one specification that wait for a command. Thread-safe; ``close`` removes them."""

    def __init__(self, workspace: Workspace, spec: Spec, *, size: int, entrypoint: Any = None) -> None:
        """Set one up, and a thread that sets up the others. Raises :class:`PyContainerError` with nothing left."""
        self.size = size
        self._workspace = workspace
        self._spec = spec
        self._entrypoint = entrypoint
        self._ready: deque[Warm] = deque()
        self._taken: set[Warm] = set()
        self._retired: deque[Warm] = deque()
        self._failed = self._closed = self._is_awaited = False
        #: What could not be removed, for close to tell.
        self._trouble: Exception | None = None
        self._changed = threading.Condition()
        self._ready.append(Warm(workspace, spec))
        self._thread = threading.Thread(target=self._tend, name="pycontainer pool", daemon=True)
        self._thread.start()

    # -- running ---------------------------------------------------------------------------

    def run(
        self, command: Sequence[str] | str | None = None, **options: Unpack[PooledOptions]
    ) -> Result[Any]:
        """Run a command in a container of the pool, which is gone afterwards, and wait for its end.

        Arguments, result and errors are those of :func:`pycontainer.run`, as far as they are of the command:
        ``input``, ``stdin``, ``stdout``, ``stderr``, ``timeout``, ``cpu_timeout``, ``check``, ``text``,
        ``encoding``, ``errors``, ``output_limit``, ``on_output``, ``changes``; ``env``, which is added to the
        pool's; ``workdir`` and ``user``.  A container for another ``user`` than the pool's, or whose
        ``workdir`` has first to be made, is made on the spot, and so is one when none is ready: it takes as long
        as :func:`pycontainer.run`.  ``usage.wall`` begins with the call; what setting up cost is in the
        rest of ``usage``, as in any run.  Raises :class:`StateError` when the pool is closed.
        """
        given: dict[str, Any] = {**options}
        check = flag("check", given.pop("check", False))
        result = complete(self.prepare(command, **given))
        return result.check() if check else result

    def prepare(self, command: Sequence[str] | str | None = None, **options: Unpack[CallOptions]) -> WarmRun:
        """A checked run that is not yet started: what :meth:`run` and its asynchronous twin drive."""
        given: dict[str, Any] = {**options}
        exchange, changes = take_exchange("Pool.run", given)
        call = call_of(self._spec, command, entrypoint=self._entrypoint, **given)
        return WarmRun(self, call, exchange, changes=changes)

    @property
    def ready(self) -> int:
        """How many containers wait at this moment."""
        return len(self._ready)

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until all ``size`` containers are ready. Raises :class:`WaitTimeout` after so many seconds.

        Raises what keeps them from being set up, and :class:`StateError` when the pool is closed.
        """
        timeout = seconds("timeout", timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        self._check_open("wait for")
        with self._changed:
            self._failed, self._is_awaited = False, True
            self._changed.notify_all()
            while len(self._ready) < self.size and not self._failed:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise WaitTimeout(
                        f"{len(self._ready)} of {self.size} containers were ready in {timeout:g} s"
                    )
                self._changed.wait(left)
                self._check_open("wait for")
            failed, self._is_awaited = self._failed, False
        if failed:
            self._add(Warm(self._workspace, self._spec))

    # -- the source of its runs' containers ------------------------------------------------

    def take(self, call: Call) -> Warm:
        """A container for a command: one that waits, or a new one."""
        self._check_open("run")
        if call.user is not None and call.user != self._spec.user:
            return self.make(call)
        try:
            warm = self._ready.popleft()
        except IndexError:
            return self.make(call)
        return self._note(warm)

    def make(self, call: Call) -> Warm:
        """A new container for this command alone."""
        self._check_open("run")
        return self._note(Warm(self._workspace, call.of(self._spec)))

    def _note(self, warm: Warm) -> Warm:
        with self._changed:
            if not self._closed:
                self._taken.add(warm)
                self._failed = False
                return warm
        warm.close()
        raise StateError("the pool", "closed", "run")

    def used(self) -> None:
        """One was taken, and runs."""
        if self._lacks:
            with self._changed:
                self._changed.notify_all()

    def retire(self, warm: Warm) -> None:
        """Have a container that was used removed, and another one set up.

        Where as many are waiting for that as the pool has, by who used it: runs are faster than its thread.
        """
        is_late = len(self._retired) >= self.size
        if is_late:
            self._dispose(warm)
        with self._changed:
            self._taken.discard(warm)
            if not is_late:
                self._retired.append(warm)
            self._changed.notify_all()

    # -- its thread ------------------------------------------------------------------------

    def _tend(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work)
                retired = self._retired.popleft() if self._retired else None
                if retired is None and self._closed:
                    return
            if retired is not None:
                self._dispose(retired)
            if not self._closed and not self._failed and self._lacks:
                self._refill()

    def _has_work(self) -> bool:
        return bool(self._closed or self._retired or (self._lacks and not self._failed))

    @property
    def _lacks(self) -> bool:
        """Is another one to be set up? While runs are under way, which that would slow down, only below the half."""
        missing = self.size - len(self._ready)
        return missing > 0 and (not self._taken or self._is_awaited or 2 * missing > self.size)

    def _refill(self) -> None:
        try:
            warm = Warm(self._workspace, self._spec)
        except Exception:  # noqa: BLE001  whatever it is, it must not end the thread
            # Told to the next run that finds none ready: it makes its own, and meets the same.
            with self._changed:
                self._failed = True
                self._changed.notify_all()
            return
        self._add(warm)

    def _add(self, warm: Warm) -> None:
        with self._changed:
            if not self._closed:
                self._ready.append(warm)
                self._changed.notify_all()
                return
        self._dispose(warm)

    # -- the end ---------------------------------------------------------------------------

    def close(self) -> None:
        """End what runs, and remove every container; idempotent. Runs under way return as killed ones do.

        In a forked child of the process that made it, nothing happens: it is the parent's.
        """
        if self._workspace.pid != os.getpid():
            return
        with self._changed:
            self._closed = True
            taken = list(self._taken)
            self._changed.notify_all()
        for warm in taken:
            # Reaped and closed by its run in this moment.
            with suppress(ValueError):
                warm.process.kill()
        with self._changed:
            if not self._changed.wait_for(lambda: not self._taken, KILLED_SECONDS):
                raise WaitTimeout(f"{len(self._taken)} runs of the pool did not end in {KILLED_SECONDS:g} s")
        self._thread.join()
        for left in (self._retired, self._ready):
            while left:
                self._dispose(left.popleft())
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble

    def _dispose(self, warm: Warm) -> None:
        try:
            warm.close()
        except (PyContainerError, OSError) as error:
            self._trouble = error

    def _check_open(self, verb: str) -> None:
        if self._workspace.pid != os.getpid():
            raise StateError("the pool", "of another process", verb)
        if self._closed:
            raise StateError("the pool", "closed", verb)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._ready)} of {self.size} ready"
        return f"<Pool {state}>"
