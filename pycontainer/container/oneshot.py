"""One run: a container that exists for one command.

Its writable layer is a tmpfs that only the container sees: making it costs one mount, and nothing has to
be cleaned.  Where a tmpfs cannot be an overlay's upper layer (in a user namespace before Linux 6.6), a
folder on disk takes its place and is removed at the end.
"""

from __future__ import annotations

import os
from functools import partial

from pycontainer.container import slots
from pycontainer.container.command import Command
from pycontainer.container.exchange import Exchange
from pycontainer.container.launch import Launch, Layer, launch
from pycontainer.container.oom import set_oom_score
from pycontainer.container.spec import Spec
from pycontainer.container.start import Seat
from pycontainer.container.streams import KILLED_SECONDS
from pycontainer.container.volumes import attach
from pycontainer.container.workspace import Workspace
from pycontainer.kernel import features, native
from pycontainer.kernel.changes import Change
from pycontainer.kernel.process import Process
from pycontainer.kernel.reaper import reaper
from pycontainer.kernel.terminal import Terminal


class OneShot(Command):
    """A command in a container of its own; with ``changes`` its result tells what it changed."""

    def __init__(self, workspace: Workspace, spec: Spec, exchange: Exchange, *, changes: bool) -> None:
        super().__init__(spec.argv, exchange, tty=bool(spec.tty))
        self._workspace = workspace
        self._spec = spec
        self._wants_changes = changes
        self._launched: Launch | None = None

    def _launch(self, fds: tuple[int, int, int] | None) -> Terminal | None:
        return self._set_up(fds)

    def _set_up(self, fds: tuple[int, int, int] | None, channel: int | None = None) -> Terminal | None:
        """Start the program; or, with ``channel``, what waits there to become it (see :func:`launch`)."""
        name = os.urandom(6).hex()
        hold = self._spec.image.hold()
        if hold is not None:
            self._closers.append(hold.close)
        upper = None
        if self._spec.security.own_users and not features.tmpfs_keeps_user_xattrs():
            upper = self._workspace.make_folder(name, other_users=True, size=self._spec.size)
            self._closers.append(partial(self._workspace.remove_folder, name))
        wants_upper = self._wants_changes or self._spec.size is not None
        # What the image declares a volume is thrown away with the rest, unless the rest cannot be written to.
        volumes = attach(
            self._workspace, self._spec, name=name, who=f"run {name}", declared=self._spec.read_only
        )
        self._closers.append(volumes.close)
        layer = Layer(
            upper=upper,
            send_upper=wants_upper,
            send_mounts=channel is not None,
            throw_away=True,
            mounts=volumes.mounts,
        )
        cgroup = self.cgroup = self._workspace.cgroup(name, self._spec.bounds)
        if cgroup is not None:
            self._closers.append(cgroup.close)
        self.check_clock()
        seat = Seat.of(cgroup)
        launched = launch(
            self._workspace, self._spec, fds, name=name, layer=layer, seat=seat, channel=channel
        )
        self._closers.append(launched.close)
        self._launched = launched
        terminal = launched.take_terminal()
        if terminal is not None:
            self._closers.append(terminal.close)
        self.process = Process.adopt(launched.pid, launched.pidfd)
        reaper().guard(self.process)
        try:
            set_oom_score(self._spec.oom_score_adj, launched.pid, cgroup)
        except BaseException:
            self.abort()
            self.process.close()
            raise
        return terminal

    def _changes(self) -> list[Change] | None:
        launched = self._launched
        upper = None if launched is None else launched.take(slots.SENT_UPPER)
        if launched is None or upper is None:
            return None
        try:
            if not self._wants_changes:
                return None
            if native.is_empty(upper):
                return []  # what most runs change
            return launched.changes(upper)
        finally:
            os.close(upper)

    def _end_process(self) -> None:
        """End what was set up and is not waited for as a run is."""
        if self.process.ended is None:
            self.process.kill()
            self.process.wait(KILLED_SECONDS)
        self.process.close()

    def _denied(self) -> tuple[str, ...]:
        stack = None if self._launched is None else self._launched.stack
        return () if stack is None else stack.denied()

    def _layer_is_full(self) -> bool:
        upper = None if self._launched is None else self._launched.received.get(slots.SENT_UPPER)
        return self._spec.size is not None and upper is not None and os.fstatvfs(upper).f_bavail == 0
