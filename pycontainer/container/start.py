"""Recipes of starts, and the fds that a start sends back.

What does not change from one start to the next (operations, capabilities, filter, command, environment) is
encoded once; a start fills in its fds and its host name.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import attrs

from pycontainer.container import slots
from pycontainer.container.confinement import FdTable, command, waiting
from pycontainer.errors import CommandNotExecutable, CommandNotFound
from pycontainer.kernel import orphans
from pycontainer.kernel.cgroup import Cgroup
from pycontainer.kernel.leash import start_leashed
from pycontainer.kernel.program import outcome
from pycontainer.kernel.spawn import Spawn, Template, exec_failure

_CONTROL = socket.CMSG_LEN(4)
_NOW = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC

#: The fds that a program gets as 0, 1 and 2, which stay the caller's; ``None``: the container's terminal.
Fds = tuple[int, int, int] | None


@attrs.frozen
class Seat:
    """Where a process starts: the fd of a cgroup of version 2, and ``tasks`` files of version 1 that are open.

    ``expect`` is called while the program is being executed and there is nothing else to do.
    """

    directory: int = -1
    tasks: tuple[int, ...] = ()
    expect: Callable[[], object] | None = None

    @classmethod
    def of(cls, cgroup: Cgroup | None) -> Seat:
        """The place that a cgroup is; ``None`` is where the caller is."""
        return NOWHERE if cgroup is None else cls(cgroup.directory, cgroup.tasks, cgroup.expect)

    def meanwhile(self, more: Callable[[], object]) -> Seat:
        """The same with more to do while there is nothing else to do."""
        before = self.expect

        def both() -> None:
            if before is not None:
                before()
            more()

        return Seat(self.directory, self.tasks, both)

    @property
    def shape(self) -> tuple[bool, int]:
        """What a recipe has to know of it beforehand."""
        return self.directory >= 0, len(self.tasks)


NOWHERE = Seat()


@attrs.frozen(kw_only=True, eq=False)
class Recipe:
    """A start made ready: which slots take which fds, and the encoded rest."""

    template: Template
    table: tuple[int, ...]
    stdio: tuple[int, ...]
    cgroup: int
    tasks: tuple[int, ...]
    report: int
    program: str
    names_host: bool

    @classmethod
    def make(
        cls,
        argv: tuple[str, ...],
        env: dict[str, str],
        fields: dict[str, Any],
        *,
        reserved: int,
        terminal: int | None,
        extra: tuple[tuple[int, int], ...] = (),
        init: bool = False,
        seat: tuple[bool, int] = (False, 0),
        first: bool = True,
        waits: bool = False,
    ) -> Recipe:
        """From the fields of a :class:`Spawn`; the first ``reserved`` slots are the plan's own.

        With ``terminal``, a slot, the program's streams are that; ``extra`` pairs fds of the host with
        the program's numbers.  ``seat``: the shape of a :class:`Seat`.  ``first``: of a container; it registers
        itself with the reaper.  ``waits``: it gets its command, streams and environment later (``kernel.order``).
        """
        table = FdTable(reserved)
        stdio = () if terminal is not None or waits else tuple(table.add(-1) for _ in range(3))
        pairs: list[tuple[int, int]] = []
        if not waits:
            pairs = [(terminal if terminal is not None else stdio[number], number) for number in range(3)]
        pairs += [(table.add(host), target) for host, target in extra]
        report = table.add(-1)
        number = max([2, *(target for _, target in pairs)]) + 1
        pairs.append((report, number))
        told = (
            waiting(table, number, below_init=init)
            if waits
            else command(argv, env, table, number, below_init=init)
        )
        fields = {**fields, **told}
        cgroup = table.add(-1) if seat[0] else -1
        tasks = tuple(table.add(-1) for _ in range(seat[1]))
        leash = table.add(-1) if first else -1
        request = Spawn(
            **fields, fds=tuple(table.fds), stdio=tuple(pairs), cgroup=cgroup, tasks=tasks, leash=leash
        )
        return cls(
            template=Template(request),
            table=request.fds,
            stdio=stdio,
            cgroup=cgroup,
            tasks=tasks,
            report=report,
            program=argv[0],
            names_host="HOSTNAME" in env,
        )

    def start(
        self,
        stdio: Fds,
        fds: Mapping[int, int],
        *,
        seat: Seat = NOWHERE,
        hostname: str | None = None,
        channel: int | None = None,
    ) -> tuple[int, int]:
        """Start with these fds in these slots: pid and pidfd, when the program itself runs.

        A recipe that waits gets the ``channel`` to be told by, and is not waited for.  Raises :class:`CommandNotFound`, :class:`CommandNotExecutable`, :class:`KernelError`.
        """
        table = list(self.table)
        for slot, fd in fds.items():
            table[slot] = fd
        if stdio is not None:
            for slot, fd in zip(self.stdio, stdio, strict=True):
                table[slot] = fd
        if self.cgroup >= 0:
            table[self.cgroup] = seat.directory
        for slot, fd in zip(self.tasks, seat.tasks, strict=True):
            table[slot] = fd
        name = None if hostname is None else os.fsencode(hostname)
        if channel is not None:
            table[self.report] = channel
            return start_leashed(self.template, table, hostname=name)
        env = () if name is None or self.names_host else (b"HOSTNAME=" + name,)
        return self._start(table, name, env, seat.expect)

    def _start(
        self,
        table: list[int],
        hostname: bytes | None,
        env: tuple[bytes, ...],
        meanwhile: Callable[[], object] | None,
    ) -> tuple[int, int]:
        report, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            table[self.report] = theirs
            try:
                pid, pidfd = start_leashed(self.template, table, hostname=hostname, env=env)
            except (CommandNotFound, CommandNotExecutable) as error:
                # Of our own program, with the user's words: what is wrong with it is wrong with them.
                raise exec_failure(error.errno or errno.EINVAL, self.program) from None
            finally:
                os.close(theirs)
            try:
                if meanwhile is not None:
                    meanwhile()
                failed = outcome(report, pid)
            except BaseException:
                orphans.end(pidfd)
                raise
        finally:
            os.close(report)
        if failed:
            orphans.end(pidfd)
            raise exec_failure(failed, self.program)
        return pid, pidfd


class Recipes:
    """The recipes made so far, by what decides them. Thread-safe; bounded."""

    _MOST = 256

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[object, Recipe]] = {}

    def get(self, key: Hashable, spec: object) -> Recipe | None:
        """The recipe for ``key``, which holds the identity of ``spec`` in place of its long value."""
        found = self._known.get(key)
        return found[1] if found is not None and found[0] is spec else None

    def put(self, key: Hashable, spec: object, recipe: Recipe) -> None:
        """Keep a recipe, and ``spec`` with it, so that its identity stays its own."""
        if len(self._known) >= self._MOST:
            self._known.clear()
        self._known[key] = (spec, recipe)


class Exports:
    """Sockets over which starting processes send fds back, kept for the next start. Thread-safe."""

    def __init__(self) -> None:
        self._idle: deque[tuple[socket.socket, socket.socket]] = deque()

    def take(self) -> tuple[socket.socket, socket.socket]:
        """A pair: ours, and the starting process's, which it closes before its program runs."""
        try:
            return self._idle.pop()
        except IndexError:
            return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def collect(self, pair: tuple[socket.socket, socket.socket]) -> dict[int, int]:
        """All fds that were sent, by tag, which are the caller's; the pair is given back."""
        received: dict[int, int] = {}
        while True:
            try:
                # Not socket.recv_fds: it ignores its flags.
                tag, control, _, _ = pair[0].recvmsg(1, _CONTROL, _NOW)
            except BlockingIOError:
                break
            received[tag[0]] = int.from_bytes(control[0][2], sys.byteorder)
        self._idle.append(pair)
        return received

    def drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        """Close a pair that a failed start may have left something in."""
        for end in pair:
            end.close()

    def close(self) -> None:
        """Close the idle ones."""
        while self._idle:
            self.drop(self._idle.pop())


def start_and_receive(
    exports: Exports,
    recipe: Recipe,
    stdio: Fds,
    fds: dict[int, int],
    *,
    seat: Seat,
    hostname: str | None,
    channel: int | None = None,
) -> tuple[int, int, dict[int, int]]:
    """Start a recipe whose process sends fds back: pid, pidfd, and those by tag."""
    pair = exports.take()
    fds[slots.EXPORT] = pair[1].fileno()
    try:
        pid, pidfd = recipe.start(stdio, fds, seat=seat, hostname=hostname, channel=channel)
    except BaseException:
        exports.drop(pair)
        raise
    return pid, pidfd, exports.collect(pair)
