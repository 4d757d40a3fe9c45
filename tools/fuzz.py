#!/usr/bin/env python3
"""Try inputs without number on everything that reads what others wrote: the tests in tests/fuzz, for long.

    fuzz.py [--seconds N] [--jobs N] [NAME...]     N seconds for each test, or for those whose name holds a NAME

With atheris (pip install 'pycontainer-linux[fuzz]') the inputs are led by the code that they reach, and what has
reached new code is kept in build/fuzz/corpus for the next time; without it hypothesis chooses.  What fails is made
small, shown, and kept in build/fuzz/examples, from where each run begins.  The exit status is 0 when nothing failed.
Called by `make fuzz`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build/fuzz"
#: Of each process, in MiB: twice what an input may take, and the interpreter.
MEMORY = 2048
#: Of bytes from which hypothesis makes an example.
LONGEST = 4096


def targets() -> list[str]:
    """Every test that takes inputs, as module:function."""
    found = []
    for path in sorted((ROOT / "tests/fuzz").glob("test_*.py")):
        name = f"tests.fuzz.{path.stem}"
        module = importlib.import_module(name)
        found += [f"{name}:{test}" for test, value in vars(module).items() if hasattr(value, "hypothesis")]
    return found


# -- one test, in a process of its own -------------------------------------------------------------


class Tally:
    """How many inputs were tried and what came of them, written to a file twice a second: the end is abrupt."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = 0.0
        self.inputs = self.examples = 0

    def write(self, *, now: bool = False) -> None:
        """Write it when it is time."""
        from tests.fuzz.guard import outcomes

        if now or time.monotonic() - self._written > 0.5:
            self._written = time.monotonic()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            told = {
                "inputs": self.inputs,
                "examples": self.examples,
                "peak": peak,
                "outcomes": dict(outcomes),
            }
            self._path.write_text(json.dumps(told))


def _settings(seconds: float) -> None:
    from hypothesis import HealthCheck, settings
    from hypothesis.database import DirectoryBasedExampleDatabase

    settings.register_profile(
        "fuzz",
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        database=DirectoryBasedExampleDatabase(WORK / "examples"),
        max_examples=1 if seconds == 0 else 1_000_000_000,
    )
    settings.load_profile("fuzz")


def run_one(target: str, seconds: float, tally: Tally) -> None:
    """Try inputs for so long; an exception tells of one that failed. With 0 seconds only those that failed before."""
    guide = importlib.util.find_spec("atheris") is not None and seconds > 0
    if guide:
        import atheris

        with atheris.instrument_imports(include=["pycontainer"]):
            test = _load(target, seconds)
    else:
        test = _load(target, seconds)
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)  # outside of what is tested, which has the usual bound
    if seconds == 0:
        test()
    elif guide:
        _guided(test, target, seconds, tally)
    else:
        _unguided(test, seconds, tally)


def _load(target: str, seconds: float) -> Any:
    _settings(seconds)
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _guided(test: Any, target: str, seconds: float, tally: Tally) -> None:
    import atheris

    once: Callable[[bytes], bytes | None] = test.hypothesis.fuzz_one_input

    def one(data: bytes) -> None:
        tally.inputs += 1
        try:
            tally.examples += once(data) is not None
        except BaseException:
            tally.write(now=True)
            raise
        tally.write()

    corpus = WORK / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds:.0f}", f"-rss_limit_mb={MEMORY}", f"-max_len={LONGEST}", "-len_control=0", "-handle_alrm=0",
               f"-artifact_prefix={WORK}/{target}-", str(corpus)]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


class _Enough(BaseException):
    """The time is up."""


def _unguided(test: Any, seconds: float, tally: Tally) -> None:
    inner = test.hypothesis.inner_test
    end = time.monotonic() + seconds

    def counted(*arguments: Any, **named: Any) -> None:
        if time.monotonic() > end:
            raise _Enough
        tally.inputs += 1
        tally.examples += 1
        inner(*arguments, **named)
        tally.write()

    test.hypothesis.inner_test = counted
    try:
        test()
    except _Enough:
        pass
    finally:
        tally.write(now=True)


# -- all of them -----------------------------------------------------------------------------------


def _process(target: str, seconds: float) -> tuple[int, str, dict[str, Any]]:
    tally = WORK / f"{target}.json"
    tally.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--one", target, "--seconds", f"{seconds}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    told = json.loads(tally.read_text()) if tally.exists() else {}
    return done.returncode, done.stdout.decode(errors="replace"), told


def try_target(target: str, seconds: float) -> tuple[int, int]:
    """Try one test and print what came of it; how many inputs, and how many failures."""
    status, output, told = _process(target, seconds)
    inputs, examples = told.get("inputs", 0), told.get("examples", 0)
    outcomes = ", ".join(f"{name} {count}" for name, count in sorted(told.get("outcomes", {}).items()))
    verdict = "ok" if status == 0 else "FAIL"
    name = target.removeprefix("tests.fuzz.test_")
    lines = [
        f"{verdict:4} {name:70} {inputs:>9} inputs, {examples:>9} examples, {told.get('peak', 0):>5} MiB: {outcomes}"
    ]
    if status:
        # Hypothesis finds the failure in its database, makes it small and shows it.
        again, shown, _ = _process(target, 0)
        lines.append(shown if again else output[-5000:])
    print("\n".join(lines), flush=True)
    return inputs, int(status != 0)


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="for each test")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="tests at once")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    WORK.mkdir(parents=True, exist_ok=True)
    if options.one:
        run_one(options.one, options.seconds, Tally(WORK / f"{options.one}.json"))
        return 0
    chosen = [name for name in targets() if not options.names or any(part in name for part in options.names)]
    how = (
        "led by atheris" if importlib.util.find_spec("atheris") else "chosen by hypothesis (no atheris here)"
    )
    print(
        f"{len(chosen)} tests, {options.seconds:g} s each, {options.jobs} at once, inputs {how}", flush=True
    )
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(lambda name: try_target(name, options.seconds), chosen))
    print(f"{sum(inputs for inputs, _ in found)} inputs, {sum(failed for _, failed in found)} tests failed")
    return int(any(failed for _, failed in found))


if __name__ == "__main__":
    sys.exit(main())
