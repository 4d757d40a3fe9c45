"""Does a start cost more from a large process? With fork(2) it would: 40 ms for each GiB."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.benchmark import Benchmark, BenchmarkError, Outcome, Settings, ratio_targets, times_data
from benchmarks.contender import interleave
from benchmarks.library import start_worker
from benchmarks.material import material
from benchmarks.samples import times_table

GIB = 1 << 30
#: The small process runs twice: the ratio of the two is what the method cannot tell apart.
SMALL, TWIN = "small process", "small process, again"
SIZES = {SMALL: 0, TWIN: 0, "1 GiB touched": GIB, "4 GiB touched": 4 * GIB}


def _measure(settings: Settings) -> Outcome:
    needed = sum(SIZES.values())
    if _available() < needed + 2 * GIB:
        raise BenchmarkError(f"needs {needed // GIB + 2} GiB of free memory")
    with material() as made, ExitStack() as stack:
        workers = [
            stack.enter_context(start_worker(made, name=name, touch=size)) for name, size in SIZES.items()
        ]
        samples = interleave([each.contender("start") for each in workers], settings)
    named = {each.name: each for each in samples}
    large = [each for name, each in named.items() if SIZES[name]]
    return Outcome(
        tables=[times_table(samples, SMALL)],
        targets=[
            target
            for each in large
            for target in ratio_targets(each, named[SMALL], 1.1, f"{each.name} beside the small process")
        ],
        data=times_data(samples, []),
    )


def _available() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))


MEMORY = Benchmark(
    name="memory",
    description="start `true` from processes with 1 GiB and 4 GiB of memory in use",
    measure=_measure,
)
