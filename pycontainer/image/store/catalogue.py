"""What images there are, what each needs, and what has which name. Every change is on disk when it returns."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterable

import attrs

from pycontainer.errors import ImageNotFound, InvalidArgument
from pycontainer.image.digest import check_digest
from pycontainer.image.store.index import Index
from pycontainer.image.store.leases import Leases
from pycontainer.image.store.places import BLOBS, Places
from pycontainer.kernel.kinds import status_of
from pycontainer.kernel.rooted import named


@attrs.frozen(kw_only=True)
class Noted:
    """An image of the store: by the digest of its manifest, with all the blobs that belong to it.

    ``blobs`` has the manifest itself, and the index that led to it if one did.  ``noted`` is the time of
    noting in seconds since 1970.
    """

    digest: str
    blobs: frozenset[str]
    layers: frozenset[str]
    noted: int


class Catalogue:
    """The names and images of one store. Thread-safe; each method is one transaction."""

    def __init__(self, places: Places, index: Index, leases: Leases) -> None:
        self._places = places
        self._index = index
        self._leases = leases

    def names(self) -> dict[str, str]:
        """Every name with the digest that it stands for, in order."""
        with self._index.reading() as connection:
            return dict(connection.execute("SELECT name, digest FROM names ORDER BY name").fetchall())

    def resolve(self, name: str) -> str | None:
        """What a name stands for."""
        with self._index.reading() as connection:
            row = connection.execute("SELECT digest FROM names WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def tag(self, name: str, digest: str) -> None:
        """Have a name stand for an image, or an index that led to one; what it stood for before keeps no name."""
        _check_name(name)
        check_digest(digest, f"the tag {name}")
        with self._index.writing() as connection:
            found = connection.execute(
                "SELECT 1 FROM parts WHERE kind = 'blob' AND digest = ? LIMIT 1", (digest,)
            ).fetchone()
            if found is None:
                raise ImageNotFound(f"{digest}: no such image in {self._places.path}")
            connection.execute("INSERT OR REPLACE INTO names VALUES (?, ?)", (name, digest))

    def untag(self, name: str) -> None:
        """Remove a name; the image stays."""
        with self._index.writing() as connection:
            if not connection.execute("DELETE FROM names WHERE name = ?", (name,)).rowcount:
                raise ImageNotFound(f"{name}: no such name in {self._places.path}")

    def note(
        self,
        manifest: str,
        blobs: Iterable[str],
        diff_ids: Iterable[str],
        sources: Iterable[tuple[str, str]],
        name: str | None = None,
    ) -> None:
        """Note what an image needs, the more when it is noted again; perhaps with a name."""
        if name is not None:
            _check_name(name)
        digests = {check_digest(each, "an image") for each in (manifest, *blobs)}
        layers = {check_digest(each, "an image's configuration") for each in diff_ids}
        # An image without a name is only its lease's.
        self._leases.protect("image", manifest)
        with self._index.writing() as connection:
            # Nobody collects before this transaction is over, and afterwards it counts.
            sizes = {digest: self._size(digest) for digest in sorted(digests)}
            connection.executemany("INSERT OR REPLACE INTO blobs VALUES (?, ?)", sizes.items())
            connection.execute("INSERT OR IGNORE INTO images VALUES (?, ?)", (manifest, int(time.time())))
            parts = [(manifest, "blob", each) for each in digests]
            parts += [(manifest, "layer", each) for each in layers]
            connection.executemany("INSERT OR IGNORE INTO parts VALUES (?, ?, ?)", parts)
            connection.executemany(
                "INSERT OR IGNORE INTO sources VALUES (?, ?, ?)", [(manifest, *each) for each in sources]
            )
            if name is not None:
                connection.execute("INSERT OR REPLACE INTO names VALUES (?, ?)", (name, manifest))

    def _size(self, digest: str) -> int:
        with named(f"look at the blob {digest}"):
            status = status_of(self._places.fd, f"{BLOBS}/{digest[7:]}")
        if status is None or not stat.S_ISREG(status.st_mode):
            raise ImageNotFound(f"{digest}: no such blob in {self._places.path}")
        return status.st_size

    def images(self) -> list[Noted]:
        """All of them, the oldest first."""
        with self._index.reading() as connection:
            found = connection.execute("SELECT digest, noted FROM images ORDER BY noted, digest").fetchall()
            parts: dict[tuple[str, str], list[str]] = {}
            for image, kind, digest in connection.execute("SELECT image, kind, digest FROM parts"):
                parts.setdefault((image, kind), []).append(digest)
        return [
            Noted(
                digest=digest,
                blobs=frozenset(parts.get((digest, "blob"), ())),
                layers=frozenset(parts.get((digest, "layer"), ())),
                noted=noted,
            )
            for digest, noted in found
        ]

    def sources(self, digest: str) -> set[tuple[str, str]]:
        """The registries and repositories that have had this blob, as far as they were noted."""
        with self._index.reading() as connection:
            return set(
                connection.execute(
                    "SELECT registry, repository FROM sources JOIN parts USING (image)"
                    " WHERE kind = 'blob' AND digest = ?",
                    (digest,),
                ).fetchall()
            )

    def has_image(self, digest: str) -> bool:
        """Whether this image is noted."""
        with self._index.reading() as connection:
            return (
                connection.execute("SELECT 1 FROM images WHERE digest = ?", (digest,)).fetchone() is not None
            )

    def noted_size(self, digest: str) -> int | None:
        """The size that a blob had when it was noted."""
        with self._index.reading() as connection:
            row = connection.execute("SELECT size FROM blobs WHERE digest = ?", (digest,)).fetchone()
        return row[0] if row else None


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name or "\0" in name or not name.isprintable():
        raise InvalidArgument("name", name, "a printable text is needed")
