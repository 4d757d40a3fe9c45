"""The store's database: what has a name, and what each image needs.

SQLite in WAL mode.  Every transaction is short, is checked against the version of the schema, and waits a while
for those of others.  A durable one is on disk when it has ended (``synchronous=FULL``); one that only tells
other processes something (a lease) need not be, for it means nothing after the next boot.

One connection for each process, made when first needed.  A forked child closes its copy and makes its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycontainer.errors import ImageError, KernelError, NotSupported, StateError
from pycontainer.image.store.locks import lockers
from pycontainer.image.store.places import Places
from pycontainer.kernel.rooted import named

if TYPE_CHECKING:
    from sqlite3 import Connection, DatabaseError

NAME = "state.db"
VERSION = 1
_APPLICATION = 0x70796374
#: How long somebody else's transaction is waited for, in seconds: they take milliseconds.
_PATIENCE = 30.0

_SCHEMA = (
    "CREATE TABLE names (name TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE images (digest TEXT PRIMARY KEY, noted INTEGER NOT NULL) WITHOUT ROWID",
    # Of an image: kind is 'blob' or 'layer', digest a blob's digest or a layer's diff_id.
    """CREATE TABLE parts (image TEXT NOT NULL, kind TEXT NOT NULL, digest TEXT NOT NULL,
       PRIMARY KEY (image, kind, digest)) WITHOUT ROWID""",
    "CREATE INDEX users ON parts (kind, digest)",
    "CREATE TABLE blobs (digest TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE sources (image TEXT NOT NULL, registry TEXT NOT NULL, repository TEXT NOT NULL,
       PRIMARY KEY (image, registry, repository)) WITHOUT ROWID""",
    """CREATE TABLE leases (owner TEXT NOT NULL, kind TEXT NOT NULL, digest TEXT NOT NULL,
       PRIMARY KEY (owner, kind, digest)) WITHOUT ROWID""",
)

#: SQLite's texts (sqlite3_errstr), which are part of its interface; Python 3.10 does not tell the numbers.
_BUSY = ("database is locked", "database table is locked", "database schema is locked", "locking protocol")
_KERNELS = {
    "database or disk is full": errno.ENOSPC,
    "disk I/O error": errno.EIO,
    "unable to open database file": errno.EIO,
    "attempt to write a readonly database": errno.EROFS,
    "out of memory": errno.ENOMEM,
    "interrupted": errno.EINTR,
}


