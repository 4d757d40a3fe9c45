"""Which boot of the machine this is."""

from __future__ import annotations

from functools import cache


@cache
def boot_id() -> str:
    """What tells this boot from all others (random(4), /proc/sys/kernel/random/boot_id)."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
