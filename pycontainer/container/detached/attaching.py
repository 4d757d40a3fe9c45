"""The streams of a detached container that runs, in any process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pycontainer.container.logreader import LogEntry
from pycontainer.errors import NotSupported
from pycontainer.kernel.fd import Fd, write_all

if TYPE_CHECKING:
    from pycontainer.container.detached.container import Detached


class Attachment:
    """The streams of a running container; ``with`` lets go of them, and the container goes on.

    Iterating yields its output as it comes, :class:`LogEntry` each, until the container has ended.  :meth:`write`
    goes to its standard input, or its terminal.

    >>> with db.attach() as streams:                        # doctest: +SKIP
    ...     streams.write(b"select 1;\\n")
    ...     print(next(iter(streams)).data)
    """

    def __init__(self, container: Detached, *, logs: bool) -> None:
        self._container = container
        # Before anything else: what is written from now on is seen.
        self._output = container.logs(follow=True, tail=None if logs else 0, entries=True)
        self._input: Fd | None = None

    def __iter__(self) -> Iterator[LogEntry]:
        return iter(self._output)

    def write(self, data: bytes) -> None:
        """Write to the program's input; waits until all of it was taken.

        Raises :class:`NotSupported` for a container without an open input, :class:`BrokenPipeError` when nobody
        reads it any more.
        """
        if self._input is None:
            running = self._container.alive("attach")
            given = getattr(running, "input", None)
            if given is None:
                raise NotSupported(
                    "the container has no open input", "create it with stdin_open=True, or tty=True"
                )
            self._input = Fd(os.dup(given.fileno()))
        write_all(self._input.fileno(), data)

    def close_input(self) -> None:
        """Have the program read the end of its input. Only with ``stdin_open``."""
        if self._input is not None:
            self._input.close()
            self._input = None
        self._container._let_go()
        self._container.close_input()

    def resize(self, rows: int, cols: int) -> None:
        """Set the size of the terminal."""
        self._container.resize(rows, cols)

    def close(self) -> None:
        """Let go of the streams; idempotent."""
        if self._input is not None:
            self._input.close()
            self._input = None
        self._output.close()

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
