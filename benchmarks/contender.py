"""Things that are timed against each other, and the rounds in which that is done.

Those that time themselves (the floor, the library in a Python process) are programs that are told over
a pipe what to do, and answer with nanoseconds; see ``floor/floor.c`` and ``worker.py``.  The others are
started with posix_spawn(3), which costs what a C program would pay, and timed from outside.
"""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import IO, Any, Protocol

from benchmarks.benchmark import BenchmarkError, Settings
from benchmarks.samples import Samples

#: Longer than anything takes; who exceeds it hangs.
_PATIENCE = 60.0


class Contender(Protocol):
    """Something with a name that can be done once, timed."""

    name: str

    def once(self) -> float:
        """Do it; the seconds that it took."""
        ...

    def close(self) -> None:
        """End it, and whatever belongs to it."""
        ...


class Program:
    """A program that takes commands, a line each, and answers each with a line; a context manager."""

    def __init__(self, name: str, argv: Sequence[str], env: dict[str, str] | None = None) -> None:
        self.name = name
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the program
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=env, bufsize=0
        )
        self.pid = self._process.pid
        try:
            answer = self._answer(_PATIENCE)
            if answer != "ready":
                raise BenchmarkError(f"{self.name} said {answer!r} instead of 'ready'")
        except BaseException:
            self._end()
            raise

    def ask(self, command: str, patience: float = _PATIENCE) -> str:
        """Send a command; its answer. Raises :class:`BenchmarkError` when none comes in ``patience`` seconds."""
        assert self._process.stdin is not None  # noqa: S101  it was opened with a pipe
        try:
            self._process.stdin.write(f"{command}\n".encode())
        except BrokenPipeError:
            raise BenchmarkError(f"{self.name}: {_last_line(self._errors.fileno())}") from None
        return self._answer(patience)

    def seconds(self, command: str, patience: float = _PATIENCE) -> float:
        """Send a command that is answered with nanoseconds."""
        return int(self.ask(command, patience)) / 1e9

    def data(self, command: str, patience: float = _PATIENCE) -> Any:
        """Send a command that is answered with JSON."""
        return json.loads(self.ask(command, patience))

    def contender(self, command: str) -> Contender:
        """One of the program's commands as something to be timed; closing it closes the program."""
        return _Command(self, command)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._end()

    def close(self) -> None:
        """Let the program end (its stdin closes) and wait for it; raises when it fails. Idempotent."""
        if self._errors.closed:
            return
        status, words = self._end()
        if status != 0:
            raise BenchmarkError(f"{self.name} ended with {status}: {words}")

    def _end(self) -> tuple[int, str]:
        """Its exit status, negative for a signal, and its last words."""
        assert self._process.stdin is not None  # noqa: S101  it was opened with pipes
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.close()
        try:
            status = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        words = _last_line(self._errors.fileno())
        self._process.stdout.close()
        self._errors.close()
        return status, words

    def _answer(self, patience: float) -> str:
        assert self._process.stdout is not None  # noqa: S101  it was opened with a pipe
        fd = self._process.stdout.fileno()
        line = bytearray()
        while not line.endswith(b"\n"):
            if not select.select([fd], [], [], patience)[0]:
                raise BenchmarkError(f"{self.name} hangs: no answer in {patience:g} s")
            piece = os.read(fd, 65536)
            if not piece:
                raise BenchmarkError(f"{self.name}: {_last_line(self._errors.fileno())}")
            line += piece
        return line.decode().rstrip("\n")


class _Command:
    def __init__(self, program: Program, command: str) -> None:
        self.name = program.name
        self._program = program
        self._command = command

    def once(self) -> float:
        return self._program.seconds(self._command)

    def close(self) -> None:
        self._program.close()


class Peer:
    """A command line that is run from start to exit; its stdin and stdout are /dev/null.

    ``files`` are opened for it: fd number -> path.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        files: dict[int, str] | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self._argv = list(argv)
        self._env = dict(os.environ) if env is None else env
        self._errors = os.memfd_create("errors", os.MFD_CLOEXEC)
        null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1)]
        opened = [(os.POSIX_SPAWN_OPEN, fd, path, os.O_RDONLY, 0) for fd, path in (files or {}).items()]
        self._actions = [*null, (os.POSIX_SPAWN_DUP2, self._errors, 2), *opened]

    def once(self) -> float:
        start = time.perf_counter_ns()
        pid = os.posix_spawnp(self._argv[0], self._argv, self._env, file_actions=self._actions)
        _, status = os.waitpid(pid, 0)
        seconds = (time.perf_counter_ns() - start) / 1e9
        if status != 0:
            code = os.waitstatus_to_exitcode(status)
            raise BenchmarkError(f"{self._argv[0]} ended with {code}: {_last_line(self._errors)}")
        return seconds

    def close(self) -> None:
        os.close(self._errors)


def _last_line(fd: int) -> str:
    """What a program said last, by what it wrote to this file."""
    lines = os.pread(fd, 1 << 20, 0).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "without a word"


def interleave(
    contenders: Sequence[Contender], settings: Settings, *, warm_up: int = 3, rounds: int | None = None
) -> list[Samples]:
    """Do each once a round, in an order that changes: drift and neighbours hit all alike."""
    order = random.Random(1)
    seconds: dict[str, list[float]] = {each.name: [] for each in contenders}
    for number in range(-warm_up, settings.rounds if rounds is None else rounds):
        for each in order.sample(list(contenders), len(contenders)):
            took = each.once()
            if number >= 0:
                seconds[each.name].append(took)
            time.sleep(settings.pause)
    return [Samples(name=name, seconds=tuple(values)) for name, values in seconds.items()]


def gather(
    stack: ExitStack, makers: Sequence[tuple[str, Callable[[], Contender]]]
) -> tuple[list[Contender], list[tuple[str, str]]]:
    """Make peers and try each once: those that work, which ``stack`` closes, and the others with the reason."""
    working: list[Contender] = []
    absent: list[tuple[str, str]] = []
    for name, make in makers:
        try:
            contender = stack.enter_context(closing(make()))
            contender.once()
        except FileNotFoundError:
            absent.append((name, "not installed"))
        except BenchmarkError as error:
            absent.append((name, f"does not work here: {error}"))
        else:
            working.append(contender)
    return working, absent


def not_measured(absent: Sequence[tuple[str, str]]) -> list[str]:
    """A line for each peer that is missing from the table."""
    return [f"not measured: {name}: {reason}" for name, reason in absent]
