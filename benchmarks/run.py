"""Measure, print, record, draw.

The record has an entry for each benchmark, with what it was measured on; one that is measured again
replaces its entry alone.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

from benchmarks.benchmark import Benchmark, BenchmarkError, Outcome, Settings
from benchmarks.catalog import CATALOG
from benchmarks.facts import host_facts, revision
from benchmarks.picture import draw_start

_HERE = os.path.dirname(os.path.abspath(__file__))
_RECORD = f"{_HERE}/results/latest.json"
_PICTURE = f"{os.path.dirname(_HERE)}/docs/images/start.svg"
_QUICK = Settings(rounds=20, starts=250)


def main(argv: list[str]) -> int:
    """0 when every target is met, 1 when one is missed, 2 when something could not be measured."""
    options = _parser().parse_args(argv)
    chosen = [each for each in CATALOG if _wanted(each, options)]
    settings = _settings(options)
    facts = host_facts()
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, Linux {facts['kernel']}, Python {facts['python']}")
    entries: dict[str, Any] = {}
    missed = failed = 0
    for benchmark in chosen:
        print(f"\n{benchmark.name}: {benchmark.description}", flush=True)
        try:
            outcome = benchmark.measure(settings)
        except (BenchmarkError, OSError) as error:
            failed += 1
            print(f"  not measured: {error}")
            continue
        _show(outcome)
        missed += sum(not target.met for target in outcome.targets)
        entries[benchmark.name] = _entry(benchmark, outcome, settings, facts)
    if not options.quick or options.output:
        _record(options.output or _RECORD, entries, draw=options.output is None)
    return 2 if failed else min(missed, 1)


def _wanted(benchmark: Benchmark, options: argparse.Namespace) -> bool:
    if options.only:
        return benchmark.name in options.only
    return not benchmark.long


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="What the library costs, measured beside programs that do the same.",
        epilog="\n".join(map(_line, CATALOG)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [each.name for each in CATALOG]
    parser.add_argument(
        "--only", action="append", metavar="NAME", choices=names, help="measure this one; repeatable"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="interleaved rounds (default 300)")
    parser.add_argument("--starts", type=int, metavar="N", help="starts of storm and cycles (default 10000)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="20 rounds, 250 starts; recorded only with --output",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="the record (default benchmarks/results/latest.json)"
    )
    return parser


def _line(benchmark: Benchmark) -> str:
    rest = " (when named with --only)" if benchmark.long else ""
    return f"{benchmark.name:20}{benchmark.description}{rest}"


def _settings(options: argparse.Namespace) -> Settings:
    base = _QUICK if options.quick else Settings()
    return Settings(rounds=options.rounds or base.rounds, starts=options.starts or base.starts)


def _show(outcome: Outcome) -> None:
    for table in outcome.tables:
        print("\n  " + table.render().replace("\n", "\n  "))
    print("")
    for line in [target.describe() for target in outcome.targets] + outcome.notes:
        print(f"  {line}")


def _entry(
    benchmark: Benchmark, outcome: Outcome, settings: Settings, facts: dict[str, Any]
) -> dict[str, Any]:
    return {
        "description": benchmark.description,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "revision": revision(),
        "host": facts,
        "rounds": settings.rounds,
        "starts": settings.starts,
        "targets": [target.to_json() for target in outcome.targets],
        **outcome.data,
    }


def _record(path: str, entries: dict[str, Any], *, draw: bool) -> None:
    record: dict[str, Any] = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
    record.update(entries)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({name: record[name] for name in sorted(record)}, file, indent=1)
        file.write("\n")
    print(f"\nrecorded in {os.path.relpath(path)}")
    if draw and "start" in entries:
        os.makedirs(os.path.dirname(_PICTURE), exist_ok=True)
        with open(_PICTURE, "w", encoding="utf-8") as file:
            file.write(draw_start(entries["start"]))
        print(f"drawn in {os.path.relpath(_PICTURE)}")
