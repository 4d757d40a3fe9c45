"""What the monitor of a detached container is given: programs, and fds by the numbers that they have there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs

from pycontainer.container import entry, slots
from pycontainer.container.confinement import full_environment
from pycontainer.container.detached.home import Home
from pycontainer.container.detached.joining import Joined
from pycontainer.container.detached.options import Keeping
from pycontainer.container.launch import Layer
from pycontainer.container.logreader import log_numbers
from pycontainer.container.recipe import owner_of, recipe_of
from pycontainer.container.spec import Spec
from pycontainer.container.start import Recipe, Seat
from pycontainer.container.volumes import Mounts
from pycontainer.container.workspace import Workspace
from pycontainer.image.accounts import identify
from pycontainer.kernel import monitor
from pycontainer.kernel.cgroup import Cgroup
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.flat import Places as Slots
from pycontainer.kernel.identity import boot_id
from pycontainer.kernel.native import lib
from pycontainer.kernel.rooted import OPEN_DIRECTORY
from pycontainer.kernel.script import Script
from pycontainer.kernel.spawn import Spawn

_POLICIES = {
    "no": lib.PC_RESTART_NO,
    "on-failure": lib.PC_RESTART_ON_FAILURE,
    "always": lib.PC_RESTART_ALWAYS,
    "unless-stopped": lib.PC_RESTART_ALWAYS,
}


def policy_number(policy: str) -> int:
    """What the monitor is told: who was stopped is never started again by it."""
    return int(_POLICIES[policy])


@attrs.frozen(kw_only=True)
class Order:
    """A start to be made."""

    workspace: Workspace
    home: Home
    id: str
    name: str
    spec: Spec
    keeping: Keeping
    mounts: Mounts
    #: Of its terminal: rows and columns.
    window: tuple[int, int] = (0, 0)
    #: Locked files, which the monitor gets: the one for as long as it lives, the other until the start is over.
    alive: int
    verb: int

    @property
    def hostname(self) -> str:
        """The container's name for itself."""
        return self.spec.hostname or self.id[:12]


def cgroup_name(root: str, id_: str) -> str:
    """The name of a detached container's cgroup: what is left of it can be told by the root that it belongs to."""
    import hashlib

    return f"pycontainer-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}-{id_[:12]}"


