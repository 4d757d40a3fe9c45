"""What a test may leave behind: nothing. Compares the process and the host before and after it.

Owns the list of things that are watched and the list of things that may appear once and
stay (``LAZY``). Watches state that the kernel keeps for this process, and names of ours
on the host; it does not watch memory.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

#: What the kernel does after the last fd or process is gone, it does soon, but not at once.
SETTLE_SECONDS = 2.0

#: One kind of thing at one moment: identity -> text for people.
State = Mapping[str, str]


@attrs.frozen(kw_only=True)
class Exemption:
    """Up to ``limit`` things of a kind whose text matches ``pattern`` may appear and stay."""

    kind: str
    pattern: str
    limit: int
    reason: str


#: Made once for the whole process by the first container, and kept on purpose. Add here, and nowhere else.
LAZY = [
    Exemption(kind="children", pattern=r" reaper\b", limit=1, reason="the leash of this process"),
    Exemption(kind="children", pattern=r" scribe\b", limit=1, reason="the writer of this process's logs"),
    Exemption(
        kind="fds",
        pattern=r"-> socket:",
        limit=34,
        reason="the leash, the writer of logs, and sockets for fds that starts send back",
    ),
    Exemption(
        kind="fds",
        pattern=r"-> (anon_inode:\[pidfd\]|pidfd:)",
        limit=2,
        reason="those of the leash and the writer of logs",
    ),
    Exemption(
        kind="fds",
        pattern=r"-> /memfd:",
        limit=6,
        reason="the programs init (two), reaper, scribe, timens, monitor",
    ),
    Exemption(kind="fds", pattern=r"-> user:", limit=16, reason="user namespaces of leased uid ranges"),
    Exemption(
        kind="fds", pattern=r"-> /run/pycontainer/ids/", limit=32, reason="claims of leased uid ranges"
    ),
    Exemption(
        kind="fds",
        pattern=r"-> /sys/fs/cgroup",
        limit=20,
        reason="this process's place in each hierarchy, and its own cgroup there",
    ),
    Exemption(
        kind="cgroups", pattern=r"/pycontainer-\d+-[0-9a-f]{8}$", limit=9, reason="this process's cgroup"
    ),
    Exemption(
        kind="cgroups",
        pattern=r"/pycontainer\.host$",
        limit=1,
        reason="where a delegated cgroup's processes go",
    ),
    Exemption(
        kind="containers",
        pattern=r"/run/\d+-[0-9a-f]{8}(/lock|/skeleton-\d+|/names-\d+)?$",
        limit=40,
        reason="the host image, and name files of containers, used again",
    ),
    Exemption(kind="fds", pattern=r"-> {root}(/|$)", limit=11, reason="the engine's lock and records"),
]


def cwd() -> State:
    """Return the working directory."""
    try:
        return {os.getcwd(): ""}
    except FileNotFoundError:
        return {"a directory that was removed": ""}


def environment() -> State:
    """Return the environment, but for the variable that pytest itself keeps changing."""
    return {f"{name}={value}": "" for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


#: Lines of proc_pid_status(5) that a library has no business to change.
STATUS = ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Seccomp", "Cap")

#: Bits of signals 32 and 33, which glibc takes for itself with the first thread (nptl(7)).
NPTL_SIGNALS = 0x1_8000_0000


def status() -> State:
    """Return umask, ids, capabilities, signal masks and whether the process may be inspected."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        fields = dict(line.split(":", 1) for line in file if line.startswith(STATUS))
    for name in ("SigIgn", "SigCgt"):
        fields[name] = f"{int(fields[name], 16) & ~NPTL_SIGNALS:016x}"
    state = {f"{name}:{' '.join(value.split())}": "" for name, value in fields.items()}
    # The files of a process that is not "dumpable" belong to root, proc(5).
    state[f"owner of /proc/self: {os.stat('/proc/self').st_uid}"] = ""
    return state


SIGNALS = sorted(signal.valid_signals())


def handlers() -> State:
    """Return Python's signal handlers."""
    return {f"{number}: {signal.getsignal(number)!r}": "" for number in SIGNALS}


LIMITS = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}


def limits() -> State:
    """Return the resource limits."""
    return {f"{name}: {resource.getrlimit(number)}": "" for name, number in LIMITS.items()}


def fds() -> State:
    """Return the open file descriptors and what they are open on."""
    state = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue  # the one that listdir itself had open
        state[f"{fd} -> {target}"] = ""
    return state


def children() -> State:
    """Return the child processes, zombies too."""
    state = {}
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
                pids = file.read().split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended; its children are another thread's now
        for pid in pids:
            state[pid] = _describe_process(pid)
    return state


def _describe_process(pid: str) -> str:
    try:
        comm = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return " gone"
    try:
        return f" {comm} {os.readlink(f'/proc/{pid}/exe')}"
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return f" {comm}"  # a zombie has no program; another user's may not be read


def threads() -> State:
    """Return the threads."""
    return dict.fromkeys(os.listdir("/proc/self/task"), "")


NAMESPACES = sorted(os.listdir("/proc/self/ns"))


def namespaces() -> State:
    """Return the namespaces of every thread."""
    state = {}
    for task in os.listdir("/proc/self/task"):
        for name in NAMESPACES:
            try:
                state[f"{task} {name} {os.readlink(f'/proc/self/task/{task}/ns/{name}')}"] = ""
            except (FileNotFoundError, PermissionError):
                break  # the thread has ended
    return state


