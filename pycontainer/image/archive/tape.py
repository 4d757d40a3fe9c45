"""Tar archives of images as they are written: to a place, or into a file that is open."""

from __future__ import annotations

import errno
import os
from types import TracebackType
from typing import IO

from pycontainer.image.archive.output import directories_of
from pycontainer.image.newfile import NewFile
from pycontainer.image.tarstream import Entry, Kind
from pycontainer.image.tarwriter import END, headers, padding
from pycontainer.kernel.rooted import named


class _Tape:
    """A tar archive of files that are everybody's to read."""

    def __init__(self) -> None:
        self._directories: set[str] = set()
        self._size = 0

    def add(self, name: str, content: bytes) -> None:
        """A whole file."""
        self.begin(name, len(content))
        self.write(content)
        self.end()

    def begin(self, name: str, size: int, /) -> None:
        """Begin a file of so many bytes."""
        for directory in directories_of(name):
            if directory not in self._directories:
                self._directories.add(directory)
                self.write(headers(_entry(f"{directory}/", "directory", 0o755)))
        self.write(headers(_entry(name, "file", 0o644, size)))
        self._size = size

    def write(self, part: bytes) -> None:
        """Append to the file."""
        raise NotImplementedError

    def end(self) -> None:
        """End the file."""
        self.write(padding(self._size))


class Stream(_Tape):
    """A tar archive written to a file that is open, and stays so."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream

    def __enter__(self) -> Stream:
        return self

    def write(self, part: bytes) -> None:
        """Append to the file."""
        with named("write the archive"):
            view = memoryview(part)
            while view:
                # What is not buffered may take less, and nothing where it must not wait.
                count = self._stream.write(view)
                if not count:
                    raise BlockingIOError(errno.EAGAIN, "it takes no more now")
                view = view[count:]

    def commit(self) -> None:
        """Have everything written."""
        self.write(END)
        with named("write the archive"):
            self._stream.flush()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Tar(_Tape):
    """A tar archive at ``path``."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self._file = NewFile(path)

    def __enter__(self) -> Tar:
        self._file.__enter__()
        return self

    def write(self, part: bytes) -> None:
        """Append to the file."""
        self._file.write(part)

    def commit(self) -> None:
        """Have everything on disk, by its name."""
        self.write(END)
        self._file.commit()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, value, trace)


def _entry(name: str, kind: Kind, mode: int, size: int = 0) -> Entry:
    return Entry(name=name.encode(), kind=kind, mode=mode, uid=0, gid=0, mtime=0, size=size)
