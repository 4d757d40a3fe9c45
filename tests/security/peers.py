"""The same attempts under other programs that confine, as one table; by hand, as root: ``python -m tests.security.peers``.

Prints markdown: what each lets a program reach.  Attempts on which all agree are only counted.

Docker and podman make cgroups at the top of their hierarchies: run it in a machine of its own, such as tests/vm gives.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

from tests.security import contenders, running
from tests.security.contenders import Contender, Unavailable
from tests.security.matrix import ROWS
from tests.support import probe as program
from tests.support.probe import Verdict

Column = Mapping[str, Verdict]


def _peers(folder: Path, root: Path) -> dict[str, Callable[[], Generator[Contender]]]:
    return {
        "bwrap": lambda: contenders.bwrap(root),
        "runc": lambda: contenders.runtime("runc", folder, root),
        "crun": lambda: contenders.runtime("crun", folder, root),
        "podman": lambda: contenders.podman(folder, root),
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
                with contextlib.closing(make()) as made:
                    for contender in made:
                        with running.secret_environment(canary):
                            columns[contender.name] = _run(contender, words)
            except (Unavailable, OSError, subprocess.SubprocessError) as error:
                missing[name] = str(error)
        for mode in running.MODES:
            columns[f"ours, {mode}"] = running.inside(probe, canary, mode)
    return columns, missing


def _table(columns: Mapping[str, Column]) -> Iterator[str]:
    """A row for each set of attempts that come to the same under everybody, those that most reach first."""
    alike: dict[tuple[bool, ...], list[str]] = {}
    for row in ROWS:
        alike.setdefault(tuple(_reaches(column, row) for column in columns.values()), []).append(row)
    yield "| | " + " | ".join(columns) + " |"
    yield "|---|" + ":-:|" * len(columns)
    counts = [sum(_reaches(column, row) for row in ROWS) for column in columns.values()]
    yield "| **of {} attempts** | {} |".format(len(ROWS), " | ".join(f"**{count}**" for count in counts))
    for marks, names in sorted(alike.items(), key=lambda item: -sum(item[0])):
        # Reached by nobody, or by all: nothing to compare.
        if any(marks) and not all(marks):
            shown = ", ".join(f"`{name}`" for name in names)
            yield f"| {shown} | " + " | ".join("●" if mark else "" for mark in marks) + " |"


def _reaches(column: Column, row: str) -> bool:
    return row in column and column[row].kind == "reached"


def main() -> int:
    """Print the table and, below it, who could not take part and why."""
    if os.geteuid() != 0:
        raise SystemExit("the others are compared as root starts them: run it as root")
    with tempfile.TemporaryDirectory(prefix="peers-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        os.environ["PYCONTAINER_ROOT"] = str(folder / "engine")
        columns, missing = _collect(folder)
        print("\n".join(_table(columns)))
        for peer, reason in missing.items():
            print(f"{peer}: {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
