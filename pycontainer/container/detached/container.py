"""A detached container: what it wrote, how it is, its files; the verbs are in :mod:`.life`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, NoReturn

import attrs

from pycontainer.container.arguments import LARGEST_WINDOW, flag
from pycontainer.container.detached import codec
from pycontainer.container.detached.attaching import Attachment
from pycontainer.container.detached.inspecting import inspect
from pycontainer.container.detached.networking import DetachedNetworking
from pycontainer.container.launch import without_places
from pycontainer.container.logs import News
from pycontainer.errors import InvalidArgument, KernelError, NotSupported, StateError
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
#: How long a monitor is waited for that has not begun to listen, in seconds.
_PAUSE = 0.01


class Detached(DetachedNetworking):
    """A container that goes on without this process. All methods may be called from any process, and any thread.

    ``with`` lets go of it at the end, and does not end it.
    """

    # -- output ----------------------------------------------------------------------------

    def _log(self, until: float | None, *, follow: bool, hold: bool) -> tuple[str, News | None]:
        return self._home.folder, _News(self, until, hold=hold) if follow else None

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
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_WINDOW:
                raise InvalidArgument(name, value, f"a number from 0 to {LARGEST_WINDOW} is needed")
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
        self._read_again()
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
        except (FileNotFoundError, ValueError):  # not started here yet, or the machine went down
            lowers = self._lowers()
        shift = 0
        with upper:
            if not self.spec.image.layers:
                # The host image's tree belongs to the container's root, the writable layer has the ids as inside.
                shift = (
                    -os.stat(lowers[0]).st_uid if self.spec.security.own_users and os.geteuid() == 0 else 0
                )
            reach = self._workspace.reach
            changes = reach.changes(upper.fileno(), lowers[::-1], shift, self._marks())
            return without_places(changes, self.spec)

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


class _News:
    """Waits for something new in the log."""

    def __init__(self, container: Detached, until: float | None, *, hold: bool) -> None:
        self._container = container
        self._until = until
        self._client: Client | None = None
        self._over = self._asked = False
        self._hold, self._held = hold, -1

    def begin(self, newest: int) -> None:
        """Have the container wait from now on; of one that does not run yet when it is read from."""
        with suppress(StateError):
            self._ask(newest)

    def poll(self, newest: int) -> bool:
        """Whether something may come. ``newest``: the last file that is open here."""
        if self._over or (self._until is not None and time.time() > self._until):
            return False
        self._asked = False
        try:
            client = self._ask(newest)
            answer = client.news(0)
            self._over = answer is not None and answer.phase in {"exited", "dead"}
        except StateError:
            self.close()
            # A start may have taken place between two looks.
            self._over = self._container.status in {"created", "exited", "dead", "removed"}
        return True

    @property
    def patience(self) -> float:
        """What was logged before it was asked for is no news; and of an end there is no second one."""
        if self._over or self._asked:
            return 0.0
        if self._client is None:
            return _PAUSE
        return _LOOK if self._until is None else min(_LOOK, max(0.0, self._until - time.time() + 0.001))

    def pollable(self) -> list[int]:
        """The monitor's socket."""
        return [] if self._client is None else [self._client.fileno()]

    def _ask(self, newest: int) -> Client:
        """Say what is wanted, if that is not said yet."""
        if self._client is None:
            self._client = Client(self._container.socket)
            self._client.ask(lib.PC_MONITOR_WATCH)
            self._held, self._asked = -1, True
        if self._hold and newest > self._held:
            self._client.ask(lib.PC_MONITOR_HOLD, newest)
            self._held, self._asked = newest, True
        return self._client

    def close(self) -> None:
        """Let go of the monitor; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
