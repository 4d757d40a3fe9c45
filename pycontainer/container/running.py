"""A container that runs: its first program, the programs that were started in it, and what it holds.

One object for each start; :class:`~pycontainer.container.container.Container` makes a new one at each
``start`` and asks it for everything that needs processes.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from pycontainer.container import slots
from pycontainer.container.accounting import COUNTED
from pycontainer.container.arguments import Tty
from pycontainer.container.bounds import CGROUP_FIX, changed_limits
from pycontainer.container.entry import Entered, enter
from pycontainer.container.launch import Launch, Layer, launch
from pycontainer.container.oom import set_oom_score
from pycontainer.container.spec import Spec
from pycontainer.container.start import Fds, Seat
from pycontainer.container.volumes import Mounts
from pycontainer.container.workspace import Workspace
from pycontainer.errors import KernelError, NotSupported, StateError, WaitTimeout
from pycontainer.image.accounts import Accounts, Identity
from pycontainer.kernel import orphans
from pycontainer.kernel.cgroup import NO_LIMITS, Cgroup, CgroupStat
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.process import LONGEST_POLL, Process
from pycontainer.kernel.reaper import reaper
from pycontainer.kernel.terminal import Terminal
from pycontainer.kernel.userns import release

#: How often a child that a tracer keeps is asked for again, in seconds.
_AGAIN = 0.05


class Running:
    """The host's side of one start of a container. :meth:`close` after its end; idempotent."""

    def __init__(self, launched: Launch, cgroup: Cgroup | None, home: Cgroup | None, *, note: str) -> None:
        root = launched.take(slots.SENT_ROOT)
        assert root is not None  # noqa: S101  always asked for
        self.launched = launched
        self._note = note
        self.root = root
        #: The whole container, and where its own program is in it.
        self.cgroup, self._home = cgroup, home
        self.accounts = Accounts()
        self.terminal = launched.take_terminal()
        self.main = Process.adopt(launched.pid, launched.pidfd)
        reaper().guard(self.main)
        self._entered: list[Entered] = []
        self._waiting: list[int] = []
        self._lock = threading.Lock()
        self._count = 0

    @classmethod
    def start(
        cls,
        workspace: Workspace,
        spec: Spec,
        stdio: Fds,
        *,
        name: str,
        hostname: str,
        folder: str,
        called: str,
        mounts: Mounts,
    ) -> Running:
        """Start the container's program. Raises :class:`PyContainerError` with nothing left behind."""
        with ExitStack() as stack:
            cgroup = home = workspace.cgroup(name, spec.bounds)
            if cgroup is not None:
                stack.callback(cgroup.close)
                if cgroup.layout.is_pure:
                    # Version 2 counts and limits only those that are in a leaf (cgroups(7)).
                    home = cgroup.child("main")
                    stack.callback(home.close)
            layer = Layer(upper=folder, send_root=True, mounts=mounts)
            launched = launch(
                workspace, spec, stdio, name=hostname, layer=layer, seat=Seat.of(home), called=called
            )
            try:
                workspace.note_process(name, launched.pid)
                set_oom_score(spec.oom_score_adj, launched.pid, cgroup)
            except BaseException:
                release(launched.pidfd)
                launched.close()
                raise
            stack.pop_all()
        workspace.running[name] = (called, launched)
        return cls(launched, cgroup, home, note=name)

    def enter(
        self,
        argv: tuple[str, ...],
        stdio: Fds,
        *,
        identity: Identity,
        env: dict[str, str],
        workdir: str,
        tty: Tty,
        streams: Mapping[str, Any],
    ) -> Entered:
        """Start a further program; ``stdio`` is ``None`` for a terminal of its own, which ``tty`` describes.

        ``streams`` are arguments for :meth:`Process.adopt`.
        """
        self._collect()
        cgroup = None
        try:
            with self._lock:
                self._count += 1
                name = f"exec-{self._count}"
                # A number that another thread closes meanwhile may come to be another container's.
                target = Fd(os.dup(self.main.fileno()))
            with target:
                if self.cgroup is not None:
                    cgroup = Cgroup.make(name, NO_LIMITS, parent=self.cgroup, accounting=COUNTED)
                pid, pidfd, master = enter(
                    self.launched,
                    target.fileno(),
                    argv,
                    stdio,
                    identity=identity,
                    env=env,
                    workdir=workdir,
                    tty=tty,
                    seat=Seat.of(cgroup),
                )
        except BaseException as error:
            if cgroup is not None:
                cgroup.close()
            # ValueError: closed by another thread.
            if isinstance(error, (KernelError, ValueError)) and self.main.poll() is not None:
                raise StateError("the container", "exited", "exec") from None
            raise
        try:
            set_oom_score(self.launched.spec.oom_score_adj, pid, cgroup)
        except BaseException:
            orphans.end(pidfd)
            if cgroup is not None:
                cgroup.dissolve(self._home)
            if master is not None:
                os.close(master)
            raise
        terminal = None if master is None else Terminal.adopt(master)
        entered = Entered(Process.adopt(pid, pidfd, terminal=terminal, **streams), cgroup, self._home)
        with self._lock:
            self._entered.append(entered)
            for fd in self._waiting:
                os.eventfd_write(fd, 1)
        return entered

    def update(self, given: Mapping[str, Any]) -> None:
        """Change limits, by the arguments' names; ``None`` takes one away. Raises :class:`NotSupported`."""
        changes = changed_limits(given, self._measured().limits)
        self._measured().update(**changes)

    def stats(self) -> CgroupStat:
        """What the whole container has used. Raises :class:`NotSupported` without a cgroup."""
        return self._measured().stat()

    def stats_stream(self, interval: float | None) -> Iterator[CgroupStat]:
        """The same every ``interval`` seconds, until the container has ended."""
        self._measured()
        while True:
            try:
                yield self.stats()
            except StateError:  # removed meanwhile
                return
            try:
                self.wait(interval)
                return
            except WaitTimeout:
                continue

    def _measured(self) -> Cgroup:
        if self.cgroup is None:
            raise NotSupported("there is no cgroup that would limit and count the container", CGROUP_FIX)
        return self.cgroup

    def _collect(self, *, awaited: bool = False) -> None:
        """Remove the cgroups of programs that have ended; of those whose usage is still to be read only on demand."""
        left: list[Entered] = []
        ended: list[Entered] = []
        if not all(each.awaited for each in self._entered):
            self._reap_guests()
        with self._lock:
            for each in self._entered:
                gone = each.process.ended is not None and (awaited or not each.awaited)
                (ended if gone else left).append(each)
            self._entered = left
        for each in ended:
            each.close()

    def poll(self) -> int | None:
        """The exit code of the container's program, or ``None`` while it runs."""
        self._reap_guests()
        orphans.collect()
        return self.main.poll()

    def wait(self, timeout: float | None) -> int:
        """Wait for the end of the container's program; its exit code. Raises :class:`WaitTimeout`.

        The first process of a pid namespace ends only when all others there are reaped
        (pid_namespaces(7)); those that were started from outside are this process's to reap.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.newcomers() as news:
            while True:
                code = self.poll()
                if code is not None:
                    return code
                left = LONGEST_POLL if deadline is None else min(LONGEST_POLL, deadline - time.monotonic())
                if left <= 0:
                    raise WaitTimeout(f"the container did not end within {timeout:g} s")
                poller = select.poll()
                for fd in self.pollable(news):
                    poller.register(fd, select.POLLIN)
                # One that a tracer keeps ends without a sign.
                poller.poll((min(left, _AGAIN) if orphans.any_left() else left) * 1000)

    @contextmanager
    def newcomers(self) -> Iterator[int]:
        """An fd for :meth:`pollable`, which wakes who waits when a further program is started meanwhile."""
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        with self._lock:
            self._waiting.append(fd)
        try:
            yield fd
        finally:
            with self._lock:
                self._waiting.remove(fd)
            os.close(fd)

    def pollable(self, news: int) -> list[int]:
        """The fds one of which is readable once :meth:`poll` has something to do."""
        with suppress(BlockingIOError):
            os.eventfd_read(news)
        found = [news]
        for process in (self.main, *self._guests()):
            # Closed by another thread in this moment: then it has ended.
            with suppress(ValueError):
                found.append(process.fileno())
        return found

    def _guests(self) -> list[Process]:
        return [
            each.process for each in self._entered if each.process.ended is None and not each.process.closed
        ]

    def _reap_guests(self) -> None:
        for guest in self._guests():
            guest.poll()

    def kill(self) -> None:
        """End every process of the container, also one that is paused, and wait for it."""
        if self.cgroup is not None:
            self.cgroup.kill()
        self.main.kill()
        self.wait(timeout=30)

    def close(self) -> None:
        """Let go of the fds, the cgroup and the id lease; every process must have ended."""
        with self._lock:
            self.main.close()
        if self.root >= 0:
            os.close(self.root)
            self.root = -1
        if self.terminal is not None:
            self.terminal.close()
        self._collect(awaited=True)
        for cgroup in (self._home, self.cgroup):
            if cgroup is not None:
                cgroup.close()
        self.launched.workspace.running.pop(self._note, None)
        self.launched.workspace.forget_process(self._note)
        self.launched.close()
