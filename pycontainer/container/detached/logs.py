"""Reading a container's log: from the beginning or the end, of some time, and on as it grows.

The format is that of ``csrc/monitor_log.c``: time, stream, ``F`` or ``P``, and what was written.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol

import attrs

from pycontainer.errors import InvalidArgument

_PIECE = 1 << 16
#: Of an entry's beginning: the time, the stream and the mark, and the spaces after them.
_SPACES = 3


class News(Protocol):
    """Who tells of news those that follow a log."""

    def wait(self) -> bool:
        """Wait until there may be something to be read; false: nothing will come."""
        ...

    def close(self) -> None:
        """Let go of what it holds; idempotent."""
        ...


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
    if isinstance(value, bool) or not isinstance(value, (int, float)):
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


class Files:
    """The files of one log, oldest first."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def open(self) -> list[IO[bytes]]:
        """All of them, to be closed; those that are rotated meanwhile are found once."""
        found: list[IO[bytes]] = []
        number = 0
        while True:
            path = f"{self._folder}/log.{number}" if number else f"{self._folder}/log"
            try:
                file = open(path, "rb")  # noqa: SIM115  the caller closes it
            except FileNotFoundError:
                return found[::-1]
            if found and os.path.sameopenfile(found[-1].fileno(), file.fileno()):
                file.close()  # renamed while we looked
            else:
                found.append(file)
            number += 1

    def after(self, file: IO[bytes] | None) -> list[IO[bytes]]:
        """The files that are newer than this one, oldest first; all when it is gone, or of ``None``."""
        files = self.open()
        if file is None:
            return files
        for number, each in enumerate(files):
            if os.path.sameopenfile(each.fileno(), file.fileno()):
                for old in files[: number + 1]:
                    old.close()
                return files[number + 1 :]
        return files


class LogReader:
    """Entries of a log between two times, of them the last ``tail`` lines; an iterator, to be closed.

    Where it begins is decided when it is made.  With ``more``, which waits for news and says whether more will come,
    the entries to come follow, until it says no and all was read.
    """

    def __init__(
        self,
        folder: str,
        *,
        since: float | None = None,
        until: float | None = None,
        tail: int | None = None,
        more: Callable[[], bool] | None = None,
    ) -> None:
        self._folder = folder
        self._since, self._until = since, until
        self._more = more
        self._files = Files(folder).open()
        self._current: IO[bytes] | None = None
        if tail is not None:
            _seek(self._files, tail)
        self._entries = self._read()

    def __iter__(self) -> LogReader:
        return self

    def __next__(self) -> LogEntry:
        return next(self._entries)

    def _read(self) -> Iterator[LogEntry]:
        while True:
            while self._files:
                yield from self._rest()
                if self._current is not None:
                    self._current.close()
                self._current = self._files.pop(0)
                yield from self._rest()
            if self._more is None:
                return
            going_on = self._more()
            yield from self._rest()
            self._files = Files(self._folder).after(self._current)
            if not going_on and not self._files:
                return

    def _rest(self) -> Iterator[LogEntry]:
        if self._current is not None:
            yield from _entries(self._current, self._since, self._until)

    def close(self) -> None:
        """Close the files; idempotent."""
        for each in (*self._files, self._current):
            if each is not None:
                each.close()
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
        when = entry.time
        if (since is None or when >= since) and (until is None or when <= until):
            yield entry


def _seek(files: list[IO[bytes]], tail: int) -> None:
    """Let reading begin with the last ``tail`` lines; files before those are closed and left out."""
    left = tail
    for number in range(len(files) - 1, -1, -1):
        left = _seek_in(files[number], left)
        if left == 0:
            for old in files[:number]:
                old.close()
            del files[:number]
            return


def _seek_in(file: IO[bytes], lines: int) -> int:
    """Go back that many lines from the end; how many there were not.

    A line that is in several pieces counts once: by the piece that completes it, or as the last one of all.
    """
    position = end = file.seek(0, os.SEEK_END)
    rest = b""
    seen = 0
    first = end
    pending_end = True
    while position > 0:
        size = min(_PIECE, position)
        position -= size
        file.seek(position)
        rest = file.read(size) + rest
        while True:
            cut = rest.rfind(b"\n", 0, len(rest) - 1)
            if cut < 0 and position > 0:
                break
            entry = parse(rest[cut + 1 :].rstrip(b"\n"))
            complete = entry is not None and entry.data.endswith(b"\n")
            if complete or pending_end:
                if seen == lines:
                    file.seek(first)
                    return 0
                seen += 1
            pending_end = False
            first = position + cut + 1
            if cut < 0:
                rest = b""
                break
            rest = rest[: cut + 1]
    file.seek(0)
    return lines - seen
