"""A terminal's master side, with real ptys and real programs."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import pty
import select
import tty
from collections.abc import Iterator

import pytest

from pycontainer.container.stdio import Stdio
from pycontainer.errors import InvalidArgument, KernelError
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.terminal import Terminal
from tests.support.children import sh, start


@contextlib.contextmanager
def pair() -> Iterator[tuple[Terminal, Fd]]:
    master, slave = pty.openpty()
    with Terminal.adopt(master) as terminal, Fd(slave) as program:
        yield terminal, program


def test_bytes_go_both_ways() -> None:
    with pair() as (terminal, program):
        tty.setraw(program.fileno())
        assert terminal.write(b"to the program") == 14
        assert os.read(program.fileno(), 100) == b"to the program"
        os.write(program.fileno(), b"from the program")
        assert terminal.read(100) == b"from the program"


def test_the_end_of_the_last_program_is_the_end_of_file() -> None:
    with pair() as (terminal, program):
        os.write(program.fileno(), b"last words")
        program.close()
        assert terminal.read(100) == b"last words"
        assert terminal.read(100) == b""
        assert terminal.read(100) == b""


def test_everything_that_files_can_do_works_on_top() -> None:
    with pair() as (terminal, program):
        os.write(program.fileno(), b"one\ntwo\nthree")
        program.close()
        with io.BufferedReader(terminal.dup()) as lines:
            assert list(lines) == [b"one\r\n", b"two\r\n", b"three"]


def test_without_blocking_nothing_is_none() -> None:
    with pair() as (terminal, program):
        os.set_blocking(terminal.fileno(), False)
        assert terminal.read(100) is None
        tty.setraw(program.fileno())
        assert None in (terminal.write(bytes(65536)) for _ in range(1000))


def test_the_size_is_set_and_the_program_told() -> None:
    with pair() as (terminal, program):
        terminal.resize(24, 80)
        script = "trap 'stty size; exit 0' WINCH; stty size; while :; do sleep 0.02; done"
        # In a session of its own with this terminal: only then does the signal reach it.
        stdio = Stdio.create(stdin=program, stdout=program, stderr=program)
        with start("setsid", "--ctty", *sh(script), stdio=stdio) as process:
            program.close()
            reader = io.BufferedReader(terminal.dup())
            assert reader.readline() == b"24 80\r\n"
            terminal.resize(rows=50, cols=132)
            assert reader.readline() == b"50 132\r\n"
            reader.close()
            assert process.wait(timeout=20) == 0
        assert terminal.size == (50, 132)


@pytest.mark.parametrize(("rows", "cols", "argument"), [(-1, 80, "rows"), (24, 65536, "cols")])
def test_an_impossible_size_is_refused(rows: int, cols: int, argument: str) -> None:
    with pair() as (terminal, _):
        terminal.resize(1, 2)
        with pytest.raises(InvalidArgument) as caught:
            terminal.resize(rows, cols)
        assert caught.value.argument == argument
        assert terminal.size == (1, 2)


def test_closing_hangs_up_and_is_idempotent() -> None:
    with pair() as (terminal, program):
        terminal.close()
        terminal.close()
        assert terminal.closed
        assert os.read(program.fileno(), 1) == b""
        with pytest.raises(ValueError, match="closed"):
            terminal.fileno()


def test_a_duplicate_keeps_the_line() -> None:
    with pair() as (terminal, program):
        twin = terminal.dup()
        terminal.close()
        os.write(program.fileno(), b"x")
        assert twin.read(1) == b"x"
        twin.close()


def test_it_polls() -> None:
    with pair() as (terminal, program):
        poller = select.poll()
        poller.register(terminal, select.POLLIN)
        assert poller.poll(0) == []
        os.write(program.fileno(), b"x")
        assert poller.poll(5000) == [(terminal.fileno(), select.POLLIN)]


def test_what_is_no_terminal_is_refused_and_stays_the_callers() -> None:
    read, write = os.pipe2(os.O_CLOEXEC)
    with pytest.raises(KernelError, match="size of the terminal"):
        Terminal.adopt(read)
    os.close(read)
    os.close(write)


def test_one_that_is_lost_warns_once_and_hangs_up() -> None:
    master, slave = pty.openpty()
    terminal = Terminal.adopt(master)
    with Fd(slave) as program:
        with pytest.warns(ResourceWarning) as caught:
            del terminal
        assert [str(each.message) for each in caught] == [f"unclosed <Terminal {master}>"]
        assert os.read(program.fileno(), 1) == b""


def test_it_cannot_be_pickled() -> None:
    with pair() as (terminal, _), pytest.raises(TypeError, match="owns"):
        pickle.dumps(terminal)
