"""What a command used, as its cgroup and the kernel's record of its first process tell."""

from __future__ import annotations

import signal
from typing import Any

from pycontainer.container.result import Usage
from pycontainer.kernel.cgroup import Cgroup
from pycontainer.kernel.ended import Ended

#: What accounting a command's own cgroup is asked for.
COUNTED = ("cpu", "memory", "pids", "io")

_SAME = (
    "cpu_throttled",
    "memory_current",
    "pids_peak",
    "io_read",
    "io_write",
    "io_read_ops",
    "io_write_ops",
    "oom_kills",
)
#: An init tells of a signal by the exit code alone.
_BY_EXIT_CODE = {128 + signal.SIGXCPU: "ulimits:cpu", 128 + signal.SIGXFSZ: "ulimits:fsize"}


def usage_of(ended: Ended, cgroup: Cgroup | None, *, wall: float) -> Usage:
    """What a command used: of all its processes where it has a cgroup, else of those that it waited for."""
    of_process: dict[str, Any] = {
        "cpu_user": ended.cpu_user,
        "cpu_system": ended.cpu_system,
        "memory_peak": ended.max_rss,
    }
    if cgroup is None:
        return Usage(wall=wall, **of_process)
    counted = cgroup.account()
    told: dict[str, Any] = {name: counted.get(name) for name in _SAME}
    for name, value in of_process.items():
        told[name] = counted.get(name, value)
    if counted["pressure"]:
        told["pressure"] = counted["pressure"]
    return Usage(wall=wall, **told)


def limit_of(ended: Ended, usage: Usage) -> str | None:
    """Which limit of the kernel's ended a command, as far as its end tells."""
    if usage.oom_kills and ended.exit_code == 128 + signal.SIGKILL:
        return "memory"
    return _BY_EXIT_CODE.get(ended.exit_code)
