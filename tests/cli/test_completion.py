"""Completion: what is asked of the program, and what the shells make of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.commandline import PROGRAM, CommandLine


@pytest.mark.needs("busybox")
@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (["vers"], ["version"]),
        (["volume", "c"], ["create"]),
        (["run", "--sysc"], ["--sysctl"]),
        (["run", "--rm", "a"], ["app:v1"]),
        (["rmi", "app:v1", "a"], ["app:v1"]),
        (["image", "rm", ""], ["app:v1"]),
        (["volume", "rm", ""], ["data"]),
        (["run", "app:v1", "--sy"], [":files"]),
        (["run", "--env-file", ""], [":files"]),
        (["load", "-i", ""], [":files"]),
        (["completion", "z"], ["zsh"]),
        (["nope", "x"], []),
    ],
)
def test_words_that_may_come_next(cli: CommandLine, app: str, typed: list[str], found: list[str]) -> None:
    cli("volume", "create", "data").good()
    assert cli("__complete", *typed).good().lines == found


def test_all_commands_are_offered(cli: CommandLine) -> None:
    found = cli("__complete", "").good().lines
    assert {"run", "images", "volume", "system", "--root"} <= set(found)
    assert not cli.engine.exists()


def test_bash_completes(cli: CommandLine, tmp_path: Path) -> None:
    programs = _program(tmp_path)
    script = tmp_path / "script"
    script.write_text(cli("completion", "bash").good().out)
    line = (
        f". {script}; COMP_WORDS=(pycontainer volume c); COMP_CWORD=2; _pycontainer; echo ${{COMPREPLY[@]}}; "
        "cd /; COMP_WORDS=(pycontainer load -i et); COMP_CWORD=3; _pycontainer; echo ${COMPREPLY[@]}"
    )
    env = {**cli.env, "PATH": f"{programs}:{cli.env['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", line], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "create\netc\n"


@pytest.mark.needs("fish")
def test_fish_completes(cli: CommandLine, tmp_path: Path) -> None:
    programs = _program(tmp_path)
    script = tmp_path / "script"
    script.write_text(cli("completion", "fish").good().out)
    env = {**cli.env, "PATH": f"{programs}:{cli.env['PATH']}"}
    line = f"source {script}; complete -C 'pycontainer volume c'; complete -C 'pycontainer run --sysc'"
    done = subprocess.run(["fish", "-c", line], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["create", "--sysctl"]


@pytest.mark.needs("zsh")
def test_zsh_completes(cli: CommandLine, tmp_path: Path) -> None:
    """Its completion asks for a terminal; so what it would offer is caught where it is offered."""
    programs = _program(tmp_path)
    script = tmp_path / "script"
    script.write_text(cli("completion", "zsh").good().out)
    env = {**cli.env, "PATH": f"{programs}:{cli.env['PATH']}"}
    line = (
        f"compdef() {{ :; }}; compadd() {{ print -l -- ${{@[3,-1]}}; }}; _files() {{ print files; }}; source {script}; "
        "words=(pycontainer volume c); CURRENT=3; _pycontainer; words=(pycontainer load -i x); CURRENT=4; _pycontainer"
    )
    done = subprocess.run(["zsh", "-f", "-c", line], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["create", "files"], done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_others_can_read_their_script(cli: CommandLine, tmp_path: Path, shell: str) -> None:
    text = cli("completion", shell).good().out
    assert "pycontainer __complete" in text
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(text)
        subprocess.run([shell, "-n", script], check=True, capture_output=True)


def test_an_unknown_shell_is_refused(cli: CommandLine) -> None:
    done = cli("completion", "csh")
    assert (done.status, done.err) == (1, "pycontainer: --shell csh: one of bash, zsh, fish is needed\n")


def _program(place: Path) -> Path:
    """``pycontainer`` as it would be installed."""
    programs = place / "programs"
    programs.mkdir()
    program = programs / "pycontainer"
    program.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    return programs
