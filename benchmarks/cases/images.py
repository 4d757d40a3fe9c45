"""Images: pulled from a registry on the loopback and unpacked, beside others; committed, and forked."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

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
from benchmarks.layers import make_images
from benchmarks.pullers import Command, Inserting, Ours, floor, fresh, pullers
from benchmarks.registry import REPOSITORY, serving
from benchmarks.samples import Samples, times_table

OURS, FLOOR = "pycontainer pull", "floor, from files"
#: A round of this takes a minute and this much of the disk, for what was pulled is removed at the end.
_SHARE = 60
_MOST = 8
_ROUND = 5 << 30
_PATIENCE = 300.0
_MIB = 1 << 20
_INSERT = "umoci insert"
_TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@contextmanager
def _folder() -> Iterator[str]:
    """A directory on a disk, not below /tmp, which may be memory."""
    path = tempfile.mkdtemp(prefix="bench-", dir="/var/tmp")  # podman wants short paths
    os.chmod(path, 0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _worker(name: str = OURS) -> Program:
    return Program(
        name,
        [sys.executable, "-m", "benchmarks.image_worker"],
        {**os.environ, "PYTHONPATH": _TOP, "DOCKER_CONFIG": "/nonexistent"},
    )


def _pull(settings: Settings) -> Outcome:
    rounds = min(max(1, settings.rounds // _SHARE), _MOST)
    images, content = make_images()
    with _folder() as folder, ExitStack() as stack:
        _check_room(folder, (rounds + 1) * _ROUND)
        host = stack.enter_context(serving(folder, images))
        names = {kind: f"{host}/{REPOSITORY}:{kind}" for kind in images}
        makers = [each for kind in images for each in pullers(folder, kind, names[kind])]
        peers, absent = gather(stack, makers)
        worker = stack.enter_context(_worker())
        ours: list[Contender] = [
            Ours(f"{kind}: {OURS}", folder, worker, name) for kind, name in names.items()
        ]
        grounds: list[Contender] = [
            floor(f"{kind}: {FLOOR}", folder, image) for kind, image in images.items()
        ]
        for each in grounds + ours:
            each.once()  # the peers have been tried, too
        samples = interleave([*grounds, *ours, *peers], settings, warm_up=0, rounds=rounds)
        peaks = {kind: _peak(folder, name) for kind, name in names.items()}
    tables, targets = [], []
    for kind in images:
        own = [each for each in samples if each.name.startswith(f"{kind}: ")]
        tables.append(times_table(own, f"{kind}: {FLOOR}"))
        targets += _targets(kind, {each.name: each for each in own})
        targets.append(Target(text=f"{kind}: most memory, MiB", value=peaks[kind] / _MIB, bound=150))
    packed = ", ".join(f"{image.size / 1e6:.0f} MB with {kind}" for kind, image in images.items())
    notes = [f"{content.size / 1e6:.0f} MB in {content.entries} entries, {packed}; {rounds} rounds"]
    return Outcome(
        tables=tables, targets=targets, notes=notes + not_measured(absent), data=times_data(samples, absent)
    )


def _targets(kind: str, samples: dict[str, Samples]) -> list[Target]:
    ours, ground = samples[f"{kind}: {OURS}"], samples[f"{kind}: {FLOOR}"]
    return ratio_targets(ours, ground, 1.5, f"{kind}: beside the floor") + [
        Target(text=f"faster than {name}, median", value=each.median / ours.median, bound=1.0, at_least=True)
        for name, each in samples.items()
        if each not in {ours, ground}
    ]


def _check_room(folder: str, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed:
        raise BenchmarkError(f"needs {needed >> 30} GiB of free disk below {folder}: ask for fewer rounds")


def _peak(folder: str, name: str) -> int:
    """The most memory that a new process has had that pulled once, in bytes."""
    with _worker() as worker:
        worker.seconds(f"pull {fresh(folder)}/engine {name}", _PATIENCE)
        return int(worker.ask("peak"))


@contextmanager
def _having(folder: str) -> Iterator[tuple[Program, str]]:
    """A worker that has pulled the image, whose files are below ``folder``; and the name of the image."""
    images, _ = make_images()
    with serving(folder, {"gzip": images["gzip"]}) as host, _worker() as worker:
        name = f"{host}/{REPOSITORY}:gzip"
        worker.seconds(f"have {folder}/engine {name}", _PATIENCE)
        yield worker, name


def _commit(settings: Settings) -> Outcome:
    with _folder() as folder, _having(folder) as (worker, name), ExitStack() as stack:
        peers, absent = gather(stack, [(_INSERT, lambda: Inserting(_INSERT, folder, name))])
        ours = Command("pycontainer commit", worker, "commit")
        samples = interleave([ours, *peers], settings, rounds=_many(settings))
    return _single_digit(samples, ours.name, absent)


def _fork(settings: Settings) -> Outcome:
    with _folder() as folder, _having(folder) as (worker, _):
        ours = Command("pycontainer fork(10)", worker, "fork 10")
        samples = interleave([ours], settings, rounds=_many(settings))
    return _single_digit(samples, ours.name, [])


def _many(settings: Settings) -> int:
    return max(10, settings.rounds // 5)


def _single_digit(samples: list[Samples], name: str, absent: list[tuple[str, str]]) -> Outcome:
    ours = next(each for each in samples if each.name == name)
    return Outcome(
        tables=[times_table(samples, name)],
        targets=[Target(text="milliseconds, median", value=ours.median * 1000, bound=10)],
        notes=not_measured(absent),
        data=times_data(samples, absent),
    )


PULL = Benchmark(
    name="pull",
    description="pull and unpack an image of five layers, beside other engines and beside tar",
    measure=_pull,
    long=True,
)
COMMIT = Benchmark(
    name="commit",
    description="commit a stopped container of that image that has written 1 MB",
    measure=_commit,
    long=True,
)
FORK = Benchmark(
    name="fork",
    description="fork a stopped container of that image into ten",
    measure=_fork,
    long=True,
)
