"""A file on its way to its place: under another name beside it until it is whole, on disk by then."""

from __future__ import annotations

import os
import stat
from types import TracebackType

from pycontainer.errors import InvalidArgument
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.kinds import kind_of, status_of
from pycontainer.kernel.rooted import named

#: Flags for a file that must not have been there.
MADE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Place:
    """Where something is to be: its directory, which is open, and its name; another name until then."""

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
        """What is there now."""
        return status_of(self.above.fileno(), self.name)


class NewFile:
    """A file that takes the place of what is at ``path``; a context manager that leaves that without :meth:`commit`.

    Raises :class:`InvalidArgument` for a directory, device, fifo or socket there, and :class:`KernelError`.
    """

    def __init__(self, path: str | os.PathLike[str], *, mode: int = 0o666) -> None:
        """``mode`` is that of open(2): the umask applies."""
        self._place = Place(path)
        self._mode = mode
        self._file: Fd | None = None

    def __enter__(self) -> NewFile:
        place = self._place
        try:
            status = place.status()
            # A rename would put a file in the place of /dev/null.
            if status is not None and not stat.S_ISREG(status.st_mode):
                raise InvalidArgument("path", place.path, f"it is {kind_of(status.st_mode)}: name a file")
            with named(place.step):
                self._file = Fd(os.open(place.temporary, MADE, self._mode, dir_fd=place.above.fileno()))
        except BaseException:
            place.above.close()
            raise
        return self

    def fileno(self) -> int:
        """The file, for writing."""
        if self._file is None:
            raise ValueError("the file is not open")
        return self._file.fileno()

    def write(self, part: bytes) -> None:
        """Append."""
        with named(self._place.step):
            write_all(self.fileno(), part)

    def commit(self) -> None:
        """Have it on disk, by its name."""
        place = self._place
        with named(place.step):
            os.fsync(self.fileno())
            above = place.above.fileno()
            os.rename(place.temporary, place.name, src_dir_fd=above, dst_dir_fd=above)
            self._close()
            os.fsync(above)

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
