"""What ``import pycontainer`` adds to the start of an interpreter, and which modules it is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing

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
    with ExitStack() as stack:
        env = _environment(stack.enter_context(tempfile.TemporaryDirectory()))
        peers = [
            stack.enter_context(closing(Peer(name, [sys.executable, "-c", code], env=env)))
            for name, code in STATEMENTS.items()
        ]
        samples = interleave(peers, settings, rounds=max(5, settings.rounds // 5))
        table, modules = _slowest(env)
    bare, *others = samples
    targets = [_target(each.name, "minimum", each.minimum - bare.minimum) for each in others]
    targets += [_target(each.name, "median", each.median - bare.median) for each in others]
    data = times_data(samples, []) | {"modules": modules}
    return Outcome(tables=[times_table(samples, bare.name), table], targets=targets, data=data)


def _target(name: str, kind: str, seconds: float) -> Target:
    return Target(text=f"{name}, ms beyond a bare interpreter, {kind}", value=seconds * 1000, bound=BUDGET)


def _environment(cache: str) -> dict[str, str]:
    """Compiled modules are kept, as where the library is installed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return env | {"PYTHONPATH": _TOP, "PYTHONPYCACHEPREFIX": cache}


def _slowest(env: dict[str, str]) -> tuple[Table, dict[str, float]]:
    """The modules that take longest themselves, by ``-X importtime``, in milliseconds."""
    command = [sys.executable, "-X", "importtime", "-c", list(STATEMENTS.values())[-1]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
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
