"""A Python process that uses the library when it is told to, and answers with what that took.

The other end of :class:`benchmarks.contender.Program`; the commands are the floor's, and a few more::

    start        one pycontainer.run, in nanoseconds
    pool         one run in a pool that has a container ready, in nanoseconds
    call         one call of an executor whose interpreter is warm, in nanoseconds
    cold         one run of an interpreter that imports the same, in nanoseconds
    cgroup       one cgroup made with the limits of --limited, read and removed, in nanoseconds
    exec         one exec in the held container, in nanoseconds
    pid          the pid of the held container, which is started when first asked for
    storm T N    N runs from T threads beside noisy ones (as many as --noise says), in nanoseconds
    cycle N      N runs, one after the other, in nanoseconds
    counts       what the process and its machine hold, as JSON
"""

from __future__ import annotations

import argparse
import json
import mmap
import operator
import os
import sys
import threading
import time
import zlib
from typing import Any

from benchmarks.benchmark import BenchmarkError
from benchmarks.counts import counts
from benchmarks.spots import LIMITED
from pycontainer.container.accounting import COUNTED
from pycontainer.container.bounds import make_bounds
from pycontainer.container.security import Security
from pycontainer.engine import Engine, Pool
from pycontainer.engine.executors import Executor
from pycontainer.kernel.cgroup import Cgroup

_PAGE_CHUNK = 1 << 20
#: What a warm interpreter has imported.
PRELOAD = ("numpy",)
#: In which the kernel finishes what the refilling of a pool has left to it, in seconds.
_QUIET = 0.004

SECURITIES = {
    "default": Security.default,
    "strict": Security.strict,
    "no-filter": lambda: Security.default().evolve(seccomp=None),
}


