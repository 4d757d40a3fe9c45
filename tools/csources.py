#!/usr/bin/env python3
"""Compile the C sources with every warning as an error, and read what the child may call.

Between clone and exec the child shares its memory with a Python process: a call of a libc
function could take a lock that another thread holds.  So the objects that run there may
reference each other, and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import build_programs

ROOT = Path(__file__).resolve().parent.parent

#: Sources of what runs between clone and exec, checked as one.
CHILD = ["child.c", "operations.c"]
#: Symbols they may reference beyond each other's, with the reason.
ALLOWED: dict[str, str] = {}

#: As csrc/build_native.py compiles what goes into the extension module.
MODULE_FLAGS = ["-std=gnu11", "-O2", "-fPIC", "-fno-stack-protector", "-fno-tree-loop-distribute-patterns"]


def _compile(source: Path, target: Path, flags: list[str]) -> str:
    command = [
        "cc",
        "-c",
        *build_programs.WARNINGS,
        *flags,
        "-I",
        str(ROOT / "csrc"),
        str(source),
        "-o",
        str(target),
    ]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout


def _undefined(objects: list[Path]) -> set[str]:
    """What the objects reference and none of them defines."""
    undefined, defined = set(), set()
    for name in objects:
        listing = subprocess.run(
            ["nm", "-P", str(name)], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        for line in listing.splitlines():
            symbol, kind = line.split()[:2]
            (undefined if kind in "Uvw" else defined).add(symbol)
    return undefined - defined


def main() -> int:
    """Print what the compiler or the list of symbols objects to."""
    programs = {source for sources in build_programs.PROGRAMS.values() for source in sources}
    problems = []
    with tempfile.TemporaryDirectory() as scratch:
        objects = {}
        for source in sorted((ROOT / "csrc").glob("*.c")):
            flags = (
                build_programs.FREESTANDING + build_programs.SMALL
                if source.name in programs
                else MODULE_FLAGS
            )
            objects[source.name] = Path(scratch, f"{source.stem}.o")
            problems.append(_compile(source, objects[source.name], flags))
        child = [objects[name] for name in CHILD if objects[name].exists()]
        strangers = sorted(_undefined(child) - set(ALLOWED))
        problems += [f"the child references {symbol}, which is not in ALLOWED\n" for symbol in strangers]
    print("".join(problems), end="")
    return 1 if any(problems) else 0


if __name__ == "__main__":
    sys.exit(main())
