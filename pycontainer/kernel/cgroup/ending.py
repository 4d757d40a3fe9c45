"""Freezing, killing and waiting for a whole cgroup, with the tree of version 2 and with version 1 alone.

Version 2: ``cgroup.freeze`` (Linux 5.2) and ``cgroup.kill`` (5.14).  Else what is to be killed is frozen first,
so that it cannot fork; version 1 needs the freezer hierarchy for it.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pycontainer.errors import KernelError, NotSupported, PyContainerError, WaitTimeout
from pycontainer.kernel.cgroup.directory import Directory

#: How long a process that the kernel cannot freeze (in uninterruptible sleep) delays the killing of the others.
_FREEZE_PATIENCE = 1.0
_KILL_PATIENCE = 10.0


@contextmanager
def refused(verb: str, group: Directory) -> Iterator[None]:
    """Name the step of an ``OSError``."""
    try:
        yield
    except PyContainerError:
        raise  # a wait that took too long is an OSError, too
    except OSError as error:
        raise KernelError(error.errno or 0, f"{verb} the cgroup {group.path}") from None


def freeze(group: Directory, timeout: float, *, unified: bool) -> None:
    """Stop every process in and below, and wait until all stand. Raises :class:`WaitTimeout`, thawed again."""
    with refused("freeze", group):
        _set_frozen(group, True, unified=unified)
        try:
            if unified:
                await_event(group, b"frozen 1", timeout)
            else:
                _await_frozen(group, timeout)
        except WaitTimeout:
            _set_frozen(group, False, unified=unified)
            raise


def thaw(group: Directory, *, unified: bool) -> None:
    """Let them go on."""
    with refused("thaw", group):
        _set_frozen(group, False, unified=unified)


def _set_frozen(group: Directory, frozen: bool, *, unified: bool) -> None:
    if unified:
        group.write("cgroup.freeze", b"1" if frozen else b"0")
        return
    try:
        group.write("freezer.state", b"FROZEN" if frozen else b"THAWED")
    except FileNotFoundError:
        raise NotSupported(
            f"{group.path} cannot be frozen: it is in no freezer hierarchy",
            "mount it: mount -t cgroup -o freezer none /sys/fs/cgroup/freezer",
        ) from None


def _await_frozen(group: Directory, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while group.read("freezer.state").strip() != b"FROZEN":
        if time.monotonic() > deadline:
            raise WaitTimeout(f"cgroup {group.path} was not frozen within {timeout:g} s")
        time.sleep(0.0005)
        group.write("freezer.state", b"FROZEN")  # who was forked meanwhile (freezer-subsystem.rst)


def await_event(group: Directory, line: bytes, timeout: float) -> None:
    """Wait until ``cgroup.events``, which polls as POLLPRI when it changes, has this line."""
    fd = group.open_file("cgroup.events", os.O_RDONLY)
    try:
        if line in os.pread(fd, 4096, 0).splitlines():
            return
        poller = select.poll()
        poller.register(fd, select.POLLPRI)
        deadline = time.monotonic() + timeout
        while line not in os.pread(fd, 4096, 0).splitlines():
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"cgroup {group.path} was not {line.decode()!r} within {timeout:g} s")
            poller.poll(min(left, 3600) * 1000)
    finally:
        os.close(fd)


def kill(group: Directory, *, unified: bool) -> None:
    """Kill every process in and below; no fork escapes. Those that die are waited for only where needed."""
    with refused("kill", group):
        if unified:
            try:
                group.write("cgroup.kill", b"1")
                return
            except FileNotFoundError:
                pass  # before Linux 5.14
        kill_one_by_one(group, unified=unified)


def kill_one_by_one(group: Directory, *, unified: bool) -> None:
    """Freeze, kill, thaw, until it is empty: what version 1 can. Raises :class:`WaitTimeout`."""
    deadline = time.monotonic() + _KILL_PATIENCE
    while group.all_processes():
        if time.monotonic() > deadline:
            raise WaitTimeout(f"the processes of the cgroup {group.path} did not end")
        frozen = os.getpid() not in group.all_processes() and _try_freeze(group, unified=unified)
        try:
            pidfds = _kill_listed(group)
        finally:
            _thaw_all(group, frozen, unified=unified)
        _await_end(pidfds, deadline)


def _thaw_all(group: Directory, frozen: bool, *, unified: bool) -> None:
    """Version 1 ends nobody who is frozen, whoever froze him: in a cgroup below, or before."""
    if unified:
        if frozen:
            _set_frozen(group, False, unified=True)
        return
    for each in group.walk():
        with suppress(NotSupported, FileNotFoundError):
            _set_frozen(each, False, unified=False)


def _try_freeze(group: Directory, *, unified: bool) -> bool:
    try:
        freeze(group, _FREEZE_PATIENCE, unified=unified)
    except (NotSupported, WaitTimeout):
        return False  # the loop still ends who does not fork faster than it goes
    return True


def _kill_listed(group: Directory) -> list[int]:
    """Kill all that are listed, this process last; their pidfds."""
    pidfds: list[int] = []
    last = None
    for each in group.walk():
        opened = {pid: fd for pid in each.processes() if (fd := _pidfd(pid)) >= 0}
        pidfds += opened.values()
        # Listed once more after it was opened: the pid is not another's by now.
        for pid in each.processes():
            if pid == os.getpid():
                last = opened.get(pid)
            elif pid in opened:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(opened[pid], signal.SIGKILL)
    if last is not None:
        signal.pidfd_send_signal(last, signal.SIGKILL)
    return pidfds


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # Ended; of a pid namespace that we do not see; or a thread's number.
        if error.errno in (errno.ESRCH, errno.EINVAL, errno.ENOENT):
            return -1
        raise


def _await_end(pidfds: list[int], deadline: float) -> None:
    try:
        for fd in pidfds:
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            poller.poll(max(deadline - time.monotonic(), 0) * 1000)
    finally:
        for fd in pidfds:
            os.close(fd)


def wait_empty(group: Directory, timeout: float, *, unified: bool) -> None:
    """Wait until no process is left in and below. Raises :class:`WaitTimeout`."""
    with refused("wait for", group):
        if unified:
            await_event(group, b"populated 0", timeout)
            return
        deadline = time.monotonic() + timeout
        while pids := group.all_processes():
            if time.monotonic() > deadline:
                raise WaitTimeout(f"cgroup {group.path} was not empty within {timeout:g} s")
            # The first that ends, or a moment for one that has ended and is still listed.
            fd = _pidfd(pids[0])
            if fd < 0:
                time.sleep(0.001)
            else:
                _await_end([fd], deadline)
