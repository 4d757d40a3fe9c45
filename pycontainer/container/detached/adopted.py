"""The host's side of a detached container that runs, in a process that did not start it.

Its monitor hands out what is needed: a pidfd of the first process, and the root directory.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs

from pycontainer.container.entry import Entered
from pycontainer.container.launch import Launch, Layer
from pycontainer.container.running import Running
from pycontainer.container.spec import Spec
from pycontainer.container.volumes import Mounts
from pycontainer.container.workspace import Workspace
from pycontainer.errors import InvalidArgument, KernelError, StateError, WaitTimeout
from pycontainer.image.accounts import Accounts, identify
from pycontainer.kernel.cgroup import Cgroup, Limits
from pycontainer.kernel.ended import has_ended
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.monitorclient import Client
from pycontainer.kernel.native import lib
from pycontainer.kernel.process import Process
from pycontainer.kernel.userns import Lease, Wanted
from pycontainer.state.runs import Run

#: How long a monitor's note of an end that is seen already is waited for, in seconds.
_NOTING = 2.0
_PAUSE = 0.002
#: include/linux/sched.h of the kernel.
_PF_EXITING = 4


class Main(Process):
    """The first process of a detached container, which is the monitor's child: seen, signalled, never reaped."""

    def __init__(self, pid: int, pidfd: Fd, read: Callable[[], Run]) -> None:
        super().__init__(pid, pidfd)
        self._read = read
        self._code: int | None = None

    @property
    def exit_code(self) -> int | None:
        """Its exit code, once :meth:`poll` has seen the end."""
        return self._code

    def poll(self) -> int | None:
        """The exit code as the monitor has noted it, or ``None`` while it runs; 255: nobody saw how it ended."""
        if self._code is None and (has_ended(self.fileno()) or is_ending(self.pid)):
            run = self._read()
            deadline = time.monotonic() + _NOTING
            while run.phase == "running" and run.pid == self.pid and time.monotonic() < deadline:
                time.sleep(_PAUSE)  # the monitor is about to note it
                run = self._read()
            self._code = 255 if run.code is None else run.code
        return self._code

    def close(self) -> None:
        """Let go of the pidfd; idempotent."""
        self._pidfd.close()

    def __del__(self, _warn: Any = None) -> None:
        pidfd = getattr(self, "_pidfd", None)
        if pidfd is not None:
            pidfd.close()


def _wanted(spec: Spec) -> Wanted:
    return Wanted.of(spec.security.userns, spec.security.user_namespaces)


def is_ending(pid: int) -> bool:
    """Is this process over but for programs of clients in its namespace that nobody has reaped (csrc/monitor_end.c)?"""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # Fields 9 and 20 of proc_pid_stat(5): flags, and how many threads there are.
    return bool(int(words[6]) & _PF_EXITING) and words[17] == b"1"


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return dict(json.load(file))
    except ValueError:
        raise KernelError(errno.EIO, f"read {path}", hint="it is damaged: start the container anew") from None


@attrs.define(kw_only=True, eq=False)
class _Seen(Launch):
    """What a process that did not start the container knows of its start."""

    def close(self) -> None:
        """Nothing of it is ours."""


class Adopted(Running):
    """A running detached container. :meth:`close` lets go of it, and changes nothing about it."""

    def __init__(
        self,
        client: Client,
        workspace: Workspace,
        spec: Spec,
        mounts: Mounts,
        folder: str,
        read: Callable[[], Run],
    ) -> None:
        """Ask the monitor that ``client`` is connected to. Raises :class:`StateError` when the container does not run."""
        told = _read(f"{folder}/run")
        answer, fds = client.ask(lib.PC_MONITOR_HELLO)
        if answer.error or len(fds) < 2:
            for fd in fds:
                os.close(fd)
            raise StateError("the container", answer.phase, "reach it")
        self.root = fds[0]
        pidfd = Fd(fds[1])
        #: Where what is written is read by the program: a pipe, or the terminal; ``None``: nowhere.
        self.input = Fd(fds[2]) if len(fds) > 2 else None
        self.cgroup = self._home = None
        self.main = Main(answer.pid, pidfd, read)
        try:
            self._adopt_cgroup(told["cgroup"], spec.bounds.limits)
        except BaseException:
            self.close()
            raise
        map_ = (
            None
            if told["map"] is None
            else IdMap(*[[tuple(each) for each in extents] for extents in told["map"]])
        )
        self.launched = _Seen(
            pid=answer.pid,
            pidfd=pidfd.fileno(),
            spec=spec,
            hostname=told["hostname"],
            identity=identify(spec.user, told["lowers"], spec.groups),
            lease=None if map_ is None else Lease(-1, map_, _wanted(spec), None),
            lowers=tuple(told["lowers"]),
            layer=Layer(upper=f"{folder}/files", mounts=mounts),
            received={},
            workspace=workspace,
            restored=told.get("restored", False),
        )
        self.accounts = Accounts()
        self.terminal = None
        self._entered: list[Entered] = []
        self._waiting: list[int] = []
        self._lock = threading.Lock()
        # Other processes have programs in it, too.
        self._count = int.from_bytes(os.urandom(6), "big")

    def _adopt_cgroup(self, paths: dict[str, str] | None, limits: Limits) -> None:
        if not paths:
            return
        try:
            self.cgroup = Cgroup.adopt(paths, limits=limits)
            if self.cgroup.layout.is_pure:
                self._home = Cgroup.adopt(f"{self.cgroup.path}/main")
            else:
                self._home = self.cgroup
        except (KernelError, InvalidArgument):  # removed in this moment: it has ended
            cgroup, self.cgroup = self.cgroup, None
            if cgroup is not None:
                cgroup.leave()

    def kill(self) -> None:
        """The monitor's to do."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the fds; what was started in it goes on."""
        self.main.close()
        if self.root >= 0:
            os.close(self.root)
            self.root = -1
        if self.input is not None:
            self.input.close()
        for each in getattr(self, "_entered", ()):
            with suppress(KernelError, WaitTimeout):
                each.leave() if each.process.ended is None else each.close()
        for cgroup in (self._home, self.cgroup):
            if cgroup is not None:
                cgroup.leave()

    def __del__(self) -> None:
        if getattr(self, "root", -1) >= 0:
            self.close()
