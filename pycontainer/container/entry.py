"""A further program in a container that runs."""

from __future__ import annotations

import os

from pycontainer.container import slots
from pycontainer.container.confinement import confinement
from pycontainer.container.launch import NAMESPACES, Launch
from pycontainer.container.start import NOWHERE, Fds, Recipe, Seat, start_and_receive
from pycontainer.image.accounts import Identity
from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Script

_SLOTS = 4
_TARGET, _MASTER, _TERMINAL = range(slots.EXPORT + 1, _SLOTS)


def enter(
    running: Launch,
    target: int,
    argv: tuple[str, ...],
    stdio: Fds,
    *,
    identity: Identity,
    env: dict[str, str],
    workdir: str,
    seat: Seat = NOWHERE,
) -> tuple[int, int, int | None]:
    """Start a further program in a running container: its pid, its pidfd and, on a terminal, the pty's master.

    ``target`` is the pidfd of the container's first process.  The program gets the confinement of the
    container's own program, and runs in all its namespaces.
    """
    spec, tty = running.spec, stdio is None
    recipes = running.workspace.recipes
    key = (id(spec), running.map, argv, identity, tuple(env.items()), workdir, tty, seat.shape)
    recipe = recipes.get(key, spec)
    if recipe is None:
        recipe = _recipe(running, argv, identity, env, workdir, tty=tty, seat=seat.shape)
        recipes.put(key, spec, recipe)
    fds = {_TARGET: target}
    if not tty:
        return *recipe.start(stdio, fds, seat=seat), None
    exports = running.workspace.exports
    pid, pidfd, received = start_and_receive(exports, recipe, None, fds, seat=seat, hostname=None)
    return pid, pidfd, received.get(slots.SENT_MASTER)


def _recipe(
    running: Launch,
    argv: tuple[str, ...],
    identity: Identity,
    env: dict[str, str],
    workdir: str,
    *,
    tty: bool,
    seat: tuple[bool, int],
) -> Recipe:
    types = NAMESPACES
    types |= 0 if running.spec.network == "host" else lib.CLONE_NEWNET
    types |= 0 if running.map is None else lib.CLONE_NEWUSER
    fields = confinement(running.spec, identity, running.map)
    fields.update(
        script=_SETUP[tty],
        joins=((_TARGET, types),),
        terminal=_TERMINAL if tty else -1,
        ns_root=running.map is not None,
        workdir=os.fsencode(workdir),
    )
    terminal = _TERMINAL if tty else None
    # Not on the leash itself: it ends with the container's first process, which is (pid_namespaces(7)).
    return Recipe.make(argv, env, fields, reserved=_SLOTS, terminal=terminal, seat=seat, leashed=False)


def _setup(*, tty: bool) -> Script:
    """The cgroup namespace, entered only when the process is in its cgroup: who is inside the namespace may
    not be placed from outside of it (cgroups(7), nsdelegate).  A pty on the container's devpts, which
    its programs may have replaced by something else: verified.
    """
    ops = [op.join(_TARGET, lib.CLONE_NEWCGROUP)]
    if tty:
        flags = os.O_RDWR | os.O_NOCTTY
        ops += [
            op.open_path("/dev/pts/ptmx", out=_MASTER, flags=flags, resolve=lib.RESOLVE_NO_SYMLINKS),
            op.verify(
                _MASTER, magic=lib.DEVPTS_SUPER_MAGIC, device=os.makedev(5, 2), purpose="/dev/pts/ptmx"
            ),
            op.terminal_peer(_MASTER, out=_TERMINAL),
            op.send(_MASTER, to=slots.EXPORT, tag=slots.SENT_MASTER),
        ]
    return Script.of(inner=ops)


_SETUP = {tty: _setup(tty=tty) for tty in (False, True)}
