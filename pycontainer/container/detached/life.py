"""The life cycle of a detached container, as any process sees it.

Its state is in its folder; what changes it is done by its monitor, or under the lock of its folder.  So nothing
here is remembered but what does not change, and the fds of the last process that was met.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Any

from pycontainer.container import container
from pycontainer.container.bounds import CGROUP_FIX
from pycontainer.container.detached import codec
from pycontainer.container.detached.adopted import Adopted, has_ended
from pycontainer.container.detached.home import Home
from pycontainer.container.detached.options import Keeping, Restart
from pycontainer.container.detached.starting import Order, policy_number, start
from pycontainer.container.detached.sweeping import is_frozen, settle
from pycontainer.container.notes import remove_cgroups
from pycontainer.container.running import Running
from pycontainer.container.snapshot import Stack
from pycontainer.container.spec import Spec
from pycontainer.container.volumes import Mounts
from pycontainer.container.workspace import Workspace
from pycontainer.errors import InvalidArgument, KernelError, NotSupported, StateError, WaitTimeout
from pycontainer.kernel import monitor
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.native import lib
from pycontainer.kernel.rooted import OPEN_DIRECTORY
from pycontainer.kernel.signals import signal_number
from pycontainer.state import events
from pycontainer.state.records import Record, Records
from pycontainer.state.runs import Run, read_run
from pycontainer.state.table import allow

#: How long a killed container's end is waited for, in seconds.
_DEATH = 30.0
_PAUSE = 0.01
_GONE = frozenset({"created", "exited", "dead", "removed"})


class DetachedLife(container.Container):
    """The states of a detached container, and the verbs; base of ``Detached``."""

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
        self._last_code: int | None = None
        self._lock = threading.RLock()

    @property
    def spec(self) -> Spec:  # type: ignore[override]
        """What it is; read when first asked for. Raises :class:`ImageNotFound` when its image is gone."""
        if self._spec is None:
            stored = bool(self._record.spec["image"]["digest"])
            self._spec = codec.decode(self._record.spec, self._workspace.images() if stored else None)
        return self._spec

    @spec.setter
    def spec(self, value: Spec) -> None:
        self._spec = value

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
    def run_state(self) -> Run:
        """How the last start is, or ended; what is left of one whose monitor was killed is ended now."""
        run = read_run(self._home.folder)
        return settle(self._places, self.id, run) if run.is_lost else run

    @property
    def status(self) -> str:
        """``created``, ``running``, ``paused``, ``restarting``, ``exited``, ``dead`` or ``removed``."""
        if not self._places.exists(self.id):
            return "removed"
        phase = self.run_state.phase
        if phase == "running" and is_frozen(self._home.folder):
            return "paused"
        return phase if self._places.exists(self.id) else "removed"

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last run (128 + n for signal n); ``None``: none has ended, or nobody saw how."""
        return self.run_state.code if self._places.exists(self.id) else self._last_code

    @property
    def pid(self) -> int:
        """The host's pid of the container's first process. Raises :class:`StateError` when it does not run."""
        self.allow("tell its pid")
        return self.run_state.pid

    def alive(self, verb: str) -> Running:
        """The running container, if the state allows ``verb``."""
        with self._lock:
            adopted = self._adopted
            if adopted is not None and not has_ended(adopted.main.fileno()):
                if verb == "exec" or self.status == "paused":
                    self.allow(verb)
                return adopted
            self.allow(verb)
            self._let_go()
            with self._client(verb) as client:
                try:
                    self._adopted = Adopted(
                        client,
                        self._workspace,
                        self.spec,
                        self._mounts,
                        self._home.folder,
                        lambda: self.run_state,
                    )
                except (StateError, FileNotFoundError):
                    raise StateError(f"container {self.name}", self.status, verb) from None
            return self._adopted

    def _hopefully_alive(self, verb: str) -> Running:
        return self.alive(verb)

    def _client(self, verb: str) -> monitor.Client:
        try:
            return monitor.Client(f"{self._home.folder}/monitor")
        except StateError:
            raise StateError(f"container {self.name}", self.status, verb) from None

    def _tell(self, verb: str, *requests: tuple[int, int, int]) -> bool:
        """Ask the monitor; false: there is none, or the last request came too late."""
        try:
            with monitor.Client(f"{self._home.folder}/monitor") as client:
                answers = [client.ask(*request)[0] for request in requests]
        except StateError:
            return False
        return answers[-1].error == 0

    # -- life ------------------------------------------------------------------------------

    def start(self, **streams: Any) -> None:
        """Start the container's program; when this returns it runs, whatever becomes of this process.

        Its output goes to the log.  Raises :class:`CommandNotFound`, :class:`CommandNotExecutable`,
        :class:`StateError`, :class:`KernelError`.
        """
        for name, value in streams.items():
            raise InvalidArgument(
                name, value, "the output of a detached container goes to its log: see logs() and attach()"
            )
        with self._places.verb(self.id) as verb:
            if verb is None:
                raise StateError(f"container {self.name}", "removed", "start")
            self.allow("start")
            self._let_go()
            with self._places.alive(self.id) as alive:
                order = Order(
                    workspace=self._workspace,
                    home=self._home,
                    id=self.id,
                    spec=self.spec,
                    keeping=self.keeping,
                    mounts=self._mounts,
                    alive=alive,
                    verb=verb,
                )
                os.makedirs(self._folder, 0o755, exist_ok=True)
                start(order)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the container has ended for good; its exit code (255: nobody saw how it ended).

        One that is about to be restarted has not ended.  Raises :class:`WaitTimeout`; the container goes on.
        """
        if self.status not in {"exited", "dead"}:
            self.allow("wait")
        deadline = monitor.deadline_of(timeout)
        while True:
            code = self._wait_once(deadline, timeout)
            if code is not None:
                return code

    def _wait_once(self, deadline: float | None, timeout: float | None) -> int | None:
        try:
            client = monitor.Client(f"{self._home.folder}/monitor")
        except StateError:
            return self._code_at_end()
        with client, suppress(StateError):
            answer = client.ask(lib.PC_MONITOR_WATCH)[0]
            while answer.phase not in {"exited", "dead"}:
                left = monitor.left_of(deadline)
                if left == 0:
                    raise WaitTimeout(f"container {self.name} did not end within {timeout:g} s")
                answer = client.news(left) or answer
            self._last_code = answer.code if answer.phase == "exited" else None
        return self._code_at_end()

    def _code_at_end(self) -> int | None:
        status = self.status
        if status not in _GONE:
            time.sleep(_PAUSE)  # its monitor is about to end, or has not begun to listen
            return None
        code = self._last_code if status == "removed" else self.exit_code
        return 255 if code is None else code

    def kill(self, signal: int | str = "KILL") -> None:
        """Send a signal to the container's program; after KILL no restart follows. See :meth:`Container.kill`."""
        number = signal_number(signal)
        self.allow("kill")
        last = int(number == 9)
        if not self._tell("kill", (lib.PC_MONITOR_SIGNAL, number, last)) and last:
            self._tell("kill", (lib.PC_MONITOR_END, 0, 0))

    def stop(self, timeout: float = 10) -> int | None:
        """End the program: its stop signal, ``timeout`` seconds, then KILL. No restart follows. Idempotent."""
        if not self.begin_to_stop():
            return self.exit_code
        try:
            return self.wait(timeout)
        except WaitTimeout:
            self._tell("stop", (lib.PC_MONITOR_SIGNAL, 9, 1))
            return self.wait(_DEATH)

    def begin_to_stop(self) -> bool:
        """Send the stop signal, and have no restart follow; whether there is something to be waited for."""
        status = self.status
        allow(f"container {self.name}", status, "stop")
        if status in _GONE:
            return False
        if status == "paused":
            self.unpause()
        self._tell("stop", (lib.PC_MONITOR_END, 0, 0), (lib.PC_MONITOR_SIGNAL, self.spec.stop_signal, 1))
        return True

    def ask_to_stop(self) -> Running | None:
        """Send the stop signal; the running container, or ``None``."""
        return self.alive("stop") if self.begin_to_stop() else None

    def restart(self, timeout: float = 10) -> None:
        """Stop and start again, with the same writable layer."""
        self.allow("restart")
        self.stop(timeout)
        self.start()

    def pause(self) -> None:
        """Stop every process of the container where it stands. Raises :class:`NotSupported` without a cgroup."""
        running = self.alive("pause")
        self.allow("pause")
        if running.cgroup is None:
            raise NotSupported("no cgroup can be made to pause the container in", CGROUP_FIX)
        running.cgroup.freeze()
        self._event("pause")

    def unpause(self) -> None:
        """Let the processes go on."""
        running = self.alive("unpause")
        self.allow("unpause")
        if running.cgroup is not None:
            running.cgroup.thaw()
        self._event("unpause")

    def remove(self, *, force: bool = False) -> None:
        """Remove the container with all it has; idempotent. ``force`` ends a running one first."""
        with self._places.verb(self.id) as verb:
            if verb is not None:
                status = self.status
                if force and status not in _GONE:
                    self._tell("remove", (lib.PC_MONITOR_END, 0, 0), (lib.PC_MONITOR_SIGNAL, 9, 1))
                    self.wait(_DEATH)
                self.allow("remove")
                self._let_go()
                with suppress(KernelError), self._places.alive(self.id):
                    self._remove()
        self._records.remove(self.id)

    def _remove(self) -> None:
        """Once the row is gone the container is: what is left then is swept."""
        self._records.remove(self.id)
        remove_cgroups(self._home.folder)  # of a start whose maker was killed in the midst of it
        with Fd(os.open(self._places.path, OPEN_DIRECTORY)) as above:
            self._workspace.reach.remove(above.fileno(), self.id)
        self._event("destroy")

    def rename(self, name: str) -> None:
        """Give it another name. Raises :class:`InvalidArgument` when it is taken."""
        self.allow("rename")
        before = self.name
        self._records.rename(self.id, name)
        self.name = name
        self._event("rename", old=before)

    def set_restart(self, policy: str) -> None:
        """Change the restart policy (``docker update --restart``); also of one that runs."""
        self.allow("rename")
        restart = Restart.parse(policy)
        import attrs

        self.keeping = attrs.evolve(self.keeping, restart=restart)
        self._records.change(self.id, options={**self._record.options, "keeping": self.keeping.to_json()})
        self._tell("update", (lib.PC_MONITOR_POLICY, policy_number(restart.policy), restart.retries))

    def _event(self, action: str, **attributes: Any) -> None:
        events.append(self._places.path, self.id, action, **attributes)

    def _let_go(self) -> None:
        adopted, self._adopted = self._adopted, None
        if adopted is not None:
            adopted.close()

    def close(self) -> None:
        """Let go of what this process has open of it; the container goes on. Idempotent."""
        with self._lock:
            self._let_go()

    def __exit__(self, *_: object) -> None:
        self.close()
