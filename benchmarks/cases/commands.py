"""How long the command line takes from the start of the interpreter to its end, beside those of Docker and podman."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, closing

from benchmarks.benchmark import Benchmark, Outcome, Settings, Target, times_data
from benchmarks.contender import Peer, interleave
from benchmarks.samples import times_table

_TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_MODULE = [sys.executable, "-m", "pycontainer"]
#: The promise for what needs no container, in milliseconds from exec to exit.
BUDGET = 100.0
#: Of an engine that has nothing yet.
OURS = {
    "pycontainer version": ["version"],
    "pycontainer run --help": ["run", "--help"],
    "pycontainer __complete run --n": ["__complete", "run", "--n"],
    "pycontainer images": ["images"],
    "pycontainer volume ls": ["volume", "ls"],
    "pycontainer ps": ["ps"],
    "pycontainer run host: true": ["run", "--rm", "host:", "true"],
}
_FREE = "pycontainer run host: true"
#: What others take for what needs no daemon.
OTHERS = {"docker --version": ["docker", "--version"], "podman --version": ["podman", "--version"]}


def _measure(settings: Settings) -> Outcome:
    with ExitStack() as stack:
        env = _environment(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        commands = {"python -c pass": [sys.executable, "-c", "pass"]}
        commands |= {name: [*_MODULE, *words] for name, words in OURS.items()}
        commands |= {name: words for name, words in OTHERS.items() if shutil.which(words[0])}
        peers = [stack.enter_context(closing(Peer(name, argv, env=env))) for name, argv in commands.items()]
        samples = interleave(peers, settings, rounds=max(5, settings.rounds // 5))
    targets = [
        Target(text=f"{each.name}, ms from exec to exit, median", value=each.median * 1000, bound=BUDGET)
        for each in samples
        if each.name in OURS and each.name != _FREE
    ]
    return Outcome(
        tables=[times_table(samples, "python -c pass")], targets=targets, data=times_data(samples, [])
    )


def _environment(place: str) -> dict[str, str]:
    """An engine of its own, and compiled modules that are kept, as where the library is installed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return env | {
        "PYTHONPATH": _TOP,
        "PYTHONPYCACHEPREFIX": f"{place}/cache",
        "PYCONTAINER_ROOT": f"{place}/engine",
    }


COMMANDS = Benchmark(
    name="commands",
    description="the command line, from the start of its interpreter to its end",
    measure=_measure,
)