class Worker:
    """The state of such a process: an engine, the memory that it touched, the container that it holds."""

    def __init__(
        self, root: str, *, network: str, userns: str, touch: int, noise: int, limited: bool, security: str
    ) -> None:
        self._engine = Engine(root)
        self._options: dict[str, Any] = {"network": network, "userns": userns, **(LIMITED if limited else {})}
        self._options["security"] = SECURITIES[security]()
        self._noise = noise
        self._held: Any = None
        self._pool: Any = None
        self._calls: Any = None
        self._group: Cgroup | None = None
        self._bounds = make_bounds(LIMITED if limited else {})
        self._memory = _touched(touch)
        self.run()

    def run(self) -> None:
        """One container, which must succeed."""
        result = self._engine.run("host:", ["true"], **self._options)
        if result.exit_code != 0:
            raise BenchmarkError(result.describe_failure())

    def cycle(self, count: int) -> None:
        """Several, one after the other."""
        for _ in range(count):
            self.run()

    def exec(self) -> None:
        """One more program in the held container, which must succeed."""
        result = self._held.exec(["true"])
        if result.exit_code != 0:
            raise BenchmarkError(result.describe_failure())

    def fill_pool(self) -> None:
        """Have a container ready: not what is timed."""
        if self._pool is None:
            self._pool = Pool("host:", 4, engine=self._engine, **self._options)
        self._pool.wait_ready(60)

    def pool(self) -> None:
        """One run in the pool, which must succeed."""
        result = self._pool.run(["true"])
        if result.exit_code != 0:
            raise BenchmarkError(result.describe_failure())

    def warm(self) -> None:
        """Have an interpreter ready: not what is timed."""
        if self._calls is None:
            self._calls = Executor("host:", preload=PRELOAD, workers=1, engine=self._engine, **self._options)
            self.call()

    def call(self) -> None:
        """One call of a trivial function."""
        if self._calls.submit(operator.add, 1, 2).result() != 3:
            raise BenchmarkError("1 + 2 is something else in a container")

    def cold(self) -> None:
        """The same in an interpreter of its own."""
        result = self._engine.run("host:", ["python3", "-I", "-c", cold_script()], **self._options)
        if result.stdout != b"3\n":
            raise BenchmarkError(result.describe_failure())

    def cgroup(self) -> None:
        """A cgroup with limits, as a run makes one."""
        with Cgroup.make("job", self._bounds.limits, parent=self._above(), accounting=COUNTED) as group:
            group.tasks  # noqa: B018  opened for the process that would join
            usage = group.account()
        if usage.get("memory_peak") is None and usage.get("cpu_user") is None:
            raise BenchmarkError("nothing was counted")

    def _above(self) -> Cgroup:
        if self._group is None:
            self._group = Cgroup.create(f"bench-{os.getpid()}", leashed=True)
        return self._group

    def pid(self) -> int:
        """The pid of the held container."""
        if self._held is None:
            self._held = self._engine.containers.create("host:", ["sleep", "infinity"], **self._options)
            self._held.start()
        return int(self._held.pid)

    def storm(self, threads: int, count: int) -> None:
        """Runs from several threads at once; any failure of one is raised here."""
        left = iter(range(count))
        taking = threading.Lock()
        failures: list[BaseException] = []
        quiet = threading.Event()

        def work() -> None:
            try:
                while True:
                    with taking:
                        if failures or next(left, None) is None:
                            return
                    self.run()
            except BaseException as error:  # noqa: BLE001  handed to the thread that asked
                failures.append(error)

        noisy = [threading.Thread(target=_make_noise, args=(quiet, taking)) for _ in range(self._noise)]
        working = [threading.Thread(target=work) for _ in range(threads)]
        for thread in noisy + working:
            thread.start()
        for thread in working:
            thread.join()
        quiet.set()
        for thread in noisy:
            thread.join()
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Remove everything."""
        self._engine.close()
        if self._group is not None:
            self._group.close()


def cold_script() -> str:
    """What the trivial function is to an interpreter of its own."""
    return "".join(f"import {name}\n" for name in PRELOAD) + "print(1 + 2)"


def _touched(size: int) -> mmap.mmap | None:
    """Memory of which every page is there, in pages of 4 KiB: the dearest kind to copy a page table of."""
    if size == 0:
        return None
    memory = mmap.mmap(-1, size)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for _ in range(size // _PAGE_CHUNK):
        memory.write(b"\1" * _PAGE_CHUNK)
    return memory


def _make_noise(quiet: threading.Event, lock: threading.Lock) -> None:
    """Allocate, take locks, and run C code without the interpreter's lock, as programs do."""
    data = os.urandom(1 << 14)
    while not quiet.is_set():
        with lock:
            pieces = [bytearray(size) for size in range(64, 1 << 14, 64)]
        zlib.compress(data)
        del pieces
        time.sleep(0.001)


def _timed(action: Any, *arguments: int) -> str:
    start = time.perf_counter_ns()
    action(*arguments)
    return str(time.perf_counter_ns() - start)


def _answer(worker: Worker, root: str, command: str, *numbers: int) -> str:
    if command == "start":
        return _timed(worker.run)
    if command == "pool":
        worker.fill_pool()
        time.sleep(_QUIET)
        return _timed(worker.pool)
    if command == "call":
        worker.warm()
        time.sleep(_QUIET)
        return _timed(worker.call)
    if command == "cold":
        return _timed(worker.cold)
    if command == "exec":
        return _timed(worker.exec)
    if command == "cgroup":
        return _timed(worker.cgroup)
    if command == "pid":
        return str(worker.pid())
    if command == "storm":
        return _timed(worker.storm, *numbers)
    if command == "cycle":
        return _timed(worker.cycle, *numbers)
    if command == "counts":
        return json.dumps(counts(root))
    raise BenchmarkError(f"what is {command}?")


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--network", default="none")
    parser.add_argument("--userns", default="auto")
    parser.add_argument("--touch", type=int, default=0)
    parser.add_argument("--noise", type=int, default=0)
    parser.add_argument("--limited", action="store_true")
    parser.add_argument("--security", choices=SECURITIES, default="default")
    options = vars(parser.parse_args())
    root = options.pop("root")
    worker = Worker(root, **options)
    try:
        os.write(1, b"ready\n")
        for line in sys.stdin:
            command, *numbers = line.split()
            os.write(1, (_answer(worker, root, command, *map(int, numbers)) + "\n").encode())
    finally:
        worker.close()


if __name__ == "__main__":
    main()
