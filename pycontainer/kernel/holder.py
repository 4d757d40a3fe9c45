"""The process that namespaces are held by: ``init``, which does nothing in them but be there."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time
from collections.abc import Iterable, Sequence, Set

from pycontainer.errors import KernelError, WaitTimeout
from pycontainer.kernel import operation as op
from pycontainer.kernel import orphans, userns
from pycontainer.kernel.leash import spawn_leashed
from pycontainer.kernel.native import lib
from pycontainer.kernel.nsfs import KINDS
from pycontainer.kernel.process import Process
from pycontainer.kernel.program import program
from pycontainer.kernel.script import Operation, Script
from pycontainer.kernel.spawn import STEPS, Spawn

_END_SECONDS = 10.0
_LOOK_MILLISECONDS = 5
_FREE = 2  # the slot that the preparation may fill
_PROC = "/proc"
_PROC_ATTRIBUTES = lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_NODEV | lib.MOUNT_ATTR_NOEXEC


def hold(kinds: Set[str], *, owner: int | None, ns_root: bool, proc: bool) -> Process:
    """Start a process in new namespaces of ``kinds``, owned by the user namespace ``owner`` where that is an fd.

    They are prepared when this returns: private mounts, ``lo`` up, and with ``proc`` a /proc of the new pid
    namespace.  The process lasts until it is killed, or this process ends.  Raises :class:`KernelError`.
    """

    def start(ready: int) -> tuple[int, int]:
        return spawn_leashed(
            Spawn(
                argv=(b"init",),
                program=0,
                fds=(program("init"), -1 if owner is None else owner, -1, ready),
                stdio=((3, 0),),
                joins=() if owner is None else ((1, lib.CLONE_NEWUSER),),
                script=Script.of(inner=_preparation(kinds, proc=proc)),
                namespaces=sum(KINDS[kind].flag for kind in kinds),
                ns_root=ns_root,
            )
        )

    return Process.adopt(*userns.when_ready(start))


def stay(joins: Sequence[tuple[int, int]]) -> Process:
    """Start a process that does nothing in namespaces that there are, as root of the first, a user namespace.

    By its pid others find them.  It lasts until it is killed, or this process ends.  Raises :class:`KernelError`.
    """

    def start(ready: int) -> tuple[int, int]:
        return spawn_leashed(
            Spawn(
                argv=(b"init",),
                program=0,
                fds=(program("init"), ready, *(fd for fd, _ in joins)),
                stdio=((1, 0),),
                joins=tuple((2 + place, kind) for place, (_, kind) in enumerate(joins)),
                ns_root=True,
            )
        )

    return Process.adopt(*userns.when_ready(start))


def end(process: Process, others: Iterable[Process]) -> None:
    """Kill a process of :func:`hold` and wait until it is gone, with all that ran in its pid namespace.

    ``others`` are children of this process that may run in there.  A PID 1 does not end before every process
    of the namespace is reaped, and nobody but their parent can do that (zap_pid_ns_processes in the kernel's
    kernel/pid_namespace.c); they keep their exit codes.
    """
    process.kill()
    deadline = time.monotonic() + _END_SECONDS
    poller = select.poll()
    poller.register(process, select.POLLIN)
    while not poller.poll(_LOOK_MILLISECONDS):
        for other in others:
            # Where its status is lost whoever asks for it is told.
            with contextlib.suppress(KernelError):
                other.poll()
        orphans.collect()
        if time.monotonic() > deadline:
            raise WaitTimeout(
                f"PID 1 of a pid namespace ({process.pid}) waits for processes that have a parent outside"
            )
    process.wait()


def _preparation(kinds: Set[str], *, proc: bool) -> list[Operation]:
    ops: list[Operation] = []
    if "mount" in kinds:
        ops.append(op.open_path("/", out=_FREE, flags=os.O_PATH | os.O_DIRECTORY))
        ops.append(
            op.set_attributes(_FREE, propagation=lib.MS_PRIVATE, recursive=True, purpose="the host's mounts")
        )
        ops.append(op.close(_FREE))
    if proc and {"mount", "pid"} <= kinds:
        ops += op.new_mount("proc", out=_FREE, attributes=_PROC_ATTRIBUTES, purpose=_PROC)
        ops.append(op.move_mount(_FREE, at=op.HERE, path=_PROC))
    if "net" in kinds:
        ops.append(op.loopback())
    return ops


def explained(error: KernelError, kinds: Set[str]) -> KernelError:
    """The error of making namespaces of ``kinds``, with its likely cause."""
    hint = error.hint
    if error.errno == errno.ENOSPC:
        hint = "a limit in /proc/sys/user/max_*_namespaces is reached"
    elif error.errno == errno.EPERM and "user" not in kinds:
        hint = 'only root may make these alone: add "user"'
    elif error.errno == errno.EPERM and error.step == STEPS[lib.PC_STEP_CLONE]:
        hint = (
            "user namespaces are denied to ordinary users here: see the sysctls "
            "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns"
        )
    elif error.errno == errno.EPERM and _PROC in error.step:
        hint = "inside a container whose /proc is partly masked no other can be mounted: use proc=False"
    return KernelError(error.errno or 0, error.step, op=error.op, of=error.of, hint=hint)
