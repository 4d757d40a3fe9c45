"""Holds: images in use, which are not removed.

A hold is a shared flock(2) on a file of the image's own, so it ends with its process and costs no write to
the database.  Who removes an image takes the lock for himself first, and removes the file last; who holds one
looks after locking whether the image is still there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from types import TracebackType

from pycontainer.errors import ImageNotFound, KernelError, StateError
from pycontainer.image.digest import check_digest
from pycontainer.image.locked import lock
from pycontainer.image.store.catalogue import Catalogue
from pycontainer.image.store.locks import lockers
from pycontainer.image.store.pins import pinned
from pycontainer.image.store.places import USE, Places
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import named
from pycontainer.state.records import container_of

#: How long someone who removes is waited for, in seconds: it takes milliseconds.
_PATIENCE = 10.0
_PAUSE = 0.002
#: And how long a program that is being started may have a copy of a hold that has been closed, until its execve(2).
_MOMENT = 0.1


class Hold:
    """An image that is not removed until this is closed, or the process ends. ``close`` is idempotent."""

    def __init__(self, digest: str, file: Fd) -> None:
        self.digest = digest
        self._file = file

    def close(self) -> None:
        """Let the image be removed."""
        self._file.close()

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def hold(places: Places, catalogue: Catalogue, digest: str) -> Hold:
    """Hold an image. Raises :class:`ImageNotFound`, and :class:`KernelError` when one who removes does not end."""
    name = use_name(digest)
    deadline = time.monotonic() + _PATIENCE
    with named(f"hold the image {digest}"):
        while (file := lock(places.fd, name, os.O_RDONLY | os.O_CREAT, shared=True)) is None:
            if time.monotonic() > deadline:
                who = ", ".join(map(str, holders(places, digest)))
                raise KernelError(
                    errno.EBUSY, f"hold the image {digest}", hint=f"it is being removed by process {who}"
                )
            time.sleep(_PAUSE)
    try:
        if catalogue.has_image(digest):
            return Hold(digest, file)
    except BaseException:
        file.close()
        raise
    file.close()
    drop_unused(places, digest)
    raise ImageNotFound(f"{digest}: no such image in {places.path}")


def hold_alone(places: Places, digest: str, *, patience: float = _MOMENT) -> Fd:
    """The lock of one who removes. Raises :class:`StateError` while the image is held, after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    with named(f"remove the image {digest}"):
        while (file := lock(places.fd, use_name(digest), os.O_RDONLY | os.O_CREAT)) is None:
            if time.monotonic() < deadline:
                time.sleep(_PAUSE)
                continue
            pids = holders(places, digest)
            by = f" by process {', '.join(map(str, pids))}" if pids else ""
            raise StateError(f"the image {digest}", f"in use{by}", "remove it")
    try:
        users = pinned(places, digest)
    except BaseException:
        file.close()
        raise
    if users:
        file.close()
        names = ", ".join(container_of(places.root, each) for each in users)
        raise StateError(f"the image {digest}", f"in use by {names}", "remove it")
    return file


def drop_unused(places: Places, digest: str) -> None:
    """Remove the file of an image that nobody holds."""
    with named(f"look who uses the image {digest}"):
        file = lock(places.fd, use_name(digest))
        if file is not None:
            with file, contextlib.suppress(FileNotFoundError):
                os.unlink(use_name(digest), dir_fd=places.fd)


def holders(places: Places, digest: str) -> list[int]:
    """The processes that hold an image, as far as can be told."""
    try:
        return lockers(use_name(digest), dir_fd=places.fd)
    except OSError:
        return []


def use_name(digest: str) -> str:
    """The file whose lock is an image's."""
    return f"{USE}/{check_digest(digest, 'the image')[7:]}"
