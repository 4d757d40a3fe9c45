"""The command line as people use it: the real program as a process, with pipes or on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import attrs

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-m", "pycontainer")
#: What a test waits for at most, in seconds.
PATIENCE = 30.0
_WINSIZE = struct.Struct("HHHH")


@attrs.frozen
class Done:
    """A call that has ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Those of its output."""
        return self.out.splitlines()

    def good(self) -> Done:
        """Fail unless its status is 0."""
        assert self.status == 0, f"status {self.status}\n{self.out}{self.err}"
        return self


@attrs.frozen
class CommandLine:
    """``pycontainer`` with an engine and a home of its own."""

    engine: Path
    home: Path
    program: tuple[str, ...] = PROGRAM

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYCONTAINER_ROOT": str(self.engine),
            "PYCONTAINER_NETWORK": "none",  # the default one is the host's business
            "HOME": str(self.home),
            "PYTHONUTF8": "1",
            "TERM": "xterm-256color",
        }

    def __call__(
        self,
        *words: str | Path,
        input: str | bytes = b"",  # noqa: A002  (subprocess' name)
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        """Call it, and wait for its end."""
        done = self.raw(*words, input=input, env=env, cwd=cwd)
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def raw(
        self,
        *words: str | Path,
        input: str | bytes = b"",  # noqa: A002  (subprocess' name)
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """The same with the bytes that it wrote."""
        return subprocess.run(
            [*self.program, *map(str, words)],
            input=input.encode() if isinstance(input, str) else input,
            capture_output=True,
            env={**self.env, **(env or {})},
            cwd=cwd,
            timeout=PATIENCE * 4,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start it with pipes; the caller waits for it."""
        return subprocess.Popen(
            [*self.program, *words],
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def on_terminal(self, *words: str, rows: int = 24, columns: int = 80) -> OnTerminal:
        """Start it on a terminal."""
        return OnTerminal([*self.program, *words], self.env, rows, columns)


class OnTerminal:
    """A program on a terminal of its own, whose keys are typed and whose screen is read here."""

    def __init__(self, command: list[str], env: Mapping[str, str], rows: int, columns: int) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self._slave)
        self.screen = ""
        # setsid(1) makes the terminal the controlling one, so that Ctrl-C is a signal where nobody has made it raw.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=dict(env),
        )

    def __enter__(self) -> OnTerminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size; the kernel tells the program."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, _WINSIZE.pack(rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def until(self, pattern: str) -> re.Match[str]:
        """Read until the screen shows that, behind what was matched before."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.screen)):
            assert time.monotonic() < deadline, f"{pattern!r} does not come: {self.screen!r}"
            ready, _, _ = select.select([self._master], [], [], 0.1)
            if ready:
                self.screen += os.read(self._master, 1 << 16).decode(errors="replace")
            else:
                assert self.process.poll() is None, f"it ended without {pattern!r}: {self.screen!r}"
        self.screen = self.screen[match.end() :]
        return match

    def is_raw(self) -> bool:
        """Does the terminal give each key to the program at once?"""
        return not termios.tcgetattr(self._slave)[3] & (termios.ICANON | termios.ISIG | termios.ECHO)

    def is_as_before(self) -> bool:
        """Is the terminal as it was before the program was started?"""
        return termios.tcgetattr(self._slave) == self.before

    def wait(self) -> int:
        """Read what is still written, and wait for the end; its status."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self._master], [], [], 0.05)[0]:
                self.screen += os.read(self._master, 1 << 16).decode(errors="replace")
        return self.process.wait(PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program, which setsid(1) has become."""
        self.process.send_signal(number)
