"""The system calls of one start, by the library and by the floor: are they the same?

Both are traced (strace) for one round.  Only what happens until the program is executed counts, and the
parent's part; the reaper's and the program's own calls do not.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections import Counter

from benchmarks.benchmark import Benchmark, BenchmarkError, Outcome, Settings
from benchmarks.contender import Program
from benchmarks.floor_program import start_floor
from benchmarks.library import start_worker
from benchmarks.material import material
from benchmarks.samples import Table

#: "pid call(...) = value", "pid <... call resumed>"; only the first of a call that was interrupted counts.
_CALL = re.compile(r"^(\d+) +(\w+)\(")
_EXECUTED = re.compile(r"^(\d+) +(?:execve\(.*\)|<\.\.\. execve resumed>.*) += 0$")


def _trace(program: Program, command: str, path: str) -> list[str]:
    """The lines of strace for one command of a program."""
    strace = shutil.which("strace")
    if strace is None:
        raise BenchmarkError("needs strace")
    program.ask(command)
    tracer = subprocess.Popen(
        [strace, "-f", "-o", path, "-p", str(program.pid)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert tracer.stderr is not None  # noqa: S101  it was opened with a pipe
        line = tracer.stderr.readline()
        if "attached" not in line:
            raise BenchmarkError(f"strace: {line.strip()}")
        program.ask(command)
        time.sleep(0.1)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()


def _count(lines: list[str]) -> Counter[str]:
    """Calls by name, without those that a process makes after it has executed another program."""
    executed: set[str] = set()
    found: Counter[str] = Counter()
    for line in lines:
        done = _EXECUTED.match(line)
        if done:
            executed.add(done[1])
        call = _CALL.match(line)
        if call and (call[1] not in executed or call[2] == "execve"):
            found[call[2]] += 1
    return found


def _measure(_: Settings) -> Outcome:
    with material() as made, start_worker(made) as ours, start_floor(made) as floor:
        counted = {
            each.name: _count(_trace(each, "start", f"{made.folder}/{number}.strace"))
            for number, each in enumerate((ours, floor))
        }
    mine, theirs = counted["pycontainer"], counted["floor (C)"]
    names = sorted(mine | theirs, key=lambda name: (-abs(mine[name] - theirs[name]), name))
    rows = [(name, str(mine[name]), str(theirs[name]), f"{mine[name] - theirs[name]:+d}") for name in names]
    rows.append(("all", str(mine.total()), str(theirs.total()), f"{mine.total() - theirs.total():+d}"))
    return Outcome(
        tables=[Table(("system call", "pycontainer", "floor", "difference"), rows)],
        data={name: dict(counter) for name, counter in counted.items()},
    )


CALLS = Benchmark(
    name="calls",
    description="the system calls of one start, by the library and by the floor",
    measure=_measure,
)
