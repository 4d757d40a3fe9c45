"""The life cycle of a container: its states, and the verbs that lead from one to another."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from pycontainer.container.arguments import grace, seconds
from pycontainer.container.bounds import CGROUP_FIX
from pycontainer.container.journal import LOG, Journal
from pycontainer.container.running import Running
from pycontainer.container.snapshot import Stack
from pycontainer.container.spec import Spec
from pycontainer.container.stdio import DEVNULL, PIPE, STDOUT, refuse_beside_terminal
from pycontainer.container.volumes import attach
from pycontainer.container.workspace import Workspace
from pycontainer.errors import InvalidArgument, NotSupported, StateError, WaitTimeout
from pycontainer.kernel.signals import signal_number
from pycontainer.state.table import allow

_Self = TypeVar("_Self", bound="Life")


class Life:
    """The states of a container and the verbs that lead from one to another; base of ``Container``."""

    def __init__(
        self,
        workspace: Workspace,
        spec: Spec,
        name: str | None,
        known: Callable[[Any], object] = lambda _: None,
        stack: Stack | None = None,
    ) -> None:
        """``known`` is called with every further container that is made from this one; ``stack`` is its image's."""
        self.id = os.urandom(32).hex()
        self.name = name or self.id[:12]
        self.spec = spec
        self._workspace = workspace
        self._known = known
        self._hold = spec.image.hold()
        self._stack = stack or Stack(origin=spec.image, layers=spec.image.layers)
        try:
            self._folder = workspace.make_folder(
                self.id[:12], other_users=spec.security.own_users, size=spec.size
            )
            try:
                self._volumes = attach(workspace, spec, name=self.id[:12], who=f"container {self.name}")
            except BaseException:
                workspace.remove_folder(self.id[:12])
                raise
        except BaseException:
            self._drop_image()
            raise
        self._running: Running | None = None
        self._journal = Journal(lambda: workspace.make_folder(f"{self.id[:12]}.log", other_users=False))
        #: When it was started last, in seconds since 1970.
        self.started_at: float | None = None
        self._paused = False
        self._removed = False
        self._lock = threading.RLock()

    # -- state -----------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """``created``, ``running``, ``paused``, ``exited`` or ``removed``."""
        with self._lock:
            if self._removed:
                return "removed"
            if self._workspace.pid != os.getpid():
                return "of another process"
            if self._running is None:
                return "created"
            if self._running.poll() is not None:
                return "exited"
            return "paused" if self._paused else "running"

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last run (128 + n for signal n), or ``None``."""
        with self._lock:
            return None if self._running is None else self._running.poll()

    @property
    def pid(self) -> int:
        """The host's pid of the container's first process. Raises :class:`StateError` when it does not run."""
        return self.alive("tell its pid").main.pid

    def allow(self, verb: str) -> None:
        """Raise :class:`StateError` unless the state allows ``verb``."""
        allow(f"container {self.name}", self.status, verb)

    def alive(self, verb: str) -> Running:
        """The last start, if the state allows ``verb``."""
        with self._lock:
            self.allow(verb)
            if self._running is None:
                raise StateError(f"container {self.name}", self.status, verb)
            return self._running

    def _hopefully_alive(self, verb: str) -> Running:
        """The same without asking the kernel, for a verb that finds out whether the program has ended meanwhile."""
        running = self._running
        if running is None or running.main.ended is not None or self._paused or self._removed:
            return self.alive(verb)
        return running if self._workspace.pid == os.getpid() else self.alive(verb)

    # -- life ------------------------------------------------------------------------------

    def start(self, *, stdin: Any = None, stdout: Any = LOG, stderr: Any = LOG) -> None:
        """Start the container's program; when this returns it runs.

        Its output goes to the log (:meth:`logs`), or where told: a file, an fd, or nowhere (``None``).  With ``tty=True``
        its streams are :attr:`terminal`.
        Raises :class:`CommandNotFound`, :class:`CommandNotExecutable`, :class:`KernelError`.
        """
        if PIPE in (stdin, stdout, stderr):
            raise InvalidArgument(
                "stdout", PIPE, "a pipe nobody reads would stop the program: use popen, or a file"
            )
        if self.spec.tty:
            refuse_beside_terminal(
                stdin=(stdin, None), stdout=(stdout, LOG, DEVNULL), stderr=(stderr, LOG, DEVNULL, STDOUT)
            )
        with self._lock:
            self.allow("start")
            self._let_go()
            with ExitStack() as stack:
                stdio = None
                if not self.spec.tty:
                    stdio = self._journal.streams(stdin=stdin, stdout=stdout, stderr=stderr)
                    stack.callback(stdio.close)
                started = time.time()
                self._running = Running.start(
                    self._workspace,
                    self.spec,
                    None if stdio is None else stdio.child,
                    name=self.id[:12],
                    hostname=self.id[:12],
                    folder=self._folder,
                    called=self.name,
                    mounts=self._volumes.mounts,
                )
            self._paused, self.started_at = False, started

    @property
    def terminal(self) -> Any:
        """The host's side of the terminal of a container made with ``tty=True`` (a raw binary file).

        What the program wrote last can be read after its end, until the next start or :meth:`remove`.
        """
        return self.alive("use its terminal").terminal

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the container's program has ended; its exit code.

        Raises :class:`WaitTimeout` after ``timeout`` seconds; the container goes on.
        """
        return self.alive("wait").wait(seconds("timeout", timeout))

    def kill(self, signal: int | str = "KILL") -> None:
        """Send a signal to the container's program.

        It is the first process of its pid namespace: signals that it has no handler for do nothing to it,
        but KILL ends it and all others (pid_namespaces(7)).  ``init=True`` makes it an ordinary process.
        """
        number = signal_number(signal)
        running = self.alive("kill")
        if number == 9:
            running.kill()
        else:
            running.main.send_signal(number)

    def stop(self, timeout: float = 10) -> int | None:
        """End the program: its stop signal, ``timeout`` seconds, then KILL. The exit code; idempotent."""
        grace("timeout", timeout)
        running = self.ask_to_stop()
        if running is None:
            return self.exit_code
        try:
            return running.wait(timeout)
        except WaitTimeout:
            running.kill()
            return running.main.exit_code

    def ask_to_stop(self) -> Running | None:
        """Send the stop signal; what is to be waited for then, or ``None`` when nothing runs."""
        with self._lock:
            self.allow("stop")
            running, paused = self._running, self._paused
        if running is None or running.poll() is not None:
            return None
        if paused:
            self.unpause()
        running.main.send_signal(self.spec.stop_signal)
        return running

    def restart(self, timeout: float = 10) -> None:
        """Stop and start again, with the same writable layer."""
        grace("timeout", timeout)
        with self._lock:
            self.allow("restart")
            self.stop(timeout)
            self.start()

    def pause(self) -> None:
        """Stop every process of the container where it stands. Raises :class:`NotSupported` without a cgroup."""
        with self._lock:
            running = self.alive("pause")
            if running.cgroup is None:
                raise NotSupported("no cgroup can be made to pause the container in", CGROUP_FIX)
            running.cgroup.freeze()
            self._paused = True

    def unpause(self) -> None:
        """Let the processes go on."""
        with self._lock:
            running = self.alive("unpause")
            if running.cgroup is not None:
                running.cgroup.thaw()
            self._paused = False

    def remove(self, *, force: bool = False) -> None:
        """Remove the container and its writable layer; idempotent. ``force`` ends a running one first.

        In a forked child of the process that made it, nothing happens: it is the parent's.
        """
        with self._lock:
            if self._removed or self._workspace.pid != os.getpid():
                return
            if force and self._running is not None and self._running.poll() is None:
                self._running.kill()
            self.allow("remove")
            self._let_go()
            self._journal.close()
            for folder in (f"{self.id[:12]}.log", self.id[:12]):
                self._workspace.remove_folder(folder)
            self._volumes.close()
            self._drop_image()
            self._removed = True

    def _drop_image(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.close()

    def _let_go(self) -> None:
        """Release what the last run held."""
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove(force=True)

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.status}>"
