"""What a cgroup may use at most: values as people write them, checked before anything happens.

Owns parsing and the names of things; which file of which kernel interface takes a value is the
business of ``v1`` and ``v2``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypedDict

import attrs

from pycontainer.errors import InvalidArgument, shown
from pycontainer.kernel.cgroup.devices import DeviceRule
from pycontainer.kernel.cgroup.disks import find_disk
from pycontainer.size import parse_size

#: The kernel's largest bandwidth is 2**44 microseconds in a period; nobody has as many cores.
_MOST_CORES = 1_000_000
#: A quota of one millisecond in the longest period of a second (Documentation/scheduler/sched-bwc.rst).
_LEAST_CORES = 0.001
_MOST_PROCESSES = 1 << 22  # PID_MAX_LIMIT
_IO_KEYS = ("rbps", "wbps", "riops", "wiops")
_LIST = re.compile(r"[0-9]{1,9}(-[0-9]{1,9})?(,[0-9]{1,9}(-[0-9]{1,9})?)*")


class LimitOptions(TypedDict, total=False):
    """The limits as keyword arguments; see :class:`Limits` for what each means."""

    memory_max: int | str | None
    memory_high: int | str | None
    memory_low: int | str | None
    memory_swap_max: int | str | None
    memory_oom_group: bool
    cpu_max: float | str | None
    cpu_weight: int | None
    cpuset_cpus: str | None
    cpuset_mems: str | None
    pids_max: int | str | None
    io_max: Mapping[str, Mapping[str, int | str | None]] | None
    io_weight: int | None
    hugetlb_max: Mapping[str, int | str] | None
    devices: Sequence[str | DeviceRule] | None


@attrs.frozen(kw_only=True)
class IoLimit:
    """At most so many bytes and operations per second on one disk; ``None``: not limited."""

    device: str
    rbps: int | None = None
    wbps: int | None = None
    riops: int | None = None
    wiops: int | None = None


@attrs.frozen(kw_only=True, cache_hash=True)
class Limits:
    """The limits of a cgroup; ``None`` everywhere is: not limited. Made by :meth:`of`.

    Bytes are ints here, and may be given as ``"64M"``; ``"max"`` is the same as ``None``.

    ``memory_max``: beyond it the kernel reclaims, then kills (OOM). ``memory_high``: beyond it processes
    are slowed down and reclaimed from. ``memory_low``: is spared as long as others can be reclaimed from.
    ``memory_swap_max``: swap alone, as in version 2. ``memory_oom_group``: an OOM kill ends all.
    ``cpu_max``: cores, such as 0.5 or 2. ``cpu_weight``: 1 to 10000, the share when cores are short; all
    have 100. ``cpuset_cpus``, ``cpuset_mems``: cores and memory nodes, such as ``"0-3,5"``.
    ``pids_max``: processes and threads. ``io_max``: given as ``{"/path": {"rbps": "10M", "wiops": 100}}``
    where a path means the disk its file lies on (or is ``"8:0"``), per second.  ``io_weight``: 1 to 10000.
    ``hugetlb_max``: given as ``{"2M": "64M"}``. ``devices``: rules of those that may be used.

    Source: Documentation/admin-guide/cgroup-v2.rst of the kernel.

    >>> Limits.of(memory_max="64M", cpu_max=0.5).memory_max
    67108864
    """

    memory_max: int | None = None
    memory_high: int | None = None
    memory_low: int | None = None
    memory_swap_max: int | None = None
    memory_oom_group: bool = False
    cpu_max: float | None = None
    cpu_weight: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids_max: int | None = None
    io_max: tuple[IoLimit, ...] = ()
    io_weight: int | None = None
    hugetlb_max: tuple[tuple[str, int], ...] = ()
    devices: tuple[DeviceRule, ...] | None = None
    #: The limits that are set.
    names: tuple[str, ...] = attrs.field(init=False, eq=False, repr=False)
    #: The controllers that these need, by their version 2 names, and ``devices``.
    controllers: frozenset[str] = attrs.field(init=False, eq=False, repr=False)

    @names.default
    def _find_names(self) -> tuple[str, ...]:
        return tuple(name for name in _FIELDS if getattr(self, name) != _DEFAULTS[name])

    @controllers.default
    def _find_controllers(self) -> frozenset[str]:
        return frozenset([_FIELDS[name][0] for name in self.names])

    @classmethod
    def of(cls, **given: Any) -> Limits:
        """Parse limits. Raises :class:`InvalidArgument` naming the argument; ``TypeError`` for unknown ones."""
        return cls.parse(given)

    @classmethod
    def parse(cls, given: Mapping[str, Any], names: Mapping[str, str] | None = None) -> Limits:
        """The same, for callers whose own arguments have other ``names``: limit -> argument, for messages."""
        values = {}
        for limit, value in given.items():
            field = _FIELDS.get(limit)
            if field is None:
                raise TypeError(f"{limit!r} is no limit; there are {', '.join(_FIELDS)}")
            if value is not None and value != "max":
                argument = limit if names is None else names.get(limit, limit)
                values[limit] = field[1](argument, value)
        return cls(**values)

    def replaced(self, others: Limits, names: Collection[str]) -> Limits:
        """These, with the limits ``names`` as in ``others``."""
        return attrs.evolve(self, **{name: getattr(others, name) for name in names})


def controller_of(limit: str) -> str:
    """The controller that a limit needs."""
    return _FIELDS[limit][0]


def _size(argument: str, value: Any) -> int:
    return parse_size(argument, value)


def _size_or_zero(argument: str, value: Any) -> int:
    zero = value in (0, "0") and not isinstance(value, bool)
    return 0 if zero else parse_size(argument, value)


def _flag(argument: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(argument, value, "True or False is needed")
    return value


def _whole(least: int, most: int) -> Callable[[str, Any], int]:
    def parse(argument: str, value: Any) -> int:
        # No more digits than int() takes at once, and none of other scripts.
        text = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20
        if isinstance(value, bool) or not (text or isinstance(value, int)) or not least <= int(value) <= most:
            raise InvalidArgument(argument, value, f"a whole number from {least} to {most} is needed")
        return int(value)

    return parse


def _cores(argument: str, value: Any) -> float:
    try:
        cores = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        cores = math.nan
    if not _LEAST_CORES <= cores <= _MOST_CORES:
        raise InvalidArgument(
            argument, value, f"a number of cores such as 0.5 or 2 is needed, {_LEAST_CORES} or more"
        )
    return cores


def _list(argument: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
        value = str(value)
    text = value.replace(" ", "") if isinstance(value, str) else ""
    ranges = (
        [[int(end) for end in part.split("-")] for part in text.split(",")] if _LIST.fullmatch(text) else []
    )
    if not ranges or any(part[0] > part[-1] for part in ranges):
        raise InvalidArgument(argument, value, "a list of numbers such as '0-3,5' is needed")
    return text


def _mapping(argument: str, value: Any, example: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise InvalidArgument(argument, value, f"a dict such as {example} is needed")
    return value


def _io(argument: str, value: Any) -> tuple[IoLimit, ...]:
    found: dict[str, IoLimit] = {}
    for path, bounds in _mapping(argument, value, "{'/srv': {'wbps': '10M'}}").items():
        where = f"{argument}[{shown(path)}]"
        given = {}
        for key, bound in _mapping(where, bounds, "{'wbps': '10M'}").items():
            if key not in _IO_KEYS:
                raise InvalidArgument(where, key, f"one of {', '.join(_IO_KEYS)} is needed")
            if bound is not None and bound != "max":
                given[key] = parse_size(f"{where}[{key!r}]", bound)
        device = find_disk(where, path)
        if device in found:
            raise InvalidArgument(where, bounds, f"a second limit for the disk {device}: give one")
        found[device] = IoLimit(device=device, **given)
    return tuple(found.values())


def _hugetlb(argument: str, value: Any) -> tuple[tuple[str, int], ...]:
    found = {}
    for size, bound in _mapping(argument, value, "{'2M': '64M'}").items():
        page = parse_size(f"{argument} page size", size)
        if page & (page - 1):
            raise InvalidArgument(argument, size, "a page size such as '2M' or '1G' is needed")
        if bound is not None and bound != "max":
            found[_page_name(page)] = _size_or_zero(f"{argument}[{size!r}]", bound)
    return tuple(found.items())


def _page_name(page: int) -> str:
    """As the kernel names the files (mm/hugetlb_cgroup.c, mem_fmt)."""
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB")):
        if page >= unit:
            return f"{page // unit}{name}"
    return f"{page // 1024}KB"


def _rules(argument: str, value: Any) -> tuple[DeviceRule, ...]:
    if isinstance(value, str) or not isinstance(value, (tuple, list)):
        raise InvalidArgument(argument, value, "a list of rules such as ['c 1:3 rwm'] is needed")
    return tuple(rule if isinstance(rule, DeviceRule) else DeviceRule.parse(argument, rule) for rule in value)


#: Limit -> its controller, and what reads the value.
_FIELDS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "memory_max": ("memory", _size),
    "memory_high": ("memory", _size),
    "memory_low": ("memory", _size_or_zero),
    "memory_swap_max": ("memory", _size_or_zero),
    "memory_oom_group": ("memory", _flag),
    "cpu_max": ("cpu", _cores),
    "cpu_weight": ("cpu", _whole(1, 10000)),
    "cpuset_cpus": ("cpuset", _list),
    "cpuset_mems": ("cpuset", _list),
    "pids_max": ("pids", _whole(1, _MOST_PROCESSES)),
    "io_max": ("io", _io),
    "io_weight": ("io", _whole(1, 10000)),
    "hugetlb_max": ("hugetlb", _hugetlb),
    "devices": ("devices", _rules),
}
_DEFAULTS = {name: getattr(attrs.fields(Limits), name).default for name in _FIELDS}

NO_LIMITS = Limits()
