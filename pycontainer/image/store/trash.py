"""Removal in two steps: renamed away at once, deleted when there is time.

Each who removes makes a directory of his own in ``trash`` and locks it; whoever can lock one empties it.  So what
a killed process left there is deleted by the next.
"""

from __future__ import annotations

import contextlib
import errno
import os
from types import TracebackType

from pycontainer.errors import KernelError
from pycontainer.image import locked
from pycontainer.image.store.places import TRASH, Places
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.reach import Reach
from pycontainer.kernel.rooted import named


class Batch:
    """A directory of the trash that is being filled; nobody empties it until it is closed."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._count = 0
        self._name, self._lock = self._make()

    def _make(self) -> tuple[str, Fd]:
        with named("make a directory in the trash of the image store"):
            with self._places.open(TRASH) as trash:
                return locked.make_locked(trash.fileno(), "")

    def take(self, name: str) -> bool:
        """Move what has this name in the store to the trash; whether there was something. Raises :class:`KernelError`."""
        try:
            with named(f"take {name} out of the image store"):
                os.rename(name, f"{self._count}", src_dir_fd=self._places.fd, dst_dir_fd=self._lock.fileno())
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        self._count += 1
        return True

    def close(self) -> None:
        """Leave it to be emptied; idempotent."""
        if not self._count and not self._lock.closed:
            with contextlib.suppress(OSError):
                os.rmdir(f"{TRASH}/{self._name}", dir_fd=self._places.fd)
        self._lock.close()

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sweep(places: Places, reach: Reach) -> None:
    """Delete all of the trash that nobody is filling or emptying. Raises :class:`KernelError`."""
    with named("empty the trash of the image store"), places.open(TRASH) as trash:
        locked.sweep(trash.fileno(), "", reach.remove)
