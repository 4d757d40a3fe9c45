"""The limits of a container, by the names that its user knows from Docker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycontainer.errors import InvalidArgument
from pycontainer.kernel.cgroup import Limits
from pycontainer.size import parse_size

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


def make_limits(given: Mapping[str, Any]) -> Limits:
    """The limits that these arguments of ``run`` ask for; those that are absent or ``None`` are not limited.

    Raises :class:`InvalidArgument` naming the argument.
    """
    for argument in given.keys() - ARGUMENTS:
        raise TypeError(f"unexpected keyword argument {argument!r}")
    asked = {limit: given.get(argument) for limit, argument in _ARGUMENTS.items()}
    swap = _swap(given.get("memory"), given.get("memory_swap"))
    if swap is not None:
        asked["memory_swap_max"] = swap
    return Limits.parse(asked, _ARGUMENTS)


def _swap(memory: Any, total: Any) -> int | None:
    """The swap alone; Docker's ``--memory-swap`` is the sum of memory and swap, and -1 is unlimited."""
    if total is None or (total == -1 and type(total) is int):
        return None
    if memory is None or memory == "max":
        raise InvalidArgument("memory_swap", total, "it is the sum of memory and swap: give 'memory', too")
    swap = parse_size("memory_swap", total) - parse_size("memory", memory)
    if swap < 0:
        raise InvalidArgument("memory_swap", total, f"the sum of memory and swap is at least memory={memory!r}")
    return swap
