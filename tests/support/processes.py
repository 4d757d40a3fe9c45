"""Which processes there are on this host, by what they belong to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def members(pid_namespace: str) -> list[int]:
    """The processes of a pid namespace, named as its link in /proc is; those that are only to be reaped are in none."""
    return [pid for pid, link in _links("ns/pid") if link == pid_namespace]


def running(program: Path) -> list[int]:
    """The processes that execute a file."""
    return [pid for pid, link in _links("exe") if link == str(program)]


def _links(name: str) -> Iterator[tuple[int, str]]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            yield int(pid), os.readlink(f"/proc/{pid}/{name}")
        except OSError:
            continue  # it has ended, or is another user's
