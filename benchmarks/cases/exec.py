"""One more program in a container that runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.benchmark import Benchmark, BenchmarkError, Outcome, Settings, ratio_targets, times_data
from benchmarks.bundle import make_bundle
from benchmarks.contender import Contender, Peer, gather, interleave, not_measured
from benchmarks.floor_program import start_floor
from benchmarks.library import start_worker
from benchmarks.material import Material, material
from benchmarks.peers import found, runtime_peer, runtime_prefix
from benchmarks.samples import times_table
from benchmarks.spots import spots

FLOOR, OURS = "floor (C)", "pycontainer"


class _RuntimeExec:
    """A container of an OCI runtime, and programs that are started in it."""

    def __init__(self, made: Material, runtime: str) -> None:
        path = found(runtime)
        self.name = f"{runtime} exec"
        bundle = make_bundle(made, f"{runtime}-exec", ["sleep", "infinity"], network="none", userns="auto")
        flags = ["--cgroup-manager=disabled"] if runtime == "crun" else []
        self._command = [path, "--root", f"{made.folder}/{runtime}-exec-state", *flags]
        self._id = f"bench-{os.getpid()}-{runtime}-exec"
        self._call("run", "--detach", "--bundle", bundle, self._id)
        self._peer = runtime_peer(self.name, [*self._command, "exec", self._id, "/usr/bin/true"])

    def _call(self, *arguments: str) -> None:
        command = [*runtime_prefix(self._command[0]), *self._command, *arguments]
        with open(os.devnull, "r+b") as null:
            done = subprocess.run(command, stdin=null, stdout=null, stderr=null, check=False)
        if done.returncode != 0:
            raise BenchmarkError(f"{self._command[0]} {arguments[0]} ended with {done.returncode}")

    def once(self) -> float:
        return self._peer.once()

    def close(self) -> None:
        self._peer.close()
        self._call("delete", "--force", self._id)


def _nsenter(pid: str) -> Contender:
    return Peer("nsenter", [found("nsenter"), "--target", pid, "--all", "/usr/bin/true"])


def _measure(settings: Settings) -> Outcome:
    with material() as made, ExitStack() as stack:
        ours = stack.enter_context(start_worker(made, name=OURS))
        pid = ours.ask("pid")
        bare = stack.enter_context(start_floor(made, container=int(pid), name="floor without a cgroup"))
        places = stack.enter_context(spots(limited=False))
        floor = stack.enter_context(start_floor(made, container=int(pid), spots=places, name=FLOOR))
        peers: list[tuple[str, Callable[[], Contender]]] = [
            ("nsenter", lambda: _nsenter(pid)),
            ("crun exec", lambda: _RuntimeExec(made, "crun")),
            ("runc exec", lambda: _RuntimeExec(made, "runc")),
        ]
        working, absent = gather(stack, peers)
        programs = [each.contender("exec") for each in (bare, floor, ours)]
        samples = interleave([*programs, *working], settings)
    named = {each.name: each for each in samples}
    return Outcome(
        tables=[times_table(samples, FLOOR)],
        targets=ratio_targets(named[OURS], named[FLOOR], 1.3, "beside the floor"),
        notes=not_measured(absent),
        data=times_data(samples, absent),
    )


EXEC = Benchmark(name="exec", description="run `true` in a running container", measure=_measure)
