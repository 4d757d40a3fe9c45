"""Time namespaces: other offsets of the monotonic and the boot-time clock (time_namespaces(7), Linux 5.6).

They need a program of their own on both ways, for the reasons that stand in ``csrc/timens.c``.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Mapping

import attrs

from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.kernel.leash import spawn_leashed
from pycontainer.kernel.native import lib
from pycontainer.kernel.program import program
from pycontainer.kernel.spawn import Spawn, exec_failure
from pycontainer.kernel.userns import release

#: The clocks that can be set off.
CLOCKS = ("monotonic", "boottime")

_NANO = 1_000_000_000
_REPORT = struct.Struct("=ii")
_FAILED_OFFSETS, _FAILED_EXEC = 2, 3  # csrc/timens.c


def make(offsets: Mapping[str, float], *, userns: int | None, ns_root: bool) -> int:
    """Make a time namespace, owned by ``userns`` if given; its fd is the caller's.

    Raises :class:`InvalidArgument` for an unknown clock, :class:`NotSupported` where the kernel has no time
    namespaces, and :class:`KernelError`.
    """
    text = _lines(offsets)
    if not os.path.exists("/proc/self/ns/time"):
        raise NotSupported("this kernel has no time namespaces", "it needs Linux 5.6 and CONFIG_TIME_NS")
    request = Spawn(
        argv=(b"timens", b"make", b"3", text),
        program=0,
        fds=(program("timens"), *(() if userns is None else (userns,))),
        joins=() if userns is None else ((1, lib.CLONE_NEWUSER),),
        ns_root=ns_root,
    )
    pid, pidfd = _start(request, report=3)
    try:
        return os.open(f"/proc/{pid}/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        release(pidfd)


def spawn_inside(request: Spawn, namespace: int) -> tuple[int, int]:
    """Start a process in the time namespace ``namespace`` beyond what ``request`` says: as ``spawn_leashed``."""
    above = max((target for _, target in request.stdio), default=2) + 1
    report, target = above, above + 1
    words = (b"timens", b"enter", b"%d" % report, b"%d" % target, b"%d" % len(request.candidates))
    count = len(request.fds)
    inside = attrs.evolve(
        request,
        argv=(*words, *request.candidates, b"--", *request.argv),
        candidates=(),
        program=count,
        fds=(*request.fds, program("timens"), namespace),
        stdio=(*request.stdio, (count + 1, target)),
    )
    return _start(inside, report=report, name=os.fsdecode(request.argv[0]))


def _lines(offsets: Mapping[str, float]) -> bytes:
    """The text that /proc/PID/timens_offsets takes: clock, seconds, nanoseconds."""
    lines = []
    for clock, seconds in offsets.items():
        if clock not in CLOCKS:
            raise InvalidArgument("offsets", clock, f"the clocks are {', '.join(CLOCKS)}")
        whole, rest = divmod(round(seconds * _NANO), _NANO)
        lines.append(f"{clock} {whole} {rest}\n")
    return "".join(lines).encode()


def _start(request: Spawn, *, report: int, name: str = "") -> tuple[int, int]:
    """Start ``timens`` with a pipe at the fd ``report``, and wait until it has told how it went."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        slot = len(request.fds)
        pid, pidfd = spawn_leashed(
            attrs.evolve(request, fds=(*request.fds, theirs), stdio=(*request.stdio, (slot, report)))
        )
        os.close(theirs)
        theirs = -1
        words = os.read(ours, _REPORT.size)
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    if not words:
        return pid, pidfd
    release(pidfd)
    what, error = _REPORT.unpack(words)
    if what == _FAILED_EXEC:
        raise exec_failure(error, name)
    if what == _FAILED_OFFSETS:
        hint = "no clock may become negative or greater than about 146 years" if error == errno.ERANGE else ""
        raise KernelError(error, "set the offsets of a time namespace", hint=hint)
    raise KernelError(error, "enter a time namespace" if name else "make a time namespace")
