"""Reading a container's log: from the beginning or the end, of some time, and on as it grows.

The format is that of ``csrc/log.c``: time, stream, ``F`` or ``P``, and what was written.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

import attrs

from pycontainer.errors import InvalidArgument

_PIECE = 1 << 16
#: In seconds since 1970, later than any; NaN is not below it.
_LATEST = 1e18
#: Of an entry's beginning: the time, the stream and the mark, and the spaces after them.
_SPACES = 3


@attrs.frozen(kw_only=True)
class LogEntry:
    """A piece of output: a line with its end, or the beginning of a line (``data`` has no ``\\n`` then).

    ``time`` is in seconds since 1970, ``stamp`` the same as it was written (RFC 3339), ``stream`` is ``stdout`` or
    ``stderr``.
    """

    stamp: str
    stream: str
    data: bytes

    @property
    def time(self) -> float:
        """Seconds since 1970."""
        return seconds_of(self.stamp)


def seconds_of(stamp: str) -> float:
    """A time as the log has it, in seconds since 1970."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    moment = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp() + (int(fraction.ljust(9, "0")[:9]) / 1e9 if fraction else 0.0)


def moment(name: str, value: Any) -> float | None:
    """A time that a caller gave: seconds since 1970, a ``datetime`` or its text. Raises :class:`InvalidArgument`."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            raise InvalidArgument(name, value, "a time as 2026-01-31T12:00:00 is needed") from None
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, datetime.timedelta):
        return datetime.datetime.now(tz=datetime.timezone.utc).timestamp() - value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LATEST:
        raise InvalidArgument(
            name, value, "seconds since 1970, a datetime, or a timedelta before now is needed"
        )
    return float(value)


def parse(line: bytes) -> LogEntry | None:
    """An entry from its line, without the line's end; ``None`` for what is none."""
    parts = line.split(b" ", _SPACES)
    if len(parts) != _SPACES + 1 or parts[2] not in {b"F", b"P"}:
        return None
    end = b"\n" if parts[2] == b"F" else b""
    return LogEntry(
        stamp=parts[0].decode("ascii", "replace"),
        stream=parts[1].decode("ascii", "replace"),
        data=parts[3] + end,
    )


def log_numbers(folder: str) -> list[int]:
    """The numbers of a log's files, oldest first. A file keeps its name; the newest is written to."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    ends = [name[4:] for name in names if name.startswith("log.")]
    return sorted(int(end) for end in ends if end.isascii() and end.isdigit())


@attrs.frozen
class LogFile:
    """A file of a log that is open."""

    number: int
    stream: IO[bytes]

    @classmethod
    def open(cls, folder: str, after: int = 0) -> list[LogFile]:
        """Those that are newer than number ``after``, oldest first; to be closed."""
        found = []
        for number in log_numbers(folder):
            if number > after:
                with suppress(FileNotFoundError):  # it was the oldest
                    found.append(cls(number, open(f"{folder}/log.{number}", "rb")))  # noqa: SIM115
        return found


class LogReader:
    """Entries of a log between two times, of them the last ``tail`` lines; an iterator, to be closed.

    Where it begins is decided when it is made.  One that is to ``follow`` yields ``None`` where there is nothing more
    now, and goes on when it is asked again; until somebody says :meth:`finish`.
    """

    def __init__(
        self,
        folder: str,
        *,
        since: float | None = None,
        until: float | None = None,
        tail: int | None = None,
        follow: bool = False,
    ) -> None:
        self._files: list[LogFile] = []
        self._current: LogFile | None = None
        self._folder = folder
        self._since, self._until = since, until
        self._follow = follow
        self._files = LogFile.open(folder)
        #: How many files were removed before they were read.
        self.missed = 0
        if tail is not None:
            _seek(self._files, tail)
        self._entries = self._read()

    def __iter__(self) -> LogReader:
        return self

    def __next__(self) -> LogEntry | None:
        return next(self._entries)

    def finish(self) -> None:
        """Nothing will come any more: what is there by now is the rest."""
        self._follow = False

    @property
    def newest(self) -> int:
        """The number of the newest file that is open here; 0: there is none."""
        files = self._files if self._current is None else [self._current, *self._files]
        return files[-1].number if files else 0

    def _read(self) -> Iterator[LogEntry | None]:
        following = self._follow
        while True:
            while self._files:
                yield from self._rest()
                self._go_on()
                yield from self._rest()
            if not following:
                return
            yield None
            following = self._follow
            self._files = LogFile.open(self._folder, self.newest)
            yield from self._rest()

    def _go_on(self) -> None:
        """To the next file."""
        before, self._current = self._current, self._files.pop(0)
        if before is not None:
            self.missed += self._current.number - before.number - 1
            before.stream.close()

    def _rest(self) -> Iterator[LogEntry]:
        if self._current is not None:
            yield from _entries(self._current.stream, self._since, self._until)

    def close(self) -> None:
        """Close the files; idempotent."""
        for each in (*self._files, self._current):
            if each is not None:
                each.stream.close()
        self._files, self._current = [], None

    def __del__(self) -> None:
        self.close()


def _entries(file: IO[bytes], since: float | None, until: float | None) -> Iterator[LogEntry]:
    while line := file.readline():
        if not line.endswith(b"\n"):  # being written
            file.seek(-len(line), os.SEEK_CUR)
            return
        entry = parse(line[:-1])
        if entry is None:
            continue
        if since is None and until is None:
            yield entry
            continue
        try:
            when = entry.time
        except ValueError:  # no time, so no entry
            continue
        if (since is None or when >= since) and (until is None or when <= until):
            yield entry


def _seek(files: list[LogFile], tail: int) -> None:
    """Let reading begin with the last ``tail`` lines; files before those are closed and left out.

    A line that is in several pieces, and maybe in several files, counts once: by the piece that completes it, or as
    the last one of all.
    """
    if not files:
        return
    at, begin = len(files) - 1, files[-1].stream.seek(0, os.SEEK_END)
    seen, last = 0, True
    for number, start, complete in _backwards(files):
        if complete or last:
            if seen == tail:
                break
            seen += 1
        last = False
        at, begin = number, start
    for old in files[:at]:
        old.stream.close()
    del files[:at]
    for newer in files[1:]:
        newer.stream.seek(0)
    files[0].stream.seek(begin)


def _backwards(files: list[LogFile]) -> Iterator[tuple[int, int, bool]]:
    """The entries, newest first: the place of the file, where they begin in it, and whether a line ends there."""
    for place in range(len(files) - 1, -1, -1):
        stream = files[place].stream
        position = stream.seek(0, os.SEEK_END)
        rest = b""
        while position > 0:
            size = min(_PIECE, position)
            position -= size
            stream.seek(position)
            rest = stream.read(size) + rest
            while rest:
                cut = rest.rfind(b"\n", 0, len(rest) - 1)
                if cut < 0 and position > 0:
                    break
                entry = parse(rest[cut + 1 :].rstrip(b"\n"))
                yield place, position + cut + 1, entry is not None and entry.data.endswith(b"\n")
                rest = rest[: cut + 1]
