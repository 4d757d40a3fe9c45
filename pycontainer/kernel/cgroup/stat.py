"""What a cgroup has used, as one value: seconds and bytes, whatever the kernel's interface counts in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from pycontainer.errors import NotSupported
from pycontainer.kernel.cgroup import v1, v2
from pycontainer.kernel.cgroup.directory import Counters, Directory

#: The fields of :class:`CgroupStat` that are told.
Account = dict[str, Any]

#: The resources whose pressure is told.
RESOURCES = ("cpu", "memory", "io")


@attrs.frozen(kw_only=True)
class Pressure:
    """How much was waited for a resource (Documentation/accounting/psi.rst).

    ``some``: at least one process waited; ``full``: all of them did, and nothing was done. The averages over
    10, 60 and 300 seconds are percentages, the totals seconds.
    """

    some_avg10: float
    some_avg60: float
    some_avg300: float
    some_total: float
    full_avg10: float = 0.0
    full_avg60: float = 0.0
    full_avg300: float = 0.0
    full_total: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Pressure:
        """Read the content of a pressure file; before Linux 5.13 there is no ``full`` for the cpu.

        >>> Pressure.parse("some avg10=1.50 avg60=0.00 avg300=0.00 total=2500000").some_total
        2.5
        """
        found: dict[str, float] = {}
        for line in text.splitlines():
            kind, *words = line.split()
            for word in words:
                key, _, value = word.partition("=")
                found[f"{kind}_{key}"] = float(value) / (1e6 if key == "total" else 1)
        return cls(**found)


@attrs.frozen(kw_only=True)
class CgroupStat:
    """What the processes of a cgroup and those below have used since it was made; ``None``: not told here.

    Times are seconds, memory and io bytes; ``io_read_ops`` and ``io_write_ops`` count requests to disks.
    ``cpu_throttled`` is how long the limit of the cpu made them wait. ``oom_kills`` counts processes.
    ``pressure`` has what is told of "cpu", "memory" and "io".
    """

    cpu_user: float | None = None
    cpu_system: float | None = None
    cpu_throttled: float | None = None
    memory_current: int | None = None
    memory_peak: int | None = None
    swap_current: int | None = None
    pids_current: int | None = None
    pids_peak: int | None = None
    io_read: int | None = None
    io_write: int | None = None
    io_read_ops: int | None = None
    io_write_ops: int | None = None
    oom_kills: int | None = None
    pressure: Mapping[str, Pressure] = attrs.field(factory=dict)


#: What says only how things are in this moment; nobody asks for it when a command has ended.
_MOMENTARY = frozenset({"memory.memsw.usage_in_bytes", "memory.swap.current", "pids.current"})


class Noted:
    """The counters of a directory, as far as they tell of a command that has ended; those found are noted."""

    __slots__ = ("_directory", "names")

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.names: list[str] = []

    def find(self, name: str) -> bytes | None:
        """The content of a file."""
        data = None if name in _MOMENTARY else self._directory.find(name)
        if data is not None:
            self.names.append(name)
        return data

    def below(self) -> Iterator[Directory]:
        """The directories in it."""
        return self._directory.below()


def read_stat(tree: Directory | None, places: Mapping[str, Directory], *, kills_below: int = 0) -> CgroupStat:
    """Read everything that is told: ``tree`` is the directory of version 2, ``places`` those of version 1.

    ``kills_below`` happened in cgroups that are gone, which version 1 does not count in those above.
    """
    found = _read(tree, places, kills_below)
    found["pressure"] = {name: Pressure.parse(data.decode()) for name, data in find_pressures(tree)}
    return CgroupStat(**found)


def read_account(tree: Counters | None, places: Mapping[str, Counters], *, kills_below: int = 0) -> Account:
    """The same for a command that has ended, as a plain mapping; of the pressure the totals alone, in seconds."""
    found = _read(tree, places, kills_below)
    found["pressure"] = {name: some_total(data) for name, data in find_pressures(tree)}
    return found


def _read(tree: Counters | None, places: Mapping[str, Counters], kills_below: int) -> Account:
    found: Account = {}
    if tree is not None:
        found.update(v2.read_cpu(tree))
    elif "cpuacct" in places:
        found.update(v1.read_cpu(places["cpuacct"]))
    if "cpu" in places:
        found.update(v1.read_throttled(places["cpu"]))
    for controller, read1, read2 in _READERS:
        if controller in places:
            found.update(read1(places[controller]))
        elif tree is not None:
            found.update(read2(tree))
    if kills_below and "memory" in places:
        found["oom_kills"] = (found["oom_kills"] or 0) + kills_below
    return found


_READERS = (
    ("memory", v1.read_memory, v2.read_memory),
    ("pids", v2.read_pids, v2.read_pids),
    ("io", v1.read_io, v2.read_io),
)


def read_cpu_seconds(tree: Directory | None, places: Mapping[str, Directory]) -> float:
    """User and system time together, in seconds. Raises :class:`NotSupported`."""
    found = v2.read_cpu(tree) if tree is not None else {}
    if not found and "cpuacct" in places:
        found = v1.read_cpu(places["cpuacct"])
    if "cpu_user" not in found:
        raise NotSupported(
            "the time of the processor is not counted here", "mount the tree of version 2, or cpuacct"
        )
    return float(found["cpu_user"] + found["cpu_system"])


def find_pressures(tree: Counters | None) -> list[tuple[str, bytes]]:
    """The content of the pressure files that are told. PSI that is off fails when read."""
    if tree is None:
        return []
    return [(name, data) for name in RESOURCES if (data := tree.find(f"{name}.pressure"))]


def some_total(data: bytes) -> float:
    """How long at least one process waited, in seconds.

    >>> some_total(b"some avg10=1.50 avg60=0.00 avg300=0.00 total=2500000\\nfull avg10=0.00 total=1\\n")
    2.5
    """
    return int(data[data.index(b"total=") + 6 : data.index(b"\n")]) / 1e6


def read_pressure(tree: Directory | None, resource: str) -> Pressure:
    """The pressure on a resource. Raises :class:`NotSupported` where it is not told."""
    if tree is None:
        raise NotSupported("version 1 tells no pressure of a cgroup", "mount the tree of version 2, too")
    data = tree.find(f"{resource}.pressure")
    if not data:
        raise NotSupported(
            f"the kernel tells no {resource}.pressure of the cgroup {tree.path}",
            "boot it with psi=1 (CONFIG_PSI)",
        )
    return Pressure.parse(data.decode())
