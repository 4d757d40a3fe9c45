"""Thousands of runs in one process: what is there more of afterwards?"""

from __future__ import annotations

import time

from benchmarks.benchmark import Benchmark, Outcome, Settings, Target
from benchmarks.library import start_worker
from benchmarks.material import material
from benchmarks.samples import Table

_BATCH = 500
#: Runs before the first count: caches are filled, pools have their size.
_WARM_UP = 100
#: The kernel takes namespaces down after their last process is gone.
_SETTLE = 2.0
_PATIENCE = 600.0


def _measure(settings: Settings) -> Outcome:
    with material() as made, start_worker(made) as worker:
        worker.seconds(f"cycle {_WARM_UP}")
        time.sleep(_SETTLE)
        before = worker.data("counts")
        seconds = sum(
            worker.seconds(f"cycle {min(_BATCH, settings.starts)}", _PATIENCE)
            for _ in range(max(1, settings.starts // _BATCH))
        )
        time.sleep(_SETTLE)
        after = worker.data("counts")
    runs = max(1, settings.starts // _BATCH) * min(_BATCH, settings.starts)
    growth = after["resident"] - before["resident"]
    kinds = [kind for kind in before if kind != "resident"]
    rows = [(kind, str(before[kind]), str(after[kind])) for kind in kinds]
    rows.append(("resident KiB", str(before["resident"] >> 10), str(after["resident"] >> 10)))
    left = sum(max(0, after[kind] - before[kind]) for kind in kinds)
    return Outcome(
        tables=[Table((f"{runs} runs, {seconds / runs * 1000:.2f} ms each", "before", "after"), rows)],
        targets=[
            Target(text="things left behind", value=left, bound=0),
            Target(text="KiB of memory kept", value=growth / 1024, bound=1024),
        ],
        data={"runs": runs, "seconds": seconds, "before": before, "after": after},
    )


CYCLES = Benchmark(
    name="cycles",
    description="what thousands of runs leave behind in the process and on the machine",
    measure=_measure,
)