class Index:
    """The database of one store. Thread-safe: one transaction at a time in this process."""

    def __init__(self, places: Places) -> None:
        self.path = f"{places.path}/{NAME}"
        self._places = places
        self._connection: Connection | None = None
        self._unusable = False
        places.forked.append(self._forget)

    def open(self) -> None:
        """Make sure that there is a database, and of this version. Raises what :meth:`writing` does."""
        if self._connection is None:
            with self.reading():
                pass

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state. Raises what :meth:`writing` does."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that nobody else's can come between; undone if the body raises.

        Raises :class:`KernelError` (``ENOSPC``, or ``EBUSY`` when others do not come to an end),
        :class:`NotSupported` for a database of a newer version, :class:`ImageError` for a damaged one.
        """
        with self._transaction("BEGIN IMMEDIATE", durable=durable) as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str, *, durable: bool = True) -> Iterator[Connection]:
        import sqlite3

        lock = self._places.lock
        connection = self._begin(begin, durable)
        try:
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite itself may have undone it, and the caller's error says more than another one.
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error
        finally:
            lock.release()

    def _begin(self, begin: str, durable: bool) -> Connection:
        """Begin a transaction, with the lock taken; it is not held while others are waited for: forks need it."""
        import sqlite3

        deadline = time.monotonic() + _PATIENCE
        pause = 0.0005
        while True:
            lock = self._places.lock
            lock.acquire()
            try:
                return self._try(begin, durable)
            except BaseException as error:
                lock.release()
                if not isinstance(error, sqlite3.DatabaseError):
                    raise
                if not str(error).startswith(_BUSY):
                    raise self._told(error) from error
                if time.monotonic() > deadline:
                    raise self._held() from error
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, 0.02)

    def _try(self, begin: str, durable: bool) -> Connection:
        import sqlite3

        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.execute(begin)
        try:
            # Takes the lock of a reader as well.
            self._check_version(connection)
        except NotSupported:
            # To be looked at again by the next use, also by one that needs no transaction.
            self._connection = None
            connection.close()
            raise
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return connection

    def _connect(self) -> Connection:
        import sqlite3

        if self._unusable:
            raise StateError("the image store", "a copy that fork(2) made in the midst of a change", "use it")
        self._places.fd  # noqa: B018  makes the directory
        with named(f"open {self.path}"), contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(self.path).st_mode):
                raise ImageError(f"{self.path} is no regular file; {_way_out(self.path)}")
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: Connection) -> None:
        [mode] = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise NotSupported(
                f"the file system of {self.path} cannot hold a database that several processes use",
                "choose a root on a local file system (PYCONTAINER_ROOT)",
            )
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("BEGIN IMMEDIATE")
        [version] = connection.execute("PRAGMA user_version").fetchone()
        [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={_APPLICATION}")
            connection.execute(f"PRAGMA user_version={VERSION}")
            connection.execute("COMMIT")
            with named(f"make {self.path}"):
                self._places.write_out(".")
            self._places.set_aside()
        else:
            connection.execute("ROLLBACK")
            self._check_version(connection)

    def _check_version(self, connection: Connection) -> None:
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise NotSupported(
                f"{self.path} was written by a newer pycontainer (its version is {version}, "
                f"and this one knows {VERSION})",
                "upgrade pycontainer, or choose another root (PYCONTAINER_ROOT)",
            )
        if version != VERSION:
            raise ImageError(f"{self.path} is no database of an image store; {_way_out(self.path)}")

    def check(self) -> None:
        """Read all of the database. Raises :class:`ImageError` if it is damaged."""
        with self.reading() as connection:
            [found] = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise ImageError(f"{self.path} is damaged ({found}); {_way_out(self.path)}")

    def put_away(self) -> None:
        """Give a damaged database another name, that a new one is made. Raises :class:`KernelError`."""
        self.close()
        mark = f"damaged-{os.urandom(4).hex()}"
        with named(f"put {self.path} away"):
            # What belongs to it first: SQLite would take it for the new one's.
            for end in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(self.path + end, f"{self.path}.{mark}{end}")

    def stamp(self) -> object:
        """What differs when anything was committed, by whomever. Raises what :meth:`reading` does."""
        with self.reading() as connection:
            [version] = connection.execute("PRAGMA data_version").fetchone()
            return id(connection), version, connection.total_changes

    def _told(self, error: DatabaseError) -> Exception:
        text = str(error)
        for known, number in _KERNELS.items():
            if text.startswith(known):
                return KernelError(number, f"use {self.path}", hint="" if known in text else text)
        import sqlite3

        if isinstance(error, (sqlite3.ProgrammingError, sqlite3.IntegrityError)):
            return error
        return ImageError(f"{self.path} is damaged ({text}); {_way_out(self.path)}")

    def _held(self) -> KernelError:
        try:
            pids = lockers(f"{self.path}-shm")
        except OSError:
            pids = []
        who = ", ".join(map(str, pids))
        return KernelError(
            errno.EBUSY,
            f"wait for the other users of {self.path}",
            hint=f"one of these processes does not get on, is it stopped? {who}" if who else "",
        )

    def close(self) -> None:
        """Close the connection; idempotent. It is opened again when needed."""
        with self._places.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _forget(self) -> None:
        """In a forked child: let go of the parent's connection, which is idle but for a fork in a signal handler."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.in_transaction:
            # Neither closed nor used nor ever finalized: each could undo what the parent is about to do.
            self._unusable = True
            _abandoned.append(connection)
        else:
            connection.close()


_abandoned: list[Connection] = []


def _way_out(path: str) -> str:
    root = os.path.dirname(os.path.dirname(path))
    return (
        f"the blobs are not concerned: end what uses the store, and pycontainer.image.store.Store({root!r}).rebuild() "
        "puts it away and notes the images again that there are; their names have to be given again"
    )
