"""A detached container: what it wrote, how it is, its files; the verbs are in :mod:`.life`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from pycontainer.container.arguments import flag
from pycontainer.container.detached import codec
from pycontainer.container.detached.attaching import Attachment
from pycontainer.container.detached.inspecting import inspect
from pycontainer.container.detached.life import DetachedLife
from pycontainer.container.detached.logs import LogReader, moment
from pycontainer.container.launch import without_places
from pycontainer.errors import InvalidArgument, KernelError, NotSupported, StateError
from pycontainer.kernel.changes import Change
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.monitorclient import Client
from pycontainer.kernel.native import lib
from pycontainer.state.runs import Health, HealthResult, read_health

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import LimitOptions

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: How long somebody who follows waits for news before he looks himself, in seconds.
_LOOK = 5.0
#: The kernel's struct winsize has 16 bits for each.
_LARGEST_WINDOW = 0xFFFF


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
        hold: bool = False,
    ) -> Logs:
        """What the container wrote, oldest first: lines with their ends, or with ``entries`` :class:`LogEntry`.

        Entries are as the log has them: the beginning of a line may be one of its own.

        ``since`` and ``until`` are seconds since 1970, a ``datetime`` or its text, or a ``timedelta`` before now;
        ``tail`` is the number of lines from the end to begin with.  With ``follow`` what it writes is told as it
        comes, until the container has ended; a line that is not complete yet comes in pieces then.  Where it begins is
        decided by the call, not by the first reading.

        Who follows slowly may miss what no longer was in the log: ``missed`` of the result counts its files.  With
        ``hold`` the container waits for who reads instead, as for the reader of a pipe, once the log is full.
        """
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
        news = _News(self, end, hold=hold) if follow else None
        reader = LogReader(
            self._home.folder, since=begin, until=end, tail=tail, more=None if news is None else news.wait
        )
        if news is not None and hold:
            news.begin(reader.newest)
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
        """Set the size of its terminal; of one that does not run, what its program finds when this object starts it.

        Raises :class:`StateError` when it has none.
        """
        for name, value in (("rows", rows), ("cols", cols)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_WINDOW:
                raise InvalidArgument(name, value, f"a number from 0 to {_LARGEST_WINDOW} is needed")
        if not self.spec.tty:
            raise StateError(f"container {self.name}", "without a terminal", "resize")
        self._window = (rows, cols)
        self._tell((lib.PC_MONITOR_RESIZE, rows, cols))

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
        with self._as_long_as(running, "update"):
            running.update(limits)
        assert running.cgroup is not None  # noqa: S101  without one it is refused
        self.spec = attrs.evolve(
            self.spec, bounds=attrs.evolve(self.spec.bounds, limits=running.cgroup.limits)
        )
        self._records.change(self.id, spec=codec.encode(self.spec))

    def stats(self, *, stream: bool = False, interval: float = 1.0) -> Any:
        """What the whole container has used; see :meth:`Container.stats`."""
        with self._as_long_as(self.alive("tell what it uses"), "tell what it uses"):
            return super().stats(stream=stream, interval=interval)

    def inspect(self) -> dict[str, Any]:
        """All there is to tell, as a plain dictionary in the manner of ``docker inspect``."""
        return inspect(self)

    # -- files -----------------------------------------------------------------------------

    def changes(self) -> list[Change]:
        """What differs from the image, in the order of paths (``docker diff``)."""
        import json

        self.allow("list changes")
        try:
            upper = Fd(os.open(f"{self._folder}/upper", _DIRECTORY))
            with open(f"{self._home.folder}/run", "rb") as file:
                lowers = tuple(json.load(file)["lowers"])
        except FileNotFoundError:
            return []
        shift = 0
        with upper:
            if not self.spec.image.layers:
                # The host image's tree belongs to the container's root, the writable layer has the ids as inside.
                shift = (
                    -os.stat(lowers[0]).st_uid if self.spec.security.own_users and os.geteuid() == 0 else 0
                )
            reach = self._workspace.reach
            return without_places(reach.changes(upper.fileno(), lowers[::-1], shift, self._marks()))

    @contextmanager
    def _standing_still(self) -> Iterator[list[str]]:
        """See :class:`FileSystem`. Who is killed meanwhile leaves it paused, until somebody looks (sweeping.is_paused)."""
        self.allow("list changes")
        with ExitStack() as stack:
            if self.status == "running" or self._places.is_still(self.id):
                stack.enter_context(self._places.still(self.id))
                if self.status == "running":
                    self.pause()
                    stack.callback(self._go_on)
            upper = f"{self._folder}/upper"
            try:
                yield [upper] if os.path.isdir(upper) else []
            except (KernelError, FileNotFoundError):
                self.allow("list changes")  # it may have been removed meanwhile
                raise

    def _go_on(self) -> None:
        with suppress(StateError):  # it was ended, or somebody wanted it to go on
            self.unpause()

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

    @property
    def missed(self) -> int:
        """How many files of the log, each of the size of ``log_size``, were removed before they were read."""
        return self._reader.missed

    def close(self) -> None:
        """Let go of the log; idempotent."""
        self._reader.close()
        if self._news is not None:
            self._news.close()


class _News:
    """Waits for something new in the log."""

    def __init__(self, container: Detached, until: float | None, *, hold: bool) -> None:
        self._container = container
        self._until = until
        self._client: Client | None = None
        self._over = False
        self._hold, self._held = hold, -1

    def wait(self, newest: int) -> bool:
        """Wait until there is something to be read; false: nothing will come. ``newest``: the last file that is open here."""
        if self._over or (self._until is not None and time.time() > self._until):
            return False
        try:
            client, asked = self._ask(newest)
            if asked:
                return True  # what was logged meanwhile is no news any more
            left = _LOOK if self._until is None else min(_LOOK, max(0.0, self._until - time.time() + 0.001))
            answer = client.news(left)
            self._over = answer is not None and answer.phase in {"exited", "dead"}
        except StateError:
            self.close()
            # A start may have taken place between two looks.
            self._over = self._container.status in {"created", "exited", "dead", "removed"}
            if not self._over:
                time.sleep(0.01)
        return True

    def begin(self, newest: int) -> None:
        """Have the container wait from now on; of one that does not run yet when it is read from."""
        with suppress(StateError):
            self._ask(newest)

    def _ask(self, newest: int) -> tuple[Client, bool]:
        """Say what is wanted, if that is not said yet; whether it was."""
        asked = False
        if self._client is None:
            self._client = Client(f"{self._container._home.folder}/monitor")
            self._client.ask(lib.PC_MONITOR_WATCH)
            self._held, asked = -1, True
        if self._hold and newest > self._held:
            self._client.ask(lib.PC_MONITOR_HOLD, newest)
            self._held, asked = newest, True
        return self._client, asked

    def close(self) -> None:
        """Let go of the monitor; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
