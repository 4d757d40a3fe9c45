"""The same attempts under other programs that confine, as one table; by hand, as root: ``python -m tests.security.peers``.

Prints markdown: what each lets a program reach.  Attempts on which all agree are only counted.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.security import contenders, running
from tests.security.contenders import Contender, Unavailable
from tests.security.matrix import ROWS
from tests.support import probe as program
from tests.support.probe import Verdict

Column = Mapping[str, Verdict]


def _peers(folder: Path, root: Path) -> dict[str, Callable[[], Iterator[Contender]]]:
    return {
        "bwrap": lambda: iter([contenders.bwrap(root, hardened=False)]),
        "bwrap hardened": lambda: iter([contenders.bwrap(root, hardened=True)]),
        "runc": lambda: iter([contenders.runtime("runc", folder, root)]),
        "crun": lambda: iter([contenders.runtime("crun", folder, root)]),
        "podman": lambda: iter([contenders.podman(folder, root, hardened=False)]),
        "podman hardened": lambda: iter([contenders.podman(folder, root, hardened=True)]),
        "docker": lambda: contenders.docker(folder, root),
    }


def _run(contender: Contender, words: list[str]) -> Column:
    command = [*contender.prefix, "/probe", "try", "program=/probe", *words]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False
    )
    column = program.parse(line for line in done.stdout.splitlines() if re.match(r"\w+=\w+ ", line))
    if len(column) < len(ROWS) - 20:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(lines[-1] if lines else f"exit status {done.returncode}")
    return column


def _collect(folder: Path) -> tuple[dict[str, Column], dict[str, str]]:
    probe = program.build(folder)
    root = contenders.make_root(folder, probe)
    columns: dict[str, Column] = {}
    missing: dict[str, str] = {}
    with program.canaries(probe, folder) as canary:
        columns["no confinement"] = running.outside(probe, canary)
        words = running.words(canary, "unconfined")
        for name, make in _peers(folder, root).items():
            try:
                for contender in make():
                    try:
                        columns[contender.name] = _run(contender, words)
                    finally:
                        contender.close()
            except (Unavailable, OSError, subprocess.SubprocessError) as error:
                missing[name] = str(error)
        for mode in running.MODES:
            columns[f"ours, {mode}"] = running.inside(probe, canary, mode)
    return columns, missing


def _table(columns: Mapping[str, Column]) -> Iterator[str]:
    yield "| | " + " | ".join(columns) + " |"
    yield "|---|" + "---|" * len(columns)
    reached = {name: {row for row in ROWS if _reaches(column, row)} for name, column in columns.items()}
    yield (
        "| **reached, of those there are here** | "
        + " | ".join(f"**{len(found)}**" for found in reached.values())
        + " |"
    )
    for row in ROWS:
        marks = [row in found for found in reached.values()]
        # With and without confinement the same, or nobody: nothing to compare.
        if any(marks) and not all(marks):
            yield f"| {row} | " + " | ".join("reached" if mark else "·" for mark in marks) + " |"


def _reaches(column: Column, row: str) -> bool:
    return row in column and column[row].kind == "reached"


def main() -> int:
    """Print the table and, below it, who could not take part and why."""
    if os.geteuid() != 0:
        raise SystemExit("the others are compared as root starts them: run it as root")
    place = "/var/tmp"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-", dir=place)))
        folder.chmod(0o755)
        os.environ["PYCONTAINER_ROOT"] = str(folder / "engine")
        columns, missing = _collect(folder)
    print("\n".join(_table(columns)))
    for name, reason in missing.items():
        print(f"\n{name}: {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
