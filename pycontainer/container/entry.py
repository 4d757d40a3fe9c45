"""A further program in a container that runs."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from functools import lru_cache

import attrs

from pycontainer.container import slots, walls
from pycontainer.container.accounting import usage_of
from pycontainer.container.arguments import Tty, window
from pycontainer.container.command import Command
from pycontainer.container.confinement import confinement
from pycontainer.container.exchange import Exchange
from pycontainer.container.launch import Launch
from pycontainer.container.recipe import NAMESPACES
from pycontainer.container.result import Usage
from pycontainer.container.spec import Spec
from pycontainer.container.start import NOWHERE, Fds, Recipe, Seat, start_and_receive
from pycontainer.container.streams import KILLED_SECONDS
from pycontainer.image.accounts import Identity
from pycontainer.kernel import landlock
from pycontainer.kernel import operation as op
from pycontainer.kernel.cgroup import Cgroup
from pycontainer.kernel.ended import Ended
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.native import lib
from pycontainer.kernel.process import Process
from pycontainer.kernel.script import Script
from pycontainer.kernel.terminal import Terminal

_SLOTS = 5
TARGET, _MASTER, _TERMINAL, _RULESET = range(slots.EXPORT + 1, _SLOTS)


@attrs.define(eq=False)
class Entered:
    """A program started in the container: its process, and its own cgroup where the host gives one.

    Who runs the program closes it, and so does the container with all that have ended: once.
    """

    process: Process
    cgroup: Cgroup | None
    _home: Cgroup | None
    #: Somebody is about to read what it used: not to be removed for having ended.
    awaited: bool = attrs.field(default=False, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def kill(self) -> None:
        """Kill the program; with a cgroup also every process that came of it."""
        with self._lock:
            if self.cgroup is not None:
                self.cgroup.kill()
        self.process.kill()

    def settle(self, timeout: float) -> None:
        """Wait until what was killed is gone. Raises :class:`WaitTimeout`."""
        with self._lock:
            if self.cgroup is not None:
                self.cgroup.wait_empty(timeout)

    def usage(self, ended: Ended, wall: float) -> Usage:
        """What the program used; of a container that was removed meanwhile only what the kernel still tells."""
        with self._lock:
            return usage_of(ended, self.cgroup, wall=wall)

    def close(self) -> None:
        """Remove the cgroup. What the program left running in the container goes on there. Idempotent."""
        self.awaited = False
        with self._lock:
            cgroup, self.cgroup = self.cgroup, None
            if cgroup is not None:
                cgroup.dissolve(self._home)

    def leave(self) -> None:
        """Let go of the cgroup of a program that goes on; it goes with the container. Idempotent."""
        with self._lock:
            cgroup, self.cgroup = self.cgroup, None
            if cgroup is not None:
                cgroup.leave()


class Execution(Command):
    """A further program of a container, from start to result; ``begin`` starts it on the fds given."""

    def __init__(
        self, argv: tuple[str, ...], exchange: Exchange, begin: Callable[[Fds], Entered], *, tty: bool
    ) -> None:
        super().__init__(argv, exchange, tty=tty)
        self._begin = begin
        self._entered: Entered | None = None

    def _launch(self, fds: Fds) -> Terminal | None:
        self._entered = self._begin(fds)
        self._entered.awaited = True
        self._closers.append(self._entered.close)
        self.cgroup = self._entered.cgroup
        self.process = self._entered.process
        return self.process.terminal

    def kill(self) -> None:
        """End the program; where the host gives cgroups, with all that came of it."""
        if self._entered is not None:
            self._entered.kill()

    def settle(self) -> None:
        """Wait for all that came of the program: only its own end was waited for."""
        if self._entered is not None:
            self._entered.settle(KILLED_SECONDS)

    def _usage(self, ended: Ended) -> Usage:
        assert self._entered is not None  # noqa: S101  it was started, and has ended
        return self._entered.usage(ended, self._wall)


def enter(
    running: Launch,
    target: int,
    argv: tuple[str, ...],
    stdio: Fds,
    *,
    identity: Identity,
    env: dict[str, str],
    workdir: str,
    tty: Tty = False,
    seat: Seat = NOWHERE,
) -> tuple[int, int, int | None]:
    """Start a further program in a running container: its pid, its pidfd and, on a terminal, the pty's master.

    ``target`` is the pidfd of the container's first process.  The program gets the confinement of the
    container's own program, and runs in all its namespaces.
    """
    spec = running.spec
    recipes = running.workspace.recipes
    key = (
        id(spec),
        running.map,
        argv,
        identity,
        tuple(env.items()),
        workdir,
        tty,
        seat.shape,
        running.restored,
    )
    recipe = recipes.get(key, spec)
    if recipe is None:
        recipe = entry_recipe(
            spec,
            running.map,
            argv,
            identity,
            env,
            workdir,
            tty=tty,
            seat=seat.shape,
            restored=running.restored,
        )
        recipes.put(key, spec, recipe)
    fds = {TARGET: target}
    if not tty:
        return *recipe.start(stdio, fds, seat=seat), None
    exports = running.workspace.exports
    pid, pidfd, received = start_and_receive(exports, recipe, None, fds, seat=seat, hostname=None)
    return pid, pidfd, received.get(slots.SENT_MASTER)


def entry_recipe(
    spec: Spec,
    map_: IdMap | None,
    argv: tuple[str, ...],
    identity: Identity,
    env: dict[str, str],
    workdir: str,
    *,
    tty: Tty,
    seat: tuple[bool, int],
    restored: bool = False,
) -> Recipe:
    """How a further program is started: in the slot ``TARGET`` is a pidfd of the container's first process.

    The cgroup namespace of one that is ``restored`` belongs to the host's root, who alone may enter it: the program
    gets another, of its own.
    """
    types = NAMESPACES
    types |= 0 if spec.network.mode == "host" else lib.CLONE_NEWNET
    types |= 0 if map_ is None else lib.CLONE_NEWUSER
    script, used = _setup(spec, tty=tty, restored=restored)
    fields = confinement(spec, identity, map_)
    fields.update(
        script=script,
        joins=((TARGET, types),),
        cgroup_namespace=restored,
        terminal=_TERMINAL if tty else -1,
        landlock=_RULESET if spec.security.landlock and landlock.version() else -1,
        ns_root=map_ is not None,
        ns_ids=(0, 0) if map_ is None else map_.first,
        workdir=os.fsencode(workdir),
    )
    terminal = _TERMINAL if tty else None
    # Not on the leash itself: it ends with the container's first process, which is (pid_namespaces(7)).
    return Recipe.make(argv, env, fields, reserved=used, terminal=terminal, seat=seat, first=False)


@lru_cache(maxsize=256)
def _setup(spec: Spec, *, tty: Tty, restored: bool) -> tuple[Script, int]:
    """The cgroup namespace, entered only when the process is in its cgroup: who is inside the namespace may
    not be placed from outside of it (cgroups(7), nsdelegate).  A pty on the container's devpts, which
    its programs may have replaced by something else: verified.  Then what the container's own program has, too.

    Also how many slots that takes.
    """
    slot = itertools.count(_SLOTS)
    ops = [] if restored else [op.join(TARGET, lib.CLONE_NEWCGROUP)]
    if tty:
        flags = os.O_RDWR | os.O_NOCTTY
        ops += [
            op.open_path("/dev/pts/ptmx", out=_MASTER, flags=flags, resolve=lib.RESOLVE_NO_SYMLINKS),
            op.verify(
                _MASTER, magic=lib.DEVPTS_SUPER_MAGIC, device=os.makedev(5, 2), purpose="/dev/pts/ptmx"
            ),
            op.terminal_peer(_MASTER, out=_TERMINAL, window=window(tty)),
            op.send(_MASTER, to=slots.EXPORT, tag=slots.SENT_MASTER),
        ]
    if spec.security.landlock:
        ops += walls.rules(spec, _RULESET, slot=slot.__next__, scoped=not spec.network.is_own)
    return Script.of(inner=ops), next(slot)
