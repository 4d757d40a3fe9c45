"""Start a program with chosen fd numbers, as the library starts its own static programs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Program:
    """A started process; ``with`` ends it."""

    def __init__(self, argv: Sequence[str | bytes | Path], fds: Mapping[int, int]) -> None:
        # Above all targets, or one move would overwrite the source of another.
        sources = {target: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for target, fd in fds.items()}
        moves = [(os.POSIX_SPAWN_DUP2, source, target) for target, source in sources.items()]
        try:
            self.pid = os.posix_spawnp(argv[0], tuple(argv), os.environ, file_actions=moves)
        finally:
            for source in sources.values():
                os.close(source)
        self.pidfd = os.pidfd_open(self.pid)
        self._status: int | None = None

    def wait(self, timeout: float = 60) -> int:
        """Wait for its end: the exit status, or minus the signal."""
        if self._status is None:
            if not select.select([self.pidfd], [], [], timeout)[0]:
                raise TimeoutError(f"process {self.pid} still runs")
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def send(self, number: int) -> None:
        """Send a signal."""
        signal.pidfd_send_signal(self.pidfd, number)

    def runs(self) -> bool:
        """Tell whether it has not ended."""
        return self._status is None and not select.select([self.pidfd], [], [], 0)[0]

    def fds(self) -> list[str]:
        """Return its fd numbers."""
        return sorted(os.listdir(f"/proc/{self.pid}/fd"), key=int)

    def status(self, field: str) -> str:
        """Return a field of its proc_pid_status(5)."""
        for line in (
            Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        ):
            name, _, value = line.partition(":")
            if name == field:
                return value.strip()
        raise KeyError(field)

    def kilobytes(self) -> int:
        """Return its resident memory in KiB."""
        return int(self.status("VmRSS").split()[0])

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                self.send(signal.SIGKILL)
            self.wait()
        os.close(self.pidfd)


def until(condition: Callable[[], object], timeout: float = 10) -> None:
    """Wait until ``condition()`` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.002)
