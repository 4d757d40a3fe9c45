"""The images that a store has: found, named, added, removed."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import attrs

from pycontainer.errors import ImageError, ImageNotFound, InvalidArgument, StateError
from pycontainer.home import make_private
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.document import Document, parse_document
from pycontainer.image.image import Image, Stored
from pycontainer.image.manifest import Manifest, make_manifest, parse_manifest
from pycontainer.image.reference import Reference

if TYPE_CHECKING:
    from pycontainer.image.images import Images
    from pycontainer.image.store import Collected, Store

_CONFIG = "application/vnd.oci.image.config.v1+json"
#: How many names are remembered with what they stand for.
_REMEMBERED = 256
#: Fewer digits than this are a name.
_SHORTEST = 6


class Catalog:
    """The images of a store; base of ``Images``."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._store: Store | None = None
        self._pid = 0
        self._lock = threading.Lock()
        self._known: dict[str, tuple[object, Image]] = {}

    @property
    def store(self) -> Store:
        """Where they are kept."""
        if self._store is None or self._pid != os.getpid():
            from pycontainer.image.store import Store

            with self._lock:
                if self._store is None or self._pid != os.getpid():
                    make_private(self._root)
                    self._store, self._pid = Store(self._root), os.getpid()
        return self._store

    def get(self, name: str) -> Image:
        """The image of that name, digest, or unique start of a digest, in the store.

        Raises :class:`ImageNotFound`, :class:`InvalidArgument`.
        """
        stamp = self.store.stamp()
        known = self._known.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        found = self._find(name)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[name] = stamp, found
        return found

    def _find(self, name: str) -> Image:
        if not isinstance(name, str) or not name:
            raise InvalidArgument("image", name, "a name is needed")
        digits = name.removeprefix("sha256:")
        if name.startswith("sha256:") or (len(digits) >= _SHORTEST and not digits.strip("0123456789abcdef")):
            found = [digest for digest in self.store.images() if digest[7:].startswith(digits)]
            if len(found) == 1:
                return self._image(found[0], self._name_of(found[0]))
            if len(found) > 1:
                raise InvalidArgument("image", name, "several images match")
            if name.startswith("sha256:"):
                raise ImageNotFound(f"{name}: no such image in the store")
        reference = Reference.parse(name)
        digest = self.store.resolve(str(reference))
        if digest is None and reference.digest is not None:
            digest = reference.digest if reference.digest in self.store.images() else None
        if digest is None:
            raise ImageNotFound(f"{name}: no such image in the store")
        return self._image(digest, reference.familiar)

    def list(self) -> list[Image]:
        """All of them: by name, and those without one last."""
        names = self.store.names()
        found = [self._image(digest, Reference.parse(name).familiar) for name, digest in sorted(names.items())]
        return found + [self._image(digest, digest) for digest in self.store.images() if digest not in names.values()]

    def _image(self, digest: str, name: str) -> Image:
        """The image of a manifest in the store."""
        store = self.store
        manifest = parse_manifest(store.read_blob(digest), None, f"the manifest of {name}")
        if not isinstance(manifest, Manifest):
            raise ImageError(f"{name} is an index in the store")
        document = parse_document(store.read_blob(manifest.config.digest), f"the configuration of {name}")
        layers = []
        for diff_id in document.diff_ids:
            layer = store.layer(diff_id)
            if layer is None:
                raise ImageError(f"{name}: its layer {diff_id} is not there; pull it again")
            layers.append(layer)
        stored = Stored(images=self, manifest=manifest, document=document)
        return Image(
            name=name,
            layers=tuple(layers),
            config=document.config,
            digest=digest,
            stored=stored,
            holder=partial(store.hold, digest),
        )

    def _name_of(self, digest: str) -> str:
        return next(
            (Reference.parse(name).familiar for name, each in self.store.names().items() if each == digest), digest
        )

    def add(self, document: Document, layers: Sequence[Descriptor], name: Reference | None = None) -> Image:
        """An image of layers that are in the store; call it under the lease under which they came there."""
        store = self.store
        config = Descriptor(media_type=_CONFIG, digest=store.add_blob(document.raw), size=len(document.raw))
        manifest = make_manifest(config, layers)
        store.add_blob(manifest.raw)
        blobs = {manifest.digest, config.digest, *(layer.digest for layer in layers)}
        store.note_image(manifest.digest, blobs, set(document.diff_ids))
        if name is not None:
            store.tag(str(name), manifest.digest)
        return self._image(manifest.digest, manifest.digest if name is None else name.familiar)

    # -- names -----------------------------------------------------------------------------

    def tag(self, image: str | Image, name: str) -> Image:
        """Give an image a further name; the image that had it keeps its others."""
        found = self._own(image)
        reference = Reference.parse(name)
        if reference.digest is not None:
            raise InvalidArgument("name", name, "a digest is no name to give: leave '@...' out")
        self.store.tag(str(reference), found.digest)
        return attrs.evolve(found, name=reference.familiar)

    def remove(self, image: str | Image, *, force: bool = False) -> None:
        """Take a name away; with the last one the image, but for what others need of it.

        By digest, all its names, of which there may be several only with ``force``.  Raises
        :class:`ImageNotFound`, and :class:`StateError` while a container has it.
        """
        found = self._own(image)
        name = image.name if isinstance(image, Image) else image
        names = [each for each, digest in self.store.names().items() if digest == found.digest]
        by_name = not name.removeprefix("sha256:").startswith(found.digest[7:][: len(name.removeprefix("sha256:"))])
        if by_name and len(names) > 1:
            self.store.untag(str(Reference.parse(name)))
            return
        if len(names) > 1 and not force:
            raise StateError(f"image {name}", f"known by {len(names)} names", "remove it by its digest without force")
        self.store.remove(found.digest)

    def prune(self, *, all: bool = False) -> Collected:
        """Remove images without a name, with ``all`` every one that no container has; and what no image needs."""
        named = set(self.store.names().values())
        for digest in self.store.images():
            if all or digest not in named:
                with suppress(StateError):
                    self.store.remove(digest)
        return self.store.collect()

    def _own(self, image: str | Image) -> Image:
        found = self.get(image) if isinstance(image, str) else image
        if found.stored is None or found.stored.images is not self:
            raise InvalidArgument("image", found.name, "an image of this engine's store is needed: load or pull it")
        return found
