"""The program init under test, and the program that it runs."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

import pytest

from tests.support.native import Program, until

NOBODY = 65534
PYTHON = sys.executable


class Started:
    """An init and its program; the report is read when it is asked for."""

    def __init__(
        self,
        init: Path,
        argv: list[str],
        *,
        paths: list[str] | None = None,
        prefix: list[str] | None = None,
        fds: dict[int, int] | None = None,
        report: int = 3,
        become: bool = False,
    ) -> None:
        paths = ["/bin/sh"] if paths is None else paths
        self._unshared = (prefix or [""])[0] == "unshare"
        words = ["become"] if become else []
        self.output, output = os.pipe()
        self._report, theirs = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            self.init = Program(
                [*(prefix or []), init, *words, str(report), str(len(paths)), *paths, "--", *argv],
                {0: null, 1: output, report: theirs, **(fds or {})},
            )
        finally:
            for fd in (null, output, theirs):
                os.close(fd)

    def report(self) -> int | None:
        """The errno of the failure; None when the program was executed."""
        content = os.read(self._report, 100)
        return int.from_bytes(content, sys.byteorder) or None

    def line(self) -> str:
        """A line of the program's output."""
        line = b""
        while not line.endswith(b"\n"):
            assert select.select([self.output], [], [], 30)[0], f"no line, only {line!r}"
            byte = os.read(self.output, 1)
            if not byte:
                break
            line += byte
        return line.decode().rstrip("\n")

    def wait(self) -> int:
        return self.init.wait()

    @property
    def pid(self) -> int:
        """Init's own, which is a child of unshare(1) where that started it."""
        if not self._unshared:
            return self.init.pid
        children = Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children")
        until(children.read_text)
        return int(children.read_text())

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.init.runs():
            # With pid 1 goes its namespace; a mere subreaper cannot take its program along.
            os.kill(self.pid, signal.SIGKILL if self._unshared else signal.SIGTERM)
            self.init.wait()
        self.init.__exit__(*exc)
        os.close(self.output)
        os.close(self._report)


def shell(init: Path, script: str, *args: str, prefix: list[str] | None = None) -> Started:
    return Started(init, ["sh", "-c", script, "sh", *args], prefix=prefix)


def python(init: Path, script: str, prefix: list[str] | None = None) -> Started:
    return Started(init, ["python", "-I", "-c", script], paths=[PYTHON], prefix=prefix)


#: In a pid namespace of its own; unshare(1) ends as its child does.
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
if os.geteuid() != 0:
    UNSHARE += ["--user", "--map-root-user"]

as_pid_1 = pytest.param(UNSHARE, id="pid1", marks=pytest.mark.needs("userns"))
everywhere = pytest.mark.parametrize("prefix", [as_pid_1, pytest.param([], id="subreaper")])
