"""Tar archives of images as they are written: to a place, or into a file that is open."""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType
from typing import IO

from pycontainer.errors import InvalidArgument
from pycontainer.image.archive.output import MADE, Place, directories_of
from pycontainer.image.tarstream import Entry, Kind
from pycontainer.image.tarwriter import END, headers, padding
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.kinds import kind_of
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
        self._place = Place(path)
        self._file: Fd | None = None

    def __enter__(self) -> Tar:
        place = self._place
        status = place.status()
        # Not a device or a fifo: a rename would put a file in the place of /dev/null.
        if status is not None and not stat.S_ISREG(status.st_mode):
            place.above.close()
            raise InvalidArgument("path", place.path, f"it is {kind_of(status.st_mode)}: name a file")
        try:
            with named(place.step):
                self._file = Fd(os.open(place.temporary, MADE, 0o666, dir_fd=place.above.fileno()))
        except BaseException:
            place.above.close()
            raise
        return self

    def write(self, part: bytes) -> None:
        """Append to the file."""
        with named(self._place.step):
            write_all(self._fd, part)

    def commit(self) -> None:
        """Have everything on disk, by its name."""
        self.write(END)
        place = self._place
        with named(place.step):
            os.fsync(self._fd)
            above = place.above.fileno()
            os.rename(place.temporary, place.name, src_dir_fd=above, dst_dir_fd=above)
            self._close()
            os.fsync(above)

    @property
    def _fd(self) -> int:
        if self._file is None:
            raise ValueError("the archive is not open")
        return self._file.fileno()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._place.above as above:
            if self._file is not None:
                self._close()
                os.unlink(self._place.temporary, dir_fd=above.fileno())


def _entry(name: str, kind: Kind, mode: int, size: int = 0) -> Entry:
    return Entry(name=name.encode(), kind=kind, mode=mode, uid=0, gid=0, mtime=0, size=size)
