"""Pulling an image: from a registry into the store.

Every blob is verified against its digest while it comes, every layer against its diff_id while it is unpacked;
the name is given last.  What was complete stays when a pull fails, and is not fetched again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainer.errors import ImageError
from pycontainer.image.document import parse_document
from pycontainer.image.intake import Source, store_blob, take_in_layers
from pycontainer.image.manifest import Manifest, parse_manifest
from pycontainer.image.platform import Platform
from pycontainer.image.progress import Teller
from pycontainer.image.store import Store

#: An index may name an index (image-index.md); nobody needs more.
_DEPTH = 3

if TYPE_CHECKING:
    from pycontainer.image.registry import Registry


def pull(
    registry: Registry,
    store: Store,
    repository: str,
    reference: str,
    *,
    platform: Platform | None,
    tell: Teller,
) -> str:
    """Bring an image and all it is made of into the store; ``reference`` is a tag or a digest.

    The digest of its manifest is returned: with an index that of the platform's, by default this machine's.
    Call it under a lease of the store, and give the image its name before that ends.  Raises
    :class:`RegistryError`, :class:`ImageError`, :class:`KernelError` for a full disk.
    """
    manifest = _manifest(registry, store, repository, reference, platform)
    config = manifest.config
    source = source_in(registry, repository)
    store_blob(store, config, source, tell)
    document = parse_document(store.read_blob(config.digest), f"the configuration of {repository}")
    take_in_layers(store, document.layers(manifest, repository), source, tell)
    blobs = {manifest.digest, config.digest, *(layer.digest for layer in manifest.layers)}
    store.note_image(manifest.digest, blobs, set(document.diff_ids), sources={(registry.host, repository)})
    return manifest.digest


def source_in(registry: Registry, repository: str) -> Source:
    """Where the blobs of a repository come from, for a store, which verifies them."""
    return lambda blob, offset: registry.blob(repository, blob, offset=offset, verify=False)


def _manifest(
    registry: Registry, store: Store, repository: str, reference: str, platform: Platform | None
) -> Manifest:
    """The manifest that the reference stands for, or the platform's of an index; in the store."""
    for _ in range(_DEPTH):
        raw, media_type, _digest = registry.manifest(repository, reference)
        found = parse_manifest(raw, media_type, f"{registry.host}/{repository} {reference}")
        if isinstance(found, Manifest):
            store.add_blob(raw)
            return found
        reference = found.choose(platform).digest
    raise ImageError(f"{registry.host}/{repository} {reference}: an index of indexes of indexes")
