"""The common end of every start: fds into slots, the leash, the native call, the fds that come back."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from pycontainer.container import slots
from pycontainer.container.confinement import FdTable, command, command_below_init
from pycontainer.kernel.leash import spawn_leashed
from pycontainer.kernel.native import wait_usage
from pycontainer.kernel.spawn import Spawn, exec_failure

_CONTROL = socket.CMSG_LEN(4)
_NOW = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC

#: The fds that a program gets as 0, 1 and 2, which stay the caller's; ``None``: the container's terminal.
Fds = tuple[int, int, int] | None


def place(
    stdio: Fds, extra: tuple[tuple[int, int], ...], table: FdTable, terminal: int
) -> list[tuple[int, int]]:
    """Pairs of a slot and the number that the program sees its fd as."""
    if stdio is None:
        pairs = [(terminal, target) for target in range(3)]
    else:
        pairs = [(table.add(fd), target) for target, fd in enumerate(stdio)]
    return pairs + [(table.add(host), target) for host, target in extra]


def start(
    argv: tuple[str, ...],
    env: dict[str, str],
    fields: dict[str, Any],
    table: FdTable,
    stdio: list[tuple[int, int]],
    *,
    init: bool,
) -> tuple[int, int]:
    """Start the program, below an init or directly: its pid and pidfd. Raises as :func:`spawn` does."""
    if not init:
        direct = command(argv, env)
        return spawn_leashed(Spawn(**fields, **direct, fds=tuple(table.fds), stdio=tuple(stdio)))
    report, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        target = max(target for _, target in stdio) + 1
        stdio = [*stdio, (table.add(theirs), target)]
        below = command_below_init(argv, env, table, target)
        pid, pidfd = spawn_leashed(Spawn(**fields, **below, fds=tuple(table.fds), stdio=tuple(stdio)))
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


def _reap(pidfd: int) -> None:
    wait_usage(pidfd, os.WEXITED)
    os.close(pidfd)


class Exports:
    """A socket over which the starting process sends fds back; without a table it does nothing."""

    def __init__(self, table: FdTable | None, slot: int = slots.EXPORT) -> None:
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

    def __enter__(self) -> Exports:
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            end.close()
