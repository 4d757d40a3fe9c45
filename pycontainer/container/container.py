"""A container with an identity: made, started, entered, stopped, started again, removed.

Its writable layer is on disk and lives until :meth:`Container.remove`.  It belongs to this process: when
the process ends, however it ends, the reaper ends the container and removes what it had.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pycontainer.container.command import Exchange, complete
from pycontainer.container.confinement import full_environment
from pycontainer.container.launch import Fds
from pycontainer.container.result import Result
from pycontainer.container.running import Entered, Execution, Running
from pycontainer.container.spec import Spec, environment, words
from pycontainer.container.stdio import DEVNULL, PIPE, Stdio
from pycontainer.container.text import Text
from pycontainer.container.workspace import Workspace
from pycontainer.errors import InvalidArgument, NotSupported, StateError, WaitTimeout
from pycontainer.image.accounts import identify_in
from pycontainer.kernel.changes import Change, overlay_changes
from pycontainer.kernel.process import Process
from pycontainer.kernel.rooted import Rooted
from pycontainer.kernel.signals import signal_number
from pycontainer.kernel.transfer import copy_in, copy_out

if TYPE_CHECKING:
    from pycontainer.engine import Engine

#: The verbs that each state allows; every other one is a StateError.
VERBS = {
    "created": frozenset({"start", "stop", "restart", "list changes", "remove"}),
    "running": frozenset({"exec", "kill", "stop", "restart", "pause", "wait", "reach files", "list changes"}),
    "paused": frozenset({"kill", "stop", "restart", "unpause", "wait", "reach files", "list changes"}),
    "exited": frozenset({"start", "stop", "restart", "wait", "reach files", "list changes", "remove"}),
    "removed": frozenset({"remove"}),
    # After a fork of the host: the containers stay the parent's.
    "of another process": frozenset(),
}


class Container:
    """A container of this process. Make one with :meth:`create`; ``with`` removes it at the end.

    All methods may be called from several threads.

    >>> import pycontainer as pc
    >>> with pc.Container.create("host:", ["sleep", "60"]) as c:   # doctest: +SKIP
    ...     c.start()
    ...     c.exec(["hostname"]).stdout
    """

    def __init__(self, workspace: Workspace, spec: Spec, name: str | None) -> None:
        self.id = os.urandom(32).hex()
        self.name = name or self.id[:12]
        self.spec = spec
        self._workspace = workspace
        self._folder = workspace.make_folder(self.id[:12])
        self._running: Running | None = None
        self._paused = False
        self._removed = False
        self._lock = threading.RLock()

    @classmethod
    def create(
        cls, image: Any, command: Sequence[str] | str | None = None, *, engine: Engine | None = None, **options: Any
    ) -> Container:
        """Make a container, not yet started; the options are those of :func:`pycontainer.run`, and ``name``.

        It belongs to ``engine``, or to the default one.  Raises :class:`InvalidArgument`.
        """
        if engine is None:
            from pycontainer.engine import default_engine

            engine = default_engine()
        return engine.containers.create(image, command, **options)

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
        return self._alive("kill").main.pid

    def _allow(self, verb: str) -> None:
        status = self.status
        if verb not in VERBS[status]:
            raise StateError(f"container {self.name}", status, verb)

    def _alive(self, verb: str) -> Running:
        with self._lock:
            self._allow(verb)
            if self._running is None:
                raise StateError(f"container {self.name}", self.status, verb)
            return self._running

    # -- life ------------------------------------------------------------------------------

    def start(self, *, stdin: Any = None, stdout: Any = DEVNULL, stderr: Any = DEVNULL) -> None:
        """Start the container's program; when this returns it runs.

        Its streams go where told: a file, an fd, or nowhere.  With ``tty=True`` they are :attr:`terminal`.
        Raises :class:`CommandNotFound`, :class:`CommandNotExecutable`, :class:`KernelError`.
        """
        if PIPE in (stdin, stdout, stderr):
            raise InvalidArgument("stdout", PIPE, "a pipe nobody reads would stop the program: use popen, or a file")
        with self._lock:
            self._allow("start")
            self._let_go()
            with ExitStack() as stack:
                stdio = None
                if not self.spec.tty:
                    stdio = Stdio.create(stdin=stdin, stdout=stdout, stderr=stderr)
                    stack.callback(stdio.close)
                self._running = Running.start(
                    self._workspace,
                    self.spec,
                    None if stdio is None else stdio.child,
                    name=self.id[:12],
                    hostname=self.id[:12],
                    folder=self._folder,
                )
            self._paused = False

    @property
    def terminal(self) -> Any:
        """The host's side of the terminal of a container made with ``tty=True`` (a raw binary file)."""
        return self._alive("exec").terminal

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the container's program has ended; its exit code.

        Raises :class:`WaitTimeout` after ``timeout`` seconds; the container goes on.
        """
        return self._alive("wait").wait(timeout)

    def kill(self, signal: int | str = "KILL") -> None:
        """Send a signal to the container's program.

        It is the first process of its pid namespace: signals that it has no handler for do nothing to it,
        but KILL ends it and all others (pid_namespaces(7)).  ``init=True`` makes it an ordinary process.
        """
        number = signal_number(signal)
        running = self._alive("kill")
        if number == 9:
            running.kill()
        else:
            running.main.send_signal(number)

    def stop(self, timeout: float = 10) -> int | None:
        """End the program: its stop signal, ``timeout`` seconds, then KILL. The exit code; idempotent."""
        with self._lock:
            self._allow("stop")
            running, paused = self._running, self._paused
        if running is None or running.poll() is not None:
            return self.exit_code
        if paused:
            self.unpause()
        running.main.send_signal(self.spec.stop_signal)
        try:
            return running.wait(timeout)
        except WaitTimeout:
            running.kill()
            return running.main.exit_code

    def restart(self, timeout: float = 10) -> None:
        """Stop and start again, with the same writable layer."""
        with self._lock:
            self._allow("restart")
            self.stop(timeout)
            self.start()

    def pause(self) -> None:
        """Stop every process of the container where it stands. Raises :class:`NotSupported` without a cgroup."""
        with self._lock:
            running = self._alive("pause")
            if running.cgroup is None:
                raise NotSupported(
                    "no cgroup can be made to pause the container in",
                    "run as root, or in a delegated cgroup (systemd-run --user --scope -p Delegate=yes)",
                )
            running.cgroup.freeze()
            self._paused = True

    def unpause(self) -> None:
        """Let the processes go on."""
        with self._lock:
            running = self._alive("unpause")
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
            self._allow("remove")
            self._let_go()
            self._workspace.remove_folder(self.id[:12])
            self._removed = True

    def _let_go(self) -> None:
        """Release what the last run held."""
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove(force=True)

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.status}>"

    # -- programs --------------------------------------------------------------------------

    def exec(
        self,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        workdir: str | None = None,
        user: str | int | None = None,
        tty: bool = False,
        check: bool = False,
        **exchange: Any,
    ) -> Result[Any]:
        """Run a further program in the container and wait for it, as :func:`pycontainer.run` does.

        It has the confinement of the container's own program.  ``timeout`` ends this program with, where the
        host gives cgroups, all that came of it, and spares the rest of the container.  Takes ``input``,
        ``stdin``, ``stdout``, ``stderr``, ``timeout``, ``text``, ``encoding``, ``errors``, ``output_limit``
        and ``on_output`` as ``run`` does.
        Raises :class:`StateError` when the container does not run.
        """
        execution = self._execution(command, env, workdir, user, tty, Exchange.of(**exchange))
        result = complete(execution)
        return result.check() if check else result

    def _execution(
        self, command: Any, env: Any, workdir: str | None, user: str | int | None, tty: bool, exchange: Exchange
    ) -> Execution:
        argv = words("command", command)
        self._alive("exec")

        def begin(fds: Fds) -> Entered:
            return self._enter(argv, fds, env, workdir, user, {})

        return Execution(argv, exchange, begin, tty=tty)

    def popen(
        self,
        command: Sequence[str] | str,
        *,
        stdin: Any = None,
        stdout: Any = DEVNULL,
        stderr: Any = DEVNULL,
        env: Mapping[str, str] | Sequence[str] | None = None,
        workdir: str | None = None,
        user: str | int | None = None,
        tty: bool = False,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        bufsize: int = -1,
    ) -> Process:
        """Start a further program with live streams, as ``subprocess.Popen`` does; ``with`` waits for it.

        With ``tty`` its ``stdin`` and ``stdout`` are a terminal of the container, and ``resize`` works.
        Raises :class:`CommandNotFound`, :class:`CommandNotExecutable`, :class:`StateError`.
        """
        argv = words("command", command)
        mode = Text.choose(text, encoding, errors)
        with ExitStack() as stack:
            stdio = None if tty else Stdio.create(stdin=stdin, stdout=stdout, stderr=stderr)
            if stdio is not None:
                stack.callback(stdio.close)
            streams: dict[str, Any] = {"bufsize": bufsize}
            if stdio is not None:
                streams.update(stdin=stdio.stdin, stdout=stdio.stdout, stderr=stdio.stderr)
            if mode is not None:
                streams.update(encoding=mode.encoding, errors=mode.errors)
            fds = None if stdio is None else stdio.child
            return self._enter(argv, fds, env, workdir, user, streams).process

    def _enter(
        self,
        argv: tuple[str, ...],
        fds: Fds,
        env: Any,
        workdir: str | None,
        user: str | int | None,
        streams: Mapping[str, Any],
    ) -> Entered:
        running = self._alive("exec")
        spec = self.spec
        identity = identify_in(spec.user if user is None else str(user), self._rooted(running))
        variables = full_environment(spec, identity, running.launched.hostname, environment("env", env))
        return running.enter(
            argv,
            fds,
            identity=identity,
            env=variables,
            workdir=workdir or spec.workdir,
            streams=streams,
        )

    # -- files -----------------------------------------------------------------------------

    def _rooted(self, running: Running) -> Rooted:
        return Rooted(running.root, ids=running.launched.map)

    def read_bytes(self, path: str) -> bytes:
        """The content of a file of the container. Raises :class:`KernelError`."""
        return self._rooted(self._alive("reach files")).read_bytes(path)

    def write_bytes(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a file of the container, atomically; it belongs to the container's root."""
        self._rooted(self._alive("reach files")).write_bytes(path, data, mode=mode)

    def put(self, source: str | os.PathLike[str], target: str) -> None:
        """Copy a file or tree of the host into the container, as ``docker cp`` does."""
        copy_in(self._rooted(self._alive("reach files")), source, target)

    def get(self, source: str, target: str | os.PathLike[str]) -> None:
        """Copy a file or tree of the container to the host, as ``docker cp`` does; never outside of ``target``."""
        copy_out(self._rooted(self._alive("reach files")), source, target)

    def changes(self) -> list[Change]:
        """What differs from the image, in the order of paths (``docker diff``)."""
        with self._lock:
            self._allow("list changes")
            running = self._running
            if running is None:
                return []
            fd = os.open(f"{self._folder}/upper", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return overlay_changes(fd, running.launched.lowers[::-1])
            finally:
                os.close(fd)
