"""A container with an identity: made, started, entered, stopped, started again, removed.

Its writable layer is on disk and lives until :meth:`Container.remove`.  It belongs to this process: when
the process ends, however it ends, the reaper ends the container and removes what it had.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from pycontainer.container.command import Exchange, complete
from pycontainer.container.confinement import full_environment
from pycontainer.container.life import Life
from pycontainer.container.result import Result
from pycontainer.container.running import Entered, Execution, Running
from pycontainer.container.spec import directory, environment, words
from pycontainer.container.start import Fds
from pycontainer.container.stdio import DEVNULL, Stdio
from pycontainer.container.text import Text
from pycontainer.image.accounts import identify_in
from pycontainer.kernel.changes import Change, overlay_changes
from pycontainer.kernel.process import Process
from pycontainer.kernel.rooted import Rooted
from pycontainer.kernel.transfer import copy_in, copy_out


class Container(Life):
    """A container of this process; engines make them. ``with`` removes it at the end.

    All methods may be called from several threads.
    """

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
        result = complete(self.prepare(command, env=env, workdir=workdir, user=user, tty=tty, **exchange))
        return result.check() if check else result

    def prepare(
        self,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        workdir: str | None = None,
        user: str | int | None = None,
        tty: bool = False,
        **exchange: Any,
    ) -> Execution:
        """A checked ``exec`` that is not yet started: what :meth:`exec` and its asynchronous twin drive."""
        argv = words("command", command)
        self.alive("exec")

        def begin(fds: Fds) -> Entered:
            return self._enter(argv, fds, env, workdir, user, {})

        return Execution(argv, Exchange.of(**exchange), begin, tty=tty)

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
        running = self.alive("exec")
        spec = self.spec
        identity = identify_in(spec.user if user is None else str(user), self._rooted(running))
        hostname = {"HOSTNAME": running.launched.hostname}
        variables = hostname | full_environment(spec, identity, environment("env", env))
        return running.enter(
            argv,
            fds,
            identity=identity,
            env=variables,
            workdir=directory(workdir) if workdir is not None else spec.workdir,
            streams=streams,
        )

    # -- files -----------------------------------------------------------------------------

    def _rooted(self, running: Running) -> Rooted:
        return Rooted(running.root, ids=running.launched.map)

    def read_bytes(self, path: str) -> bytes:
        """The content of a file of the container. Raises :class:`KernelError`."""
        return self._rooted(self.alive("reach files")).read_bytes(path)

    def write_bytes(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a file of the container, atomically; it belongs to the container's root."""
        self._rooted(self.alive("reach files")).write_bytes(path, data, mode=mode)

    def put(self, source: str | os.PathLike[str], target: str) -> None:
        """Copy a file or tree of the host into the container, as ``docker cp`` does."""
        copy_in(self._rooted(self.alive("reach files")), source, target)

    def get(self, source: str, target: str | os.PathLike[str]) -> None:
        """Copy a file or tree of the container to the host, as ``docker cp`` does; never outside of ``target``."""
        copy_out(self._rooted(self.alive("reach files")), source, target)

    def changes(self) -> list[Change]:
        """What differs from the image, in the order of paths (``docker diff``)."""
        with self._lock:
            self.allow("list changes")
            running = self._running
            if running is None:
                return []
            fd = os.open(f"{self._folder}/upper", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return overlay_changes(
                    fd, running.launched.lowers[::-1], upper_base=running.launched.upper_shift
                )
            finally:
                os.close(fd)
