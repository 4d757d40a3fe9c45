"""Starting ``true`` in a container and waiting for its end, beside everything else that can do it."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks.benchmark import Benchmark, Outcome, Settings, Target, ratio_targets, times_data
from benchmarks.contender import gather, interleave, not_measured
from benchmarks.floor_program import start_floor
from benchmarks.library import start_worker
from benchmarks.material import material
from benchmarks.peers import start_peers
from benchmarks.samples import Samples, times_table
from benchmarks.spots import spots

FLOOR, OURS = "floor (C)", "pycontainer"


def _measure(settings: Settings, *, network: str, userns: str, limited: bool = False) -> Outcome:
    kind: dict[str, Any] = {"network": network, "userns": userns}
    with material() as made, ExitStack() as stack:
        places = stack.enter_context(spots(limited=limited))
        floor = stack.enter_context(start_floor(made, **kind, spots=places, name=FLOOR))
        ours = stack.enter_context(start_worker(made, **kind, limited=limited, name=OURS))
        peers, absent = gather(stack, start_peers(made, network=network, userns=userns))
        samples = interleave([floor.contender("start"), ours.contender("start"), *peers], settings)
    return Outcome(
        tables=[times_table(samples, FLOOR)],
        targets=_targets({each.name: each for each in samples}),
        notes=not_measured(absent),
        data=times_data(samples, absent),
    )


def _targets(samples: dict[str, Samples]) -> list[Target]:
    ours = samples[OURS]
    targets = ratio_targets(ours, samples[FLOOR], 1.3, "beside the floor")
    for name, factor in (("bwrap", 1.0), ("crun, no cgroups", 2.5)):
        if name in samples:
            other = samples[name]
            targets += [
                Target(
                    text=f"faster than {name}, minimum",
                    value=other.minimum / ours.minimum,
                    bound=factor,
                    at_least=True,
                ),
                Target(
                    text=f"faster than {name}, median",
                    value=other.median / ours.median,
                    bound=factor,
                    at_least=True,
                ),
            ]
    return targets


START = Benchmark(
    name="start",
    description="start `true` in a full container: every namespace, overlay root, masks, seccomp, no_new_privs",
    measure=partial(_measure, network="none", userns="auto"),
)
LIMITED = Benchmark(
    name="start-limited",
    description="the same with limits of memory, processor and processes",
    measure=partial(_measure, network="none", userns="auto", limited=True),
)
HOST_NETWORK = Benchmark(
    name="start-host-network",
    description="the same in the host's network namespace",
    measure=partial(_measure, network="host", userns="auto"),
)
HOST_USERS = Benchmark(
    name="start-host-users",
    description="the same in the host's user namespace",
    measure=partial(_measure, network="none", userns="host"),
)
