"""The command line in tmux, as people have it: another implementation of terminals than the tests' own."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commandline import PATIENCE, PROGRAM, CommandLine

pytestmark = pytest.mark.needs("tmux", "userns", "busybox")


class Tmux:
    """A server of its own with one window, in which a shell runs."""

    def __init__(self, socket: Path, env: dict[str, str]) -> None:
        self._command = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        self._env = env

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [*self._command, *words],
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def type(self, *keys: str) -> None:
        self("send-keys", *keys)

    def insist(self, text: str) -> None:
        """Press Enter until a line of the screen is this."""
        deadline = time.monotonic() + PATIENCE
        while text not in self("capture-pane", "-p").splitlines():
            assert time.monotonic() < deadline, self("capture-pane", "-p")
            time.sleep(0.3)
            self.type("Enter")

    def until(self, text: str) -> None:
        """Wait until a line of the screen is this."""
        deadline = time.monotonic() + PATIENCE
        while text not in self("capture-pane", "-p").splitlines():
            assert time.monotonic() < deadline, self("capture-pane", "-p")
            time.sleep(0.05)


@pytest.fixture
def tmux(cli: CommandLine, tmp_path: Path) -> Iterator[Tmux]:
    made = Tmux(tmp_path / "t", {**cli.env, "PS1": "host> ", "SHELL": "/bin/sh"})
    made("new-session", "-d", "-x", "100", "-y", "30", "/bin/sh")
    made.type(f'pycontainer() {{ {shlex.join(PROGRAM)} "$@"; }}', "Enter", "clear", "Enter")
    yield made
    made("kill-server")


def test_a_session_from_the_first_key_to_the_last(cli: CommandLine, app: str, tmux: Tmux) -> None:
    tmux.type(f"pycontainer run -it --name web -e PS1='in> ' {app} sh", "Enter")
    tmux.until("in>")
    tmux.type("clear; stty size", "Enter")
    tmux.until("30 100")
    tmux("resize-window", "-x", "90", "-y", "20")
    tmux.type("clear; stty size", "Enter")
    tmux.until("20 90")
    tmux.type("clear; sh -c 'echo begun; exec sleep 100'", "Enter")
    tmux.until("begun")
    tmux.type("C-c")
    tmux.type("clear; echo still $((40 + 2))", "Enter")
    tmux.until("still 42")
    tmux.type("C-p", "C-q")
    tmux.type("clear; echo outside $((40 + 3))", "Enter")
    tmux.until("outside 43")
    assert cli("ps", "--format", "{{.Names}}").out == "web\n"
    tmux.type("clear; pycontainer attach web", "Enter")
    tmux.insist("in>")
    tmux.type("clear; echo back $((40 + 4))", "Enter")
    tmux.until("back 44")
    tmux.type("clear; exit 5", "Enter")
    tmux.until("host>")
    tmux.type("echo status $?", "Enter")
    tmux.until("status 5")
