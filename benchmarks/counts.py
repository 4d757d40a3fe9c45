"""How many things of each kind there are: what must not grow with the number of containers."""

from __future__ import annotations

import os
from collections.abc import Iterator


def counts(root: str) -> dict[str, int]:
    """Counts of this process and of the machine, directories below an engine root, and resident bytes.

    Of cgroups, those that carry this process's number: others make some, too.
    """
    return {
        "mounts": _lines("/proc/self/mountinfo"),
        "cgroups": sum(f"pycontainer-{os.getpid()}-" in path for path in _cgroups()),
        "fds": len(os.listdir("/proc/self/fd")),
        "children": len(_children()),
        "threads": len(os.listdir("/proc/self/task")),
        "links": len(os.listdir("/sys/class/net")),
        "directories": sum(1 for _ in _directories(root)),
        "resident": _resident(),
    }


def _lines(path: str) -> int:
    with open(path, "rb") as file:
        return sum(1 for _ in file)


def _cgroups() -> Iterator[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mounts = [line.split() for line in file]
    for fields in mounts:
        if fields[fields.index("-") + 1] in {"cgroup", "cgroup2"}:
            yield from _directories(fields[4])


def _directories(top: str) -> Iterator[str]:
    for path, _, _ in os.walk(top):
        yield path


def _children() -> list[str]:
    found: list[str] = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
            found += file.read().split()
    return found


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
