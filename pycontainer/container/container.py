"""A container with an identity: made, started, entered, stopped, started again, removed.

Its writable layer is on disk and lives until :meth:`Container.remove`.  It belongs to this process: when
the process ends, however it ends, the reaper ends the container and removes what it had.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn

from pycontainer.container.arguments import (
    Tty,
    account,
    directory,
    environment,
    flag,
    grace,
    terminal,
    words,
)
from pycontainer.container.command import complete
from pycontainer.container.confinement import full_environment
from pycontainer.container.entry import Entered, Execution
from pycontainer.container.exchange import PLAIN, Exchange
from pycontainer.container.filesystem import FileSystem
from pycontainer.container.options import refuse_unknown
from pycontainer.container.result import Result
from pycontainer.container.start import Fds
from pycontainer.container.stdio import DEVNULL, PIPE, STDOUT, Stdio, refuse_beside_terminal
from pycontainer.container.text import Text
from pycontainer.errors import InvalidArgument, NotSupported
from pycontainer.kernel.process import Process
from pycontainer.kernel.rooted import Rooted

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.logs import Logs, News
    from pycontainer.container.options import ExchangeOptions, LimitOptions
    from pycontainer.container.waiting import Condition


class Container(FileSystem):
    """A container of this process; engines make them. ``with`` removes it at the end.

    All methods may be called from several threads.
    """

    # -- programs --------------------------------------------------------------------------

    def exec(
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
        """Run a further program in the container and wait for it, as :func:`pycontainer.run` does.

        It has the confinement of the container's own program.  ``timeout`` ends this program with, where the
        host gives cgroups, all that came of it, and spares the rest of the container.  Takes ``input``,
        ``stdin``, ``stdout``, ``stderr``, ``timeout``, ``text``, ``encoding``, ``errors``, ``output_limit``
        and ``on_output`` as ``run`` does.
        Raises :class:`StateError` when the container does not run.
        """
        flag("check", check)
        result = complete(self.prepare(command, env=env, workdir=workdir, user=user, tty=tty, **exchange))
        return result.check() if check else result

    def prepare(
        self,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        workdir: str | os.PathLike[str] | None = None,
        user: str | int | None = None,
        tty: Tty = False,
        **exchange: Unpack[ExchangeOptions],
    ) -> Execution:
        """A checked ``exec`` that is not yet started: what :meth:`exec` and its asynchronous twin drive."""
        told = PLAIN
        if exchange:
            refuse_unknown("exec", exchange)
            told = Exchange.of(**exchange)
        argv = words("command", command)
        _check_entry(env, workdir, user, tty)

        def begin(fds: Fds) -> Entered:
            return self._enter(argv, fds, env, workdir, user, tty, {})

        return Execution(argv, told, begin, tty=bool(tty))

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
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        bufsize: int = -1,
        **unknown: NoReturn,
    ) -> Process:
        """Start a further program with live streams, as ``subprocess.Popen`` does; ``with`` waits for it.

        With ``tty`` its ``stdin`` and ``stdout`` are a terminal of the container, and ``resize`` works; a file
        as one of its streams is refused then.
        Raises :class:`CommandNotFound`, :class:`CommandNotExecutable`, :class:`StateError`.
        """
        refuse_unknown("popen", unknown)
        argv = words("command", command)
        _check_entry(env, workdir, user, tty)
        mode = Text.choose(text, encoding, errors)
        if tty:
            refuse_beside_terminal(
                stdin=(stdin, None, PIPE), stdout=(stdout, DEVNULL, PIPE), stderr=(stderr, DEVNULL, STDOUT)
            )
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
            return self._enter(argv, fds, env, workdir, user, tty, streams).process

    def _enter(
        self,
        argv: tuple[str, ...],
        fds: Fds,
        env: Any,
        workdir: str | os.PathLike[str] | None,
        user: str | int | None,
        tty: Tty,
        streams: Mapping[str, Any],
    ) -> Entered:
        spec = self.spec
        who = spec.user if user is None else account(user)
        with self._lock:
            running = self._hopefully_alive("exec")
            fd = os.dup(running.root)
        try:
            root = Rooted(fd, ids=running.launched.map)
            identity = running.accounts.identify(who, root, spec.groups, read=self._workspace.reach.read)
        finally:
            os.close(fd)
        variables = {"HOSTNAME": running.launched.hostname, **full_environment(spec, identity)}
        if env is not None:
            variables.update(environment("env", env))
        return running.enter(
            argv,
            fds,
            identity=identity,
            env=variables,
            workdir=directory(workdir) if workdir is not None else spec.workdir,
            tty=terminal(tty),
            streams=streams,
        )

    # -- output ----------------------------------------------------------------------------

    def logs(
        self,
        *,
        follow: bool = False,
        since: Any = None,
        until: Any = None,
        tail: int | None = None,
        stdout: bool = True,
        stderr: bool = True,
        entries: bool = False,
        hold: bool = False,
    ) -> Logs:
        """What the container wrote, oldest first: lines with their ends, or with ``entries`` :class:`LogEntry`.

        Entries are as the log has them: the beginning of a line may be one of its own.

        ``since`` and ``until`` are seconds since 1970, a ``datetime`` or its text, or a ``timedelta`` before now;
        ``tail`` is the number of lines from the end to begin with.  With ``follow`` what it writes is told as it
        comes, until the container has ended; a line that is not complete yet comes in pieces then.  Where it begins is
        decided by the call, not by the first reading.  At most the last 100 MiB are kept, or as many as ``log_size`` and
        ``log_files`` say.  Who follows slowly may miss what no longer was in the log: ``missed`` of the result counts its
        files.  With ``hold`` a detached container waits for who reads instead, as for the reader of a pipe, once the log
        is full.

        >>> for line in db.logs(tail=10): print(line)           # doctest: +SKIP
        """
        from pycontainer.container.logreader import LogReader, moment
        from pycontainer.container.logs import Logs

        for name, value in (
            ("follow", follow), ("stdout", stdout), ("stderr", stderr), ("entries", entries), ("hold", hold),
        ):  # fmt: skip
            flag(name, value)
        if hold and not follow:
            raise InvalidArgument("hold", hold, "only who follows can be waited for: say follow=True")
        if tail is not None and (isinstance(tail, bool) or not isinstance(tail, int) or tail < 0):
            raise InvalidArgument("tail", tail, "a number of lines from 0 on is needed")
        begin, end = moment("since", since), moment("until", until)
        wanted = {name for name, told in (("stdout", stdout), ("stderr", stderr)) if told}
        folder, news = self._log(end, follow=follow, hold=hold)
        reader = LogReader(folder, since=begin, until=end, tail=tail, follow=news is not None)
        if news is not None and hold:
            news.begin(reader.newest)
        return Logs(reader, news, wanted, entries=entries)

    def _log(self, until: float | None, *, follow: bool, hold: bool) -> tuple[str, News | None]:
        """Where the log is, and who tells one that follows of news until that moment."""
        self.allow("read its log")
        if self.spec.tty:
            raise NotSupported(
                "the output of a container on a terminal of this process is not logged",
                "read terminal, or create it with detach=True",
            )
        if hold:
            raise NotSupported(
                "a container of this process waits for nobody who reads", "create it with detach=True"
            )
        self._journal.drain()
        return self._journal.folder, self._journal.news(until) if follow else None

    def wait_for(self, *conditions: Condition, timeout: float | None = 60) -> None:
        """Wait until the container is ready: until each condition has held, one after the other.

        Conditions are those of ``pycontainer.wait``, or any function of the container.  Raises :class:`WaitTimeout` after
        ``timeout`` seconds in all, and :class:`StateError` when the container ends meanwhile.

        >>> db.wait_for(pc.wait.port(5432), timeout=30)         # doctest: +SKIP
        """
        from pycontainer.container.waiting import wait_for

        wait_for(self, conditions, timeout)

    # -- limits ----------------------------------------------------------------------------

    def update(self, **limits: Unpack[LimitOptions]) -> None:
        """Change limits of the container, which may run, by the names of :func:`pycontainer.run`; others stay.

        ``None`` takes one away.  On failure those before hold again.  Raises :class:`InvalidArgument`,
        :class:`NotSupported`, and :class:`KernelError` for a limit that the kernel refuses, such as one of
        memory below what is in use and cannot be reclaimed.
        """
        running = self.alive("update")
        running.update(limits)

    def stats(self, *, stream: bool = False, interval: float = 1.0) -> Any:
        """What the whole container has used until now: a :class:`CgroupStat`, in seconds and bytes.

        With ``stream`` an iterator that yields one now and every ``interval`` seconds until it has ended.
        Raises :class:`NotSupported` without a cgroup.
        """
        pause = grace("interval", interval)
        running = self.alive("tell what it uses")
        return running.stats_stream(pause) if flag("stream", stream) else running.stats()


def _check_entry(env: Any, workdir: Any, user: Any, tty: Any) -> None:
    """Refuse wrong arguments of a further program before anything is opened for it."""
    if env is not None:
        environment("env", env)
    terminal(tty)
    if workdir is not None:
        directory(workdir)
    if user is not None:
        account(user)
