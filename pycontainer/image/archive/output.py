"""Archives on their way to disk: under another name beside the place until they are whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

from pycontainer.errors import InvalidArgument
from pycontainer.image.newfile import MADE, Place
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named
from pycontainer.kernel.tree import remove_tree


class Output(Protocol):
    """Takes files one after the other; a context manager that leaves nothing without :meth:`commit`."""

    def add(self, name: str, content: bytes) -> None:
        """A whole file."""
        ...

    def begin(self, name: str, size: int, /) -> None:
        """Begin a file of so many bytes, which :meth:`write` and :meth:`end` complete."""
        ...

    def write(self, part: bytes) -> None:
        """Append to the file."""
        ...

    def end(self) -> None:
        """End the file."""
        ...

    def commit(self) -> None:
        """Have everything on disk, by its name."""
        ...

    def __enter__(self) -> Output: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Folder:
    """A directory with the files in it, at ``path``, where nothing may be but an empty directory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._place = Place(path)
        self._root: Fd | None = None
        self._file: Fd | None = None
        self._directories: dict[str, None] = {}

    def __enter__(self) -> Folder:
        place = self._place
        try:
            with named(place.step):
                above = place.above.fileno()
                if place.status() is not None and (not os.path.isdir(place.path) or os.listdir(place.path)):
                    raise self._taken()
                os.mkdir(place.temporary, 0o777, dir_fd=above)
                try:
                    self._root = Fd(os.open(place.temporary, OPEN_DIRECTORY, dir_fd=above))
                except BaseException:
                    os.rmdir(place.temporary, dir_fd=above)
                    raise
        except BaseException:
            place.above.close()
            raise
        return self

    def add(self, name: str, content: bytes) -> None:
        """A whole file."""
        self.begin(name, len(content))
        self.write(content)
        self.end()

    def begin(self, name: str, _size: int, /) -> None:
        """Begin a file."""
        with named(self._place.step):
            for directory in directories_of(name):
                if directory not in self._directories:
                    os.mkdir(directory, 0o777, dir_fd=self._fd)
                    self._directories[directory] = None
            self._file = Fd(os.open(name, MADE, 0o666, dir_fd=self._fd))

    def write(self, part: bytes) -> None:
        """Append to the file."""
        if self._file is None:
            raise ValueError("no file was begun")
        with named(self._place.step):
            write_all(self._file.fileno(), part)

    def end(self) -> None:
        """End the file."""
        file, self._file = self._file, None
        if file is not None:
            with file, named(self._place.step):
                os.fsync(file.fileno())

    def commit(self) -> None:
        """Have everything on disk, by its name."""
        place = self._place
        with named(place.step):
            for directory in (*self._directories, "."):
                with Fd(os.open(directory, OPEN_DIRECTORY, dir_fd=self._fd)) as opened:
                    os.fsync(opened.fileno())
            above = place.above.fileno()
            try:
                # An empty directory gives way.
                os.rename(place.temporary, place.name, src_dir_fd=above, dst_dir_fd=above)
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                    raise self._taken() from None
                raise
            self._close()
            os.fsync(above)

    def _taken(self) -> InvalidArgument:
        return InvalidArgument("path", self._place.path, "it is there already: name a new directory")

    @property
    def _fd(self) -> int:
        if self._root is None:
            raise ValueError("the directory is not open")
        return self._root.fileno()

    def _close(self) -> None:
        root, self._root = self._root, None
        if root is not None:
            root.close()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._place.above as above:
            if self._file is not None:
                self._file.close()
            if self._root is not None:
                self._close()
                remove_tree(above.fileno(), self._place.temporary)


def directories_of(name: str) -> Iterator[str]:
    """The directories on the way to a file, the outermost first."""
    parts = name.split("/")
    for depth in range(1, len(parts)):
        yield "/".join(parts[:depth])
