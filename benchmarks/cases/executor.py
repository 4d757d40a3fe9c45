"""A function called in a container with a warm interpreter, beside a cold start and other engines' exec."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack

from benchmarks.benchmark import Benchmark, BenchmarkError, Outcome, Settings, Target, times_data
from benchmarks.contender import Peer, gather, interleave, not_measured
from benchmarks.library import start_worker
from benchmarks.material import Material, material
from benchmarks.peers import found
from benchmarks.samples import times_table
from benchmarks.worker import cold_script

OURS, COLD = "Executor, a call", "run python3, import, add"
#: Lower than podman's own, which not everybody may raise.
_ULIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]


class _PodmanExec:
    """A container of podman with the host's programs, as `host:` has them, and one more program in it."""

    name = "podman exec python3, import, add"

    def __init__(self, made: Material) -> None:
        path = found("podman")
        root = f"{made.folder}/podman-root"
        for name in ("usr", "etc", "tmp", "proc", "sys", "dev", "run", "root", "var"):
            os.makedirs(f"{root}/{name}", exist_ok=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            os.symlink(f"usr/{name}", f"{root}/{name}")
        shutil.copy("/etc/ld.so.cache", f"{root}/etc/")
        shutil.copytree("/etc/alternatives", f"{root}/etc/alternatives", symlinks=True)
        container = f"bench-{os.getpid()}"
        self._remove = [path, "rm", "--force", "--time", "0", container]
        command = [path, "run", "--detach", "--runtime", found("runc"), *_ULIMITS, "--network", "none"]
        command += ["--name", container, "--volume", "/usr:/usr:ro", "--rootfs", root, "sleep", "infinity"]
        with tempfile.TemporaryFile() as words, open(os.devnull, "r+b") as null:
            # A file and not a pipe, which the container's monitor would keep open.
            done = subprocess.run(command, stdin=null, stdout=null, stderr=words, check=False)
            words.seek(0)
            lines = words.read().decode(errors="replace").strip().splitlines()
        if done.returncode != 0:
            self._end()
            raise BenchmarkError(lines[-1] if lines else "podman cannot run a container")
        self._peer = Peer(self.name, [path, "exec", container, "python3", "-I", "-c", cold_script()])

    def once(self) -> float:
        return self._peer.once()

    def close(self) -> None:
        self._peer.close()
        self._end()

    def _end(self) -> None:
        subprocess.run(self._remove, capture_output=True, check=False)


def _measure(settings: Settings) -> Outcome:
    with material() as made, ExitStack() as stack:
        warm = stack.enter_context(start_worker(made, name=OURS))
        cold = stack.enter_context(start_worker(made, name=COLD))
        working, absent = gather(stack, [(_PodmanExec.name, lambda: _PodmanExec(made))])
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
