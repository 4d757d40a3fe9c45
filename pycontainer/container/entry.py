"""A further program in a container that runs."""

from __future__ import annotations

import os

from pycontainer.container import slots
from pycontainer.container.confinement import FdTable, confinement
from pycontainer.container.launch import NAMESPACES, Launch
from pycontainer.container.start import Exports, Fds, place, start
from pycontainer.image.accounts import Identity
from pycontainer.kernel import operation as op
from pycontainer.kernel.cgroup import Cgroup
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Script

_SLOTS = 4
_EXPORT, _TARGET, _MASTER, _TERMINAL = range(_SLOTS)


def enter(
    running: Launch,
    target: int,
    argv: tuple[str, ...],
    stdio: Fds,
    *,
    identity: Identity,
    env: dict[str, str],
    workdir: str,
    cgroup: Cgroup | None = None,
) -> tuple[int, int, int | None]:
    """Start a further program in a running container: its pid, its pidfd and, on a terminal, the pty's master.

    ``target`` is the pidfd of the container's first process.  The program gets the confinement of the
    container's own program, and runs in all its namespaces.
    """
    spec, lease, tty = running.spec, running.lease, stdio is None
    table = FdTable(_SLOTS)
    table.fds[_TARGET] = target
    types = NAMESPACES
    types |= 0 if spec.network == "host" else lib.CLONE_NEWNET
    types |= 0 if lease is None else lib.CLONE_NEWUSER
    fields = confinement(spec, identity, None if lease is None else lease.map)
    fields.update(
        script=_SETUP[tty],
        joins=((_TARGET, types),),
        cgroup=table.add(cgroup.fileno()) if cgroup is not None else -1,
        terminal=_TERMINAL if tty else -1,
        ns_root=lease is not None,
        workdir=os.fsencode(workdir),
    )
    with Exports(table if tty else None, _EXPORT) as exports:
        pairs = place(stdio, (), table, _TERMINAL)
        pid, pidfd = start(argv, env, fields, table, pairs, init=False)
        received = exports.receive()
    return pid, pidfd, received.get(slots.SENT_MASTER)


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
            op.send(_MASTER, to=_EXPORT, tag=slots.SENT_MASTER),
        ]
    return Script.of(inner=ops)


_SETUP = {tty: _setup(tty=tty) for tty in (False, True)}
