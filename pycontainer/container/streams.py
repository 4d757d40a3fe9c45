"""The pump between a program's standard streams and Python: no threads, no event loop.

``Streams`` is a state machine over descriptors that can be polled. ``communicate`` drives it with
poll(2) until the program has ended; an event loop drives it with ``add_reader`` and ``add_writer``,
by the same few verbs::

    pollable()       the descriptors to watch, and for what
    advance(fd)      fd is ready: one read or one write, never blocking
    program_ended()  the program is gone: take what lies ready
    close()          give up what is still open

A descriptor that is finished is reported to ``forget`` just before it is closed.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any

import attrs

from pycontainer.container.channels import Input, Output, pieces_of
from pycontainer.container.deadline import Deadline
from pycontainer.errors import InvalidArgument, WaitTimeout
from pycontainer.kernel.process import LONGEST_POLL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pycontainer.container.channels import Chunk, Ends, Handle, OnOutput
    from pycontainer.container.text import Text
    from pycontainer.kernel.process import Process
    from pycontainer.kernel.terminal import Terminal

# How long a killed program may take to end before it is called stuck.
KILLED_SECONDS = 10.0


@attrs.frozen(kw_only=True)
class _TerminalEnds:
    stdin: Terminal | None
    stdout: Terminal
    stderr: None = None


class Streams:
    """The standard streams of one program, pumped without blocking.

    Takes over ``ends``, the host's ends of the program's pipes (a ``Stdio``), and makes them
    non-blocking. Memory is bounded by ``output_limit``, and the program is never held up by a full pipe.

    ``input``
        all of it, or an iterable of pieces, each asked for when the program has taken the one before:
        ``bytes``, and ``str`` in text mode.
    ``output_limit``
        how many bytes of each stream are kept: the head. The rest is read and dropped, and
        ``truncated`` says so. ``None`` keeps everything.
    ``on_output``
        called as ``on_output(name, data)`` with every piece of output as it comes, dropped later or
        not; ``data`` is ``str`` in text mode, never with half a character.

    Raises ``InvalidArgument``. For one thread at a time.
    """

    __slots__ = ("_channels", "_outputs", "_text", "forget")

    def __init__(
        self,
        ends: Ends,
        *,
        input: Chunk | Iterable[Chunk] | None = None,  # noqa: A002  (subprocess' name)
        output_limit: int | None = None,
        on_output: OnOutput | None = None,
        text: Text | None = None,
    ) -> None:
        if output_limit is not None and output_limit < 0:
            raise InvalidArgument("output_limit", output_limit, "0 or more bytes are accepted")
        if ends.stdin is None and input is not None:
            raise InvalidArgument("input", type(input).__name__, "there is no pipe to the program's stdin")
        #: Called with each descriptor just before it is closed; an event loop's driver sets it.
        self.forget: Callable[[int], object] | None = None
        self._text = text
        self._channels: dict[int, Input | Output] = {}
        self._outputs: dict[str, Output] = {}
        if ends.stdin is not None:
            self._add(ends.stdin, Input(ends.stdin, pieces_of(input, text)))
        for name, handle in (("stdout", ends.stdout), ("stderr", ends.stderr)):
            if handle is not None:
                output = Output(handle, name, limit=output_limit, on_output=on_output, text=text)
                self._outputs[name] = output
                self._add(handle, output)

    @classmethod
    def on_terminal(
        cls,
        terminal: Terminal,
        *,
        input: Chunk | Iterable[Chunk] | None = None,  # noqa: A002  (subprocess' name)
        output_limit: int | None = None,
        on_output: OnOutput | None = None,
        text: Text | None = None,
    ) -> Streams:
        """Return the streams of a program on a terminal, which stays the caller's and becomes non-blocking.

        All output is ``stdout``. A terminal cannot be half closed: after the input, Ctrl-D is typed.
        """
        # The type of the input is looked at here, before anything is open.
        typed = None if input is None else _then_ctrl_d(pieces_of(input, text))
        return cls(
            _TerminalEnds(stdin=None if typed is None else terminal.dup(), stdout=terminal.dup()),
            input=typed,
            output_limit=output_limit,
            on_output=on_output,
            text=text,
        )

    def _add(self, handle: Handle, channel: Input | Output) -> None:
        fd = handle.fileno()
        os.set_blocking(fd, False)
        self._channels[fd] = channel

    @property
    def stdout(self) -> Any:
        """What was kept of the standard output: ``bytes``, or ``str`` in text mode; empty without a pipe.

        Raises ``UnicodeDecodeError`` as the text mode's ``errors`` says.
        """
        return self._kept("stdout")

    @property
    def stderr(self) -> Any:
        """What was kept of the standard error output, as ``stdout``."""
        return self._kept("stderr")

    def _kept(self, name: str) -> Any:
        output = self._outputs.get(name)
        if output is None:
            return b"" if self._text is None else ""
        if self._text is None:
            return bytes(output.data)
        return self._text.decode(output.data, cut=output.truncated or not output.ended)

    @property
    def truncated(self) -> bool:
        """Whether ``output_limit`` has cut one of the streams."""
        return any(output.truncated for output in self._outputs.values())

    @property
    def done(self) -> bool:
        """Whether nothing is left to move: the input is written, the outputs have ended."""
        return not self._channels

    def pollable(self) -> list[tuple[int, int]]:
        """Return the descriptors to watch and their poll(2) events; ``forget`` says when to stop."""
        return [(fd, channel.events) for fd, channel in self._channels.items()]

    def advance(self, fd: int) -> None:
        """Do one step on a descriptor that is ready: one read or one write."""
        channel = self._channels[fd]
        if not channel.advance():
            self._finish(fd, channel)

    def program_ended(self) -> None:
        """Take what lies ready in the outputs, and give up the input.

        Outputs that stay open are held by other processes, which may go on to write; ``done`` tells.
        """
        for fd, channel in list(self._channels.items()):
            if isinstance(channel, Input) or not channel.drain():
                self._finish(fd, channel)

    def close(self) -> None:
        """Close what is still open; what was kept stays readable. Idempotent."""
        for fd, channel in list(self._channels.items()):
            self._finish(fd, channel)

    def _finish(self, fd: int, channel: Input | Output) -> None:
        del self._channels[fd]
        if self.forget is not None:
            self.forget(fd)
        channel.close()


def _then_ctrl_d(pieces: Iterator[memoryview]) -> Iterator[memoryview]:
    last = b"\n"
    for piece in pieces:
        last = bytes(piece[-1:])
        yield piece
    # In the middle of a line the first Ctrl-D only ends the line (termios(3), VEOF).
    yield memoryview(b"\x04" if last == b"\n" else b"\x04\x04")


def communicate(
    process: Process,
    streams: Streams,
    *,
    deadline: Deadline | None = None,
    on_timeout: Callable[[], object] | None = None,
    on_interrupt: Callable[[], object] | None = None,
    grace: float = 0.0,
) -> str | None:
    """Pump the streams until the program has ended and its output is drained; which deadline passed, if one did.

    Then ``on_timeout`` is called, which has to kill the program and all that
    belongs to it (default: ``process.kill``); what it wrote until then is still read. Processes that
    hold the output open beyond the program's end are waited for ``grace`` seconds.

    On return the program is reaped and the streams are closed, also when an exception leaves:
    a KeyboardInterrupt, an exception of ``input`` or ``on_output``. ``on_interrupt`` is called then
    (default: ``process.kill``). Raises ``WaitTimeout`` when the program has not ended 10 s after it
    was to be killed.

    >>> streams = Streams(stdio, output_limit=1 << 20)                    # doctest: +SKIP
    >>> limit = communicate(process, streams, deadline=Deadline(5))       # doctest: +SKIP
    """
    try:
        poller = select.poll()
        for fd, events in streams.pollable():
            poller.register(fd, events)
        pidfd = process.fileno()
        poller.register(pidfd, select.POLLIN)
        streams.forget = poller.unregister
        limit = None
        if not _pump(poller, streams, process, deadline):
            assert deadline is not None  # noqa: S101  without one the program has ended
            limit = deadline.passed()
            (on_timeout or process.kill)()
            if not _pump(poller, streams, process, Deadline(KILLED_SECONDS)):
                raise WaitTimeout(f"process {process.pid} runs on {KILLED_SECONDS:g} s after it was killed")
        streams.program_ended()
        if grace > 0 and not streams.done:
            poller.unregister(pidfd)
            _pump(poller, streams, None, Deadline(grace))
        streams.close()
    except BaseException:
        try:
            (on_interrupt or process.kill)()
        finally:
            streams.close()
        process.wait(KILLED_SECONDS)
        raise
    return limit


def _pump(poller: select.poll, streams: Streams, process: Process | None, deadline: Deadline | None) -> bool:
    """Move bytes until the process ends (or, without one, all streams): True; or the deadline: False."""
    pidfd = -1 if process is None else process.fileno()
    while process is not None or not streams.done:
        left = LONGEST_POLL if deadline is None else deadline.left()
        ended = False
        for fd, _ in poller.poll(left * 1000):
            if fd != pidfd:
                streams.advance(fd)
            elif process is not None:
                ended = process.poll() is not None
        if ended:
            return True
        if left <= 0:
            return False
    return True
