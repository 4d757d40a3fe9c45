"""Where the floor makes its cgroups: beside the library's, with the same limits and the same counters."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from benchmarks.floor_program import Spot
from pycontainer.container.accounting import COUNTED
from pycontainer.container.bounds import DEFAULT_PIDS
from pycontainer.errors import NotSupported
from pycontainer.kernel.cgroup import Cgroup

#: The limits of the table with limits: as arguments of ``run``, and as the kernel's.
LIMITED: dict[str, Any] = {"memory": "256M", "cpus": 1.0, "pids": 64}
_MEMORY = str(256 << 20)

#: By file: what is written with limits, and without.
_WRITTEN = {
    "memory.max": (_MEMORY, None),
    "memory.swap.max": ("0", None),
    "memory.limit_in_bytes": (_MEMORY, None),
    "memory.memsw.limit_in_bytes": (_MEMORY, None),
    "cpu.max": ("100000 100000", None),
    "cpu.cfs_quota_us": ("100000", None),
    "pids.max": ("64", str(DEFAULT_PIDS)),
}
#: What the library reads when a command has ended, where it is.
_READ = (
    "cpu.stat",
    "cpu.pressure",
    "memory.pressure",
    "io.pressure",
    "memory.current",
    "memory.peak",
    "memory.events",
    "memory.usage_in_bytes",
    "memory.max_usage_in_bytes",
    "memory.oom_control",
    "pids.peak",
    "io.stat",
    "blkio.throttle.io_service_bytes_recursive",
    "blkio.throttle.io_serviced_recursive",
)


@contextmanager
def spots(*, limited: bool) -> Iterator[list[Spot]]:
    """The floor's spots below a cgroup of their own; none where the host gives no cgroup."""
    limits: Mapping[str, Any] = {"memory_max": "256M", "cpu_max": 1.0} if limited else {}
    try:
        holder = Cgroup.create(f"bench-{os.getpid()}-{os.urandom(3).hex()}", accounting=COUNTED)
    except NotSupported:
        yield []
        return
    with holder:
        with holder.child("sample", accounting=COUNTED, pids_max=64, **limits) as sample:
            parts = {path: path == sample.path for path in (sample.path, *sample.paths.values()) if path}
            found = [_spot(path, unified=unified, limited=limited) for path, unified in parts.items()]
        yield found


def _spot(sample: str, *, unified: bool, limited: bool) -> Spot:
    files = {name for name in os.listdir(sample) if not unified or _readable(f"{sample}/{name}")}
    written = [(file, values[0 if limited else 1]) for file, values in _WRITTEN.items() if file in files]
    return Spot(
        directory=os.path.dirname(sample),
        unified=unified,
        limits=tuple((file, value) for file, value in written if value is not None),
        counters=tuple(file for file in _READ if file in files),
    )


def _readable(path: str) -> bool:
    """Files of PSI are there when it is off, and cannot be read."""
    if path.endswith(".pressure"):
        try:
            with open(path, "rb") as file:
                file.read()
        except OSError:
            return False
    return True
