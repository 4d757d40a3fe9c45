"""The interface of version 2: Documentation/admin-guide/cgroup-v2.rst of the kernel."""

from __future__ import annotations

import errno
from collections.abc import Collection
from typing import Any

from pycontainer.kernel.cgroup.directory import Counters, Directory
from pycontainer.kernel.cgroup.disks import is_stacked
from pycontainer.kernel.cgroup.limits import IoLimit, Limits, controller_of
from pycontainer.kernel.cgroup.setting import Setting, bandwidth

_SWAP = "build the kernel with CONFIG_SWAP, and boot it without swapaccount=0"


def settings(limits: Limits, names: Collection[str], before: Limits) -> list[Setting]:
    """What sets the limits ``names`` to their values in ``limits``; ``before`` is what held until now."""
    found = []
    choices: tuple[tuple[str, bytes], ...]
    for name in names:
        value = getattr(limits, name)
        controller = controller_of(name)
        match name:
            case "io_max":
                found += _io(limits, before)
                continue
            case "hugetlb_max":
                found += _hugetlb(limits, before)
                continue
            case "cpu_max":
                text = "max" if value is None else "{} {}".format(*bandwidth(value))
                choices = (("cpu.max", text.encode()),)
            case "io_weight":
                choices = _io_weight(value or 100)
            case "cpuset_cpus" | "cpuset_mems":
                choices = ((f"cpuset.{name[7:]}", (value or "\n").encode()),)
            case _:
                choices = (
                    (_FILES[name][0], (_FILES[name][1] if value is None else str(int(value))).encode()),
                )
        fix = _SWAP if name == "memory_swap_max" else "use a newer kernel"
        found.append(Setting(name, controller, choices, fix))
    return found


#: Limit -> file, and what stands there when there is no limit.
_FILES = {
    "memory_max": ("memory.max", "max"),
    "memory_high": ("memory.high", "max"),
    "memory_low": ("memory.low", "0"),
    "memory_swap_max": ("memory.swap.max", "max"),
    "memory_oom_group": ("memory.oom.group", "0"),
    "cpu_weight": ("cpu.weight", "100"),
    "pids_max": ("pids.max", "max"),
}


def _io(limits: Limits, before: Limits) -> list[Setting]:
    """One write for each disk (io.max takes one), also for those that are limited no longer."""
    bounds = {each.device: IoLimit(device=each.device) for each in before.io_max}
    bounds.update((each.device, each) for each in limits.io_max)
    return [
        Setting(
            "io_max", "io", (("io.max", _io_line(each)),), "build the kernel with CONFIG_BLK_DEV_THROTTLING"
        )
        for each in bounds.values()
    ]


def _io_line(bound: IoLimit) -> bytes:
    words = [f"{key}={getattr(bound, key) or 'max'}" for key in ("rbps", "wbps", "riops", "wiops")]
    return f"{bound.device} {' '.join(words)}".encode()


def _io_weight(weight: int) -> tuple[tuple[str, bytes], ...]:
    """Of the cost model, else of the scheduler bfq, whose scale is 1 to 1000, as the OCI runtimes do."""
    bfq = 1 + (weight - 1) * 999 // 9999 if weight != 100 else 100
    return ("io.weight", b"default %d" % weight), ("io.bfq.weight", b"%d" % bfq)


def _hugetlb(limits: Limits, before: Limits) -> list[Setting]:
    bounds: dict[str, int | None] = {page: None for page, _ in before.hugetlb_max}
    bounds.update(limits.hugetlb_max)
    return [
        Setting(
            "hugetlb_max",
            "hugetlb",
            ((f"hugetlb.{page}.max", b"max" if bound is None else b"%d" % bound),),
            f"the processor or the kernel has no pages of {page}",
        )
        for page, bound in bounds.items()
    ]


def pairs(data: bytes) -> dict[str, int]:
    """The lines ``key value`` of a "flat keyed" file."""
    words = data.decode().split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


def read_cpu(group: Counters) -> dict[str, Any]:
    """Seconds; told for every cgroup, also without the controller (Linux 4.15), but for the throttling."""
    data = group.find("cpu.stat")
    if data is None:
        return {}
    told = pairs(data)
    names = {"cpu_user": "user_usec", "cpu_system": "system_usec", "cpu_throttled": "throttled_usec"}
    return {name: told[key] / 1e6 for name, key in names.items() if key in told}


def read_memory(group: Counters) -> dict[str, Any]:
    """Bytes, and kills; the peak is told since Linux 5.19."""
    found: dict[str, Any] = {
        "memory_current": number(group.find("memory.current")),
        "memory_peak": number(group.find("memory.peak")),
        "swap_current": number(group.find("memory.swap.current")),
    }
    events = group.find("memory.events")
    if events is not None:
        found["oom_kills"] = pairs(events).get("oom_kill")
    return found


def read_pids(group: Counters) -> dict[str, Any]:
    """Processes and threads; the peak is told since Linux 6.1. Version 1 has the same files."""
    return {"pids_current": number(group.find("pids.current")), "pids_peak": number(group.find("pids.peak"))}


def read_io(group: Counters) -> dict[str, Any]:
    """Bytes and operations of all disks together."""
    data = group.find("io.stat")
    if data is None:
        return {}
    lines = [line.split() for line in data.decode().splitlines()]
    if len(lines) > 1:
        lines = [words for words in lines if not is_stacked(words[0])]
    sums = dict.fromkeys(("rbytes", "wbytes", "rios", "wios"), 0)
    for _, *words in lines:
        for word in words:
            key, _, value = word.partition("=")
            if key in sums:
                sums[key] += int(value)
    return dict(zip(("io_read", "io_write", "io_read_ops", "io_write_ops"), sums.values(), strict=True))


def number(data: bytes | None) -> int | None:
    """The number that a file consists of; ``None`` where there is no file, or it says ``max``."""
    return int(data) if data is not None and data.strip().isdigit() else None


def enable(group: Directory, controllers: Collection[str]) -> dict[str, int]:
    """Have the children of a cgroup controlled; those that cannot be, with the error number.

    Refused while processes are in it (EBUSY): the kernel itself would let some controllers through, and make
    it the root of a threaded subtree, in whose children no other process can be.
    """
    if group.has("cgroup.type") and group.processes():
        return dict.fromkeys(controllers, errno.EBUSY)
    try:
        group.write("cgroup.subtree_control", " ".join(f"+{name}" for name in controllers).encode())
        return {}
    except OSError as error:
        if len(controllers) == 1 or error.errno == errno.EBUSY:
            return dict.fromkeys(controllers, error.errno or errno.EIO)
    refused: dict[str, int] = {}
    for name in controllers:
        refused.update(enable(group, (name,)))
    return refused
