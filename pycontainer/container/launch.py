"""From a specification to a running process: gathers fds, makes one native call, keeps what must be kept.

:func:`launch` starts a container, :func:`enter` a further program in it.  A :class:`Launch` owns what
belongs to one running container on the host's side: its id lease, and the fds that it sent back.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import lru_cache
from typing import Any

import attrs

from pycontainer.container import plan as plans
from pycontainer.container.confinement import FdTable, command, command_below_init, confinement, full_environment
from pycontainer.container.plan import Shape
from pycontainer.container.spec import Spec
from pycontainer.container.workspace import Workspace
from pycontainer.errors import KernelError
from pycontainer.image.accounts import Identity, identify
from pycontainer.kernel import features
from pycontainer.kernel import operation as op
from pycontainer.kernel.cgroup import Cgroup
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.native import lib, wait_usage
from pycontainer.kernel.operation import Script
from pycontainer.kernel.reaper import reaper
from pycontainer.kernel.spawn import STEPS, Spawn, exec_failure, spawn
from pycontainer.kernel.terminal import Terminal
from pycontainer.kernel.userns import Lease

#: The host image's accounts are our own and never change.
_identify_on_host = lru_cache(maxsize=256)(identify)
_CONTROL = socket.CMSG_LEN(4)
_NOW = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
_NAMESPACES = lib.CLONE_NEWNS | lib.CLONE_NEWPID | lib.CLONE_NEWUTS | lib.CLONE_NEWIPC


#: The fds that a program gets as 0, 1 and 2, which stay the caller's; ``None``: the container's terminal.
Fds = tuple[int, int, int] | None


@attrs.frozen(kw_only=True)
class Layer:
    """Where the writable layer is (a host folder, else memory) and which of its fds are wanted back.

    One to ``throw_away`` is never synced to disk.
    """

    upper: str | None = None
    send_upper: bool = False
    send_root: bool = False
    throw_away: bool = False


@attrs.define(kw_only=True, eq=False)
class Launch:
    """What a started container consists of on the host's side. :meth:`close` lets go of it."""

    pid: int
    pidfd: int
    spec: Spec
    hostname: str
    lease: Lease | None
    lowers: tuple[str, ...]
    layer: Layer
    received: dict[int, int]
    workspace: Workspace

    def take(self, tag: int) -> int | None:
        """An fd that the container sent (``plan.SENT_*``), now the caller's to close."""
        return self.received.pop(tag, None)

    def take_terminal(self) -> Terminal | None:
        """The host's side of the container's terminal, if it has one; the caller's to close."""
        master = self.take(plans.SENT_MASTER)
        return None if master is None else Terminal.adopt(master)

    @property
    def map(self) -> IdMap | None:
        """The id map of the container's user namespace, or ``None`` without one."""
        return None if self.lease is None else self.lease.map

    @property
    def upper_base(self) -> int:
        """What to take off a user id found in a writable layer in memory to have the container's."""
        return 0 if self.layer.upper is not None or os.geteuid() != 0 else self.owner[0]

    @property
    def owner(self) -> tuple[int, int]:
        """The host's ids of the container's root."""
        return _owner(self.lease)

    def close(self) -> None:
        """Close what was not taken and give the lease back; every process must be gone. Idempotent."""
        while self.received:
            os.close(self.received.popitem()[1])
        lease, self.lease = self.lease, None
        if lease is not None:
            self.workspace.leases.give_back(lease, reusable=self.spec.security.is_private)


def launch(
    workspace: Workspace,
    spec: Spec,
    stdio: Fds,
    *,
    name: str,
    layer: Layer,
    cgroup: Cgroup | None = None,
) -> Launch:
    """Start a container.  When this returns its program runs.

    Raises :class:`PyContainerError` with nothing left behind.
    """
    lease = workspace.leases.take() if spec.security.userns == "auto" else None
    try:
        return _launch(workspace, spec, stdio, lease, name, layer, cgroup)
    except BaseException:
        if lease is not None:
            workspace.leases.give_back(lease, reusable=False)
        raise


