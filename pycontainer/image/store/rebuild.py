"""Noting again what is in a store whose database is lost: images are known by their manifests, which are blobs."""

from __future__ import annotations

from pycontainer.errors import ImageError
from pycontainer.image.document import parse_document
from pycontainer.image.manifest import Manifest, parse_manifest
from pycontainer.image.store.blobs import LARGEST, Blobs
from pycontainer.image.store.catalogue import Catalogue
from pycontainer.image.store.index import Index
from pycontainer.image.store.places import BLOBS, Places
from pycontainer.kernel.rooted import named


def rebuild(index: Index, blobs: Blobs, catalogue: Catalogue, places: Places) -> list[str]:
    """Put a damaged database away and note the images that are complete; those that are noted now."""
    try:
        index.check()
    except ImageError:
        index.put_away()
    noted = []
    known = {image.digest for image in catalogue.images()}
    with named("list the blobs"):
        digests = {f"sha256:{name}" for name in places.list(BLOBS) if len(name) == 64}
    for digest in sorted(digests - known):
        try:
            manifest = parse_manifest(blobs.read(digest, LARGEST), None, digest)
            if not isinstance(manifest, Manifest) or not manifest.is_image:
                continue
            document = parse_document(blobs.read(manifest.config.digest, LARGEST), digest)
            parts = {manifest.config.digest, *(layer.digest for layer in manifest.layers)}
            catalogue.note(digest, parts, document.diff_ids, ())
        except ImageError:
            continue  # most blobs are no manifests, and some lack a part
        noted.append(digest)
    return noted
