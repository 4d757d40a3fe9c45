"""Archives on their way to disk: under another name beside the place until they are whole."""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType
from typing import Protocol

from pycontainer.errors import InvalidArgument
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.kinds import kind_of, status_of
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named
from pycontainer.kernel.tree import remove_tree

_BLOCK = 512
_END = bytes(2 * _BLOCK)
#: What eleven octal digits cannot say.
_OCTAL = 8**11
_MADE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


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


class _Place:
    """Where something is to be: its directory and its name, and another name until then."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            # A link to an archive stays one.
            self.path = os.path.realpath(path)
        except ValueError:
            raise InvalidArgument("path", path, "no path has a NUL or half a surrogate in it") from None
        above, self.name = os.path.split(self.path)
        if not self.name:
            raise InvalidArgument("path", path, "a file is needed")
        self.step = f"write {self.path}"
        self.temporary = f".pycontainer-{os.urandom(8).hex()}"
        with named(self.step):
            self.above = Fd(os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def status(self) -> os.stat_result | None:
        return status_of(self.above.fileno(), self.name)


class Tar:
    """A tar archive in the ustar format, of files that are everybody's to read, at ``path``."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._place = _Place(path)
        self._file: Fd | None = None
        self._directories: set[str] = set()
        self._size = 0

    def __enter__(self) -> Tar:
        place = self._place
        status = place.status()
        # Not a device or a fifo: a rename would put a file in the place of /dev/null.
        if status is not None and not stat.S_ISREG(status.st_mode):
            place.above.close()
            raise InvalidArgument("path", place.path, f"it is {kind_of(status.st_mode)}: name a file")
        try:
            with named(place.step):
                self._file = Fd(os.open(place.temporary, _MADE, 0o666, dir_fd=place.above.fileno()))
        except BaseException:
            place.above.close()
            raise
        return self

    def add(self, name: str, content: bytes) -> None:
        """A whole file."""
        self.begin(name, len(content))
        self.write(content)
        self.end()

    def begin(self, name: str, size: int, /) -> None:
        """Begin a file of so many bytes."""
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            directory = "/".join(parts[:depth]) + "/"
            if directory not in self._directories:
                self._directories.add(directory)
                self.write(header(directory, 0))
        self.write(header(name, size))
        self._size = size

    def write(self, part: bytes) -> None:
        """Append to the file."""
        with named(self._place.step):
            write_all(self._fd, part)

    def end(self) -> None:
        """End the file."""
        self.write(bytes(-self._size % _BLOCK))

    def commit(self) -> None:
        """Have everything on disk, by its name."""
        self.write(_END)
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


class Folder:
    """A directory with the files in it, at ``path``, where nothing may be but an empty directory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._place = _Place(path)
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
        parts = name.split("/")[:-1]
        with named(self._place.step):
            for depth in range(1, len(parts) + 1):
                directory = "/".join(parts[:depth])
                if directory not in self._directories:
                    os.mkdir(directory, 0o777, dir_fd=self._fd)
                    self._directories[directory] = None
            self._file = Fd(os.open(name, _MADE, 0o666, dir_fd=self._fd))

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


def header(name: str, size: int) -> bytes:
    """One header of ustar (pax(1)): a file, or with a slash at its end a directory."""
    directory = name.endswith("/")
    # Larger sizes as GNU writes them, and everybody reads: the first bit set, and a number in base 256.
    told = b"%011o\0" % size if size < _OCTAL else (1 << 95 | size).to_bytes(12, "big")
    fields = (
        name.encode().ljust(100, b"\0"),
        b"0000755\0" if directory else b"0000644\0",
        b"0000000\0" * 2,  # root
        told,
        b"%011o\0" % 0,  # 1970
        b" " * 8,  # the sum
        b"5" if directory else b"0",
        bytes(100),
        b"ustar\00000",
    )
    block = b"".join(fields).ljust(_BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
