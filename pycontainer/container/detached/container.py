"""A detached container: what it wrote, how it is, its files; the verbs are in :mod:`.life`."""

from __future__ import annotations

import os
import time
from typing import IO, TYPE_CHECKING, Any, NoReturn

import attrs

from pycontainer.container.arguments import flag
from pycontainer.container.detached import codec
from pycontainer.container.detached.attaching import Attachment
from pycontainer.container.detached.inspecting import inspect
from pycontainer.container.detached.life import DetachedLife
from pycontainer.container.detached.logs import LogReader, moment
from pycontainer.container.launch import without_places
from pycontainer.errors import InvalidArgument, NotSupported, StateError
from pycontainer.kernel.changes import Change
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.monitorclient import Client
from pycontainer.kernel.native import lib
from pycontainer.state.runs import Health, HealthResult, read_health

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import LimitOptions
    from pycontainer.image.progress import Listener

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: How long somebody who follows waits for news before he looks himself, in seconds.
_LOOK = 5.0


class Detached(DetachedLife):
    """A container that goes on without this process. All methods may be called from any process, and any thread.

    ``with`` lets go of it at the end, and does not end it.
    """

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
    ) -> Logs:
        """What the container wrote, oldest first: lines with their ends, or with ``entries`` :class:`LogEntry`.

        Entries are as the log has them: the beginning of a line may be one of its own.

        ``since`` and ``until`` are seconds since 1970, a ``datetime`` or its text, or a ``timedelta`` before now;
        ``tail`` is the number of lines from the end to begin with.  With ``follow`` what it writes is told as it
        comes, until the container has ended; a line that is not complete yet comes in pieces then.  Where it begins is
        decided by the call, not by the first reading.
        """
        for name, value in (("follow", follow), ("stdout", stdout), ("stderr", stderr), ("entries", entries)):
            flag(name, value)
        if tail is not None and (isinstance(tail, bool) or not isinstance(tail, int) or tail < 0):
            raise InvalidArgument("tail", tail, "a number of lines from 0 on is needed")
        begin, end = moment("since", since), moment("until", until)
        wanted = {name for name, told in (("stdout", stdout), ("stderr", stderr)) if told}
        news = _News(self, end) if follow else None
        reader = LogReader(
            self._home.folder, since=begin, until=end, tail=tail, more=None if news is None else news.wait
        )
        return Logs(reader, news, wanted, entries=entries)

    def attach(self, *, logs: bool = False) -> Attachment:
        """Get hold of the running container's streams: its output from now on, its input and its terminal.

        With ``logs`` the output begins with all that was logged.  Raises :class:`StateError`.
        """
        flag("logs", logs)
        self.allow("attach")
        return Attachment(self, logs=logs)

    @property
    def terminal(self) -> NoReturn:
        """A detached container's terminal is its monitor's: use :meth:`attach`."""
        raise NotSupported("the terminal of a detached container is held by its monitor", "use attach()")

    def resize(self, rows: int, cols: int) -> None:
        """Set the size of its terminal. Raises :class:`StateError` when it has none, or does not run."""
        if not self._tell((lib.PC_MONITOR_RESIZE, rows, cols)):
            raise StateError(f"container {self.name}", "without a terminal", "resize")

    def close_input(self) -> None:
        """Close its standard input: the program reads the end, once no process has it open. Only with ``stdin_open``."""
        self._let_go()  # we have the pipe open, too
        if not self._tell((lib.PC_MONITOR_CLOSE_INPUT, 0, 0)):
            raise StateError(f"container {self.name}", "without an open input", "close it")

    # -- how it is -------------------------------------------------------------------------

    @property
    def health(self) -> Health | None:
        """``starting``, ``healthy`` or ``unhealthy``; ``None`` without a health check, or of one that has not started."""
        return self.run_state.health if self.keeping.health is not None else None

    def health_log(self) -> list[HealthResult]:
        """The last results of its health check, oldest first; at most five."""
        return read_health(self._home.folder)

    def update(self, **limits: Unpack[LimitOptions]) -> None:
        """Change limits, which hold from now on, also after further starts; see :meth:`Container.update`."""
        self.allow("update")
        self._record = self._records.find(self.id)
        self._spec = None
        self._let_go()
        running = self.alive("update")
        running.update(limits)
        assert running.cgroup is not None  # noqa: S101  without one it is refused
        self.spec = attrs.evolve(
            self.spec, bounds=attrs.evolve(self.spec.bounds, limits=running.cgroup.limits)
        )
        self._records.change(self.id, spec=codec.encode(self.spec))

    def inspect(self) -> dict[str, Any]:
        """All there is to tell, as a plain dictionary in the manner of ``docker inspect``."""
        return inspect(self)

    # -- checkpoints -----------------------------------------------------------------------

    def checkpoint(self, name: str = "latest", *, leave_running: bool = False) -> None:
        """Write down all its processes with their memory, by CRIU, and end them; :meth:`restore` has them go on.

        With ``leave_running`` they go on now, too, and the files are kept as they were.  A checkpoint is part of the
        container, and goes with it.  For a root caller, on a kernel that the installed CRIU knows.

        Raises :class:`NotSupported` with the reason, and then the container goes on as it was: without CRIU, for a
        terminal, networks, Landlock, programs of ``exec``, and what CRIU finds that it cannot write down; and
        :class:`StateError`, :class:`InvalidArgument`.

        >>> db.checkpoint(); db.restore()                                   # doctest: +SKIP
        """
        from pycontainer.container.detached.checkpointing import checkpoint

        checkpoint(self, name, leave_running=flag("leave_running", leave_running))

    def restore(self, name: str = "latest") -> None:
        """Start it with the processes of a checkpoint, which go on where they were; the checkpoint stays.

        One of a container that went on brings its files along: what was written since is gone.  Any other needs
        those that there were, so a start in between is refused.  Raises :class:`StateError`, :class:`NotSupported`,
        :class:`InvalidArgument`, and :class:`KernelError` with what CRIU says; the container is as before then.
        """
        from pycontainer.container.detached.restoring import restore

        restore(self, name)

    def checkpoints(self) -> list[str]:
        """The names of its checkpoints, oldest first."""
        from pycontainer.container.detached.checkpoints import names

        return names(self._home.folder)

    def remove_checkpoint(self, name: str) -> None:
        """Remove a checkpoint. Raises :class:`InvalidArgument`."""
        from pycontainer.container.detached.checkpoints import remove

        remove(self, name)

    # -- files -----------------------------------------------------------------------------

    def changes(self) -> list[Change]:
        """What differs from the image, in the order of paths (``docker diff``)."""
        import json

        self.allow("list changes")
        try:
            upper = Fd(os.open(f"{self._folder}/upper", _DIRECTORY))
        except FileNotFoundError:
            return []
        try:
            with open(f"{self._home.folder}/run", "rb") as file:
                lowers = tuple(json.load(file)["lowers"])
        except FileNotFoundError:  # not started here yet
            lowers = self._lowers()
        shift = 0
        with upper:
            if not self.spec.image.layers:
                # The host image's tree belongs to the container's root, the writable layer has the ids as inside.
                shift = (
                    -os.stat(lowers[0]).st_uid if self.spec.security.own_users and os.geteuid() == 0 else 0
                )
            reach = self._workspace.reach
            return without_places(reach.changes(upper.fileno(), lowers[::-1], shift, self._marks()))

    def save(
        self,
        target: str | os.PathLike[str] | IO[bytes],
        *,
        checkpoint: str | None = None,
        progress: Listener | None = None,
    ) -> None:
        """Write the container as one archive, from which :meth:`Containers.load` makes it in another engine.

        It has the image with all layers, what the container has written, its own volumes, its name and all that it
        was made from; the log and volumes with names stay here.  It must not run (:class:`StateError`): stop it
        first.  ``target`` is a path, replaced when all is on disk, or a file open for writing bytes.  With the name of
        a ``checkpoint`` its processes go along, and the files that those need.

        Raises :class:`NotSupported` for an image of a directory, :class:`InvalidArgument`, :class:`KernelError`, with
        nothing left behind.  What a layer of an image cannot say is lost: fractions of seconds, sockets, devices.

        >>> db.save("db.tar")                                               # doctest: +SKIP
        """
        from pycontainer.container.detached.moving import save

        save(self, target, checkpoint, progress)

    def snapshot(self) -> NoReturn:
        """Not of a detached container: a snapshot goes with the process that made it."""
        raise NotSupported(
            "a snapshot of a detached container", "commit() it, and make containers of the image"
        )


