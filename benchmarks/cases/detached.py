"""A thousand detached containers at once: what each costs while it runs, and how long it takes to list them.

The monitor is put beside conmon, podman's, which is the parent of a container that runc or crun makes, with the same
log format; and beside containerd's shim as it is before it has made a container.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs

import pycontainer as pc
from benchmarks.benchmark import Benchmark, BenchmarkError, Outcome, Settings, Target
from benchmarks.bundle import make_bundle
from benchmarks.material import Material, material
from benchmarks.samples import Table

COUNT = 1000
#: How many of the monitors are looked at.
_LOOKED_AT = 50
_LISTS = 20
#: Started before the others, one after the other; and how many threads start the others.
_ALONE, _AT_ONCE = 20, 8


def own_memory(pid: int) -> int:
    """What one more process of the kind costs, in KiB: the pages that it has written to (proc_pid_smaps(5))."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))


def _taken() -> int:
    """What is taken of the machine's memory, kernel included, in KiB."""
    fields = {}
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            fields[name] = int(value.split()[0])
    return (
        fields["MemTotal"] - fields["MemFree"] - fields["Buffers"] - fields["Cached"] - fields["SReclaimable"]
    )


def _runtime() -> str:
    """runc, or crun where cgroups are such as it takes."""
    for name in ("runc", "crun"):
        found = shutil.which(name)
        if found is not None:
            return found
    raise BenchmarkError("needs runc or crun")


@contextlib.contextmanager
def _conmon(made: Material) -> Iterator[int]:
    """A conmon with a container of runc; its pid."""
    program = shutil.which("conmon")
    if program is None:
        raise BenchmarkError("needs conmon")
    bundle = make_bundle(made, "conmon", ["sleep", "1000"], network="none", userns="auto")
    runtime = f"{bundle}/runtime"
    with open(runtime, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {_runtime()} --root {bundle}/state "$@" 2>>{bundle}/errors\n')
    os.chmod(runtime, 0o755)
    name = f"bench-{os.getpid()}"
    words = ["-c", name, "-u", name, "-n", name, "-r", runtime, "-b", bundle, "-p", f"{bundle}/pid"]
    words += ["--conmon-pidfile", f"{bundle}/conmon", "-l", f"k8s-file:{bundle}/log", "--exit-dir", bundle]
    words += ["--socket-dir-path", bundle, "--persist-dir", bundle, "--exit-command", "/bin/true"]
    try:
        subprocess.run([program, *words], check=True, capture_output=True, timeout=60)
        _await(lambda: os.path.exists(f"{bundle}/pid"), f"{bundle}/errors")
        subprocess.run([runtime, "start", name], check=True, timeout=60)
        with open(f"{bundle}/conmon", encoding="ascii") as file:
            yield int(file.read())
    finally:
        subprocess.run([runtime, "delete", "-f", name], check=False, timeout=60)


@contextlib.contextmanager
def _shim(made: Material) -> Iterator[int]:
    """A shim of containerd that has no container yet; its pid."""
    program = shutil.which("containerd-shim-runc-v2")
    if program is None:
        raise BenchmarkError("needs containerd-shim-runc-v2")
    bundle = make_bundle(made, "shim", ["sleep", "1000"], network="none", userns="auto")
    os.mkfifo(f"{bundle}/log")
    name = f"bench-{os.getpid()}"
    words = [
        program,
        "-namespace",
        name,
        "-id",
        name,
        "-address",
        f"{bundle}/none",
        "-publish-binary",
        "/bin/true",
    ]
    with open(os.open(f"{bundle}/log", os.O_RDWR), "rb"):
        told = subprocess.run(
            [*words, "start"], cwd=bundle, check=True, capture_output=True, text=True, timeout=60
        )
        pid = _await(lambda: _process_with(name), f"{bundle}/log")
        time.sleep(0.5)
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGKILL)
            address = told.stdout.strip().removeprefix("unix://")
            with contextlib.suppress(OSError):
                os.unlink(address)
                os.removedirs(os.path.dirname(address))


def _process_with(word: str) -> int | None:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if file.read().split(b"\0")[2:3] == [word.encode()]:
                return int(pid)
    return None


def _await(condition: Callable[[], Any], errors: str) -> Any:
    deadline = time.monotonic() + 20
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"nothing was made: see {errors}")
        time.sleep(0.01)
    return found


