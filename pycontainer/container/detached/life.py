"""The verbs of a detached container, for any process.

What changes it is done by its monitor, or under the lock of its folder.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from pycontainer.container.arguments import container_name, grace, seconds
from pycontainer.container.bounds import CGROUP_FIX
from pycontainer.container.detached.ending import Ending
from pycontainer.container.detached.options import Restart
from pycontainer.container.detached.preparation import Order, policy_number
from pycontainer.container.detached.starting import start
from pycontainer.container.detached.state import GONE, DetachedState
from pycontainer.container.running import Running
from pycontainer.errors import InvalidArgument, NotSupported, StateError, WaitTimeout
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.monitorclient import deadline_of, left_of
from pycontainer.kernel.native import lib
from pycontainer.kernel.rooted import OPEN_DIRECTORY
from pycontainer.kernel.signals import signal_number
from pycontainer.network import owner
from pycontainer.state.notes import remove_cgroups
from pycontainer.state.table import allow

if TYPE_CHECKING:
    from pycontainer.network.networks import Networks

#: How long a killed container's end is waited for, in seconds.
_DEATH = 30.0


class DetachedLife(DetachedState):
    """The verbs of a detached container; base of ``DetachedNetworking``."""

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
                start(self._order(alive, verb))

    def _order(self, alive: int, verb: int) -> Order:
        """The start of what it is by now; the locks stay the caller's."""
        self._read_again()
        os.makedirs(self._folder, 0o755, exist_ok=True)
        return Order(
            workspace=self._workspace,
            home=self._home,
            id=self.id,
            name=self.name,
            spec=self.spec,
            keeping=self.keeping,
            mounts=self._mounts,
            window=self._window,
            alive=alive,
            verb=verb,
        )

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the container has ended for good; its exit code (255: nobody saw how it ended).

        One that is about to be restarted has not ended.  Of one that was removed with its end the events tell it.
        Raises :class:`WaitTimeout`; the container goes on.
        """
        deadline = deadline_of(seconds("timeout", timeout))
        self.allow_wait()
        with Ending(self) as ending:
            while (code := ending.poll()) is None:
                left = left_of(deadline)
                if left == 0:
                    raise WaitTimeout(f"container {self.name} did not end within {timeout:g} s")
                ending.rest(left)
        return code

    def allow_wait(self) -> None:
        """Raise :class:`StateError` unless it runs or has run."""
        status = self.status
        if status not in {"exited", "dead"} and (status != "removed" or self.exit_code is None):
            self.allow("wait")

    def kill(self, signal: int | str = "KILL") -> None:
        """Send a signal to the container's program; after KILL no restart follows. See :meth:`Container.kill`."""
        number = signal_number(signal)
        self.allow("kill")
        last = int(number == 9)
        if not self._tell((lib.PC_MONITOR_SIGNAL, number, last)) and last:
            self._tell((lib.PC_MONITOR_END, 0, 0))

    def stop(self, timeout: float = 10) -> int | None:
        """End the program: its stop signal, ``timeout`` seconds, then KILL. No restart follows. Idempotent."""
        grace("timeout", timeout)
        if not self.begin_to_stop():
            return self.exit_code
        try:
            return self.wait(timeout)
        except WaitTimeout:
            self._tell((lib.PC_MONITOR_SIGNAL, 9, 1))
            return self.wait(_DEATH)

    def begin_to_stop(self) -> bool:
        """Send the stop signal, and have no restart follow; whether there is something to be waited for."""
        status = self.status
        allow(f"container {self.name}", status, "stop")
        if status in GONE:
            return False
        if status == "paused":
            self.unpause()
        self._tell((lib.PC_MONITOR_END, 0, 0), (lib.PC_MONITOR_SIGNAL, self.spec.stop_signal, 1))
        return True

    def ask_to_stop(self) -> Running | None:
        """Send the stop signal; the running container, or ``None``."""
        return self.alive("stop") if self.begin_to_stop() else None

    def restart(self, timeout: float = 10) -> None:
        """Stop and start again, with the same writable layer."""
        grace("timeout", timeout)
        self.allow("restart")
        self.stop(timeout)
        self.start()

    def pause(self) -> None:
        """Stop every process of the container where it stands. Raises :class:`NotSupported` without a cgroup."""
        running = self.alive("pause")
        self.allow("pause")
        if running.cgroup is None:
            raise NotSupported("no cgroup can be made to pause the container in", CGROUP_FIX)
        with self._as_long_as(running, "pause"):
            running.cgroup.freeze()
            if self.run_state.pid != running.main.pid:
                # It was the next run, or none, that was met.
                running.cgroup.thaw()
                raise StateError(f"container {self.name}", self.status, "pause")
        self._event("pause")

    def unpause(self) -> None:
        """Let the processes go on."""
        running = self.alive("unpause")
        self.allow("unpause")
        if running.cgroup is not None:
            with self._as_long_as(running, "unpause"):
                running.cgroup.thaw()
        self._event("unpause")

    def remove(self, *, force: bool = False) -> None:
        """Remove the container with all it has; idempotent. ``force`` ends a running one first."""
        with self._places.verb(self.id) as verb:
            if verb is not None:
                status = self.status
                if force and status not in GONE:
                    self._tell((lib.PC_MONITOR_END, 0, 0), (lib.PC_MONITOR_SIGNAL, 9, 1))
                    self.wait(_DEATH)
                self.allow("remove")
                self._let_go()
                with suppress(StateError), self._places.alive(self.id):  # else it went with its end
                    self._remove()
        self._let_go()  # also when another one has removed it
        self._records.remove(self.id)

    def _remove(self) -> None:
        """Once the folder has another name the container is gone: what is left then is swept.

        The files first: the row cannot be deleted while the disk is full.
        """
        networks = self._networks_of_it()
        if networks is not None:
            networks.give_back(owner.of_container(self.id))
        remove_cgroups(self._home.folder)  # of a start whose maker was killed in the midst of it
        with Fd(os.open(self._places.path, OPEN_DIRECTORY)) as above:
            self._workspace.reach.remove(above.fileno(), self._places.put_away(self.id))
        self._event("destroy")

    def _networks_of_it(self) -> Networks | None:
        """The engine's networks, if it has been on one."""
        if not os.path.exists(f"{self._home.folder}/network"):
            return None
        from pycontainer.network.networks import networks_at

        return networks_at(self._workspace.root)

    def rename(self, name: str) -> None:
        """Give it another name. Raises :class:`InvalidArgument` when it is taken, or is none."""
        self.allow("rename")
        container_name(name)
        before = self.name
        self._records.rename(self.id, name)
        self.name = name
        networks = self._networks_of_it()
        if networks is not None:
            networks.rename(owner.of_container(self.id), before, name)
        self._event("rename", old=before)

    def set_restart(self, policy: str) -> None:
        """Change the restart policy (``docker update --restart``); also of one that runs."""
        self.allow("rename")
        restart = Restart.parse(policy)
        self.keeping = attrs.evolve(self.keeping, restart=restart)
        self._records.change(self.id, options={**self._record.options, "keeping": self.keeping.to_json()})
        self._tell((lib.PC_MONITOR_POLICY, policy_number(restart.policy), restart.retries))
