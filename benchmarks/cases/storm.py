"""Eight threads that start containers at once, beside threads that allocate and take locks."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.benchmark import Benchmark, Outcome, Settings, Target
from benchmarks.contender import Program
from benchmarks.floor_program import start_floor
from benchmarks.library import start_worker
from benchmarks.material import material
from benchmarks.samples import Table

THREADS = 8
_BATCH = 250
#: So that every thread has had a container: what is made once for each is there.
_WARM_UP = 64
#: A batch takes a few seconds; a minute without an answer is a hang.
_PATIENCE = 120.0


def _batches(program: Program, count: int) -> list[float]:
    """Starts for each second, of every batch. A hang is an error."""
    rates = []
    for _ in range(max(1, count // _BATCH)):
        size = min(_BATCH, count)
        rates.append(size / program.seconds(f"storm {THREADS} {size}", _PATIENCE))
    return rates


def _measure(settings: Settings) -> Outcome:
    rates: dict[str, list[float]] = {"floor (C)": [], "pycontainer": []}
    with material(identities=THREADS) as made, ExitStack() as stack:
        floor = stack.enter_context(start_floor(made))
        quiet = stack.enter_context(start_worker(made))
        noisy = stack.enter_context(start_worker(made, name="pycontainer beside noise", noise=2))
        for each in (floor, quiet, noisy):
            each.seconds(f"storm {THREADS} {_WARM_UP}", _PATIENCE)
        for _ in range(max(1, settings.rounds // 30)):
            rates["floor (C)"] += _batches(floor, _BATCH)
            rates["pycontainer"] += _batches(quiet, _BATCH)
        rates[noisy.name] = _batches(noisy, settings.starts)
    best = {name: max(values) for name, values in rates.items()}
    middle = {name: sorted(values)[len(values) // 2] for name, values in rates.items()}
    rows = [
        (
            name,
            str(len(rates[name]) * _BATCH),
            f"{best[name]:.0f}",
            f"{middle[name]:.0f}",
            f"{middle[name] / middle['floor (C)']:.2f}",
        )
        for name in rates
    ]
    started = len(rates["pycontainer beside noise"]) * _BATCH
    return Outcome(
        tables=[Table(("", "starts", "best /s", "median /s", "x floor"), rows)],
        targets=[
            Target(
                text=f"starts from {THREADS} threads beside noise without a hang",
                value=started,
                bound=min(settings.starts, started),
                at_least=True,
            )
        ],
        data={"per_second": {name: {"best": best[name], "median": middle[name]} for name in rates}},
    )


STORM = Benchmark(
    name="storm",
    description=f"{THREADS} threads start containers at once, beside threads that allocate and take locks",
    measure=_measure,
)
