"""How a detached container is, as any process sees it.

Its state is in its folder; what changes it is done by its monitor, or under the lock of its folder.  So nothing
here is remembered but what does not change, and the fds of the last process that was met.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pycontainer.container import container
from pycontainer.container.detached import codec
from pycontainer.container.detached.adopted import Adopted
from pycontainer.container.detached.home import Home
from pycontainer.container.detached.options import Keeping
from pycontainer.container.running import Running
from pycontainer.container.snapshot import Stack
from pycontainer.container.spec import Spec
from pycontainer.container.volumes import Mounts
from pycontainer.container.workspace import Workspace
from pycontainer.errors import KernelError, StateError
from pycontainer.kernel.ended import has_ended
from pycontainer.kernel.monitorclient import Client
from pycontainer.state import events
from pycontainer.state.records import Record, Records
from pycontainer.state.runs import Run
from pycontainer.state.shown import run_of, state_of

#: How long a killed container's end is waited for, in seconds.
_DEATH = 30.0
_PAUSE = 0.01
GONE = frozenset({"created", "exited", "dead", "removed"})


class DetachedState(container.Container):
    """The states of a detached container; base of ``DetachedLife``."""

    def __init__(self, workspace: Workspace, records: Records, record: Record) -> None:
        """The container that ``record`` tells of; touches nothing."""
        self.id = record.id
        self.name = record.name
        self.created = record.created / 1e9
        self.keeping = Keeping.from_json(record.options["keeping"])
        self._record = record
        self._spec: Spec | None = None
        self._workspace = workspace
        self._records = records
        self._places = records.places
        self._home = Home(workspace, self._places.folder(self.id))
        self._folder = f"{self._home.folder}/files"
        self._adopted: Adopted | None = None
        #: Of its terminal, as was told here: rows and columns.
        self._window = (0, 0)
        self._lock = threading.RLock()

    @property
    def spec(self) -> Spec:
        """What it is; read when first asked for. Raises :class:`ImageNotFound` when its image is gone."""
        if self._spec is None:
            written = json.loads(self._record.spec)
            images = self._workspace.images() if written["image"]["digest"] else None
            self._spec = codec.decode(written, images)
        return self._spec

    @spec.setter
    def spec(self, value: Spec) -> None:
        self._spec = value

    def _read_again(self) -> None:
        """Another process may have changed what it is."""
        before, self._record = self._record, self._records.find(self.id)
        self.name = self._record.name
        if before.spec != self._record.spec:
            self._spec = None

    @property
    def _stack(self) -> Stack:  # type: ignore[override]
        return Stack(origin=self.spec.image, layers=self.spec.image.layers)

    @property
    def _mounts(self) -> Mounts:
        return codec.decode(self._record.options["mounts"])  # type: ignore[no-any-return]

    @property
    def labels(self) -> dict[str, str]:
        """Its labels, with those of its image."""
        return dict(self._record.labels)

    # -- state -----------------------------------------------------------------------------

    @property
    def socket(self) -> str:
        """Where its monitor listens."""
        return f"{self._home.folder}/monitor"

    @property
    def run_state(self) -> Run:
        """How the last start is, or ended; what is left of one whose monitor was killed is ended now."""
        return run_of(self._places, self.id)

    @property
    def status(self) -> str:
        """``created``, ``running``, ``paused``, ``restarting``, ``exited``, ``dead`` or ``removed``."""
        return state_of(self._places, self.id)[1]

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last run (128 + n for signal n); ``None``: none has ended, or nobody saw how."""
        if self._places.exists(self.id):
            return self.run_state.code
        return events.last_code(self._places.path, self.id)

    @property
    def started_at(self) -> float | None:  # type: ignore[override]
        """When it was started last, in seconds since 1970."""
        return self.run_state.started / 1e9 or None

    @property
    def pid(self) -> int:
        """The host's pid of the container's first process. Raises :class:`StateError` when it does not run."""
        self.allow("tell its pid")
        return self.run_state.pid

    def alive(self, verb: str) -> Running:
        """The running container, if the state allows ``verb``."""
        with self._lock:
            adopted = self._adopted
            if adopted is not None and self._is_still(adopted):
                if verb == "exec" or self.status == "paused":
                    self.allow(verb)
                return adopted
            self.allow(verb)
            self._let_go()
            if self.spec.network.mode == "networks":
                from pycontainer.network import keeping

                keeping.revive(self._workspace.root)
            with self._client(verb) as client:
                try:
                    adopted = self._adopted = Adopted(
                        client,
                        self._workspace,
                        self.spec,
                        self._mounts,
                        self._home.folder,
                        lambda: self.run_state,
                    )
                except (StateError, FileNotFoundError):
                    raise StateError(f"container {self.name}", self.status, verb) from None
            return adopted

    def _is_still(self, adopted: Adopted) -> bool:
        """Does it run? What a program of ours keeps from being reaped looks alive, but is another one by then."""
        return not has_ended(adopted.main.fileno()) and self.run_state.pid == adopted.main.pid

    @contextmanager
    def _as_long_as(self, running: Running, verb: str) -> Iterator[None]:
        """What fails because the container ends meanwhile is a :class:`StateError`."""
        try:
            yield
        except KernelError:
            if running.poll() is None:
                raise
            raise StateError(f"container {self.name}", self.status, verb) from None

    def _hopefully_alive(self, verb: str) -> Running:
        return self.alive(verb)

    def _client(self, verb: str) -> Client:
        try:
            return Client(self.socket)
        except StateError:
            raise StateError(f"container {self.name}", self.status, verb) from None

    def _tell(self, *requests: tuple[int, int, int]) -> bool:
        """Ask the monitor; false: there is none, or the last request came too late."""
        try:
            with Client(self.socket) as client:
                answers = [client.ask(*request)[0] for request in requests]
        except StateError:
            return False
        return answers[-1].error == 0

    def _event(self, action: str, **attributes: Any) -> None:
        events.append(self._places.path, self.id, action, **attributes)

    def _let_go(self) -> None:
        """Another thread may be using it: with the last who has it, it is closed."""
        self._adopted = None

    def close(self) -> None:
        """Let go of what this process has open of it; the container goes on. Idempotent."""
        with self._lock:
            self._let_go()

    def __exit__(self, *_: object) -> None:
        self.close()
