"""How far a transfer has come, drawn in a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from pycontainer.errors import NotSupported

if TYPE_CHECKING:
    import rich.progress

    from pycontainer.image.progress import Progress

_WORDS = {"there": "there already", "download": "downloading", "upload": "uploading", "done": "done"}
_DIGITS = 12  # of a digest, as Docker shows


class ProgressBars:
    """A bar for each blob of a pull, push, load or save; what ``progress=`` is given. A context manager.

    >>> with pc.ProgressBars() as bars:                                # doctest: +SKIP
    ...     pc.Image.pull("docker.io/library/debian:12", progress=bars)

    Drawn on ``file`` (``sys.stderr``) if that is a terminal; elsewhere nothing is written.  The terminal is as before
    at the end of the ``with`` block, also after an exception.  Raises :class:`NotSupported` where a terminal has to be
    drawn on and the package ``rich`` is not installed.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = sys.stderr if file is None else file
        self._bars: rich.progress.Progress | None = None
        self._tasks: dict[str, rich.progress.TaskID] = {}

    def __enter__(self) -> ProgressBars:
        if self._bars is None and self._file.isatty():
            self._bars = _drawn_on(self._file)
            self._bars.start()
        return self

    def __call__(self, progress: Progress) -> None:
        """Draw a step."""
        if self._bars is None:
            return
        step = _WORDS[progress.step]
        task = self._tasks.get(progress.digest)
        if task is None:
            name = progress.digest.partition(":")[2][:_DIGITS]
            task = self._tasks[progress.digest] = self._bars.add_task(name, step=step)
        done = progress.done if progress.step in {"download", "upload"} else progress.total
        self._bars.update(task, completed=done, total=progress.total, step=step)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        bars, self._bars = self._bars, None
        self._tasks.clear()
        if bars is not None:
            bars.stop()


def _drawn_on(file: TextIO) -> rich.progress.Progress:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
    except ImportError:
        raise NotSupported(
            "progress bars need the package rich", "pip install 'pycontainer-linux[terminal]'"
        ) from None
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[step]}"),
        console=Console(file=file),
    )
