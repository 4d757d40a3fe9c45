"""What is done with the processes of a cgroup: moving, counting, stopping and ending them."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from pycontainer.errors import InvalidArgument, KernelError, NotSupported, StateError
from pycontainer.kernel.cgroup import ending
from pycontainer.kernel.cgroup.directory import Directory
from pycontainer.kernel.cgroup.events import Watch, watch
from pycontainer.kernel.cgroup.layout import Layout
from pycontainer.kernel.cgroup.parts import Parts
from pycontainer.kernel.cgroup.pattern import TREE, Pattern
from pycontainer.kernel.cgroup.place import NO_PLACE, Place
from pycontainer.kernel.cgroup.stat import (
    RESOURCES,
    Account,
    CgroupStat,
    Noted,
    Pressure,
    read_account,
    read_cpu_seconds,
    read_pressure,
    read_stat,
)

if TYPE_CHECKING:
    from pycontainer.kernel.process import Process

T = TypeVar("T")

#: What the owner of a cgroup may write, where the kernel does not tell it (/sys/kernel/cgroup/delegate).
_DELEGATED = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n"
#: The same in version 1.
_DELEGATED_V1 = ("cgroup.procs", "tasks")


class Members(Place):
    """The directories of a cgroup, and what they can do to the processes in it and below."""

    def __init__(self, name: str, layout: Layout, parts: Parts) -> None:
        super().__init__()
        self.name = name
        self.layout = layout
        self._parts = parts
        #: Of which kind it is, as long as it is that and nothing else.
        self._pattern: Pattern | None = None
        self._tasks: dict[str, int] = {}
        #: Kills in cgroups below that are removed: version 1 forgets them.
        self._kills_below = 0
        #: Those that the last account told.
        self._kills_told: int | None = None
        self._closed = False
        self._lock = threading.RLock()

    @property
    def tree(self) -> Directory | None:  # type: ignore[override]
        """The directory in version 2's tree."""
        return self._parts.tree

    @property
    def path(self) -> str:
        """The directory in version 2's tree, or ``""``."""
        return "" if self._parts.tree is None else self._parts.tree.path

    @property
    def paths(self) -> dict[str, str]:
        """Controller -> directory. Version 2's directory is told for those that it has."""
        found = {}
        if self._parts.tree is not None:
            told = self._parts.tree.find("cgroup.controllers") or b""
            found.update(dict.fromkeys(told.decode().split(), self._parts.tree.path))
        found.update((controller, each.path) for controller, each in self._v1().items())
        return found

    @property
    def existing(self) -> list[str]:
        """Every directory that it has now."""
        return [each.path for each in (self._parts.tree, *self._parts.v1.values()) if each is not None]

    def _v1(self) -> dict[str, Directory]:
        """The directories in hierarchies of version 1, by controller."""
        return self._by_controller(self._parts.v1)

    def _by_controller(self, found: Mapping[str, T]) -> dict[str, T]:
        return {name: found[place] for name, place in self.layout.v1.items() if place in found}

    @property
    def directory(self) -> int:
        """The fd of version 2's directory, for ``CLONE_INTO_CGROUP``, or -1; stays owned here."""
        self._check()
        return -1 if self._parts.tree is None else self._parts.tree.fileno()

    @property
    def tasks(self) -> tuple[int, ...]:
        """Open ``tasks`` files of version 1: a process that writes "0" into each is in. They stay owned here.

        Also those of the cgroups above in hierarchies that this one has no directory in: their limits hold here.
        """
        self._check()
        with self._lock:
            joined = self.joined().values()
            for directory in joined:
                if directory.path not in self._tasks:
                    try:
                        self._tasks[directory.path] = directory.open_file("tasks", os.O_WRONLY)
                    except OSError as error:
                        raise KernelError(
                            error.errno or 0, f"open tasks of the cgroup {directory.path}"
                        ) from None
            return tuple([self._tasks[directory.path] for directory in joined])

    def joined(self) -> dict[str, Directory]:
        """The directory in each hierarchy of version 1 that a process in this cgroup belongs to."""
        return dict(self._parts.v1)

    def fileno(self) -> int:
        """The fd of the directory that stands for the whole cgroup: version 2's, else one of version 1."""
        return self._main.fileno()

    @property
    def _main(self) -> Directory:
        self._check()
        found = self._parts.tree
        if found is not None:
            return found
        places = self._v1()
        if not places:
            raise NotSupported(f"the cgroup {self.name} could not be made", NO_PLACE)
        return places["freezer"] if "freezer" in places else next(iter(places.values()))

    @property
    def _unified(self) -> bool:
        return self._parts.tree is not None

    def _check(self) -> None:
        if self._closed:
            raise StateError("the cgroup", "removed", "be used")

    def add(self, process: int | Process) -> None:
        """Move a process with all its threads in. What it has used so far stays counted where it was.

        Raises :class:`KernelError`: ``ESRCH`` when it has ended, ``EBUSY`` when processes cannot be in this
        cgroup because those below have controllers (cgroups(7), "no internal processes").
        """
        main = self._main
        pid = process if isinstance(process, int) else process.pid
        if not isinstance(process, int) and process.ended is not None:
            raise KernelError(errno.ESRCH, f"move process {pid} to the cgroup {main.path}")
        for directory in (self._parts.tree, *self.joined().values()):
            if directory is not None:
                with ending.refused(f"move process {pid} to", directory):
                    directory.write("cgroup.procs", b"%d" % pid)

    def processes(self) -> list[int]:
        """The processes in it and below; 0 is one of a pid namespace that is not shown here."""
        with ending.refused("read the processes of", self._main):
            return self._main.all_processes()

    def freeze(self, timeout: float = 10.0) -> None:
        """Stop every process in it and below, and wait until all stand. Raises :class:`WaitTimeout`, thawed."""
        ending.freeze(self._main, timeout, unified=self._unified)

    def thaw(self) -> None:
        """Let the processes go on."""
        ending.thaw(self._main, unified=self._unified)

    def kill(self) -> None:
        """Kill every process in it and below, frozen ones too; no fork escapes. ``wait_empty`` waits for the end.

        One step since Linux 5.14 with version 2's tree; else they are frozen, killed and thawed until none is left.
        """
        ending.kill(self._main, unified=self._unified)

    def wait_empty(self, timeout: float = 10.0) -> None:
        """Wait until no process is left in it and below. Raises :class:`WaitTimeout`."""
        ending.wait_empty(self._main, timeout, unified=self._unified)

    def stat(self) -> CgroupStat:
        """What it has used until now, in seconds and bytes."""
        self._check()
        return read_stat(self._parts.tree, self._v1(), kills_below=self._kills_below)

    def account(self) -> Account:
        """What a command that has ended used: the fields of :class:`CgroupStat`, as far as they are told.

        Without ``swap_current`` and ``pids_current``; of the pressure the totals of ``some``, in seconds.
        """
        self._check()
        found = self._account()
        self._kills_told = found.get("oom_kills")
        return found

    def _account(self) -> Account:
        pattern = self._pattern
        told = None if pattern is None else pattern.read(self.name, self._parts)
        if told is not None:
            return read_account(told.get(TREE), self._by_controller(told), kills_below=self._kills_below)
        noted = {place: Noted(each) for place, each in self._parts.v1.items()}
        if self._parts.tree is not None:
            noted[TREE] = Noted(self._parts.tree)
        found = read_account(noted.get(TREE), self._by_controller(noted), kills_below=self._kills_below)
        if pattern is not None:
            pattern.note({place: each.names for place, each in noted.items()})
        return found

    def expect(self) -> None:
        """Have the kernel look up what :meth:`account` will read, which is most of its time."""
        if self._pattern is not None:
            self._pattern.find(self.name)

    def cpu_seconds(self) -> float:
        """The processor time that it has used until now. Raises :class:`NotSupported` where it is not counted."""
        self._check()
        return read_cpu_seconds(self._parts.tree, self._v1())

    def pressure(self, resource: str) -> Pressure:
        """How much its processes wait for "cpu", "memory" or "io". Raises :class:`NotSupported` without PSI."""
        if resource not in RESOURCES:
            raise InvalidArgument("resource", resource, f"one of {', '.join(RESOURCES)} is needed")
        self._check()
        return read_pressure(self._parts.tree, resource)

    def watch(self, event: str) -> Watch:
        """An fd that polls readable (POLLIN) when something happened; its ``read`` tells what, and rearms it.

        "oom": memory ran out at a limit, in it or, with version 2, below; version 1 tells it just before
        it kills, and once more when the cgroup is removed. "populated": the first process came or the last one
        went, in it and below.  Raises :class:`NotSupported` where the kernel does not tell.

        >>> with group.watch("populated") as watch:         # doctest: +SKIP
        ...     select.select([watch], [], [], 5)
        ...     watch.read()
        """
        self._check()
        return watch(event, self._parts.tree, self._v1().get("memory"))

    def delegate(self, uid: int, gid: int) -> None:
        """Let a user make cgroups in it and move processes between them; its own limits stay out of reach.

        Processes come in only from where that user may take them (cgroups(7), "Delegation containment").
        """
        for argument, value in (("uid", uid), ("gid", gid)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < (1 << 32) - 1:
                raise InvalidArgument(argument, value, "an id is needed")
        self._check()
        for directory in (self._parts.tree, *self._parts.v1.values()):
            if directory is None:
                continue
            names = _delegated() if directory is self._parts.tree else _DELEGATED_V1
            with ending.refused("delegate", directory):
                os.chown(directory.fileno(), uid, gid)
                for name in names:
                    with suppress(FileNotFoundError):
                        os.chown(name, uid, gid, dir_fd=directory.fileno())

    def _close_tasks(self) -> None:
        with self._lock:
            while self._tasks:
                os.close(self._tasks.popitem()[1])


def _delegated() -> list[str]:
    try:
        with open("/sys/kernel/cgroup/delegate") as file:
            names = file.read()
    except OSError:
        names = _DELEGATED
    # The last is a limit of the cgroup itself.
    return [name for name in names.split() if name != "memory.oom.group"]
