"""What tells a process from all others, before and after it: its pid, when it started, and in which boot."""

from __future__ import annotations

from functools import cache


def started_at(pid: int) -> str:
    """When a process started, in clock ticks since boot (proc_pid_stat(5), field 22). Raises :class:`FileNotFoundError`."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[19]


@cache
def boot_id() -> str:
    """What tells this boot of the machine from all others (proc(5), /proc/sys/kernel/random/boot_id)."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
