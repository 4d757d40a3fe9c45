"""Where a store keeps what it keeps.

::

    <root>/images/              0700
        state.db                names, and which image needs what (index.py)
        reserve                 room that is given back when nothing else is left, so that things can be removed
        blobs/sha256/<hex>      0400, complete and on disk from the moment it has this name
        layers/<hex>/tree       an unpacked layer, by its diff_id; complete from the moment it has this name
        layers/<hex>/size       its bytes
        layers/<hex>/boot       the boot in which it was made; it is believed in no other
        layers/<hex>/settled    in its place when all of it is known to be on disk
        ingest/<hex>[.<random>] a blob that is being written, locked by its writer
        ingest/layer-<random>/  a layer that is being unpacked, locked likewise
        trash/<random>/         what is to be removed, locked by who puts into it or empties it
        use/<hex>               locked (shared) by who uses the image
        leases/<random>         locked by the holder of a lease
        pins/<hex>.<random>     what an image is kept for, whether a process has it or not (pins.py)
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable

from pycontainer.errors import KernelError
from pycontainer.home import make_private
from pycontainer.image import forks
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.native import lib, renameat2
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named

BLOBS, LAYERS, INGEST, TRASH = "blobs/sha256", "layers", "ingest", "trash"
USE, LEASES, PINS = "use", "leases", "pins"
_RESERVE = "reserve"
_RESERVED = 1 << 20


class Places:
    """The directories of one store, made when first needed. Thread-safe; holds one descriptor until closed."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.path = f"{self.root}/images"
        #: The one lock of the store in this process: it is taken before a fork, so that no child finds it taken.
        self.lock = threading.RLock()
        #: What else is to be done in a forked child.
        self.forked: list[Callable[[], None]] = []
        self._top: Fd | None = None
        forks.join(self)

    def after_fork(self) -> None:
        """In a forked child: a lock that no thread holds, and nothing of the parent's."""
        self.lock = threading.RLock()
        for forget in self.forked:
            forget()

    @property
    def fd(self) -> int:
        """The store's directory; names below it are given relative to it."""
        top = self._top
        if top is None or top.closed:
            with self.lock, named(f"make the image store {self.path}"):
                if self._top is None or self._top.closed:
                    self._top = self._make()
                top = self._top
        return top.fileno()

    def _make(self) -> Fd:
        made = not os.path.exists(self.path)
        make_private(self.root)
        make_private(self.path)
        top = Fd(os.open(self.path, OPEN_DIRECTORY))
        try:
            for name in ("blobs", BLOBS, LAYERS, INGEST, TRASH, USE, LEASES, PINS):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=top.fileno())
                    made = True
            if made:
                for place in (self.root, self.path, f"{self.path}/blobs"):
                    _write_out(place, top.fileno())
            return top
        except BaseException:
            top.close()
            raise

    def open(self, name: str) -> Fd:
        """One of the directories. Raises ``OSError``."""
        return Fd(os.open(name, OPEN_DIRECTORY, dir_fd=self.fd))

    def list(self, name: str) -> list[str]:
        """What is in one of the directories. Raises ``OSError``."""
        with self.open(name) as directory:
            return os.listdir(directory.fileno())

    def write_out(self, name: str) -> None:
        """Have the names in one of the directories on disk when this returns (fsync(2)). Raises ``OSError``."""
        _write_out(name, self.fd)

    def name(self, old: str, new: str) -> bool:
        """Give a file or directory its final name, unless something has it. Raises ``OSError``."""
        try:
            renameat2(self.fd, os.fsencode(old), self.fd, os.fsencode(new), lib.RENAME_NOREPLACE)
        except KernelError as error:
            if error.errno != errno.EEXIST:
                raise
            return False
        return True

    def set_aside(self) -> None:
        """Keep some room for the time when the disk is full; that it is so already is no error."""
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with Fd(os.open(_RESERVE, flags, 0o600, dir_fd=self.fd)) as file:
                try:
                    os.posix_fallocate(file.fileno(), 0, _RESERVED)
                except OSError:
                    os.unlink(_RESERVE, dir_fd=self.fd)

    def give_room(self) -> bool:
        """Give back what was set aside; whether there was something."""
        try:
            os.unlink(_RESERVE, dir_fd=self.fd)
        except FileNotFoundError:
            return False
        return True

    def close(self) -> None:
        """Close the descriptor; idempotent. It is opened again when needed."""
        with self.lock:
            top, self._top = self._top, None
        if top is not None:
            top.close()


def _write_out(path: str, dir_fd: int) -> None:
    with Fd(os.open(path, OPEN_DIRECTORY, dir_fd=dir_fd)) as directory:
        os.fsync(directory.fileno())
