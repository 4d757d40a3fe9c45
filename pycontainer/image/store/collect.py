"""Removing images, and collecting what no image needs any more.

An image goes in two transactions.  The first forgets it, and is on disk before anything is touched.  The second
takes what nobody needs to the trash: between looking who needs what and the last renaming nobody can note an
image or begin to rely on something (leases.py).  Killed in between, all that is left is something to collect.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

import attrs

from pycontainer.errors import ImageNotFound, KernelError, StateError
from pycontainer.image.locked import lock
from pycontainer.image.store.holds import drop_unused, hold_alone, use_name
from pycontainer.image.store.index import Index
from pycontainer.image.store.layers import noted_size
from pycontainer.image.store.leases import drop_dead
from pycontainer.image.store.places import BLOBS, INGEST, LAYERS, USE, Places
from pycontainer.image.store.trash import Batch
from pycontainer.kernel.kinds import status_of
from pycontainer.kernel.rooted import named

if TYPE_CHECKING:
    from sqlite3 import Connection

_HEX = re.compile(r"[0-9a-f]{64}")
_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class Collected:
    """What was removed: digests of blobs, diff_ids of layers, and the bytes that they took."""

    blobs: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    bytes: int = 0


class Collector:
    """Removes from one store. Thread-safe."""

    def __init__(self, places: Places, index: Index) -> None:
        self._places = places
        self._index = index

    def remove(self, digest: str) -> None:
        """Forget an image and its names. Raises :class:`ImageNotFound`, :class:`StateError` while it is held."""
        with hold_alone(self._places, digest):
            try:
                with self._index.writing() as connection:
                    if not _forget(connection, digest):
                        raise ImageNotFound(f"{digest}: no such image in {self._places.path}")
            finally:
                with named(f"remove the image {digest}"):
                    os.unlink(use_name(digest), dir_fd=self._places.fd)

    def remove_unnamed(self) -> None:
        """Forget the images that have no name, and are neither held nor any lease's."""
        with ExitStack() as held:
            with self._index.writing() as connection:
                drop_dead(connection, self._places)
                for digest in _unnamed(connection):
                    try:
                        held.enter_context(hold_alone(self._places, digest, patience=0))
                    except StateError:
                        continue
                    _forget(connection, digest)
                    held.callback(os.unlink, use_name(digest), dir_fd=self._places.fd)

    def collect(self) -> Collected:
        """Take what nobody needs to the trash."""
        with Batch(self._places) as batch, self._index.writing(durable=False) as connection:
            with named("collect what no image needs"):
                drop_dead(connection, self._places)
                blobs, blob_bytes = self._collect(connection, "blob", BLOBS, batch)
                layers, layer_bytes = self._collect(connection, "layer", LAYERS, batch)
                connection.execute(
                    "DELETE FROM blobs WHERE digest NOT IN (SELECT digest FROM parts WHERE kind = 'blob')"
                )
                return Collected(blobs=blobs, layers=layers, bytes=blob_bytes + layer_bytes)

    def _collect(
        self, connection: Connection, kind: str, place: str, batch: Batch
    ) -> tuple[tuple[str, ...], int]:
        needed = {
            digest
            for (digest,) in connection.execute(
                "SELECT digest FROM parts WHERE kind = ?1 UNION SELECT digest FROM leases WHERE kind = ?1",
                (kind,),
            )
        }
        found, total = [], 0
        for name in self._places.list(place):
            digest = f"sha256:{name}"
            # What has another kind of name is none of ours.
            if digest in needed or not _HEX.fullmatch(name):
                continue
            size = self._size(kind, f"{place}/{name}")
            if batch.take(f"{place}/{name}"):
                found.append(digest)
                total += size
        return tuple(sorted(found)), total

    def _size(self, kind: str, name: str) -> int:
        if kind == "layer":
            return noted_size(self._places, name)
        status = status_of(self._places.fd, name)
        return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else 0

    def collect_parts(self) -> int:
        """Take what broken attempts left to the trash; return the bytes of blobs among it."""
        total = 0
        with Batch(self._places) as batch, named("collect what broken attempts left"):
            for entry in self._places.list(INGEST):
                name = f"{INGEST}/{entry}"
                try:
                    part = lock(self._places.fd, name)
                except OSError as error:
                    if error.errno not in {errno.ELOOP, errno.ENXIO}:
                        raise
                    batch.take(name)  # no writer of ours made it
                    continue
                if part is not None:
                    with part:
                        status = os.fstat(part.fileno())
                        total += status.st_size if stat.S_ISREG(status.st_mode) else 0
                        batch.take(name)
        for entry in self._places.list(USE):
            drop_unused(self._places, f"sha256:{entry}")
        return total

    def with_room(self, action: Callable[[], _T]) -> _T:
        """Do it, and if the disk is full once more with what was set aside for that."""
        try:
            result = action()
        except KernelError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO} or not self._places.give_room():
                raise
            result = action()
        return result


def _forget(connection: Connection, digest: str) -> bool:
    """Remove an image's rows, and the names that lead nowhere then; whether there was such an image."""
    if not connection.execute("DELETE FROM images WHERE digest = ?", (digest,)).rowcount:
        return False
    connection.execute("DELETE FROM parts WHERE image = ?", (digest,))
    connection.execute("DELETE FROM sources WHERE image = ?", (digest,))
    connection.execute("DELETE FROM names WHERE digest NOT IN (SELECT digest FROM parts WHERE kind = 'blob')")
    return True


def _unnamed(connection: Connection) -> list[str]:
    """The images that no name leads to, by their manifest or by an index that is among their blobs."""
    return [
        digest
        for (digest,) in connection.execute(
            "SELECT digest FROM images WHERE digest NOT IN"
            " (SELECT image FROM parts JOIN names USING (digest) WHERE kind = 'blob')"
            " AND digest NOT IN (SELECT digest FROM leases WHERE kind = 'image')"
        ).fetchall()
    ]
