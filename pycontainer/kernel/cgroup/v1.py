"""The interfaces of version 1: Documentation/admin-guide/cgroup-v1/ of the kernel.

Values mean what they mean in version 2, and are converted as the OCI runtimes do.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from pycontainer.kernel.cgroup.directory import Counters, Directory
from pycontainer.kernel.cgroup.disks import is_stacked
from pycontainer.kernel.cgroup.limits import IoLimit, Limits, controller_of
from pycontainer.kernel.cgroup.setting import AS_ABOVE, Setting, bandwidth
from pycontainer.kernel.cgroup.v2 import number, pairs

_V2 = "use a host with cgroup version 2 (boot with systemd.unified_cgroup_hierarchy=1)"
_SWAP = "boot with swapaccount=1"
_UNLIMITED = b"-1"


def settings(limits: Limits, names: Collection[str], before: Limits) -> list[Setting]:
    """What sets the limits ``names`` to their values in ``limits``; ``before`` is what held until now."""
    found: list[Setting] = []
    memory = False
    for name in names:
        value = getattr(limits, name)
        match name:
            case "memory_max" | "memory_swap_max":
                if not memory:
                    found += _memory(limits, before)
                memory = True
            case "cpu_max":
                found += _cpu_max(value, before)
            case "io_max":
                found += _io(limits, before)
            case "hugetlb_max":
                found += _hugetlb(limits, before)
            case "memory_high" | "memory_oom_group":
                if value:
                    found.append(Setting(name, "memory", (), _V2))
            case _:
                found.append(Setting(name, controller_of(name), _choices(name, value)))
    return found


def _choices(name: str, value: Any) -> tuple[tuple[str, bytes], ...]:
    match name:
        case "memory_low":
            return (("memory.soft_limit_in_bytes", _UNLIMITED if value is None else b"%d" % value),)
        case "cpu_weight":
            return (("cpu.shares", b"%d" % shares(value or 100)),)
        case "io_weight":
            return _io_weight(value or 100)
        case "pids_max":
            return (("pids.max", b"max" if value is None else b"%d" % value),)
    return ((f"cpuset.{name.removeprefix('cpuset_')}", AS_ABOVE if value is None else value.encode()),)


def shares(weight: int) -> int:
    """The ``cpu.shares`` of a version 2 weight, such that the defaults, 100 and 1024, mean the same.

    The inverse of what runc and crun have done since 2025: weight = 10 ** ((l*l + 125*l) / 612 - 7/34), with
    l the binary logarithm of the shares.

    >>> [shares(weight) for weight in (1, 100, 10000)]
    [2, 1024, 262144]
    """
    logarithm = (math.sqrt(125**2 + 4 * 612 * (math.log10(weight) + 7 / 34)) - 125) / 2
    return min(max(round(2**logarithm), 2), 262144)


def _memory(limits: Limits, before: Limits) -> list[Setting]:
    """``memsw`` bounds memory and swap together, and may never be below the bound of memory."""
    memory, swap = limits.memory_max, limits.memory_swap_max
    found = [
        Setting(
            "memory_max",
            "memory",
            (("memory.limit_in_bytes", _UNLIMITED if memory is None else b"%d" % memory),),
        )
    ]
    if swap is not None and memory is None:
        fix = "give memory_max, too: version 1 bounds memory and swap together"
        return [*found, Setting("memory_swap_max", "memory", (), fix)]
    if swap is not None and memory is not None:
        both = b"%d" % (memory + swap)
    elif before.memory_swap_max is not None:
        both = _UNLIMITED
    else:
        return found
    return [*found, Setting("memory_swap_max", "memory", (("memory.memsw.limit_in_bytes", both),), _SWAP)]


def _cpu_max(cores: float | None, before: Limits) -> list[Setting]:
    quota, period = (-1, 100_000) if cores is None else bandwidth(cores)
    found = [
        Setting(
            "cpu_max",
            "cpu",
            (("cpu.cfs_quota_us", b"%d" % quota),),
            "build the kernel with CONFIG_CFS_BANDWIDTH",
        )
    ]
    if period != 100_000 or before.cpu_max is not None:
        found.insert(0, Setting("cpu_max", "cpu", (("cpu.cfs_period_us", b"%d" % period),)))
    return found


def _io(limits: Limits, before: Limits) -> list[Setting]:
    """A file for each kind of bound; 0 takes one away."""
    bounds = {each.device: each for each in limits.io_max}
    held = {each.device: each for each in before.io_max}
    found = []
    for key, file in _THROTTLE.items():
        for device in {**held, **bounds}:
            value = getattr(bounds.get(device, IoLimit(device=device)), key)
            if value is not None or (device in held and getattr(held[device], key) is not None):
                text = f"{device} {value or 0}".encode()
                fix = "build the kernel with CONFIG_BLK_DEV_THROTTLING"
                found.append(Setting("io_max", "io", ((f"blkio.throttle.{file}_device", text),), fix))
    return found


_THROTTLE = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}


def _io_weight(weight: int) -> tuple[tuple[str, bytes], ...]:
    """Of the scheduler bfq, 1 to 1000, or of the CFQ that was before it, 10 to 1000."""
    bfq = 1 + (weight - 1) * 999 // 9999 if weight != 100 else 100
    return ("blkio.bfq.weight", b"%d" % bfq), ("blkio.weight", b"%d" % max(bfq, 10))


def _hugetlb(limits: Limits, before: Limits) -> list[Setting]:
    bounds: dict[str, int | None] = {page: None for page, _ in before.hugetlb_max}
    bounds.update(limits.hugetlb_max)
    return [
        Setting(
            "hugetlb_max",
            "hugetlb",
            ((f"hugetlb.{page}.limit_in_bytes", _UNLIMITED if bound is None else b"%d" % bound),),
            f"the processor or the kernel has no pages of {page}",
        )
        for page, bound in bounds.items()
    ]


def prepare(controllers: Collection[str], above: Directory, group: Directory) -> None:
    """What a new directory needs before processes can be in it: a cpuset has no cores at first. ``OSError``."""
    if "cpuset" in controllers:
        for name in ("cpuset.cpus", "cpuset.mems"):
            group.write(name, above.read(name))


def read_cpu(cpuacct: Counters) -> dict[str, Any]:
    """Seconds. The sum is exact, its parts are counted in ticks: they divide it, as getrusage(2) does."""
    total, parts = number(cpuacct.find("cpuacct.usage")), cpuacct.find("cpuacct.stat")
    if total is None or parts is None:
        return {}
    ticks = pairs(parts)
    user, system = ticks.get("user", 0), ticks.get("system", 0)
    share = user / (user + system) if user + system else 1.0
    return {"cpu_user": total * share / 1e9, "cpu_system": total * (1 - share) / 1e9}


def read_throttled(cpu: Counters) -> dict[str, Any]:
    """Seconds."""
    told = pairs(cpu.find("cpu.stat") or b"")
    return {"cpu_throttled": told["throttled_time"] / 1e9} if "throttled_time" in told else {}


def read_memory(memory: Counters) -> dict[str, Any]:
    """Bytes, and kills."""
    current = number(memory.find("memory.usage_in_bytes"))
    both = number(memory.find("memory.memsw.usage_in_bytes"))
    return {
        "memory_current": current,
        "memory_peak": number(memory.find("memory.max_usage_in_bytes")),
        "swap_current": None if current is None or both is None else max(both - current, 0),
        "oom_kills": oom_kills(memory),
    }


def oom_kills(memory: Counters) -> int | None:
    """Kills in the cgroup and those below: here each counts its own only."""
    kills = pairs(memory.find("memory.oom_control") or b"").get("oom_kill")
    if kills is not None:
        kills += sum(oom_kills(each) or 0 for each in memory.below())
    return kills


def read_io(blkio: Counters) -> dict[str, Any]:
    """Bytes and operations of all disks together. What goes through the page cache is nobody's when written."""
    found: dict[str, Any] = {}
    for file, read, write in (
        ("blkio.throttle.io_service_bytes_recursive", "io_read", "io_write"),
        ("blkio.throttle.io_serviced_recursive", "io_read_ops", "io_write_ops"),
    ):
        data = blkio.find(file)
        if data is None:
            continue
        if data == b"Total 0\n":
            found[read] = found[write] = 0
            continue
        lines = [line.split() for line in data.decode().splitlines()]
        stacked = {words[0]: is_stacked(words[0]) for words in lines} if len(lines) > 6 else {}
        for name, kind in ((read, "Read"), (write, "Write")):
            found[name] = sum(
                int(words[2]) for words in lines if words[1:2] == [kind] and not stacked.get(words[0])
            )
    return found
