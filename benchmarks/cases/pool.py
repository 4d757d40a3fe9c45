"""A run in a container that was set up before, beside a bare posix_spawn of the same program."""

from __future__ import annotations

from contextlib import ExitStack, closing

from benchmarks.benchmark import Benchmark, Outcome, Settings, Target, times_data
from benchmarks.contender import Peer, interleave
from benchmarks.library import start_worker
from benchmarks.material import material
from benchmarks.samples import times_table

BARE, OURS, RUN = "posix_spawn, no isolation", "Pool.run", "run"


def _measure(settings: Settings) -> Outcome:
    with material() as made, ExitStack() as stack:
        bare = stack.enter_context(closing(Peer(BARE, ["/usr/bin/true"])))
        pool = stack.enter_context(start_worker(made, name=OURS))
        run = stack.enter_context(start_worker(made, name=RUN))
        samples = interleave([bare, pool.contender("pool"), run.contender("start")], settings)
    named = {each.name: each for each in samples}
    ratio = named[OURS].median / named[BARE].median
    return Outcome(
        tables=[times_table(samples, BARE)],
        targets=[Target(text="beside posix_spawn, median", value=ratio, bound=1.3)],
        data=times_data(samples, []),
    )


POOL = Benchmark(
    name="pool",
    description="run `true` in a container of a pool, beside a bare posix_spawn and a run without a pool",
    measure=_measure,
)
