"""A child process, held by its pidfd from spawn to reaping.

Owns the pidfd, the host's ends of the program's standard streams and the right to
collect the exit status. Making the process is the spawn's work (``kernel.spawn``);
what belongs to the process beyond itself (cgroup, leash, files) is its container's.

Waiting goes by the pidfd alone (waitid(2) with ``P_PIDFD``, Linux 5.4), so no other child of the host
is ever reaped here. The reverse cannot be had: whatever ``clone3`` was told, execve(2) resets the
termination signal to SIGCHLD, so a host that calls ``waitpid(-1)`` or ignores SIGCHLD takes the status of
our children with it. That is found out and said, and hangs nobody.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import select
import signal as signals
import threading
import time
import warnings
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from pycontainer.errors import KernelError, StateError, WaitTimeout
from pycontainer.kernel import native, orphans
from pycontainer.kernel.ended import Ended
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.signals import signal_name, signal_number
from pycontainer.kernel.streamfile import as_file, open_stream

if TYPE_CHECKING:
    from pycontainer.kernel.terminal import Terminal

# waitid(2): wait for children whatever their exit signal, which is 0 until execve; os does not name it.
_WALL = 0x40000000
_REAP = os.WEXITED | os.WNOHANG | _WALL
_PEEK = _REAP | os.WNOWAIT

# poll(2) takes milliseconds in an int; a longer wait is made of several.
LONGEST_POLL = 1_000_000.0


class Process:
    """A running or ended child process, in the manner of ``subprocess.Popen``.

    All of it may be called from several threads at once, ``close`` excepted: any number may
    wait, each gets the status, one of them reaps. ``fileno()`` is the pidfd, which polls
    readable when the process has ended, in ``select`` or an event loop's ``add_reader``.

    As a context manager it closes the streams and waits, as ``Popen`` does; when the block
    is left by an exception the process is killed first, for nobody is there to end it.

    >>> with Process.adopt(pid, pidfd, stdout=out) as process:     # doctest: +SKIP
    ...     lines = process.stdout.readlines()
    >>> process.exit_code, process.signal                          # doctest: +SKIP
    (0, None)
    """

    __slots__ = (
        "__weakref__", "_closing", "_ended", "_host_peak", "_lock", "_pidfd", "_reaped",
        "pid", "stderr", "stdin", "stdout", "terminal",
    )  # fmt: skip

    stdin: IO[Any] | None
    stdout: IO[Any] | None
    stderr: IO[Any] | None

    def __init__(self, pid: int, pidfd: Fd) -> None:
        self.pid = pid
        self.stdin = self.stdout = self.stderr = None
        self.terminal: Terminal | None = None
        self._pidfd = pidfd
        self._ended: Ended | None = None
        self._reaped = False
        self._closing = False
        self._lock = threading.Lock()
        self._host_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    @classmethod
    def adopt(
        cls,
        pid: int,
        pidfd: Fd | int,
        *,
        stdin: Fd | None = None,
        stdout: Fd | None = None,
        stderr: Fd | None = None,
        terminal: Terminal | None = None,
        bufsize: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
    ) -> Process:
        """Take over a child of this process: its pidfd, its streams and the duty to reap it.

        ``stdin``, ``stdout`` and ``stderr`` are the host's ends of pipes; they become file objects,
        buffered by ``bufsize`` as in ``subprocess``, binary unless ``encoding`` is given. With a
        ``terminal`` the process' ``stdin`` and ``stdout`` are that terminal instead. The names of
        encoding and error handler must be ones that Python knows.
        """
        orphans.collect()
        process = cls(pid, Fd(pidfd) if isinstance(pidfd, int) else pidfd)
        if terminal is not None:
            process.terminal = terminal
            process.stdin = as_file(io.BufferedWriter(terminal.dup()), bufsize, encoding, errors)
            process.stdout = as_file(io.BufferedReader(terminal.dup()), bufsize, encoding, errors)
        if stdin is not None:
            process.stdin = open_stream(stdin, "wb", bufsize, encoding, errors)
        if stdout is not None:
            process.stdout = open_stream(stdout, "rb", bufsize, encoding, errors)
        if stderr is not None:
            process.stderr = open_stream(stderr, "rb", bufsize, encoding, errors)
        return process

    @property
    def ended(self) -> Ended | None:
        """How the process ended, once ``poll`` or ``wait`` has seen it; else ``None``."""
        return self._ended

    @property
    def exit_code(self) -> int | None:
        """The exit status (128 + n for signal n), once ``poll`` or ``wait`` has seen the end."""
        return None if self._ended is None else self._ended.exit_code

    @property
    def signal(self) -> int | None:
        """The signal that ended the process, or ``None``: not ended, or ended by itself."""
        return None if self._ended is None else self._ended.signal

    @property
    def closed(self) -> bool:
        """Whether the pidfd is closed: after ``close``, once the process is reaped."""
        return self._pidfd.closed

    def fileno(self) -> int:
        """Return the pidfd, which stays owned here; ``ValueError`` when closed."""
        return self._pidfd.fileno()

    def poll(self) -> int | None:
        """Return the exit code, reaping the process when it has ended, or ``None`` while it runs.

        Raises ``KernelError`` (ECHILD) when other code has collected the status: it is lost.
        """
        if not self._reaped:
            self._collect()
        return None if self._ended is None else self._ended.exit_code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises ``WaitTimeout`` after ``timeout`` seconds, with the process going on, and ``KernelError``
        (ECHILD) when other code has collected the status.
        """
        exit_code = self.poll()
        if exit_code is not None:
            return exit_code
        poller = select.poll()
        poller.register(self.fileno(), select.POLLIN)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = LONGEST_POLL if deadline is None else min(LONGEST_POLL, deadline - time.monotonic())
            if left > 0:
                poller.poll(left * 1000)
            exit_code = self.poll()
            if exit_code is not None:
                return exit_code
            if left <= 0:
                raise WaitTimeout(f"process {self.pid} did not end within {timeout:g} s")

    def _collect(self) -> None:
        with self._lock:
            if self._reaped:
                return
            pidfd = self._pidfd.fileno()
            try:
                # Looked at first and reaped second: a KeyboardInterrupt between the kernel's answer and
                # its arrival in self._ended would otherwise lose the status for good.
                if self._ended is None:
                    found = native.wait_usage(pidfd, _PEEK)
                    if found is None:
                        return
                    self._ended = Ended.of(found, host_peak=self._host_peak)
                os.waitid(os.P_PIDFD, pidfd, _REAP)
            except OSError as error:
                if error.errno != errno.ECHILD:
                    raise
                if self._ended is None:
                    if self._closing:
                        self._pidfd.close()
                    raise KernelError(
                        errno.ECHILD,
                        f"wait for process {self.pid}",
                        hint="its exit status is lost: other code of this process collected it "
                        "(waitpid(-1)), or SIGCHLD is ignored, or it is no child of this process",
                    ) from None
            self._reaped = True
            if self._closing:
                self._pidfd.close()

    def send_signal(self, signal: int | str) -> None:
        """Send a signal: a number, ``signal.SIGTERM``, ``"TERM"`` or ``"SIGTERM"``.

        Goes through the pidfd, so it can never reach another process of the same number. Nothing
        happens when the process has ended, as with ``Popen``. Raises ``InvalidArgument`` for an
        unknown signal and ``KernelError`` (EPERM) when the kernel refuses.
        """
        number = signal_number(signal)
        if self._reaped:
            return
        try:
            signals.pidfd_send_signal(self.fileno(), number)
        except ProcessLookupError:
            return
        except OSError as error:
            step = f"send {signal_name(number)} to process {self.pid}"
            raise KernelError(error.errno or 0, step) from None

    def terminate(self) -> None:
        """Send SIGTERM; see ``send_signal``."""
        self.send_signal(signals.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL; see ``send_signal``."""
        self.send_signal(signals.SIGKILL)

    def resize(self, rows: int, cols: int) -> None:
        """Set the size of the terminal; ``StateError`` when the process has none."""
        if self.terminal is None:
            raise StateError(f"process {self.pid}", "without a terminal", "resize")
        self.terminal.resize(rows, cols)

    def close(self) -> None:
        """Close the streams, the terminal and, as soon as the process is reaped, the pidfd; idempotent.

        What is buffered for a program that no longer reads is dropped. Does not end the process: one that
        still runs goes on, and can be waited for and signalled as before.
        """
        try:
            self._close_streams()
        finally:
            self._closing = True
            if self._reaped:
                self._pidfd.close()
            elif not self._pidfd.closed:
                # Where the status is lost whoever asks for it is told; there is nothing to reap then.
                with contextlib.suppress(KernelError):
                    self.poll()

    def _close_streams(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr, self.terminal):
            if stream is not None:
                # Where the program reads no more: the file is closed all the same, what it held is lost.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                self.kill()
            self._close_streams()
            self.wait()
        finally:
            self.close()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        pidfd = getattr(self, "_pidfd", None)
        if pidfd is None or pidfd.closed:
            return
        if not self._closing:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self)
        self.close()
        if not pidfd.closed:
            # It still runs, and nobody else can reap it: a later adopt does so in passing.
            orphans.add(pidfd)

    def __repr__(self) -> str:
        state = "not ended" if self._ended is None else f"exit code {self._ended.exit_code}"
        return f"<Process {self.pid} {state}>"
