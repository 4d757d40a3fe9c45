"""What a cgroup with limits costs, apart from the process in it: made, read and removed."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.benchmark import Benchmark, Outcome, Settings, ratio_targets, times_data
from benchmarks.contender import interleave
from benchmarks.floor_program import start_floor
from benchmarks.library import start_worker
from benchmarks.material import material
from benchmarks.samples import times_table
from benchmarks.spots import spots

FLOOR, OURS = "floor (C)", "pycontainer"


def _measure(settings: Settings) -> Outcome:
    with material() as made, ExitStack() as stack:
        places = stack.enter_context(spots(limited=True))
        floor = stack.enter_context(start_floor(made, spots=places, name=FLOOR))
        ours = stack.enter_context(start_worker(made, limited=True, name=OURS))
        samples = interleave([floor.contender("cgroup"), ours.contender("cgroup")], settings)
    return Outcome(
        tables=[times_table(samples, FLOOR)],
        targets=ratio_targets(samples[1], samples[0], 1.3, "beside the floor"),
        data=times_data(samples, ()),
    )


LIMITS = Benchmark(
    name="limits",
    description="a cgroup with limits of memory, processor and processes: made, its counters read, removed",
    measure=_measure,
)
