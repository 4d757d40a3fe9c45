"""A thousand detached containers at once: what each costs while it runs, and how long it takes to list them.

Beside conmon, podman's monitor, with the same log format: it is the parent of a container that crun makes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator

import pycontainer as pc
from benchmarks.benchmark import Benchmark, BenchmarkError, Outcome, Settings, Target
from benchmarks.bundle import make_bundle
from benchmarks.material import Material, material
from benchmarks.samples import Table

COUNT = 1000
#: How many of the monitors are looked at.
_LOOKED_AT = 50
_LISTS = 20


def private_memory(pid: int) -> int:
    """What a process has of its own, in KiB (proc_pid_smaps(5))."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


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


@contextlib.contextmanager
def _conmon(made: Material) -> Iterator[int]:
    """A conmon with a container of crun; its pid."""
    program, crun = shutil.which("conmon"), shutil.which("crun")
    if program is None or crun is None:
        raise BenchmarkError("needs conmon and crun")
    bundle = make_bundle(made, "conmon", ["sleep", "1000"], network="none", userns="auto")
    runtime = f"{bundle}/runtime"
    with open(runtime, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {crun} --root {bundle}/state --cgroup-manager=disabled "$@"\n')
    os.chmod(runtime, 0o755)
    name = f"bench-{os.getpid()}"
    words = ["-c", name, "-u", name, "-n", name, "-r", runtime, "-b", bundle, "-p", f"{bundle}/pid"]
    words += ["--conmon-pidfile", f"{bundle}/conmon", "-l", f"k8s-file:{bundle}/log", "--exit-dir", bundle]
    words += ["--socket-dir-path", bundle, "--persist-dir", bundle, "--exit-command", "/bin/true"]
    subprocess.run([program, *words], check=True, capture_output=True, timeout=60)
    deadline = time.monotonic() + 20
    while not os.path.exists(f"{bundle}/pid"):
        if time.monotonic() > deadline:
            raise BenchmarkError("conmon made no container")
        time.sleep(0.01)
    subprocess.run([runtime, "start", name], check=True, capture_output=True, timeout=60)
    with open(f"{bundle}/conmon", encoding="ascii") as file:
        pid = int(file.read())
    try:
        yield pid
    finally:
        with open(f"{bundle}/pid", encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGKILL)
        time.sleep(0.2)
        subprocess.run([runtime, "delete", "-f", name], check=False, capture_output=True, timeout=60)


def _others() -> dict[str, int]:
    with material() as made:
        try:
            with _conmon(made) as pid:
                return {"conmon": private_memory(pid)}
        except (BenchmarkError, OSError, subprocess.SubprocessError):
            return {}


def _measure(_: Settings) -> Outcome:
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(material())
        engine = stack.enter_context(pc.Engine(f"{made.folder}/engine"))
        before, began = _taken(), time.monotonic()
        containers = []
        stack.callback(lambda: [each.remove(force=True) for each in containers])
        for _number in range(COUNT):
            containers.append(engine.run("host:", ["sleep", "1000"], detach=True))  # noqa: PERF401  (those made are removed)
        started = (time.monotonic() - began) / COUNT
        whole = (_taken() - before) / COUNT
        monitors = [each.run_state.monitor for each in containers[:: COUNT // _LOOKED_AT]]
        own = statistics.median(map(private_memory, monitors))
        lists = []
        for _number in range(_LISTS):
            began = time.monotonic()
            found = engine.containers.list()
            lists.append(time.monotonic() - began)
            if len(found) != COUNT:
                raise BenchmarkError(f"{len(found)} of {COUNT} are listed")
    others = _others()
    rows = [
        ("pycontainer's monitor", f"{own:.0f} KiB"),
        *((name, f"{size} KiB") for name, size in others.items()),
    ]
    return Outcome(
        tables=[
            Table(("monitor of one container", "memory of its own"), rows),
            Table(
                (f"{COUNT} containers", "each"),
                [
                    ("start", f"{started * 1000:.1f} ms"),
                    ("memory of the machine, programs and kernel included", f"{whole:.0f} KiB"),
                    ("list, median", f"{statistics.median(lists) * 1e6 / COUNT:.0f} us"),
                ],
            ),
        ],
        targets=[
            Target(text="monitor beside conmon", value=own / size, bound=1.0) for size in others.values()
        ],
        data={"monitor_kib": own, "others_kib": others, "start_ms": started * 1000, "whole_kib": whole,
              "list_ms": statistics.median(lists) * 1000},
    )  # fmt: skip


DETACHED = Benchmark(
    name="detached",
    description="a thousand detached containers at once: memory of each, and how long a list takes",
    measure=_measure,
    long=True,
)