def mounts() -> State:
    """Return the mounts of this mount namespace."""
    state = {}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            separator = fields.index("-")
            state[f"{fields[0]} {fields[4]}"] = f" ({fields[separator + 1]})"
    return state


def cgroups() -> State:
    """Return the cgroups of every hierarchy that this process made: their names are of the library and tell its pid.

    Others run on the machine, and what they leave is theirs to find.  A host process that a test starts and
    kills leaves nothing either: tests/e2e/test_ownership.py looks for that itself.
    """
    own = re.compile(rf"/pycontainer-(?:(?:[a-z]+-)?{os.getpid()}(?![0-9])|{_mark()}-)")
    return {path: "" for top in _hierarchies() for path in _tree(top) if own.search(path[len(top) :])}


def _mark() -> str:
    """What the cgroups of the engine's detached containers have in their names, whoever started them."""
    root = os.environ.get("PYCONTAINER_ROOT", "")
    return hashlib.sha256(os.path.abspath(root).encode()).hexdigest()[:8]


def _hierarchies() -> list[str]:
    tops = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            if fields[fields.index("-") + 1] in {"cgroup", "cgroup2"}:
                tops.append(fields[4])
    return tops


def _tree(top: str) -> Iterator[str]:
    stack = [top]
    while stack:
        path = stack.pop()
        yield path
        try:
            if os.stat(path).st_nlink == 2:  # kernfs counts the subdirectories
                continue
            with os.scandir(path) as entries:
                stack += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, PermissionError):
            continue  # removed while we looked, or another user's


def links() -> State:
    """Return the network links of this network namespace."""
    return dict.fromkeys(os.listdir("/sys/class/net"), "")


def containers() -> State:
    """Return what the engine under test keeps for containers: <root>/run/<host>/<container>, <root>/containers/<id>."""
    root = os.environ.get("PYCONTAINER_ROOT")
    if not root:
        return {}
    state = {str(path): "" for path in Path(root, "containers").glob("*") if path.is_dir()}
    for host in Path(root, "run").glob("*"):
        # The reaper of a host process that a test ended may be removing it at this moment.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            state.update({str(path): "" for path in list(host.iterdir()) if path.is_dir()})
    return state


def monitors() -> State:
    """Return the monitors of detached containers of the engine under test, and their guards."""
    folder = f"{os.environ.get('PYCONTAINER_ROOT', '')}/containers/"
    state = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
            # Those of others, and a user's own where /proc does not tell, are passed over.
            if name in {"monitor", "guard"} and os.readlink(f"/proc/{pid}/fd/4").startswith(folder):
                state[pid] = f" {name}"
    return state


def volumes() -> State:
    """Return the volumes of the engine under test, and what is half-made among them."""
    root = os.environ.get("PYCONTAINER_ROOT")
    return {str(path): "" for path in Path(root, "volumes").glob("*")} if root else {}


KINDS: dict[str, Callable[[], State]] = {
    "cwd": cwd,
    "environment": environment,
    "status": status,
    "handlers": handlers,
    "limits": limits,
    "fds": fds,
    "children": children,
    "threads": threads,
    "namespaces": namespaces,
    "mounts": mounts,
    "cgroups": cgroups,
    "links": links,
    "containers": containers,
    "monitors": monitors,
    "volumes": volumes,
}


class Watch:
    """The state at one moment, to compare with later.

    >>> watch = Watch()
    >>> descriptor = os.open("/dev/null", os.O_RDONLY)
    >>> watch.leaks(timeout=0)
    ['fds: left behind: 3 -> /dev/null']
    """

    def __init__(self, exemptions: list[Exemption] | None = None) -> None:
        root = re.escape(os.environ.get("PYCONTAINER_ROOT", "/nonexistent"))
        self._exemptions = [
            attrs.evolve(rule, pattern=rule.pattern.replace("{root}", root))
            for rule in (LAZY if exemptions is None else exemptions)
        ]
        self._before = _take()

    def leaks(self, timeout: float = SETTLE_SECONDS) -> list[str]:
        """Return the differences, one line each; waits up to ``timeout`` seconds for them to go away."""
        deadline = time.monotonic() + timeout
        pause = 0.002
        differences = self._compare()
        while differences and time.monotonic() < deadline:
            if pause > 0.05:
                gc.collect()  # a failed test's frames may be all that holds an object that owns an fd
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
            differences = self._compare()
        return differences

    def _compare(self) -> list[str]:
        after = _take()
        lines = []
        for kind, now in after.items():
            before = self._before[kind]
            exempt = self._exempt(kind, now) | self._exempt(kind, before)
            lines += [
                f"{kind}: left behind: {key}{now[key]}"
                for key in now
                if key not in before and key not in exempt
            ]
            lines += [
                f"{kind}: gone: {key}{before[key]}" for key in before if key not in now and key not in exempt
            ]
        return lines

    def _exempt(self, kind: str, state: State) -> set[str]:
        exempt: set[str] = set()
        for rule in self._exemptions:
            if rule.kind == kind:
                matching = [key for key, text in state.items() if re.search(rule.pattern, key + text)]
                if len(matching) <= rule.limit:
                    exempt.update(matching)
        return exempt


def _take() -> dict[str, State]:
    return {kind: look() for kind, look in KINDS.items()}