def _launch(
    workspace: Workspace,
    spec: Spec,
    stdio: Fds,
    lease: Lease | None,
    name: str,
    layer: Layer,
    cgroup: Cgroup | None,
) -> Launch:
    hostname = spec.hostname or name
    lowers = spec.image.layers or (workspace.skeleton(_owner(lease)),)
    identity = identify(spec.user, lowers) if spec.image.layers else _identify_on_host(spec.user, lowers)
    plan = plans.plan(_shape(spec, lease, lowers, layer))
    table = FdTable(plan.slots)
    if lease is not None:
        table.fds[plans.USERNS] = lease.fd
    fields = confinement(spec, identity, None if lease is None else lease.map)
    fields.update(
        script=plan.script,
        joins=((plans.USERNS, lib.CLONE_NEWUSER),) if lease is not None else (),
        namespaces=_NAMESPACES | (0 if spec.network == "host" else lib.CLONE_NEWNET),
        cgroup=table.add(cgroup.fileno()) if cgroup is not None else -1,
        terminal=plans.TERMINAL if spec.tty else -1,
        ns_root=lease is not None,
        cgroup_namespace=True,
        hostname=os.fsencode(hostname),
        workdir=os.fsencode(spec.workdir),
    )
    env = full_environment(spec, identity, hostname)
    wants_fds = layer.send_upper or layer.send_root or spec.tty
    with _Exports(table if wants_fds else None) as exports:
        pid, pidfd = _start(spec.argv, env, fields, table, _stdio(spec, stdio, table), init=spec.init)
        received = exports.receive()
    return Launch(
        pid=pid,
        pidfd=pidfd,
        spec=spec,
        hostname=hostname,
        lease=lease,
        lowers=lowers,
        layer=layer,
        received=received,
        workspace=workspace,
    )


def _owner(lease: Lease | None) -> tuple[int, int]:
    if lease is None:
        return os.geteuid(), os.getegid()
    return lease.map.host_uid(0) or 0, lease.map.host_gid(0) or 0


def _shape(spec: Spec, lease: Lease | None, lowers: tuple[str, ...], layer: Layer) -> Shape:
    is_root = os.geteuid() == 0
    idmapped = is_root and lease is not None
    binds = spec.image.binds
    return Shape(
        layers=lowers,
        binds=binds,
        mounts=spec.mounts,
        owner=_owner(lease) if idmapped else (0, 0),
        idmapped=idmapped,
        layers_idmapped=bool(spec.image.layers),
        binds_idmapped=idmapped and all(features.can_idmap(path) for path in binds),
        in_userns=lease is not None,
        own_network=spec.network != "host",
        # sysfs belongs to the network namespace: who does not own that cannot mount it.
        mount_sys=spec.network != "host" or lease is None,
        make_devices=is_root,
        tty_group=lease is None or lease.map.host_gid(5) is not None,
        upper=layer.upper,
        volatile=layer.throw_away,
        upper_size=spec.size,
        read_only=spec.read_only,
        terminal=spec.tty,
        masked=spec.security.masked,
        read_only_paths=spec.security.read_only,
        workdir=spec.workdir,
        lower_by_layer=features.overlay_takes_layers(),
        shm_size=spec.shm_size,
        send_upper=layer.send_upper,
        send_root=layer.send_root,
    )


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
    table = FdTable(4)
    export, terminal = 0, 2
    types = _NAMESPACES | lib.CLONE_NEWCGROUP
    types |= 0 if spec.network == "host" else lib.CLONE_NEWNET
    types |= 0 if lease is None else lib.CLONE_NEWUSER
    fields = confinement(spec, identity, None if lease is None else lease.map)
    fields.update(
        script=_open_terminal(export, 1, terminal) if tty else Script.of(),
        joins=((table.add(target), types),),
        cgroup=table.add(cgroup.fileno()) if cgroup is not None else -1,
        terminal=terminal if tty else -1,
        ns_root=lease is not None,
        workdir=os.fsencode(workdir),
    )
    with _Exports(table if tty else None, export) as exports:
        pairs = _stdio(attrs.evolve(spec, tty=tty, extra_fds=()), stdio, table, terminal)
        pid, pidfd = _start(argv, env, fields, table, pairs, init=False)
        received = exports.receive()
    return pid, pidfd, received.get(plans.SENT_MASTER)


