"""A directory of a cgroup tree, held open: its files are read and written whole, by one call each."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from typing import Any

from pycontainer.errors import KernelError
from pycontainer.kernel import native
from pycontainer.kernel.fd import Fd

#: One read takes a whole file of the kernel's, but for those that list processes or devices.
_BLOCK = 1 << 16
#: As long as this, there may be more.
_PIECE = 3500
#: A process that was just reaped can count for a moment still.
_PATIENCE = 2.0


class _Lasting(Fd):
    """Of the process while it lives: that nobody closes it is no mistake to be warned of."""

    __slots__ = ()

    def __del__(self, _warn: Any = None, _close: Any = os.close) -> None:
        fd = getattr(self, "_fd", -1)
        if fd >= 0:
            _close(fd)


class Directory:
    """An open cgroup directory of either version. ``close`` lets go of it, ``remove`` removes it."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: str, fd: int, *, lasting: bool = False) -> None:
        self.path = path
        self._fd = _Lasting(fd) if lasting else Fd(fd)

    @classmethod
    def open(cls, path: str, *, lasting: bool = False) -> Directory:
        """Open an existing one, ``lasting`` for as long as the process lives. Raises ``OSError``."""
        return cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), lasting=lasting)

    def make(self, name: str) -> Directory:
        """Make and open the directory ``name`` in this one. Raises ``OSError``, with nothing made."""
        here = self._fd.fileno()
        os.mkdir(name, 0o755, dir_fd=here)
        try:
            return Directory(
                f"{self.path.rstrip('/')}/{name}",
                os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here),
            )
        except BaseException:
            os.rmdir(name, dir_fd=here)
            raise

    @property
    def closed(self) -> bool:
        """Whether it is held no longer."""
        return self._fd.closed

    def fileno(self) -> int:
        """The fd, which stays owned here."""
        return self._fd.fileno()

    def open_file(self, name: str, flags: int) -> int:
        """An fd of a file in it, the caller's. Raises ``OSError``."""
        return os.open(name, flags | os.O_CLOEXEC, dir_fd=self._fd.fileno())

    def has(self, name: str) -> bool:
        """Is there a file or directory of that name?"""
        try:
            os.stat(name, dir_fd=self._fd.fileno(), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """The content of a file. Raises ``OSError``."""
        here = self._fd.fileno()
        data = native.read_file(here, name.encode())
        # seq_file hands out pieces of a page or so, cut between lines.
        return data if data is not None and len(data) < _PIECE else self._read_long(here, name)

    @staticmethod
    def _read_long(here: int, name: str) -> bytes:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=here)
        try:
            data = b""
            while more := os.read(fd, _BLOCK):
                data += more
            return data
        finally:
            os.close(fd)

    def find(self, name: str) -> bytes | None:
        """The content of a file, or ``None`` where the kernel does not offer it."""
        try:
            return self.read(name)
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write to a file in one call. Raises ``OSError``."""
        native.write_file(self._fd.fileno(), name.encode(), data)

    def children(self) -> list[str]:
        """The names of the cgroups in it."""
        fd = self._fd.fileno()
        if os.fstat(fd).st_nlink == 2:  # kernfs counts the subdirectories
            return []
        with os.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

    def walk(self) -> Iterator[Directory]:
        """This one, and those below, each closed when the next is asked for; who vanishes is left out."""
        yield self
        for name in self.children():
            try:
                below = Directory(f"{self.path}/{name}", self.open_file(name, os.O_RDONLY | os.O_DIRECTORY))
            except FileNotFoundError:
                continue
            try:
                yield from below.walk()
            except OSError as error:
                if error.errno != errno.ENODEV:  # removed while it was open
                    raise
            finally:
                below.close()

    def processes(self) -> list[int]:
        """The processes in it, not those below. 0 is one that this pid namespace has no number for."""
        try:
            return [int(word) for word in self.read("cgroup.procs").split()]
        except OSError as error:
            if error.errno == errno.ENODEV:
                return []
            # A threaded cgroup does not say which processes are in it, only its threads (EOPNOTSUPP).
            if error.errno == errno.EOPNOTSUPP:
                return [int(word) for word in self.read("cgroup.threads").split()]
            raise

    def all_processes(self) -> list[int]:
        """The processes in it and below."""
        return [pid for each in self.walk() for pid in each.processes()]

    def remove(self) -> bool:
        """Remove it if nothing is in it, which closes it; else false. Raises :class:`KernelError`."""
        removed = self._try_remove()
        if removed:
            self._fd.close()
        return removed

    def remove_tree(self) -> None:
        """Remove it and those below, which must be empty of processes; closes it. Raises :class:`KernelError`."""
        if self._fd.closed:
            return
        deadline = 0.0
        while not self._try_remove():
            names = self.children()
            for name in names:
                self._remove_child(name)
            if names:
                continue
            deadline = deadline or time.monotonic() + _PATIENCE
            if time.monotonic() > deadline:
                raise KernelError(errno.EBUSY, f"remove the cgroup {self.path}")
            time.sleep(0.001)
        self._fd.close()

    def _remove_child(self, name: str) -> None:
        try:
            below = Directory(f"{self.path}/{name}", self.open_file(name, os.O_RDONLY | os.O_DIRECTORY))
        except FileNotFoundError:
            return
        try:
            below.remove_tree()
        finally:
            below.close()

    def _try_remove(self) -> bool:
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise KernelError(error.errno or 0, f"remove the cgroup {self.path}") from None
            return False
        return True

    def close(self) -> None:
        """Let go of it. Idempotent."""
        self._fd.close()
