"""A program with live streams on the event loop, in the manner of ``asyncio.subprocess.Process``."""

from __future__ import annotations

import asyncio
import errno
from types import TracebackType
from typing import IO, Any

from pycontainer.aio.loop import Bell, to_the_end
from pycontainer.container.streams import KILLED_SECONDS
from pycontainer.errors import WaitTimeout
from pycontainer.kernel import process as kernel


class Process:
    """A running or ended program of a container; :meth:`Container.popen` makes it.

    ``stdin`` is an ``asyncio.StreamWriter``, ``stdout`` and ``stderr`` are ``asyncio.StreamReader``, or
    ``None`` where there is no pipe; all of bytes.  As in ``asyncio``, signals are sent at once, by plain
    methods.  ``async with`` closes the streams and waits; when the block is left by an exception, a
    cancellation too, the program is killed first.

    >>> async with c.popen(["cat"], stdin=pc.PIPE, stdout=pc.PIPE) as p:    # doctest: +SKIP
    ...     p.stdin.write(b"ping\\n")
    ...     await p.stdout.readline()
    """

    def __init__(self, process: kernel.Process) -> None:
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._process = process
        self._readers: list[asyncio.ReadTransport] = []

    @classmethod
    async def adopt(cls, process: kernel.Process, *, limit: int) -> Process:
        """Take over a process; its files go to the loop. ``limit`` bounds the readers' buffers, in bytes.

        When this fails, or is cancelled, the process is killed, reaped and closed.
        """
        self = cls(process)
        try:
            if process.stdin is not None:
                self.stdin = await _writer(process.stdin)
            if process.stdout is not None:
                self.stdout = await self._reader(process.stdout, limit)
            if process.stderr is not None:
                self.stderr = await self._reader(process.stderr, limit)
        except BaseException:
            self.kill()
            self.close()
            await to_the_end(self._reap)
            raise
        return self

    async def _reader(self, file: IO[Any], limit: int) -> asyncio.StreamReader:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        transport, _ = await loop.connect_read_pipe(lambda: _Protocol(reader, loop=loop), file)
        self._readers.append(transport)
        return reader

    @property
    def pid(self) -> int:
        """The host's pid of the program."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit status (128 + n for signal n), once ``poll`` or ``wait`` has seen the end."""
        return self._process.exit_code

    @property
    def signal(self) -> int | None:
        """The signal that ended the program, or ``None``: not ended, or ended by itself."""
        return self._process.signal

    def poll(self) -> int | None:
        """The exit code, or ``None`` while the program runs."""
        return self._process.poll()

    async def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit code. Raises :class:`WaitTimeout` after ``timeout`` seconds.

        A cancellation, as a timeout, leaves the program running.
        """
        process = self._process
        code = await Bell().until(process.poll, lambda: [process.fileno()], timeout)
        if code is None:
            raise WaitTimeout(f"process {process.pid} did not end within {timeout:g} s")
        return code

    def send_signal(self, signal: int | str) -> None:
        """Send a signal: a number, ``signal.SIGTERM``, ``"TERM"`` or ``"SIGTERM"``; nothing when it has ended."""
        self._process.send_signal(signal)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def resize(self, rows: int, cols: int) -> None:
        """Set the size of the terminal; :class:`StateError` when the program has none."""
        self._process.resize(rows, cols)

    def close(self) -> None:
        """Close the streams, dropping what is still to be written; idempotent. Does not end the program."""
        for transport in self._readers:
            transport.close()
        if self.stdin is not None:
            # Only where something waits: a transport must not be aborted once it is closed.
            if self.stdin.transport.get_write_buffer_size() > 0:
                self.stdin.transport.abort()
            self.stdin.close()
        self._process.close()

    def _reap(self) -> None:
        self._process.wait(KILLED_SECONDS)

    async def __aenter__(self) -> Process:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                self.kill()
            for transport in self._readers:
                transport.close()
            if self.stdin is not None:
                self.stdin.close()
            await self.wait()
        except BaseException:
            self.kill()
            await to_the_end(self._reap)
            raise
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<aio.{repr(self._process)[1:]}"


class _Protocol(asyncio.StreamReaderProtocol):
    def connection_lost(self, exc: Exception | None) -> None:
        # A terminal's end of file, pty(7).
        is_end = isinstance(exc, OSError) and exc.errno == errno.EIO
        super().connection_lost(None if is_end else exc)


async def _writer(file: IO[Any]) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    # Never fed: it is the protocol of streams that knows how to drain and to wait for the end.
    reader = asyncio.StreamReader(loop=loop)
    transport, protocol = await loop.connect_write_pipe(lambda: _Protocol(reader, loop=loop), file)
    return asyncio.StreamWriter(transport, protocol, reader, loop)
