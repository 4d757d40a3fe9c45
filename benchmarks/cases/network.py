"""Containers with a bridge network and a published port: how fast they start, and how much they can be sent."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks.benchmark import (
    Benchmark,
    BenchmarkError,
    Outcome,
    Settings,
    Target,
    ratio_targets,
    times_data,
)
from benchmarks.contender import Contender, Program, gather, interleave, not_measured
from benchmarks.network.archive import make_archive
from benchmarks.samples import Samples, Table, times_table

_TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_ROOM = f"{_TOP}/benchmarks/network/room.sh"
OURS, WITHOUT = "pycontainer", "pycontainer, no network"
PEERS = ("podman", "docker")
#: A start of the others takes half a second.
_SHARE = 10
_PATIENCE = 120.0
WAYS = {
    "container": "container to container",
    "outside": "published port, from another host",
    "loopback": "published port, from 127.0.0.1",
}
#: Short and often: the best of many is what nobody else's work has hit.
_SECONDS = 0.2
_REPEATS = 20
_MANY, _GROUP, _AGAIN = 200, 20, 3


@contextmanager
def _folder() -> Iterator[str]:
    """A directory on a disk, not below /tmp, which may be memory; with the image."""
    if os.geteuid() != 0:
        raise BenchmarkError("rooms of their own for other engines need root")
    path = tempfile.mkdtemp(prefix="bench-", dir="/var/tmp")  # podman wants short paths
    try:
        make_archive(f"{path}/probe.tar")
        yield path
    finally:
        shutil.rmtree(path)


def _room(name: str, folder: str) -> Program:
    """An engine in a room of its own."""
    home = f"{folder}/{name}"
    argv = [
        "sh",
        _ROOM,
        sys.executable,
        "-m",
        "benchmarks.network.program",
        name,
        home,
        f"{folder}/probe.tar",
    ]
    return Program(name, argv, {**os.environ, "PYTHONPATH": _TOP})


class _Start:
    """A start of the probe by an engine; also when it was gone is kept."""

    def __init__(self, name: str, program: Program, kind: str) -> None:
        self.name = name
        self.gone: list[float] = []
        self._program = program
        self._command = f"start {kind}"

    def once(self) -> float:
        """The seconds until it ran."""
        ran, gone = self._program.data(self._command, _PATIENCE)
        self.gone.append(gone / 1e9)
        return float(ran / 1e9)

    def close(self) -> None:
        """End the engine."""
        self._program.close()


def _peers(folder: str, stack: ExitStack) -> tuple[list[Contender], list[tuple[str, str]]]:
    def make(name: str) -> Contender:
        return _Start(f"{name} run -p", _room(name, folder), "port")

    makers: list[tuple[str, Callable[[], Contender]]] = [(name, partial(make, name)) for name in PEERS]
    return gather(stack, makers)


def _start(settings: Settings) -> Outcome:
    with _folder() as folder, ExitStack() as stack:
        program = stack.enter_context(_room(OURS, folder))
        ours, without = _Start(OURS, program, "port"), _Start(WITHOUT, program, "none")
        peers, absent = _peers(folder, stack)
        few = max(10, settings.rounds // _SHARE)
        beside = interleave([ours, *peers], settings, rounds=few)
        beside_gone = [_gone(each, few) for each in (ours, *peers)]
        alone = interleave([ours, without], settings)
        alone_gone = [_gone(each, settings.rounds) for each in (ours, without)]
    targets = [
        *_factors(beside, "until it runs"),
        Target(
            text="with network beside without, until it runs, median",
            value=alone[0].median / alone[1].median,
            bound=1.5,
        ),
        Target(
            text="the same until it has ended, median",
            value=alone_gone[0].median / alone_gone[1].median,
            bound=1.5,
        ),
    ]
    groups = {"until it runs": beside, "until it has ended": beside_gone}
    groups |= {"until it runs, without network": alone, "until it has ended, without network": alone_gone}
    data = {name: [each.to_json() for each in samples] for name, samples in groups.items()}
    return Outcome(
        tables=[_titled(times_table(samples, OURS), name) for name, samples in groups.items()],
        targets=targets,
        notes=not_measured(absent),
        data={**times_data(beside, absent), "groups": data},
    )


def _gone(contender: Contender, rounds: int) -> Samples:
    assert isinstance(contender, _Start)  # noqa: S101  all of them are
    return Samples(name=contender.name, seconds=tuple(contender.gone[-rounds:]))


def _factors(samples: Sequence[Samples], text: str) -> list[Target]:
    ours, *peers = samples
    return [
        Target(
            text=f"faster than {each.name}, {text}, median",
            value=each.median / ours.median,
            bound=30,
            at_least=True,
        )
        for each in peers
    ]


def _titled(table: Table, title: str) -> Table:
    return Table((title, *table.headings[1:]), table.rows)


def _throughput(settings: Settings) -> Outcome:
    repeats = min(_REPEATS, max(3, settings.rounds // 10))
    with _folder() as folder, ExitStack() as stack:
        programs, absent = _served(folder, stack)
        rates: dict[tuple[str, str], list[float]] = {}
        for way in WAYS:
            for number in range(repeats):
                for each in programs if number % 2 else reversed(programs):
                    rate = float(each.ask(f"{way} {_SECONDS:g}", _PATIENCE))
                    rates.setdefault((way, each.name), []).append(rate)
    best = {key: max(values) for key, values in rates.items()}
    names = [each.name for each in programs]
    rows = [(text, *(_gigabits(best[way, name]) for name in names)) for way, text in WAYS.items()]
    return Outcome(
        tables=[Table(("Gbit/s, best", *names), rows)],
        targets=[
            Target(
                text=f"{text}, beside {name}",
                value=best[way, OURS] / best[way, name],
                bound=0.9,
                at_least=True,
            )
            for way, text in WAYS.items()
            for name in names
            if name != OURS
        ],
        notes=not_measured(absent),
        data={"bytes_per_second": {way: {name: best[way, name] for name in names} for way in WAYS}},
    )


def _served(folder: str, stack: ExitStack) -> tuple[list[Program], list[tuple[str, str]]]:
    """Engines with a server each; those that cannot be had, with the reason."""
    programs: list[Program] = []
    absent: list[tuple[str, str]] = []
    for name in (OURS, *PEERS):
        try:
            program = stack.enter_context(_room(name, folder))
            program.ask("serve", _PATIENCE)
        except (BenchmarkError, FileNotFoundError) as error:
            if name == OURS:
                raise
            absent.append((name, str(error)))
        else:
            programs.append(program)
    return programs, absent


def _many(settings: Settings) -> Outcome:
    count = min(_MANY, max(2 * _GROUP, settings.rounds))
    kinds = {"no network": "none", "bridge and a published port": "port"}
    took: dict[str, list[list[float]]] = {text: [[], []] for text in kinds}
    with _folder() as folder:
        for _ in range(_AGAIN):
            for text, kind in kinds.items():
                every = _started(folder, kind, count)
                took[text][0] += every[:_GROUP]
                took[text][1] += every[-_GROUP:]
    names = (f"1 to {_GROUP}", f"{count - _GROUP + 1} to {count}")
    samples = {
        text: [
            Samples(name=f"{text}, {name}", seconds=tuple(each))
            for name, each in zip(names, groups, strict=True)
        ]
        for text, groups in took.items()
    }
    first, last = samples["bridge and a published port"]
    return Outcome(
        tables=[times_table(each, each[0].name) for each in samples.values()],
        targets=ratio_targets(last, first, 1.25, f"the last {_GROUP} of {count} beside the first"),
        data=times_data([one for each in samples.values() for one in each], ()),
    )


def _started(folder: str, kind: str, count: int) -> list[float]:
    """The seconds of each start, in a new room."""
    with _room(OURS, folder) as program:
        program.data(f"many 3 {kind}", _PATIENCE)  # what is made once is there
        took = program.data(f"many {count} {kind}", _PATIENCE)
    shutil.rmtree(f"{folder}/{OURS}")
    return [each / 1e9 for each in took]


def _gigabits(rate: float) -> str:
    return f"{rate * 8 / 1e9:.2f}"


NETWORK = Benchmark(
    name="network",
    description="start a program with a bridge network and a published port, beside podman and docker; and without",
    measure=_start,
)
THROUGHPUT = Benchmark(
    name="throughput",
    description="bytes between containers, and through a published port, beside podman and docker",
    measure=_throughput,
)
MANY = Benchmark(
    name="many",
    description="start 200 containers that go on running: the last ones beside the first",
    measure=_many,
)