class Preparation:
    """What the monitor is given: programs, and fds by the numbers that they have there."""

    #: Are processes made from a checkpoint at the first start?
    restores = False

    def __init__(self, order: Order, joined: Joined, cgroup: Cgroup | None, seat: Seat) -> None:
        spec, lease = order.spec, joined.lease
        self.joined = joined
        self._order, self._lease, self._seat = order, lease, seat
        self.cgroup = cgroup
        self.map = None if lease is None else lease.map
        self.fds = monitor.FdList()
        skeleton = None if spec.image.layers else order.home.skeleton(owner_of(lease))
        self.lowers = spec.image.layers or (skeleton or "",)
        order.home.forget_skeletons(skeleton)
        self.identity = identify(spec.user, self.lowers, spec.groups)
        if lease is not None and lease.claim is not None:
            self.fds.add(lease.claim.lock)

    def main(self) -> tuple[monitor.Program, Spawn]:
        """The container's own program, and its specification for messages."""
        order, spec = self._order, self._order.spec
        layer = Layer(upper=f"{order.home.folder}/files", send_root=True, mounts=order.mounts)
        recipe = recipe_of(
            spec,
            self.map,
            self.identity,
            self.lowers,
            layer,
            seat=self._seat.shape,
            folder=self.joined.folder,
            leashed=False,
        )
        fds = {} if self._lease is None else {slots.USERNS: self._lease.fd}
        if self.joined.netns is not None:
            fds[slots.NETNS] = self.joined.netns
        program = self._program(recipe, fds, hostname=order.hostname, export=slots.EXPORT, target=-1)
        return program, recipe.template.request

    def health(self) -> monitor.Check | None:
        """The health check."""
        check, spec = self._order.keeping.health, self._order.spec
        if check is None:
            return None
        env = {"HOSTNAME": self._order.hostname, **full_environment(spec, self.identity)}
        recipe = entry.entry_recipe(
            spec,
            self.map,
            check.test,
            self.identity,
            env,
            spec.workdir,
            tty=False,
            seat=self._seat.shape,
            restored=self.restores,
        )
        return monitor.Check(
            program=self._program(recipe, {}, hostname=None, export=-1, target=entry.TARGET),
            interval=_milliseconds(check.interval),
            timeout=_milliseconds(check.timeout),
            start_period=_milliseconds(check.start_period),
            start_interval=_milliseconds(check.start_interval),
            failures=check.retries,
        )

    def _program(
        self, recipe: Recipe, given: dict[int, int], *, hostname: str | None, export: int, target: int
    ) -> monitor.Program:
        table = list(recipe.table)
        for slot, fd in given.items():
            table[slot] = fd
        if recipe.cgroup >= 0:
            table[recipe.cgroup] = self._seat.directory
        for slot, fd in zip(recipe.tasks, self._seat.tasks, strict=True):
            table[slot] = fd
        numbers = tuple(self.fds.add(fd) if fd >= 0 else -1 for fd in table)
        request = attrs.evolve(recipe.template.request, fds=numbers)
        if export >= 0 and self._order.window != (0, 0):
            request = attrs.evolve(request, script=_with_window(request.script, *self._order.window))
        if hostname is not None:
            name = os.fsencode(hostname)
            env = () if recipe.names_host else (b"HOSTNAME=" + name,)
            request = attrs.evolve(request, hostname=name, env=request.env + env)
        first, second, third = recipe.stdio or (-1, -1, -1)
        places = Slots(stdio=(first, second, third), export=export, report=recipe.report, target=target)
        return monitor.Program(request=request, places=places)

    @contextmanager
    def plan(self, start_: monitor.Program) -> Iterator[monitor.Plan]:
        """The whole plan; the cgroup's directories above are open for as long as the block runs."""
        order, keeping = self._order, self._order.keeping
        check = self.health()
        with ExitStack() as stack:
            above, oom = [], -1
            for path in [] if self.cgroup is None else self.cgroup.existing:
                fd = stack.enter_context(Fd(os.open(os.path.dirname(path), OPEN_DIRECTORY)))
                above.append(self.fds.add(fd.fileno()))
                for name in ("memory.events", "memory.oom_control"):
                    if os.path.exists(f"{path}/{name}") and oom < 0:
                        told = stack.enter_context(Fd(os.open(f"{path}/{name}", os.O_RDONLY | os.O_CLOEXEC)))
                        oom = self.fds.add(told.fileno())
            yield monitor.Plan(
                id=order.id,
                boot=boot_id(),
                start=start_,
                health=check,
                restart=policy_number(keeping.restart.policy),
                retries=keeping.restart.retries,
                tty=bool(order.spec.tty),
                input=keeping.stdin_open and not order.spec.tty,
                remove=keeping.auto_remove,
                stop_signal=order.spec.stop_signal,
                userns=None if self._lease is None else self.fds.add(self._lease.fd),
                oom=oom,
                cgroup=cgroup_name(order.workspace.root, order.id),
                cgroups=above,
                log_size=keeping.log_size,
                log_files=keeping.log_files,
                log_number=max(log_numbers(order.home.folder), default=1),
                fd_count=len(self.fds.fds),
            )

    def run_file(self) -> dict[str, Any]:
        """What clients have to know of this start."""
        map_ = self.map
        return {
            "map": None
            if map_ is None
            else [[attrs.astuple(each) for each in extents] for extents in (map_.uids, map_.gids)],
            "lowers": list(self.lowers),
            "hostname": self._order.hostname,
            "restored": self.restores,
            "cgroup": None if self.cgroup is None else _adoptable(self.cgroup),
        }


def _with_window(script: Script, rows: int, cols: int) -> Script:
    """The same, but for the size of the terminal that it opens: what the program finds when it begins."""
    inner = [
        attrs.evolve(each, arg=rows, arg2=cols) if each.kind == lib.PC_OP_TERMINAL else each
        for each in script.inner
    ]
    return Script.of(outer=script.outer, inner=inner)


def _adoptable(cgroup: Cgroup) -> dict[str, str]:
    """The directories of a cgroup as :meth:`Cgroup.adopt` takes them: by controller, and version 2's tree as ``""``."""
    found = {"": cgroup.path} if cgroup.path else {}
    return {**{name: path for name, path in cgroup.paths.items() if path != cgroup.path}, **found}


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000)) if seconds else 0
