"""The rows of detached containers: who they are, and all that they were made from.

SQLite in WAL mode; every call is one transaction on a connection of its own, so nothing is shared with forked
children, and a process that is killed leaves the state before or after the call.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import attrs

from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.state.places import Places

if TYPE_CHECKING:
    from sqlite3 import Connection

_NAME = "containers.db"
_VERSION = 1
#: How long others are waited for, in seconds.
_PATIENCE = 30.0
_SCHEMA = """CREATE TABLE containers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL,
    image TEXT NOT NULL, spec TEXT NOT NULL, options TEXT NOT NULL, labels TEXT NOT NULL) WITHOUT ROWID"""


@attrs.frozen(kw_only=True)
class Record:
    """A container: ``spec`` (JSON text) and ``options`` are what it was made from."""

    id: str
    name: str
    #: Nanoseconds since 1970.
    created: int
    image: str
    spec: str
    options: dict[str, Any]
    labels: dict[str, str]


class Records:
    """The rows of one engine root. Thread-safe, and safe with several processes."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._path = f"{places.path}/{_NAME}"

    def add(self, record: Record) -> None:
        """Add a container, durably. Raises :class:`InvalidArgument` when another one has its name."""
        from sqlite3 import IntegrityError

        row = (
            record.id,
            record.name,
            record.created,
            record.image,
            record.spec,
            json.dumps(record.options),
            json.dumps(record.labels),
        )
        with self._transaction() as connection:
            self._drop_removed(connection, record.name)
            try:
                connection.execute("INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            except IntegrityError:
                raise _taken(record.name) from None

    def all(self) -> list[Record]:
        """All of them, oldest first."""
        return self._select("ORDER BY created, id")

    def ids(self) -> frozenset[str]:
        """The ids of all."""
        return frozenset(id_ for (id_,) in self._query("SELECT id FROM containers"))

    def has(self, id_: str) -> bool:
        """Is there a container of this id now?"""
        return bool(self._query("SELECT id FROM containers WHERE id = ?", id_))

    def find(self, name: str) -> Record:
        """The container of this name, id, or unique start of an id. Raises :class:`InvalidArgument`."""
        found = self._select("WHERE name = ? OR id = ?", name, name)
        found = [each for each in found if each.id == name] or found
        if not found and name and all(each in "0123456789abcdef" for each in name):
            found = self._select("WHERE id >= ? AND id < ? LIMIT 2", name, name + "g")
        if len(found) != 1:
            raise InvalidArgument("name", name, "several containers match" if found else "no such container")
        return found[0]

    def rename(self, id_: str, name: str) -> None:
        """Give a container another name. Raises :class:`InvalidArgument` when it is taken."""
        from sqlite3 import IntegrityError

        with self._transaction() as connection:
            self._drop_removed(connection, name)
            try:
                connection.execute("UPDATE containers SET name = ? WHERE id = ?", (name, id_))
            except IntegrityError:
                raise _taken(name) from None

    def change(self, id_: str, **columns: Any) -> None:
        """Change ``spec`` or ``options`` of a container."""
        with self._transaction() as connection:
            for name, value in columns.items():
                assert name in {"spec", "options"}  # noqa: S101  names of columns, never a user's
                connection.execute(f"UPDATE containers SET {name} = ? WHERE id = ?", (json.dumps(value), id_))

    def remove(self, *ids: str) -> None:
        """Remove rows of containers whose folders are gone; idempotent. When the disk is full, who looks later does it."""
        if ids:
            with suppress(KernelError), self._transaction() as connection:
                connection.executemany("DELETE FROM containers WHERE id = ?", [(each,) for each in ids])

    def _drop_removed(self, connection: Connection, name: str) -> None:
        """A row whose folder is gone is that of a container which was removed with its end."""
        for (id_,) in connection.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchall():
            if not self.places.exists(id_):
                connection.execute("DELETE FROM containers WHERE id = ?", (id_,))

    def _select(self, rest: str, *values: str) -> list[Record]:
        rows = self._query(
            f"SELECT id, name, created, image, spec, options, labels FROM containers {rest}", *values
        )
        return [
            Record(
                id=id_,
                name=name,
                created=created,
                image=image,
                spec=spec,
                options=json.loads(options),
                labels=json.loads(labels),
            )
            for id_, name, created, image, spec, options, labels in rows
        ]

    def _query(self, query: str, *values: str) -> list[Any]:
        if not os.path.exists(self._path):
            return []
        try:
            with self._open() as connection:
                return connection.execute(query, values).fetchall()
        except KernelError:
            # Even who reads makes files of his own in WAL mode, when nobody else has the database open: but on a full
            # disk nobody writes, and all is in the main file then.
            if os.path.exists(f"{self._path}-wal") and os.path.getsize(f"{self._path}-wal") > 0:
                raise
            return self._read_alone(query, values)

    def _read_alone(self, query: str, values: tuple[str, ...]) -> list[Any]:
        import sqlite3
        from urllib.parse import quote

        try:
            with closing(sqlite3.connect(f"file:{quote(self._path)}?immutable=1", uri=True)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise KernelError(5, f"use {self._path}", hint=str(error)) from error

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        self.places.make()
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _open(self) -> Iterator[Connection]:
        import sqlite3

        try:
            connection = sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise KernelError(5, f"open {self._path}", hint=str(error)) from None
        try:
            [version] = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._prepare(connection)
            elif version > _VERSION:
                raise NotSupported(
                    f"{self._path} was written by a newer pycontainer (its version is {version})",
                    "upgrade pycontainer, or choose another root (PYCONTAINER_ROOT)",
                )
            connection.execute("PRAGMA synchronous=FULL")
            yield connection
        except sqlite3.DatabaseError as error:
            raise KernelError(5, f"use {self._path}", hint=str(error)) from error
        finally:
            connection.close()

    def _prepare(self, connection: Connection) -> None:
        [mode] = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise NotSupported(
                f"the file system of {self._path} cannot hold a database that several processes use",
                "choose a root on a local file system (PYCONTAINER_ROOT)",
            )
        connection.execute("BEGIN IMMEDIATE")
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA user_version={_VERSION}")
        connection.execute("COMMIT")


def container_of(root: str, folder: str) -> str:
    """What to call who has a folder below an engine root: ``containers/<id>`` is that of a container."""
    kind, _, id_ = folder.partition("/")
    if kind != "containers":
        return folder
    try:
        name = Records(Places(root)).find(id_).name
    except (InvalidArgument, KernelError):
        return f"container {id_[:12]}"
    return f"container {id_[:12]}" if name == id_[:12] else f"container {name} ({id_[:12]})"


def _taken(name: str) -> InvalidArgument:
    return InvalidArgument("name", name, "a container has this name: remove it, or choose another")
