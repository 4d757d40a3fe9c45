"""Images: pulled from a registry on the loopback and unpacked, beside others; committed, and forked."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from benchmarks.benchmark import (
    Benchmark,
    Outcome,
    Settings,
    Target,
    ratio_targets,
    times_data,
)
from benchmarks.contender import Program, gather, interleave, not_measured
from benchmarks.layers import make_images
from benchmarks.pullers import Ours, floor, fresh, pullers
from benchmarks.registry import REPOSITORY, serving
from benchmarks.samples import Samples, times_table

OURS = "pycontainer pull"
#: A round of this takes a minute, most of it removing what was pulled.
_SHARE = 60
_PATIENCE = 300.0
_MIB = 1 << 20
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
    rounds = max(1, settings.rounds // _SHARE)
    images, content = make_images()
    samples: list[Samples] = []
    absent: list[tuple[str, str]] = []
    targets: list[Target] = []
    tables = []
    notes = [f"{content.size / 1e6:.0f} MB in {content.entries} entries, {rounds} rounds"]
    with _folder() as folder, ExitStack() as stack:
        host = stack.enter_context(serving(folder, images))
        for kind, image in images.items():
            name = f"{host}/{REPOSITORY}:{kind}"
            base = f"{kind}: floor, from files"
            ground = floor(base, folder, image)
            with ExitStack() as those:
                worker = those.enter_context(_worker())
                ours = Ours(OURS, folder, worker, name)
                peers, missing = gather(those, pullers(folder, name, image))
                found = interleave([ground, ours, *peers], settings, warm_up=1, rounds=rounds)
            named = {each.name: each for each in found}
            tables.append(times_table(found, base))
            targets += ratio_targets(named[OURS], named[base], 1.5, f"{kind}: beside the floor")
            for peer in peers:
                targets.append(
                    Target(
                        text=f"{kind}: faster than {peer.name}, median",
                        value=named[peer.name].median / named[OURS].median,
                        bound=1.0,
                        at_least=True,
                    )
                )
            peak = _peak(folder, name)
            targets.append(Target(text=f"{kind}: MiB of memory at most", value=peak / _MIB, bound=150))
            notes.append(f"{kind}: {image.size / 1e6:.0f} MB packed")
            samples += [Samples(name=_full(kind, each.name), seconds=each.seconds) for each in found]
            absent += [(f"{kind}: {peer}", reason) for peer, reason in missing]
    return Outcome(
        tables=tables, targets=targets, notes=notes + not_measured(absent), data=times_data(samples, absent)
    )


def _full(kind: str, name: str) -> str:
    return name if name.startswith(f"{kind}: ") else f"{kind}: {name}"


def _peak(folder: str, name: str) -> float:
    """The most memory that a new process has had that pulled once, in bytes."""
    with fresh(folder) as place, _worker() as worker:
        worker.seconds(f"pull {place}/engine {name}", _PATIENCE)
        return int(worker.ask("peak"))


@contextmanager
def _having() -> Iterator[Program]:
    """A worker that has pulled the image."""
    images, _ = make_images()
    with _folder() as folder, serving(folder, {"gzip": images["gzip"]}) as host, _worker() as worker:
        worker.seconds(f"have {folder}/engine {host}/{REPOSITORY}:gzip", _PATIENCE)
        yield worker


def _verb(settings: Settings, command: str, text: str) -> Outcome:
    with _having() as worker:
        with closing(worker.contender(command)) as contender:
            found = interleave([contender], settings, rounds=max(10, settings.rounds // 5))
    targets = [Target(text=f"{text}, median, ms", value=found[0].median * 1000, bound=10)]
    return Outcome(tables=[times_table(found, OURS)], targets=targets, data=times_data(found, []))


def _commit(settings: Settings) -> Outcome:
    return _verb(settings, "commit", "commit of 1 MB")


def _fork(settings: Settings) -> Outcome:
    return _verb(settings, "fork 10", "ten forks")


PULL = Benchmark(
    name="pull",
    description="pull and unpack an image of five layers, beside other engines and beside tar",
    measure=_pull,
    long=True,
)
COMMIT = Benchmark(
    name="commit",
    description="commit a change of 1 MB to that image",
    measure=_commit,
    long=True,
)
FORK = Benchmark(
    name="fork",
    description="fork a stopped container of that image into ten",
    measure=_fork,
    long=True,
)
