"""Leases: what somebody is about to make use of, and nobody may collect.

A lease is a locked file, gone with its process, and rows that name what it protects.  The rows are written
before it is looked whether something is there, and collecting is one transaction from reading them to the last
renaming; so what was found under a lease stays.
"""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from pycontainer.image.locked import lock
from pycontainer.image.store.index import Index
from pycontainer.image.store.places import LEASES, Places
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import named

if TYPE_CHECKING:
    from sqlite3 import Connection

Kind = Literal["blob", "layer", "image"]


class Lease:
    """While it is open, nothing is collected that was put into the store or found there meanwhile, in this process.

    ``close`` is idempotent, and the end of the process is as good.
    """

    def __init__(self, leases: Leases, owner: str, file: Fd) -> None:
        self._leases = leases
        self._file = file
        self.owner = owner
        #: What has a row.
        self.known: set[tuple[Kind, str]] = set()

    def close(self) -> None:
        """Let go of what it protects."""
        self._leases.forget(self)
        self._file.close()

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Leases:
    """The open leases of one store in this process. Thread-safe."""

    def __init__(self, places: Places, index: Index) -> None:
        self._places = places
        self._index = index
        self._open: list[Lease] = []
        places.forked.append(self._open.clear)

    def make(self) -> Lease:
        """A new lease. Raises :class:`KernelError`."""
        with named("make a lease of the image store"):
            while True:
                owner = os.urandom(8).hex()
                file = lock(self._places.fd, f"{LEASES}/{owner}", os.O_RDWR | os.O_CREAT)
                if file is not None:
                    break
        lease = Lease(self, owner, file)
        with self._places.lock:
            self._open.append(lease)
        return lease

    def protect(self, kind: Kind, *digests: str) -> None:
        """Have every open lease protect these. Raises what :meth:`Index.writing` does."""
        with self._places.lock:
            wanted = [
                (lease, (kind, digest))
                for lease in self._open
                for digest in digests
                if (kind, digest) not in lease.known
            ]
        if not wanted:
            self._index.open()
            return
        with self._index.writing(durable=False) as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO leases VALUES (?, ?, ?)",
                [(lease.owner, *what) for lease, what in wanted],
            )
        with self._places.lock:
            for lease, what in wanted:
                lease.known.add(what)

    def forget(self, lease: Lease) -> None:
        """Remove a lease; idempotent. A forked child does nothing: it is its parent's."""
        with self._places.lock:
            if lease not in self._open:
                return
            self._open.remove(lease)
        # The file first: rows without one are nobody's, a file without rows is swept.
        with named("end a lease of the image store"), contextlib.suppress(FileNotFoundError):
            os.unlink(f"{LEASES}/{lease.owner}", dir_fd=self._places.fd)
        if lease.known:
            with self._index.writing(durable=False) as connection:
                connection.execute("DELETE FROM leases WHERE owner = ?", (lease.owner,))

    def close(self) -> None:
        """End all of them."""
        for lease in list(self._open):
            lease.close()


def drop_dead(connection: Connection, places: Places) -> None:
    """Remove the rows and files of leases whose processes are gone; within a transaction of the caller's."""
    living = set()
    for owner in places.list(LEASES):
        file = lock(places.fd, f"{LEASES}/{owner}")
        if file is None:
            living.add(owner)
            continue
        with file, contextlib.suppress(FileNotFoundError):
            os.unlink(f"{LEASES}/{owner}", dir_fd=places.fd)
    for (owner,) in connection.execute("SELECT DISTINCT owner FROM leases").fetchall():
        if owner not in living:
            connection.execute("DELETE FROM leases WHERE owner = ?", (owner,))
