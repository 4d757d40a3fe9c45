"""The pages of the command line: what their ``console`` blocks type is run, and prints what they say.

The blocks of a page run in order in one directory.  A line that begins with ``$`` is typed, those behind it are what comes
of it, on stdout and stderr; ``...`` in one stands for anything.  ``localhost:5000`` is the tests' registry.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commandline import PATIENCE, PROGRAM, ROOT, CommandLine

PAGES = ["guide/command-line.md"]
FENCE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def typed(page: str) -> Iterator[tuple[str, str]]:
    """Each command with the lines that it prints."""
    for block in FENCE.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            while command.endswith("\\"):
                more, _, output = output.partition("\n")
                command = f"{command}\n{more.removeprefix('> ')}"
            yield command, output


def fits(expected: str, found: str) -> bool:
    parts = map(re.escape, expected.split("..."))
    return re.fullmatch(".*".join(parts), found, re.DOTALL) is not None


@pytest.mark.needs("userns")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_prints_what_it_says(cli: CommandLine, tmp_path: Path, page: str) -> None:
    there = tmp_path / "there"
    there.mkdir()
    program = f'pycontainer() {{ {shlex.join(PROGRAM)} "$@"; }}'
    for command, expected in typed(page):
        done = subprocess.run(
            ["bash", "-c", f"{program}; {command}"],
            cwd=there,
            env=cli.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )
        assert fits(expected, done.stdout), f"$ {command}\n{done.stdout}"


def test_a_page_that_says_something_else_is_seen() -> None:
    assert fits("a ... c\n", "a b c\n")
    assert not fits("a ... c\n", "a b d\n")