class Logs:
    """Lines of output, or entries of the log, as they come; :meth:`close` before the end lets go of the files."""

    def __init__(self, reader: LogReader, news: _News | None, wanted: set[str], *, entries: bool) -> None:
        self._reader, self._news = reader, news
        self._wanted, self._entries = wanted, entries
        #: The beginnings of lines, by stream, until their ends are read.
        self._begun: dict[str, bytes] = {}

    def __iter__(self) -> Logs:
        return self

    def __next__(self) -> Any:
        for entry in self._reader:
            if entry.stream not in self._wanted:
                continue
            if self._entries:
                return entry
            if self._news is not None:
                return entry.data
            line = self._begun.pop(entry.stream, b"") + entry.data
            if entry.data.endswith(b"\n"):
                return line
            self._begun[entry.stream] = line
        self.close()
        while self._begun:
            return self._begun.popitem()[1]
        raise StopIteration

    def close(self) -> None:
        """Let go of the log; idempotent."""
        self._reader.close()
        if self._news is not None:
            self._news.close()


class _News:
    """Waits for something new in the log."""

    def __init__(self, container: Detached, until: float | None) -> None:
        self._container = container
        self._until = until
        self._client: Client | None = None
        self._over = False

    def wait(self) -> bool:
        """Wait until there is something to be read; false: nothing will come."""
        if self._over or (self._until is not None and time.time() > self._until):
            return False
        try:
            if self._client is None:
                self._client = Client(f"{self._container._home.folder}/monitor")
                self._client.ask(lib.PC_MONITOR_WATCH)
                return True
            left = _LOOK if self._until is None else min(_LOOK, max(0.0, self._until - time.time() + 0.001))
            answer = self._client.news(left)
            self._over = answer is not None and answer.phase in {"exited", "dead"}
        except StateError:
            self.close()
            # A start may have taken place between two looks.
            self._over = self._container.status in {"created", "exited", "dead", "removed"}
            if not self._over:
                time.sleep(0.01)
        return True

    def close(self) -> None:
        """Let go of the monitor; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
