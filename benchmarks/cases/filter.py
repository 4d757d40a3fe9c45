"""What the call filter costs a start, and what the strict profile does."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.benchmark import Benchmark, Outcome, Settings, ratio_targets, times_data
from benchmarks.contender import interleave
from benchmarks.library import start_worker
from benchmarks.material import material
from benchmarks.samples import times_table

BARE, FILTERED = "host's users, no filter", "host's users, filter"
#: In the host's user namespace: without our filter an own one is made anew for each container.
WORKERS = {
    BARE: ("no-filter", "host"),
    FILTERED: ("default", "host"),
    "default": ("default", "auto"),
    "strict": ("strict", "auto"),
}


def _measure(settings: Settings) -> Outcome:
    with material() as made, ExitStack() as stack:
        workers = [
            stack.enter_context(start_worker(made, name=name, security=security, userns=userns))
            for name, (security, userns) in WORKERS.items()
        ]
        samples = interleave([each.contender("start") for each in workers], settings)
    named = {each.name: each for each in samples}
    return Outcome(
        tables=[times_table(samples, BARE)],
        targets=ratio_targets(named[FILTERED], named[BARE], 1.05, "with the filter beside without"),
        data=times_data(samples, []),
    )


FILTER = Benchmark(
    name="filter", description="start `true` with a call filter, and in the strict profile", measure=_measure
)
