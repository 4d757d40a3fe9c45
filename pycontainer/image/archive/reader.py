"""Images out of archives into the store."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import IO, TYPE_CHECKING, Literal

import attrs

from pycontainer.errors import ImageError
from pycontainer.image.archive import dockersave, layout
from pycontainer.image.archive.contents import Contents, opened
from pycontainer.image.archive.offer import Found, Offer, wanted
from pycontainer.image.archive.piece import Piece
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.intake import take_in_layers
from pycontainer.image.platform import Platform
from pycontainer.image.progress import Listener, Teller
from pycontainer.image.reference import Reference
from pycontainer.image.store import Store

if TYPE_CHECKING:
    from pycontainer.image.image import Image
    from pycontainer.image.images import Images

Kind = Literal["oci", "docker"]


@attrs.frozen
class Taken:
    """An image whose content is in the store, and the names it is to have."""

    digest: str
    blobs: frozenset[str]
    diff_ids: frozenset[str]
    references: tuple[Reference, ...] = ()


def load(
    images: Images,
    path: str | os.PathLike[str] | IO[bytes],
    *,
    platform: str | None = None,
    progress: Listener | None = None,
) -> list[Image]:
    """Take all images of an archive into the store: an OCI layout, a tar archive of one, or what ``docker save`` wrote.

    ``path`` may also be a file open for reading bytes, a pipe as well.  Tar archives may be compressed.  Images get the names that the archive tells, from those that had them; one without
    a name can be had by its digest.  Of an image for several platforms, the one for ``platform`` ("linux/arm64") is
    taken, by default this machine's.  What the store has is not read.  Each name makes one element of the result.

    All content is verified; the names are given when all images are there.  After a failure what was complete stays for
    the next attempt, without a name.  Raises :class:`ImageNotFound`, :class:`ImageError` for an archive that is none,
    is damaged or lacks a part, :class:`UnsafeArchive`, :class:`InvalidArgument`, :class:`KernelError`.

    >>> [image.name for image in load(images, "debian.tar")]     # doctest: +SKIP
    ['debian:12']
    """
    chosen = None if platform is None else Platform.parse(platform)
    store, tell = images.store, Teller(progress)
    with store.lease(), opened(path, scratch(store)) as contents:
        taken = []
        for offer in offers(contents):
            found = offer.read(chosen)
            if found is not None:
                taken.append(_take_in(store, found, offer.references, tell))
        if not taken:
            raise ImageError("there is no image in it")
        result: list[Image] = []
        for each in taken:
            store.note_image(each.digest, each.blobs, each.diff_ids)
            for reference in each.references:
                store.tag(str(reference), each.digest)
            names = [reference.familiar for reference in each.references] or [each.digest]
            image = images.get(each.digest)
            result += [attrs.evolve(image, name=name) for name in names]
        return result


def load_one(
    images: Images,
    path: str | os.PathLike[str],
    label: str | None = None,
    *,
    kind: Kind | None = None,
    platform: str | None = None,
    progress: Listener | None = None,
) -> str:
    """Take one image of an archive into the store, and return the digest of its manifest; it gets no name.

    ``label`` is what the archive calls it, the image's name, or its tag; without it there may be only one.
    ``kind`` says which archives are right.  Otherwise as :func:`load`.
    """
    chosen = None if platform is None else Platform.parse(platform)
    store = images.store
    with store.lease(), opened(path, scratch(store)) as contents:
        offer = wanted(offers(contents, kind), label)
        found = offer.read(chosen)
        if found is None:
            raise ImageError("what is meant is no image, but another artifact")
        taken = _take_in(store, found, (), Teller(progress))
        store.note_image(taken.digest, taken.blobs, taken.diff_ids)
        return taken.digest


def offers(contents: Contents, kind: Kind | None = None) -> list[Offer]:
    """What an archive has. One that is of both kinds is read as a layout, unless it is to be of the other."""
    if kind != "docker" and layout.is_layout(contents):
        return layout.offers(contents)
    if kind != "oci" and dockersave.is_saved(contents):
        return dockersave.offers(contents)
    wanted_files = {
        "oci": f"{layout.LAYOUT} and {layout.INDEX}",
        "docker": dockersave.MANIFEST,
        None: f"{layout.LAYOUT} and {layout.INDEX}, or {dockersave.MANIFEST}",
    }
    raise ImageError(f"it is no archive of images: it has no {wanted_files[kind]}")


def take_images(
    images: Images, contents: Contents, digests: Collection[str], progress: Listener | None = None
) -> list[Taken]:
    """Take those images of a layout with these digests into the store, without names; call it under a lease.

    Raises what :func:`load` does, and :class:`ImageError` for one that is not there.
    """
    taken: list[Taken] = []
    tell = Teller(progress)
    for offer in layout.offers(contents) if digests else []:
        found = offer.read(None)
        if found is not None and found.manifest.digest in digests:
            taken.append(_take_in(images.store, found, offer.references, tell))
            images.store.note_image(taken[-1].digest, taken[-1].blobs, taken[-1].diff_ids)
    missing = set(digests) - {each.digest for each in taken}
    if missing:
        raise ImageError(f"the image {sorted(missing)[0]} is not in it")
    return taken


def name_images(images: Images, taken: Sequence[Taken]) -> None:
    """Give them those of their names that no other image has."""
    names = images.store.names()
    for each in taken:
        for reference in each.references:
            if str(reference) not in names:
                images.store.tag(str(reference), each.digest)


def scratch(store: Store) -> str:
    """Where archives are decompressed that are compressed as a whole; there while somebody has a lease."""
    return f"{store.path}/ingest"


def _take_in(store: Store, found: Found, references: tuple[Reference, ...], tell: Teller) -> Taken:
    manifest, document = found.manifest, found.document

    def source(blob: Descriptor, offset: int) -> Piece:
        piece = found.open(blob)
        piece.seek(offset)
        return piece

    take_in_layers(store, document.layers(manifest, "the image"), source, tell)
    blobs = {
        store.add_blob(document.raw),
        store.add_blob(manifest.raw),
        *(layer.digest for layer in manifest.layers),
    }
    return Taken(manifest.digest, frozenset(blobs), frozenset(document.diff_ids), references)
