"""What a finished command says of itself: how it ended, what it wrote, what it used, what it changed.

Values only: they hold no resource, compare, pickle, and outlive their container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, AnyStr, Generic, TypeVar

import attrs

from pycontainer.errors import ContainerFailed, StateError
from pycontainer.kernel.signals import signal_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pycontainer.kernel.changes import Change

_Self = TypeVar("_Self", bound="Result[Any]")

# How much of a command and of its output a message shows.
_COMMAND_CHARACTERS = 200
_TAIL_LINES = 10
_TAIL_CHARACTERS = 2000


@attrs.frozen(kw_only=True)
class Usage:
    """What a command used, in seconds and bytes; ``None`` is what was not measured.

    ``wall`` runs from before the start until the end was seen. Where the command had a cgroup, all else is of
    all its processes, those that it left running too: ``cpu_throttled`` is how long they were held back by
    ``cpus``; ``memory_peak`` is the most they had at once, page cache included (Linux 5.19 with version 2), and
    ``memory_current`` what was left when the command ended; ``pids_peak`` is the largest number of processes
    and threads at once (Linux 6.6 with version 2); ``io_read`` and ``io_write`` are bytes moved from
    and to block devices by so many operations; ``oom_kills`` counts processes killed for want of memory;
    ``pressure`` is how many seconds some of them waited for "cpu", "memory" and "io".

    Without a cgroup, ``cpu_user`` and ``cpu_system`` are of the processes that it waited for, and
    ``memory_peak`` is the largest resident set of one process (getrusage(2)), which
    counts no page cache and adds nothing up, and which is unknown as long as it is below the
    peak of the host process itself.
    """

    wall: float
    cpu_user: float
    cpu_system: float
    cpu_throttled: float | None = None
    memory_peak: int | None = None
    memory_current: int | None = None
    pids_peak: int | None = None
    io_read: int | None = None
    io_write: int | None = None
    io_read_ops: int | None = None
    io_write_ops: int | None = None
    oom_kills: int | None = None
    pressure: Mapping[str, float] | None = None


# Named functions: a type checker cannot see what attrs makes of ``converter=tuple``.
def _words(args: Iterable[str]) -> tuple[str, ...]:
    return tuple(args)


def _listed(changes: Iterable[Change] | Exception | None) -> tuple[Change, ...] | Exception | None:
    if isinstance(changes, Exception):
        import copy

        # Without the traceback, whose frames would keep alive all that a value must not hold.
        return copy.copy(changes)
    return None if changes is None else tuple(changes)


@attrs.frozen(kw_only=True, repr=False)
class Result(Generic[AnyStr]):
    r"""How a command ended.

    ``exit_code`` is Docker's: the program's own status, or 128 + ``signal`` when a signal ended it.
    ``timed_out`` and ``oom_killed`` say why, and ``limit`` names what ended it: "timeout", "cpu_timeout", "memory",
    "ulimits:cpu", "ulimits:fsize", "size" for a run that failed with its writable layer full, or ``None``. ``stdout`` and ``stderr`` are ``bytes``, or ``str`` in text
    mode; empty where they were not captured, and with ``stderr=STDOUT`` all is in ``stdout``.
    ``truncated`` says that ``output_limit`` has cut one of them.  ``denied`` lists what was tried through an egress
    network and may not be reached: names, and addresses with ports.

    >>> result = pycontainer.run("debian:12", ["sh", "-c", "echo hi; exit 3"])    # doctest: +SKIP
    >>> result.exit_code, result.stdout                                           # doctest: +SKIP
    (3, b'hi\n')
    """

    args: tuple[str, ...] = attrs.field(converter=_words)
    exit_code: int
    signal: int | None = None
    stdout: AnyStr
    stderr: AnyStr
    truncated: bool = False
    timed_out: bool = False
    oom_killed: bool = False
    limit: str | None = None
    usage: Usage
    denied: tuple[str, ...] = ()
    container_id: str | None = None
    container_name: str | None = None
    _changes: tuple[Change, ...] | Exception | None = attrs.field(
        default=None, converter=_listed, alias="changes"
    )

    def changes(self) -> list[Change]:
        """Return what the command changed in the file system, in the order of paths.

        Raises ``StateError`` where that was not recorded: for a command in a container that lives on, whose
        own ``changes()`` tells; else what kept the changes from being collected after the command's end.
        """
        if isinstance(self._changes, Exception):
            raise self._changes.with_traceback(None)
        if self._changes is None:
            raise StateError("the file system of this command", "not recorded", "list its changes")
        return list(self._changes)

    def check(self: _Self) -> _Self:
        """Return the result itself; raises ``ContainerFailed`` for an exit code other than 0, or a timeout."""
        if self.exit_code != 0 or self.timed_out:
            raise ContainerFailed(self)
        return self

    def describe_failure(self) -> str:
        """Return a paragraph for people: the command, how it ended, the last lines that it wrote.

        Control characters of the output are shown escaped: the text is safe to print on a terminal.
        """
        import shlex

        text = _shorten(_printable(shlex.join(self.args)), _COMMAND_CHARACTERS)
        where = self.container_name or (self.container_id or "")[:12]
        if where:
            text += f" in container {where}"
        text += f" {self._outcome()} after {self.usage.wall:.3g} s"
        name = "stderr" if self.stderr else "stdout"
        lines: list[str] = _tail(self.stderr or self.stdout)
        if not lines:
            return f"{text}; it wrote nothing"
        return "\n  ".join([f"{text}; the last lines of its {name}:", *lines])

    def _outcome(self) -> str:
        if self.timed_out:
            return f"ran into its {self.limit or 'timeout'} (exit code {self.exit_code})"
        if self.oom_killed and self.exit_code != 0:
            return f"ran out of memory (exit code {self.exit_code})"
        if self.signal is not None:
            return f"was killed by {signal_name(self.signal)} (exit code {self.exit_code})"
        return f"ended with exit code {self.exit_code}"

    def __repr__(self) -> str:
        name = self.args[0] if self.args else ""
        sizes = f"{len(self.stdout)} of stdout, {len(self.stderr)} of stderr"
        return f"<Result {_shorten(name, 40)!r} {self._outcome()}; {sizes}>"


def _tail(output: bytes | str) -> list[str]:
    if isinstance(output, bytes):
        # A character is at most 4 bytes in any usual encoding; what a cut splits is shown escaped.
        output = output[-4 * _TAIL_CHARACTERS :].decode("utf-8", "backslashreplace")
    lines = output[-_TAIL_CHARACTERS:].rstrip().splitlines()
    return [_printable(line) for line in lines[-_TAIL_LINES:]]


def _printable(text: str) -> str:
    return "".join(
        char if char.isprintable() or char == "\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
