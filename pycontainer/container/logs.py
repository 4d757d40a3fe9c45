"""What a container wrote, as its user is told it; the files are read by :mod:`.logreader`."""

from __future__ import annotations

import select
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from pycontainer.container.logreader import LogEntry, LogReader


class News(Protocol):
    """Who tells of news those that follow a log."""

    def begin(self, newest: int) -> None:
        """Have the container wait for who reads from now on; of one that does not run yet once it is read from."""
        ...

    def poll(self, newest: int) -> bool:
        """Whether something may come; false: nothing will. ``newest``: the last file that is open."""
        ...

    @property
    def patience(self) -> float:
        """After how many seconds it is to be asked again at the latest."""
        ...

    def pollable(self) -> list[int]:
        """What becomes readable when there is something new."""
        ...

    def close(self) -> None:
        """Let go of what it holds; idempotent."""
        ...


class Logs:
    """Lines of output, or entries of the log, as they come; :meth:`close` before the end lets go of the files."""

    def __init__(self, reader: LogReader, news: News | None, wanted: set[str], *, entries: bool) -> None:
        self._reader, self._news = reader, news
        self._wanted, self._entries = wanted, entries
        #: The beginnings of lines, by stream, until their ends are read.
        self._begun: dict[str, bytes] = {}

    def __iter__(self) -> Logs:
        return self

    def __next__(self) -> Any:
        for entry in self._reader:
            if entry is None:
                self._wait()
            elif entry.stream in self._wanted:
                told = self._told(entry)
                if told is not None:
                    return told
        self.close()
        while self._begun:
            return self._begun.popitem()[1]
        raise StopIteration

    def _told(self, entry: LogEntry) -> Any:
        if self._entries:
            return entry
        if self._news is not None:
            return entry.data
        line = self._begun.pop(entry.stream, b"") + entry.data
        if line.endswith(b"\n"):
            return line
        self._begun[entry.stream] = line
        return None

    def _wait(self) -> None:
        news = self._news
        assert news is not None  # noqa: S101  who does not follow waits for nothing
        if not news.poll(self._reader.newest):
            self._reader.finish()
            return
        poller = select.poll()
        for fd in news.pollable():
            poller.register(fd, select.POLLIN)
        poller.poll(news.patience * 1000)

    async def each(
        self, wait: Callable[[Callable[[], list[int]], float], Awaitable[object]]
    ) -> AsyncIterator[Any]:
        """The same for one who follows on an event loop, where ``wait`` waits for what is pollable, so many seconds."""
        news = self._news
        assert news is not None  # noqa: S101
        for entry in self._reader:
            if entry is not None:
                if entry.stream in self._wanted:
                    yield self._told(entry)
            elif news.poll(self._reader.newest):
                await wait(news.pollable, news.patience)
            else:
                self._reader.finish()

    @property
    def missed(self) -> int:
        """How many files of the log, each of the size of ``log_size``, were removed before they were read."""
        return self._reader.missed

    def close(self) -> None:
        """Let go of the log; idempotent."""
        self._reader.close()
        if self._news is not None:
            self._news.close()
