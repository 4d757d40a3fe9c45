"""Attaching and detaching mounts in the caller's own mount namespace.

What a container sees is mounted in the container's namespace by its plan; this is for the few names that a
user wants to have on the host itself.  Such a mount hangs on no process: whoever attaches it takes it away.
"""

from __future__ import annotations

import contextlib
import errno
import os

from pycontainer.errors import KernelError
from pycontainer.kernel import operation as op
from pycontainer.kernel.mountinfo import read_mountinfo
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Operation, Script
from pycontainer.kernel.spawn import apply

# umount2(2); in no header of the kernel's.
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8

_ROOT_NEEDED = "attaching a mount needs CAP_SYS_ADMIN over the caller's mount namespace: run as root"


def attach(mount: int, target: str) -> None:
    """Attach the detached mount ``mount`` onto the existing ``target``, with private propagation.

    The fd stays the caller's, and keeps its meaning.  Raises :class:`KernelError` with nothing attached.
    """
    ops = [
        op.open_path(target, out=1),
        op.move_mount(0, at=1, purpose=target),
    ]
    _run([mount], ops, opened=1)
    try:
        # A mount below a shared one is born shared (mount_namespaces(7)).
        _run([mount], [op.set_attributes(0, propagation=lib.MS_PRIVATE, purpose=target)])
    except BaseException:
        detach(mount)
        raise


def detach(mount: int) -> None:
    """Detach the attached mount whose root ``mount`` is open on, wherever it is; at once, busy or not.

    Nothing happens when somebody has detached it already.  Raises :class:`KernelError`.
    """
    try:
        # By fd, never by the path it was attached to: something else may lie there by now.
        _run([], [op.unmount(f"/proc/self/fd/{mount}", flags=_MNT_DETACH)])
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise


def bind(source: int, target: str) -> None:
    """Attach a bind mount of the object that ``source`` is open on onto the existing ``target``."""
    ops = [
        op.open_tree("", at=0, out=1),
        op.open_path(target, out=2),
        op.move_mount(1, at=2, purpose=target),
    ]
    _run([source], ops, opened=2)


def unbind(target: str) -> None:
    """Detach the uppermost mount on ``target``, which is no link. Raises :class:`KernelError`."""
    _run([], [op.unmount(target, flags=_MNT_DETACH | _UMOUNT_NOFOLLOW)])


def file_system(fd: int) -> str:
    """The type of the file system that ``fd`` is open on, as mount(8) calls it; ``""`` if it cannot be told.

    For messages only.
    """
    return _described(fd)[0]


def device(fd: int) -> str:
    """The device of the mount that ``fd`` is open on, as mount(8) shows it; ``""`` if it cannot be told."""
    return _described(fd)[1]


def _described(fd: int) -> tuple[str, str]:
    with contextlib.suppress(OSError, StopIteration):
        with open(f"/proc/self/fdinfo/{fd}") as info:
            number = next(line for line in info if line.startswith("mnt_id:")).split()[1]
        fields = next(fields for fields in read_mountinfo() if fields[0] == number)
        dash = fields.index("-", 6)
        return fields[dash + 1], fields[dash + 2]
    return "", ""


def _run(given: list[int], ops: list[Operation], *, opened: int = 0) -> None:
    """Execute operations whose first slots are ``given``, and close the ``opened`` ones after these."""
    slots = [*given, *[-1] * max(opened, 1)]
    try:
        apply(Script.of(outer=ops), slots)
    except KernelError as error:
        if error.errno == errno.EPERM:
            raise KernelError(errno.EPERM, error.step, hint=_ROOT_NEEDED) from None
        raise
    finally:
        for fd in slots[len(given) :]:
            if fd >= 0:
                os.close(fd)
