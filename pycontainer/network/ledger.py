"""What is known of networks and of who has which address, in SQLite below the engine's root.

Several processes write to it at once; a crash at any moment leaves old or new.  A row is written before what it
stands for is made, and removed after that is gone: so a row whose owner has ended tells what there may be to remove.
Owners are told of in :mod:`.owner`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pycontainer.errors import KernelError
from pycontainer.home import make_private

_SCHEMA = """
CREATE TABLE IF NOT EXISTS networks (
    name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, link TEXT NOT NULL UNIQUE, value TEXT NOT NULL,
    cursor INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS endpoints (
    id INTEGER PRIMARY KEY, network TEXT NOT NULL REFERENCES networks(id), owner TEXT NOT NULL,
    container TEXT NOT NULL, name TEXT NOT NULL, names TEXT NOT NULL, link TEXT NOT NULL UNIQUE,
    address4 TEXT, address6 TEXT, UNIQUE (network, address4), UNIQUE (network, address6)) STRICT;
CREATE TABLE IF NOT EXISTS settings (
    path TEXT PRIMARY KEY, before TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS places (
    host TEXT NOT NULL, pid INTEGER NOT NULL, identity TEXT NOT NULL) STRICT;
"""
#: How long one waits for another's transaction, in seconds; they take a millisecond.
_PATIENCE = 30.0


class Ledger:
    """The record of one engine root. Thread-safe; made when first used. ``close`` is idempotent."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is done in it; no other process writes meanwhile."""
        with self._lock:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._lock:
            return self._open().execute(query, values).fetchall()

    def write(self, query: str, *values: Any) -> None:
        """One statement, by itself."""
        with self._lock:
            self._open().execute(query, values)

    @property
    def path(self) -> str:
        """The file."""
        return f"{self.root}/network.db"

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            make_private(self.root)
            connection = sqlite3.connect(
                self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                # A crash of the machine ends all containers, too: nothing of theirs has to be on the disk before.
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(_SCHEMA)
            except sqlite3.OperationalError as error:
                connection.close()
                raise KernelError(5, f"open {self.path}: {error}") from None
            self._connection = connection
        return self._connection

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
