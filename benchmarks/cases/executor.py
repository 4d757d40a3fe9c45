"""A function called in a container with a warm interpreter, beside a cold start and other engines' exec."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.benchmark import Benchmark, BenchmarkError, Outcome, Settings, Target, times_data
from benchmarks.contender import Contender, Peer, gather, interleave, not_measured
from benchmarks.library import start_worker
from benchmarks.material import material
from benchmarks.peers import found
from benchmarks.samples import times_table

OURS, COLD = "Executor, a call", "run python3, import, add"
_IMAGE = "debian:12"


class _EngineExec:
    """A container of podman or Docker, and a trivial program in it: what an interpreter would be started by."""

    def __init__(self, engine: str) -> None:
        path = found(engine)
        self.name = f"{engine} exec true"
        container = f"bench-{os.getpid()}-{engine}"
        self._remove = [path, "rm", "--force", container]
        command = [
            path,
            "run",
            "--detach",
            "--network",
            "none",
            "--name",
            container,
            _IMAGE,
            "sleep",
            "infinity",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            raise BenchmarkError(lines[-1] if lines else f"{engine} cannot run {_IMAGE}")
        self._peer = Peer(self.name, [path, "exec", container, "true"])

    def once(self) -> float:
        return self._peer.once()

    def close(self) -> None:
        self._peer.close()
        subprocess.run(self._remove, capture_output=True, check=False)


def _measure(settings: Settings) -> Outcome:
    with material() as made, ExitStack() as stack:
        warm = stack.enter_context(start_worker(made, name=OURS))
        cold = stack.enter_context(start_worker(made, name=COLD))
        peers: list[tuple[str, Callable[[], Contender]]] = [
            ("podman exec true", lambda: _EngineExec("podman")),
            ("docker exec true", lambda: _EngineExec("docker")),
        ]
        working, absent = gather(stack, peers)
        rounds = min(settings.rounds, 100)
        samples = interleave(
            [warm.contender("call"), cold.contender("cold"), *working], settings, rounds=rounds
        )
    ours = next(each for each in samples if each.name == OURS)
    return Outcome(
        tables=[times_table(samples, OURS)],
        targets=[Target(text="a call in milliseconds, median", value=ours.median * 1000, bound=5.0)],
        notes=not_measured(absent),
        data=times_data(samples, absent),
    )


EXECUTOR = Benchmark(
    name="executor",
    description="call a trivial function in a container whose interpreter has imported numpy, beside a cold start",
    measure=_measure,
)
