"""The log of a container of this process, which its scribe writes (:mod:`pycontainer.kernel.scribe`)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pycontainer.container.logreader import log_numbers
from pycontainer.container.stdio import PIPE, Stdio
from pycontainer.errors import KernelError
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import OPEN_DIRECTORY
from pycontainer.kernel.scribe import Scribe, scribe

_SIZE, _FILES = 20 << 20, 5
#: How often somebody who follows asks whether there is something new, in seconds.
_LOOK = 0.02


class Journal:
    """What one container writes, in all its starts; thread-safe. :meth:`close` when it is removed."""

    def __init__(self, make_folder: Callable[[], str]) -> None:
        """``make_folder`` is called once there is something to log; what it makes is the caller's to remove."""
        self._make_folder = make_folder
        self._folder: str | None = None
        self._place: tuple[Scribe, int] | None = None
        self._lock = threading.Lock()

    def streams(self, *, stdin: Any, stdout: Any, stderr: Any) -> Stdio:
        """Descriptors for the program; those that are :data:`LOG` lead here. The caller's to close.

        Raises :class:`InvalidArgument`, :class:`KernelError`.
        """
        given = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        stdio = Stdio.create(**{name: PIPE if what is LOG else what for name, what in given.items()})
        try:
            self._listen({name: getattr(stdio, name) for name, what in given.items() if what is LOG})
        except BaseException:
            stdio.close()
            raise
        return stdio

    def _listen(self, ends: dict[str, Fd]) -> None:
        if not ends:
            return
        with self._lock, Fd(os.open(self._here(), OPEN_DIRECTORY)) as folder:
            for end in ends.values():
                # Whoever opens a pipe by name can take away what was there to be read.
                os.set_blocking(end.fileno(), False)
            writer = scribe()
            number = self._place[1] if self._place is not None and self._place[0] is writer else None
            numbers = {name: end.fileno() for name, end in ends.items()}
            newest = max(log_numbers(self._here()), default=1)
            number = writer.listen(number, folder.fileno(), numbers, newest=newest, files=_FILES, bound=_SIZE)
            self._place = writer, number

    def _here(self) -> str:
        if self._folder is None:
            self._folder = self._make_folder()
        return self._folder

    @property
    def folder(self) -> str:
        """Where the log is; made when first asked for."""
        with self._lock:
            return self._here()

    def drain(self) -> bool:
        """Have logged what was written until now; whether more may come."""
        return self._ask(Scribe.drain)

    def _ask(self, how: Callable[[Scribe, int], bool]) -> bool:
        place = self._place
        # One that was killed has nothing to say: what it had logged is there.
        with suppress(KernelError):
            if place is not None:
                return how(*place)
        return False

    def news(self, until: float | None) -> JournalNews:
        """For one that follows, until that moment (seconds since 1970)."""
        return JournalNews(self, until)

    def close(self) -> None:
        """Let go of the pipes; idempotent."""
        with self._lock:
            self._ask(Scribe.close)
            self._place = None


class JournalNews:
    """Waits for something new in a journal."""

    def __init__(self, journal: Journal, until: float | None) -> None:
        self._journal = journal
        self._until = until

    def begin(self, newest: int) -> None:
        """Nobody is waited for here."""

    def poll(self, newest: int) -> bool:
        """Whether something may come."""
        del newest
        return (self._until is None or time.time() < self._until) and self._journal.drain()

    @property
    def patience(self) -> float:
        """The scribe tells nobody by itself."""
        return _LOOK if self._until is None else min(_LOOK, max(0.0, self._until - time.time()))

    def pollable(self) -> list[int]:
        """Nothing."""
        return []

    def close(self) -> None:
        """Nothing is held."""


class _Log:
    """Into the log of the container."""

    def __repr__(self) -> str:
        return "LOG"


#: What a container's streams are unless they are told to go elsewhere.
LOG = _Log()
