"""The pages of the command line: what their ``console`` blocks type is run, and prints what they say.

The blocks of a page run in order in one directory.  A line that begins with ``$`` is typed, those behind it are what comes
of it, on stdout and stderr; ``...`` in one stands for anything.  ``localhost:5000`` is the tests' registry.  With ``-it``, and
where a ``^C`` is typed, the command is on a terminal; what is behind ``/ # `` is typed there.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.image.config import ImageConfig
from tests.support import imagery
from tests.support.commandline import PATIENCE, PROGRAM, ROOT, CommandLine
from tests.support.registry import RealRegistry

PAGES = ["quickstart.md", "guide/command-line.md"]
FENCE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT = "/ # "
TICKER = "trap 'exit 143' TERM; n=0; while :; do echo tick $n; n=$((n+1)); sleep 0.2; done"


@pytest.fixture
def demo(cli: CommandLine, base: bytes, registry: RealRegistry) -> str:
    """A registry that has the image of the story, and the store has not."""
    name = f"{registry.host}/demo/ticker:1.0"
    with pc.Engine(cli.engine) as engine:
        config = ImageConfig(cmd=("/bin/sh", "-c", TICKER))
        engine.images.push(imagery.make_image(engine.images, name, base, config=config))
        engine.images.remove(name)
    return registry.host


def typed(page: str) -> Iterator[tuple[str, str]]:
    """Each command with the lines that it prints."""
    for block in FENCE.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def settled(text: str) -> str:
    """Without what is another each time: digests, ids, ages, sizes, and the columns that are as wide as these."""
    for another, word in (
        (r"\b[0-9a-f]{64}\b", "DIGEST"),
        (r"\b[0-9a-f]{12}\b", "ID"),
        (
            r"\b(Less than a second|About a minute|About an hour|\d+ (second|minute|hour|day|week|month)s?)\b",
            "AGE",
        ),
        (r"\b[\d.]+(kB|MB)\b", "SIZE"),
        (r"size: \d+", "size: SIZE"),
        (" +", " "),
    ):
        text = re.sub(another, word, text)
    return text


def pattern(text: str) -> str:
    return ".*".join(map(re.escape, text.split("...")))


def printed(cli: CommandLine, command: str, there: Path) -> str:
    """What a command prints, in a shell."""
    done = subprocess.run(
        ["bash", "-c", f'pycontainer() {{ {shlex.join(PROGRAM)} "$@"; }}; {command}'],
        cwd=there,
        env=cli.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )
    return done.stdout


def on_terminal(cli: CommandLine, command: str, lines: list[str]) -> None:
    """Type what is typed, and see what is to be seen."""
    with cli.on_terminal(*shlex.split(command)[1:]) as terminal:
        for line in lines:
            if line.startswith(PROMPT):
                terminal.until(re.escape(PROMPT))
                terminal.type(line.removeprefix(PROMPT) + "\r")
                terminal.until("\r\n")
            elif line == "^C":
                terminal.type("\x03")
            else:
                terminal.until(f"{pattern(line)}\r\n")
        terminal.wait()


@pytest.mark.needs("userns", "busybox", "registry", "cgroup")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_prints_what_it_says(cli: CommandLine, tmp_path: Path, demo: str, page: str) -> None:
    there = tmp_path / "there"
    there.mkdir()
    for command, output in typed(page):
        here, expected = (text.replace("localhost:5000", demo) for text in (command, output))
        if " -it " in here or "^C\n" in expected:
            on_terminal(cli, here, expected.splitlines())
        else:
            found = printed(cli, here, there)
            wanted, seen = settled(expected), settled(found)
            assert re.fullmatch(pattern(wanted), seen, re.DOTALL), f"$ {here}\n{found}"


def test_a_page_that_says_something_else_is_seen() -> None:
    assert re.fullmatch(pattern("a ... c\n"), "a b c\n")
    assert not re.fullmatch(pattern("a ... c\n"), "a b d\n")
