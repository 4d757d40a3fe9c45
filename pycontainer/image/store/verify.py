"""Verifying a store: every blob is hashed again; what is damaged or missing is fetched again by the caller."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from pycontainer.errors import ImageError, ImageNotFound, PyContainerError
from pycontainer.image.store.blobs import blob_name, hash_of, open_regular
from pycontainer.image.store.index import Index
from pycontainer.image.store.layers import is_complete
from pycontainer.image.store.places import BLOBS, LAYERS, Places
from pycontainer.image.store.trash import Batch
from pycontainer.kernel.rooted import named

Repair = Callable[[str], object]


@attrs.frozen(kw_only=True)
class Report:
    """What was found: digests of blobs, in order.

    ``damaged`` were there and were not what their name says; ``missing`` are needed by an image and were not
    there.  ``repaired`` are those of both that are right by now; ``errors`` tells why others could not be.
    ``layers`` are trees that were dropped, since a loss of power may have damaged them: their blobs are
    unpacked again when they are needed.
    """

    damaged: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()
    errors: tuple[tuple[str, str], ...] = ()
    layers: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether everything is right now."""
        return {*self.damaged, *self.missing} == {*self.repaired}


def verify(places: Places, index: Index, repair: Repair | None) -> Report:
    """Look at everything. Raises :class:`ImageError` for a damaged database, :class:`KernelError`."""
    index.check()
    found = sorted({*_there(places), *_needed(index)})
    wrong = {digest: fault for digest in found if (fault := _fault(places, digest)) is not None}
    missing = _still_missing(places, index, [digest for digest, fault in wrong.items() if not fault])
    damaged = [digest for digest, fault in wrong.items() if fault]
    repaired, errors = [], []
    if repair is not None:
        for digest in (*damaged, *missing):
            try:
                _set_aside(places, index, digest)
                repair(digest)
            except PyContainerError as error:
                errors.append((digest, str(error)))
            if _fault(places, digest) is None:
                repaired.append(digest)
    return Report(
        damaged=tuple(damaged),
        missing=tuple(missing),
        repaired=tuple(sorted(repaired)),
        errors=tuple(errors),
        layers=_drop_unsettled(places, index),
    )


def _there(places: Places) -> list[str]:
    with named("list the blobs"):
        names = [f"sha256:{name}" for name in places.list(BLOBS)]
    return [name for name in names if len(name) == 71]


def _needed(index: Index) -> list[str]:
    with index.reading() as connection:
        return [
            digest
            for (digest,) in connection.execute("SELECT DISTINCT digest FROM parts WHERE kind = 'blob'")
        ]


def _fault(places: Places, digest: str) -> str | None:
    """What is wrong with a blob: "" if it is not there, ``None`` if nothing is."""
    try:
        with open_regular(places, blob_name(digest), digest) as file, named(f"read the blob {digest}"):
            found = hash_of(file)
    except ImageNotFound:
        return ""
    except ImageError as error:
        return str(error)
    return None if found == digest else f"its content has the digest {found}"


def _still_missing(places: Places, index: Index, digests: list[str]) -> list[str]:
    """Without those that were collected meanwhile: nobody collects within a transaction."""
    if not digests:
        return []
    with index.writing(durable=False) as connection:
        needed = {
            digest
            for (digest,) in connection.execute("SELECT digest FROM parts WHERE kind = 'blob'").fetchall()
        }
        return [digest for digest in digests if digest in needed and _fault(places, digest) == ""]


def _set_aside(places: Places, index: Index, digest: str) -> None:
    """Take a damaged blob away, so that a new one can have its name."""
    with Batch(places) as batch, index.writing(durable=False):
        if _fault(places, digest):
            batch.take(blob_name(digest))


def _drop_unsettled(places: Places, index: Index) -> tuple[str, ...]:
    with Batch(places) as batch, index.writing(durable=False), named("look at the layers"):
        dropped = [
            name
            for name in places.list(LAYERS)
            if not is_complete(places, f"{LAYERS}/{name}") and batch.take(f"{LAYERS}/{name}")
        ]
    return tuple(f"sha256:{name}" for name in sorted(dropped))
