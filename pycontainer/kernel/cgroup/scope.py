"""A scope of the user's systemd: a delegated cgroup for a process that stands in one of root's.

As ``systemd-run --user --scope -p Delegate=yes`` does, for a process that runs already: org.freedesktop.systemd1(5),
``StartTransientUnit`` with the property ``PIDs``.  The user's systemd makes the cgroup and has the system's
move the process, all its threads, into it; when the last process in it has ended, it removes it.
busctl(1) of the same systemd speaks with it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import time
from contextlib import ExitStack, suppress

from pycontainer.errors import PyContainerError
from pycontainer.kernel.native import wait_usage
from pycontainer.kernel.reaper import running_reaper
from pycontainer.kernel.scribe import running_scribe
from pycontainer.kernel.spawn import Spawn, spawn

_MANAGER = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
    "StartTransientUnit",
    "ssa(sv)a(sa(sv))",
)
_FOLDERS = ("/usr/bin", "/bin", "/usr/local/bin", "/run/current-system/sw/bin")
#: Seconds for an answer, and then for the move; it takes some milliseconds.
_PATIENCE = 10
_CREDENTIALS = struct.Struct("3i")
_LONGEST_REASON = 300


class _Refused(Exception):
    """There is no scope to be had, and why."""


def enter_scope() -> str | None:
    """Have this process and what runs beside it moved to a scope of its own; ``None`` when they are there, else why not.

    It takes some milliseconds, and never longer than half a minute.
    """
    reasons = []
    for path in _sockets():
        try:
            _check_peer(path)
            beside = running_reaper(), running_scribe()
            pids = [os.getpid(), *(pid for pid in beside if pid is not None)]
            name = f"pycontainer-{os.getpid()}-{os.urandom(4).hex()}.scope"
            _ask(path, _call(name, pids))
            _wait_until_in(name, pids)
        except _Refused as reason:
            reasons.append(str(reason))
        except (OSError, PyContainerError) as error:
            reasons.append(f"{path}: {error}")
        else:
            return None
    return (
        "; ".join(reasons) or "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR names a bus of the user"
    )


def _sockets() -> list[str]:
    """Where the user's bus may listen; of addresses (D-Bus specification, "Server Addresses") those with a path."""
    prefix = "unix:path="
    found = [
        address[len(prefix) :].split(",")[0]
        for address in os.environ.get("DBUS_SESSION_BUS_ADDRESS", "").split(";")
        if address.startswith(prefix) and "%" not in address
    ]
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if folder:
        found.append(f"{folder}/bus")
    return list(dict.fromkeys(os.path.normpath(path) for path in found))


def _check_peer(path: str) -> None:
    """Is it our own bus, and does it know our processes by the same numbers?"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(path)
        except OSError as error:
            raise _Refused(f"there is no bus at {path}: {error.strerror or error}") from None
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    if uid != os.geteuid():
        raise _Refused(f"the bus at {path} is the user {uid}'s")
    if pid == 0 or not _is_in_our_namespace(pid):
        # A pid that we name would be another process there.
        raise _Refused(f"the bus at {path} is in another pid namespace")


def _is_in_our_namespace(pid: int) -> bool:
    """One number in ``NSpid``: it is in the namespace of this ``/proc``, and in none below (proc(5))."""
    if os.readlink("/proc/self") != str(os.getpid()):
        return False
    with open(f"/proc/{pid}/status") as file:
        return any(line.startswith("NSpid:") and len(line.split()) == 2 for line in file)


def _call(name: str, pids: list[int]) -> tuple[str, ...]:
    """The arguments of ``busctl call``: types and values of the unit's properties."""
    properties = (
        ("Description", "s", f"Containers of process {os.getpid()}"),
        ("Delegate", "b", "yes"),
        ("CollectMode", "s", "inactive-or-failed"),
        ("PIDs", "au", str(len(pids)), *map(str, pids)),
    )
    words = [word for each in properties for word in each]
    return (*_MANAGER, name, "fail", str(len(properties)), *words, "0")


def _ask(path: str, call: tuple[str, ...]) -> None:
    tool = next((each for each in _FOLDERS if os.access(f"{each}/busctl", os.X_OK)), None)
    if tool is None:
        raise _Refused(f"there is no busctl in {' or '.join(_FOLDERS)}")
    options = ("--user", f"--timeout={_PATIENCE}", "--allow-interactive-authorization=no", "call")
    status, said = _run(
        (f"{tool}/busctl", *options, *call), (f"DBUS_SESSION_BUS_ADDRESS=unix:path={path}", "LC_ALL=C.UTF-8")
    )
    if status != 0:
        raise _Refused(f"systemd at {path}: {said or f'busctl ended with {status}'}")


def _run(argv: tuple[str, ...], env: tuple[str, ...]) -> tuple[int, str]:
    """Run a program with nothing of our environment; its status, and what it wrote as an error."""
    with ExitStack() as stack:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        stack.callback(os.close, null)
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        stack.callback(os.close, read)
        try:
            request = Spawn(
                argv=tuple(map(os.fsencode, argv)),
                env=tuple(map(os.fsencode, env)),
                candidates=(os.fsencode(argv[0]),),
                fds=(null, write),
                stdio=((0, 0), (0, 1), (1, 2)),
            )
            _, pidfd = spawn(request)
        finally:
            os.close(write)
        stack.callback(os.close, pidfd)
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if not poller.poll(2 * _PATIENCE * 1000):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        ended = wait_usage(pidfd, os.WEXITED)
        said = b""
        with suppress(BlockingIOError):
            said = os.read(read, _LONGEST_REASON)
    return (-1 if ended is None else ended.status), " ".join(said.decode(errors="replace").split())


def _wait_until_in(name: str, pids: list[int]) -> None:
    """Until all are there: one that came later would be refused, once the cgroup has controllers for those below."""
    deadline = time.monotonic() + _PATIENCE
    pause = 0.001
    while not all(_is_in(pid, name) for pid in pids):
        if time.monotonic() > deadline:
            raise _Refused(f"systemd has not moved this process to {name} in {_PATIENCE} seconds")
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


def _is_in(pid: int, name: str) -> bool:
    with open(f"/proc/{pid}/cgroup") as file:
        return any(line.startswith("0::") and line.rstrip("\n").endswith(f"/{name}") for line in file)