#: What another monitor is called, and how one comes to be.
_OTHERS = {
    "conmon, with a container of runc": _conmon,
    "containerd-shim-runc-v2, before its first container": _shim,
}


def _others() -> dict[str, int]:
    found = {}
    with material() as made:
        for name, start in _OTHERS.items():
            with contextlib.suppress(BenchmarkError, OSError, subprocess.SubprocessError), start(made) as pid:
                found[name] = own_memory(pid)
    return found


def _start(engine: pc.Engine) -> None:
    engine.run("host:", ["sleep", "1000"], detach=True).close()


def _ps(root: str) -> float:
    """Seconds that the command ``pycontainer ps -q`` takes."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pycontainer", "ps", "-q"]
    done = subprocess.run(
        command, env={**os.environ, "PYCONTAINER_ROOT": root}, check=True, capture_output=True
    )
    if len(done.stdout.split()) != COUNT:
        raise BenchmarkError("the command does not list all")
    return time.monotonic() - began


@attrs.frozen(kw_only=True)
class _Figures:
    """Seconds, KiB, and how many in a second."""

    start: float
    starts: float
    removals: float
    own: float
    whole: float
    lists: float
    command: float


def _with_all() -> _Figures:
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(material())
        engine = stack.enter_context(pc.Engine(f"{made.folder}/engine"))
        stack.callback(lambda: [each.remove(force=True) for each in engine.containers.list(all=True)])
        engine.run("host:", ["true"], detach=True).wait(60)
        [each.remove() for each in engine.containers.list(all=True)]
        before = _taken()
        alone = []
        for _ in range(_ALONE):
            began = time.monotonic()
            _start(engine)
            alone.append(time.monotonic() - began)
        began = time.monotonic()
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            list(threads.map(lambda _: _start(engine), range(COUNT - _ALONE)))
        rate = (COUNT - _ALONE) / (time.monotonic() - began)
        whole = (_taken() - before) / COUNT
        containers = engine.containers.list()
        monitors = [each.run_state.monitor for each in containers[:: max(1, COUNT // _LOOKED_AT)]]
        own = statistics.median(map(own_memory, monitors))
        lists = []
        for _ in range(_LISTS):
            began = time.monotonic()
            found = engine.containers.list()
            lists.append(time.monotonic() - began)
            if len(found) != COUNT:
                raise BenchmarkError(f"{len(found)} of {COUNT} are listed")
        command = statistics.median(_ps(engine.root) for _ in range(5))
        began = time.monotonic()
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            list(threads.map(lambda each: each.remove(force=True), containers))
        removals = COUNT / (time.monotonic() - began)
        left = engine.containers.list(all=True)
        if left:
            raise BenchmarkError(f"{len(left)} are left")
        _await(
            lambda: not any(os.path.exists(f"/proc/{pid}") for pid in monitors), "the monitors, which live"
        )
    return _Figures(
        start=statistics.median(alone), starts=rate, removals=removals, own=own, whole=whole,
        lists=statistics.median(lists), command=command,
    )  # fmt: skip


def _measure(_: Settings) -> Outcome:
    others = _others()
    figures = _with_all()
    rows = [("pycontainer's monitor, with its guard", f"{figures.own:.0f} KiB")]
    rows += [(name, f"{size} KiB") for name, size in others.items()]
    return Outcome(
        tables=[
            Table(("one container's", "memory written to"), rows),
            Table(
                (f"{COUNT} containers at once", ""),
                [
                    ("create and start of one, all on disk, median", f"{figures.start * 1000:.1f} ms"),
                    (f"created and started in a second, {_AT_ONCE} at a time", f"{figures.starts:.0f}"),
                    (f"ended and removed in a second, {_AT_ONCE} at a time", f"{figures.removals:.0f}"),
                    ("memory of the machine for each, programs and kernel included", f"{figures.whole:.0f} KiB"),
                    ("containers.list() of all", f"{figures.lists * 1000:.0f} ms"),
                    ("pycontainer ps -q of all", f"{figures.command * 1000:.0f} ms"),
                ],
            ),
        ],
        targets=[
            Target(text=f"monitor beside {name.split(',')[0]}", value=figures.own / size, bound=1.0)
            for name, size in others.items()
        ],
        data={**attrs.asdict(figures), "others": others},
    )  # fmt: skip


DETACHED = Benchmark(
    name="detached",
    description="a thousand detached containers at once: memory of each, and how long a list takes",
    measure=_measure,
    long=True,
)
