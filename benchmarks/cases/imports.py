"""What ``import pycontainer`` adds to the start of an interpreter, and which modules it is."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.benchmark import Benchmark, Outcome, Settings, Target, times_data
from benchmarks.contender import Peer, interleave
from benchmarks.samples import Table, times_table

_TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
#: The promise, in milliseconds.
BUDGET = 80.0
STATEMENTS = {
    "python -c pass": "pass",
    "import pycontainer": "import pycontainer",
    "... and take its run": "from pycontainer import run",
    "... and take its Container": "from pycontainer import run, Container",
}
_SLOWEST = 10


def _measure(settings: Settings) -> Outcome:
    os.environ["PYTHONPATH"] = _TOP
    peers = [Peer(name, [sys.executable, "-c", code]) for name, code in STATEMENTS.items()]
    samples = interleave(peers, settings, rounds=max(5, settings.rounds // 5))
    bare, *others = samples
    table, modules = _slowest()
    targets = [
        Target(
            text=f"{each.name}, ms beyond a bare interpreter (median)",
            value=(each.median - bare.median) * 1000,
            bound=BUDGET,
        )
        for each in others
    ]
    data = times_data(samples, []) | {"modules": modules}
    return Outcome(tables=[times_table(samples, bare.name), table], targets=targets, data=data)


def _slowest() -> tuple[Table, dict[str, float]]:
    """The modules that take longest themselves, by ``-X importtime``, in milliseconds."""
    code = list(STATEMENTS.values())[-1]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    )
    found = []
    for line in done.stderr.splitlines():
        own, _, name = line.removeprefix("import time:").split("|")
        if own.strip().isdigit():
            found.append((int(own) / 1000, name.strip()))
    found.sort(reverse=True)
    slowest = {name: own for own, name in found[:_SLOWEST]}
    return Table(("module", "own ms"), [(name, f"{own:.1f}") for name, own in slowest.items()]), slowest


IMPORTS = Benchmark(
    name="imports", description="what `import pycontainer` adds to a fresh interpreter", measure=_measure
)
