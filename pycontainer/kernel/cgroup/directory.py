"""A directory of a cgroup tree, held open: its files are read and written whole, by one call each."""

from __future__ import annotations

import errno
import os
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

from pycontainer.errors import KernelError
from pycontainer.kernel import native
from pycontainer.kernel.fd import Fd

#: One read takes a whole file of the kernel's, but for those that list processes or devices.
_BLOCK = 1 << 16
#: As long as this, there may be more.
_PIECE = 3500
#: A process that was just reaped can count for a moment still.
_PATIENCE = 2.0


_opening = threading.Lock()


class _Owner(Fd):
    """Of a directory's fd. One that is ``lasting`` is open until nobody refers to it, which is no mistake."""

    __slots__ = ("lasting",)

    def __init__(self, fd: int, *, lasting: bool = False) -> None:
        super().__init__(fd)
        self.lasting = lasting

    def __del__(self, _warn: Any = warnings.warn, _close: Any = os.close) -> None:
        if not getattr(self, "lasting", False):
            super().__del__(_warn, _close)
        elif self._fd >= 0:
            _close(self._fd)


class Counters(Protocol):
    """Files that tell what was used: those of a directory, or what was read of them at once."""

    def find(self, name: str) -> bytes | None:
        """The content of a file, or ``None`` where the kernel does not offer it."""

    def below(self) -> Iterator[Directory]:
        """The directories in it, each closed when the next is asked for."""


class Directory:
    """A cgroup directory of either version. ``close`` lets go of it, ``remove`` removes it.

    One that was made by its path is opened when it is first needed: that costs as much as to make it.
    """

    __slots__ = ("_closed", "_fd", "path")

    def __init__(self, path: str, fd: int | None = None, *, lasting: bool = False) -> None:
        self.path = path
        self._closed = False
        self._fd = None if fd is None else _Owner(fd, lasting=lasting)

    @classmethod
    def open(cls, path: str, *, lasting: bool = False) -> Directory:
        """Open an existing one, ``lasting`` for as long as the process lives. Raises ``OSError``."""
        return cls(path, _open(path), lasting=lasting)

    def make(self, name: str) -> Directory:
        """Make and open the directory ``name`` in this one. Raises ``OSError``, with nothing made."""
        here = self.fileno()
        os.mkdir(name, 0o755, dir_fd=here)
        try:
            return Directory(f"{self.path.rstrip('/')}/{name}", _open(name, here))
        except BaseException:
            os.rmdir(name, dir_fd=here)
            raise

    @property
    def closed(self) -> bool:
        """Whether it is held no longer."""
        return self._closed

    def fileno(self) -> int:
        """The fd, which stays owned here. Raises ``ValueError`` when closed."""
        owner = self._fd
        if owner is None:
            with _opening:
                if self._closed:
                    raise ValueError("I/O operation on closed cgroup directory")
                owner = self._fd = self._fd or _Owner(_open(self.path))
        return owner.fileno()

    def keep(self) -> Fd:
        """The owner of the fd, for those who need it beyond :meth:`close`: it is open until nobody refers to it."""
        self.fileno()
        owner = self._fd
        if owner is None:
            raise ValueError("I/O operation on closed cgroup directory")
        owner.lasting = True
        return owner

    def open_file(self, name: str, flags: int) -> int:
        """An fd of a file in it, the caller's. Raises ``OSError``."""
        return os.open(name, flags | os.O_CLOEXEC, dir_fd=self.fileno())

    def has(self, name: str) -> bool:
        """Is there a file or directory of that name?"""
        try:
            os.stat(name, dir_fd=self.fileno(), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """The content of a file. Raises ``OSError``."""
        here = self.fileno()
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
        native.write_file(self.fileno(), name.encode(), data)

    def children(self) -> list[str]:
        """The names of the cgroups in it."""
        if os.stat(self.path if self._fd is None else self.fileno()).st_nlink == 2:
            return []  # kernfs counts the subdirectories
        with os.scandir(self.fileno()) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

    def walk(self) -> Iterator[Directory]:
        """This one, and those below, each closed when the next is asked for; who vanishes is left out."""
        yield self
        for each in self.below():
            try:
                yield from each.walk()
            except OSError as error:
                if error.errno != errno.ENODEV:  # removed while it was open
                    raise

    def below(self) -> Iterator[Directory]:
        """Those right below, each closed when the next is asked for; who vanishes is left out."""
        for name in self.children():
            try:
                below = Directory(f"{self.path}/{name}", self.open_file(name, os.O_RDONLY | os.O_DIRECTORY))
            except FileNotFoundError:
                continue
            try:
                yield below
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
            self.close()
        return removed

    def remove_tree(self) -> None:
        """Remove it and those below, which must be empty of processes; closes it. Raises :class:`KernelError`."""
        if self._closed:
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
        self.close()

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
        self._closed = True
        with _opening:
            owner, self._fd = self._fd, None
        if owner is not None and not owner.lasting:
            owner.close()


def _open(path: str, above: int | None = None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=above)
