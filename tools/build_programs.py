#!/usr/bin/env python3
"""Compile the static programs (PID 1, the leash) that the library runs by file descriptor.

They have no libc and no dynamic loader, so one file of some kilobytes runs in any root
file system.  Called by setup.py; by hand it builds into the source tree.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Where the package looks for them, relative to the root of the tree.
PLACE = Path("pycontainer/kernel/programs")
#: Program -> sources below csrc/.
PROGRAMS = {
    "init": ["init.c", "order.c", "freestanding.c"],
    "monitor": [
        "monitor.c",
        "log.c",
        "monitor_clients.c",
        "monitor_end.c",
        "monitor_health.c",
        "monitor_record.c",
        "monitor_restore.c",
        "monitor_start.c",
        "child.c",
        "operations.c",
        "cgroups.c",
        "tree.c",
        "freestanding.c",
    ],
    "reaper": ["reaper.c", "beside.c", "cgroups.c", "registry.c", "tree.c", "freestanding.c"],
    "scribe": ["scribe.c", "beside.c", "log.c", "freestanding.c"],
    "timens": ["timens.c", "freestanding.c"],
}

#: For every C file of the project.
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
#: Generated code that would call into a libc or compiler library that is not there.
FREESTANDING = [
    "-std=gnu11",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-tree-loop-distribute-patterns",  # or a loop becomes a call of memset
    "-fno-builtin",
]
SMALL = [
    "-Os",
    "-fno-pie",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-fno-ident",
    "-ffunction-sections",
    "-fdata-sections",
]
LINK = [
    "-static",
    "-no-pie",
    "-nostdlib",
    "-Wl,--build-id=none",
    "-Wl,--gc-sections",
    "-Wl,-z,noexecstack",
    "-Wl,-z,norelro",  # relro would add a page, and there is nothing to relocate
    "-Wl,--strip-all",
]
#: By `uname -m`; atomics out of line would be calls into libgcc.
MACHINE = {"x86_64": [], "aarch64": ["-mno-outline-atomics"]}


def build(name: str, target: Path) -> None:
    """Compile program ``name`` into ``target``, which appears whole or not at all.

    Raises ``SystemExit`` with the compiler's words when a source does not compile.
    """
    machine = os.uname().machine
    if machine not in MACHINE:
        raise SystemExit(f"{name}: no build for {machine}; there is one for {', '.join(MACHINE)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    command = [
        *shlex.split(os.environ.get("CC", "cc")),
        *(WARNINGS + FREESTANDING + SMALL + MACHINE[machine] + LINK),
        f"-I{ROOT / 'csrc'}",
        *(str(ROOT / "csrc" / source) for source in PROGRAMS[name]),
        "-o",
        str(partial),
    ]
    try:
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"{name}: the compiler refused it: {shlex.join(command)}")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def main(names: list[str]) -> None:
    """Build the named programs, or all, into the source tree."""
    for name in names or PROGRAMS:
        if name not in PROGRAMS:
            raise SystemExit(f"{name}: no such program; there are {', '.join(PROGRAMS)}")
        build(name, ROOT / PLACE / name)


if __name__ == "__main__":
    main(sys.argv[1:])
