"""Containers on a real terminal: keys, sizes, Ctrl-C, and a terminal that is as before whatever happens."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.commandline import CommandLine

pytestmark = pytest.mark.needs("userns", "busybox")


def test_a_shell_in_a_container(cli: CommandLine, app: str) -> None:
    with cli.on_terminal("run", "--rm", "-it", "-e", "PS1=> ", app, "sh") as terminal:
        terminal.until("> ")
        assert terminal.is_raw()
        terminal.type("echo $((6*7)); tty\r")
        terminal.until(r"42\r\n/dev/(pts/0|console)\r\n> ")
        terminal.type("exit 7\r")
        assert terminal.wait() == 7
        assert terminal.is_as_before()


def test_ctrl_c_is_a_key_of_the_program(cli: CommandLine, app: str) -> None:
    with cli.on_terminal("run", "-it", "-e", "PS1=> ", app, "sh") as terminal:
        terminal.until("> ")
        terminal.type("sh -c 'echo begun; exec sleep 60'\r")
        terminal.until("begun\r\n")
        terminal.type("\x03")
        terminal.until("> ")
        terminal.type("echo still; exit\r")
        terminal.until("still")
        assert terminal.wait() == 0


def test_the_size_is_the_windows_and_follows_it(cli: CommandLine, app: str) -> None:
    script = "echo up; read x; trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.05; done"
    with cli.on_terminal(
        "run", "-it", app, "busybox", "sh", "-c", script.replace("stty", "busybox stty"), rows=33, columns=101
    ) as terminal:
        terminal.until("up")
        terminal.type("go\r")
        terminal.until("33 101")
        terminal.resize(44, 120)
        terminal.until("44 120")
        assert terminal.wait() == 0


@pytest.mark.parametrize("rm", [["--rm"], []])
def test_the_size_is_there_from_the_first_moment(cli: CommandLine, app: str, rm: list[str]) -> None:
    with cli.on_terminal("run", "-it", *rm, app, "busybox", "stty", "size", rows=33, columns=101) as terminal:
        terminal.until("33 101")
        assert terminal.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_as_before_when_a_signal_ends_it(
    cli: CommandLine, app: str, number: signal.Signals
) -> None:
    with cli.on_terminal("run", "-it", "--init", app, "sh", "-c", "echo up; sleep 60") as terminal:
        terminal.until("up")
        assert terminal.is_raw()
        terminal.signal(number)
        assert terminal.wait() == 128 + number
        assert terminal.is_as_before()


@pytest.mark.parametrize("words", [["nope"], ["/srv/file"]])
def test_the_terminal_is_as_before_when_nothing_starts(cli: CommandLine, app: str, words: list[str]) -> None:
    with cli.on_terminal("run", "-it", app, *words) as terminal:
        assert terminal.wait() in {126, 127}
        assert terminal.is_as_before()
        assert "pycontainer:" in terminal.screen


def test_output_alone_on_a_terminal_leaves_the_keys_to_the_shell(cli: CommandLine, app: str) -> None:
    with cli.on_terminal("run", "-t", app, "sh", "-c", "echo up; test -t 1 && sleep 1; echo end") as terminal:
        terminal.until("up")
        assert not terminal.is_raw()
        terminal.until("end")
        assert terminal.wait() == 0


def test_ctrl_c_without_a_terminal_of_its_own_is_a_signal(cli: CommandLine, app: str) -> None:
    script = "trap 'echo caught; exit 3' INT; echo up; while :; do sleep 0.05; done"
    with cli.on_terminal("run", "-i", app, "sh", "-c", script) as terminal:
        terminal.until("up")
        terminal.type("\x03")
        terminal.until("caught")
        assert terminal.wait() == 3


def test_ctrl_d_ends_the_input(cli: CommandLine, app: str) -> None:
    with cli.on_terminal("run", "-i", app, "cat") as terminal:
        terminal.type("line\n")
        terminal.until("line\r\nline\r\n")
        terminal.type("\x04")
        assert terminal.wait() == 0


def test_large_output_is_whole(cli: CommandLine, app: str) -> None:
    with cli.on_terminal(
        "run",
        "-t",
        app,
        "sh",
        "-c",
        "i=0; while [ $i -lt 3000 ]; do echo line-$i; i=$((i+1)); done; echo done",
    ) as terminal:
        terminal.until("done")
        assert terminal.wait() == 0


def test_colour_is_for_terminals_alone(cli: CommandLine) -> None:
    with cli.on_terminal("nope") as terminal:
        assert terminal.wait() == 125
        assert "\x1b[31mpycontainer:\x1b[0m unknown command" in terminal.screen
    assert "\x1b" not in cli("nope").err
    with_none = CommandLine(cli.engine, cli.home)
    os.environ.pop("NO_COLOR", None)
    assert "\x1b" not in with_none("doctor", env={"NO_COLOR": "1"}).out
