"""All benchmarks, in the order in which they are run and printed."""

from __future__ import annotations

from benchmarks.benchmark import Benchmark
from benchmarks.cases.calls import CALLS
from benchmarks.cases.commands import COMMANDS
from benchmarks.cases.cycles import CYCLES
from benchmarks.cases.detached import DETACHED
from benchmarks.cases.exec import EXEC
from benchmarks.cases.executor import EXECUTOR
from benchmarks.cases.filter import FILTER
from benchmarks.cases.images import COMMIT, FORK, PULL
from benchmarks.cases.imports import IMPORTS
from benchmarks.cases.limits import LIMITS
from benchmarks.cases.memory import MEMORY
from benchmarks.cases.network import MANY, NETWORK, THROUGHPUT
from benchmarks.cases.pool import POOL
from benchmarks.cases.start import HOST_NETWORK, HOST_USERS, LIMITED, START
from benchmarks.cases.storm import STORM

CATALOG: tuple[Benchmark, ...] = (
    START,
    LIMITED,
    HOST_NETWORK,
    HOST_USERS,
    NETWORK,
    THROUGHPUT,
    MANY,
    EXEC,
    POOL,
    EXECUTOR,
    LIMITS,
    FILTER,
    MEMORY,
    STORM,
    CYCLES,
    IMPORTS,
    COMMANDS,
    CALLS,
    PULL,
    COMMIT,
    FORK,
    DETACHED,
)
