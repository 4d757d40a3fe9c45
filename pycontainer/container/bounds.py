"""The limits of a container, by the names that its user knows from Docker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from pycontainer.errors import InvalidArgument
from pycontainer.kernel.cgroup import DeviceRule, Limits
from pycontainer.size import parse_size

#: What to do where the host gives no cgroup.
CGROUP_FIX = "run as root, or in a delegated cgroup (systemd-run --user --scope -p Delegate=yes)"

#: How many processes and threads a container may have that was not told: a fork bomb ends there.
DEFAULT_PIDS = 2048

#: The kernel's limit -> the argument of ``run``.
_ARGUMENTS = {
    "memory_max": "memory",
    "memory_high": "memory_high",
    "memory_low": "memory_low",
    "cpu_max": "cpus",
    "cpu_weight": "cpu_weight",
    "cpuset_cpus": "cpuset_cpus",
    "cpuset_mems": "cpuset_mems",
    "pids_max": "pids",
    "io_max": "io_max",
    "io_weight": "io_weight",
    "hugetlb_max": "hugetlb",
}
#: Every argument that is a limit.
ARGUMENTS = frozenset({*_ARGUMENTS.values(), "memory_swap"})


@attrs.frozen
class Bounds:
    """The limits of a container. Those in ``optional`` need not be had: defaults, or all with ``best_effort``."""

    limits: Limits
    optional: frozenset[str]

    @property
    def required(self) -> bool:
        """Whether there is one that was asked for, and must hold."""
        return not self.optional.issuperset(self.limits.names)

    def with_devices(self, rules: tuple[DeviceRule, ...], *, optional: bool) -> Bounds:
        """The same with these rules of devices."""
        names = {"devices"} if optional else set()
        return Bounds(attrs.evolve(self.limits, devices=rules), self.optional | names)


def make_bounds(given: Mapping[str, Any], *, best_effort: bool = False) -> Bounds:
    """The limits that these arguments of ``run`` ask for; those that are absent or ``None`` are the defaults.

    Raises :class:`InvalidArgument` naming the argument.
    """
    asked = parse_limits(given)
    limits = asked
    if given.get("pids") is None:
        limits = attrs.evolve(limits, pids_max=DEFAULT_PIDS)
    if given.get("memory_swap") is None and limits.memory_max is not None:
        # What must fit into the memory shall not go on in the swap.
        limits = attrs.evolve(limits, memory_swap_max=0)
    return Bounds(limits, frozenset(limits.names if best_effort else set(limits.names) - set(asked.names)))


def parse_limits(given: Mapping[str, Any]) -> Limits:
    """The limits that were asked for, alone. Raises :class:`InvalidArgument`, ``TypeError`` for unknown ones."""
    for argument in given.keys() - ARGUMENTS:
        raise TypeError(f"unexpected keyword argument {argument!r}")
    asked = {limit: given.get(argument) for limit, argument in _ARGUMENTS.items()}
    swap = _swap(given.get("memory"), given.get("memory_swap"))
    if swap is not None:
        asked["memory_swap_max"] = swap
    return Limits.parse(asked, _ARGUMENTS)


def changed_limits(given: Mapping[str, Any], held: Limits) -> dict[str, Any]:
    """The kernel's limits that a change by these arguments means; ``None`` is one to be taken away."""
    if given.get("memory_swap") is not None and "memory" not in given:
        given = {**given, "memory": held.memory_max}
    parsed = parse_limits(given)
    changes = {
        limit: _raw(parsed, limit, given[argument])
        for limit, argument in _ARGUMENTS.items()
        if argument in given
    }
    if "memory_swap" in given:
        changes["memory_swap_max"] = parsed.memory_swap_max
    return changes


def _raw(parsed: Limits, limit: str, value: Any) -> Any:
    """Lists are parsed once more by whoever sets them."""
    return value if limit in ("io_max", "hugetlb_max") else getattr(parsed, limit)


def _swap(memory: Any, total: Any) -> int | None:
    """The swap alone; Docker's ``--memory-swap`` is the sum of memory and swap, and -1 is unlimited."""
    if total is None or (total == -1 and type(total) is int):
        return None
    if memory is None or memory == "max":
        raise InvalidArgument("memory_swap", total, "it is the sum of memory and swap: give 'memory', too")
    swap = parse_size("memory_swap", total) - parse_size("memory", memory)
    if swap < 0:
        raise InvalidArgument(
            "memory_swap", total, f"the sum of memory and swap is at least memory={memory!r}"
        )
    return swap