def _open_terminal(export: int, master: int, terminal: int) -> Script:
    """A pty on the container's devpts, which its programs may have replaced by something else: verified."""
    return Script.of(
        inner=[
            op.open_path("/dev/pts/ptmx", out=master, flags=os.O_RDWR | os.O_NOCTTY, resolve=lib.RESOLVE_NO_SYMLINKS),
            op.verify(master, magic=lib.DEVPTS_SUPER_MAGIC, device=os.makedev(5, 2), purpose="/dev/pts/ptmx"),
            op.terminal_peer(master, out=terminal),
            op.send(master, to=export, tag=plans.SENT_MASTER),
        ]
    )


def _stdio(spec: Spec, stdio: Fds, table: FdTable, terminal: int = plans.TERMINAL) -> list[tuple[int, int]]:
    if stdio is None:
        pairs = [(terminal, target) for target in range(3)]
    else:
        pairs = [(table.add(fd), target) for target, fd in enumerate(stdio)]
    return pairs + [(table.add(host), target) for host, target in spec.extra_fds]


def _start(
    argv: tuple[str, ...],
    env: dict[str, str],
    fields: dict[str, Any],
    table: FdTable,
    stdio: list[tuple[int, int]],
    *,
    init: bool,
) -> tuple[int, int]:
    guard = reaper()
    if not init:
        request = Spawn(
            **fields, **command(argv, env), leash=table.add(guard.fileno()), fds=tuple(table.fds), stdio=tuple(stdio)
        )
        return _spawn(request)
    report, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        target = max(target for _, target in stdio) + 1
        stdio = [*stdio, (table.add(theirs), target)]
        leash = table.add(guard.fileno())
        below = command_below_init(argv, env, table, target)
        pid, pidfd = _spawn(Spawn(**fields, **below, leash=leash, fds=tuple(table.fds), stdio=tuple(stdio)))
        os.close(theirs)
        theirs = -1
        failed = os.read(report, 4)
    finally:
        os.close(report)
        if theirs >= 0:
            os.close(theirs)
    if failed:
        _reap(pidfd)
        raise exec_failure(int.from_bytes(failed, sys.byteorder), argv[0])
    return pid, pidfd


def _spawn(request: Spawn) -> tuple[int, int]:
    try:
        return spawn(request)
    except KernelError as error:
        if error.step != STEPS[lib.PC_STEP_LEASH]:
            raise
    # The reaper was killed. Nothing has run yet: revive it, and the start is as good as the first.
    reaper().revive()
    fds = list(request.fds)
    fds[request.leash] = reaper().fileno()
    return spawn(attrs.evolve(request, fds=tuple(fds)))


def _reap(pidfd: int) -> None:
    wait_usage(pidfd, os.WEXITED)
    os.close(pidfd)


class _Exports:
    """A socket over which the starting process sends fds back; without a table it does nothing."""

    def __init__(self, table: FdTable | None, slot: int = plans.EXPORT) -> None:
        self._ends: tuple[socket.socket, ...] = ()
        if table is not None:
            self._ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            table.fds[slot] = self._ends[1].fileno()

    def receive(self) -> dict[int, int]:
        """All fds sent, by tag; they are the caller's."""
        received: dict[int, int] = {}
        while self._ends:
            try:
                # Not socket.recv_fds: it ignores its flags.
                tag, control, _, _ = self._ends[0].recvmsg(1, _CONTROL, _NOW)
            except BlockingIOError:
                break
            received[tag[0]] = int.from_bytes(control[0][2], sys.byteorder)
        return received

    def __enter__(self) -> _Exports:
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            end.close()
