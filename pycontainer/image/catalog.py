"""The images that a store has: found, named, added, removed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

import attrs

from pycontainer.errors import ImageError, ImageNotFound, InvalidArgument, PyContainerError, StateError
from pycontainer.home import make_private
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.document import Document, parse_document
from pycontainer.image.image import Image, Stored
from pycontainer.image.manifest import Manifest, make_manifest, parse_manifest
from pycontainer.image.progress import Teller
from pycontainer.image.reference import Reference
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.layers import Marks
from pycontainer.kernel.rooted import OPEN_DIRECTORY

if TYPE_CHECKING:
    from pycontainer.image.images import Images
    from pycontainer.image.store import BlobWriter, Collected, Store, Usage

_CONFIG = "application/vnd.oci.image.config.v1+json"
#: How many names are remembered with what they stand for.
_REMEMBERED = 256
#: Fewer digits than this are a name.
_SHORTEST = 6


class Catalog:
    """The images of a store; base of ``Images``."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._store: Store | None = None
        self._pid = 0
        self._lock = threading.Lock()
        self._known: dict[str, tuple[object, Image]] = {}
        self._sweeping: list[threading.Thread] = []

    @property
    def store(self) -> Store:
        """Where they are kept."""
        if self._store is None or self._pid != os.getpid():
            from pycontainer.image.store import Store

            with self._lock:
                if self._store is None or self._pid != os.getpid():
                    make_private(self.root)
                    self._store, self._pid = Store(self.root), os.getpid()
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
        by_digest = name.startswith("sha256:")
        if by_digest or (len(digits) >= _SHORTEST and not digits.strip("0123456789abcdef")):
            found = [each.digest for each in self.store.images() if each.digest[7:].startswith(digits)]
            if len(found) == 1:
                return self._image(found[0], self._name_of(found[0]))
            if len(found) > 1:
                raise InvalidArgument("image", name, "several images match")
            if by_digest:
                raise ImageNotFound(f"{name}: no such image in the store")
        reference = Reference.parse(name)
        digest = self.store.resolve(str(reference))
        if digest is None and reference.digest in {each.digest for each in self.store.images()}:
            digest = reference.digest
        if digest is None:
            raise ImageNotFound(f"{name}: no such image in the store")
        return self._image(digest, reference.familiar)

    def list(self) -> list[Image]:
        """All of them: by name, and those without one last."""
        names = self.store.names()
        found = [(digest, Reference.parse(name).familiar) for name, digest in sorted(names.items())]
        named = set(names.values())
        found += [(each.digest, each.digest) for each in self.store.images() if each.digest not in named]
        there = []
        for digest, name in found:
            with suppress(ImageNotFound):  # removed meanwhile
                there.append(self._image(digest, name))
        return there

    def usage(self) -> dict[str, Usage]:
        """What each image takes on the disk, in bytes, by its digest: its own, and shared with others."""
        return self.store.usage()

    def _image(self, digest: str, name: str) -> Image:
        """The image of a manifest in the store."""
        with self.store.hold(digest):
            return self._held_image(digest, name)

    def _held_image(self, digest: str, name: str) -> Image:
        store = self.store
        manifest = parse_manifest(store.read_blob(digest), None, f"the manifest of {name}")
        if not isinstance(manifest, Manifest):
            raise ImageError(f"{name} is an index in the store")
        document = parse_document(store.read_blob(manifest.config.digest), f"the configuration of {name}")
        return self._made(manifest, document, name)

    def _made(self, manifest: Manifest, document: Document, name: str) -> Image:
        """The image of what its manifest and its configuration say."""
        layers: list[str] = []
        for path in self._trees(document.layers(manifest, name)):
            if _hides_all(path):
                layers = []  # overlayfs does not look at the roots of its layers
            layers.append(path)
        trees = tuple(layers)
        stored = Stored(images=cast("Images", self), manifest=manifest, document=document, trees=trees)
        return Image(
            name=name,
            layers=trees,
            config=document.config,
            digest=manifest.digest,
            stored=stored,
            holder=partial(self.store.hold, manifest.digest),
        )

    def _trees(self, layers: Sequence[tuple[Descriptor, str]]) -> Iterator[str]:
        """The trees of layers; unpacked once more where the machine went down before they were on disk."""
        paths = self.store.layers([diff_id for _, diff_id in layers])
        for (layer, diff_id), path in zip(layers, paths, strict=True):
            yield path or self._tree_anew(layer, diff_id)

    def _tree_anew(self, layer: Descriptor, diff_id: str) -> str:
        from pycontainer.image.intake import nowhere, take_in

        with self.store.lease():
            take_in(self.store, layer, diff_id, nowhere, Teller(None))
        path = self.store.layer(diff_id)
        if path is None:
            raise ImageError(f"the layer {diff_id} is gone as soon as it is there")
        return path

    def _name_of(self, digest: str) -> str:
        names = [name for name, each in self.store.names().items() if each == digest]
        return Reference.parse(names[0]).familiar if names else digest

    def add(
        self,
        document: Document,
        layers: Sequence[Descriptor],
        name: Reference | None = None,
        written: Sequence[BlobWriter] = (),
    ) -> Image:
        """An image of layers that are in the store, or ``written`` to it; call it under the lease of all that.

        All of it is on disk when this returns, and the name with it.
        """
        config = Descriptor(media_type=_CONFIG, digest=document.digest, size=len(document.raw))
        manifest = make_manifest(config, layers)
        self.store.add_blobs([document.raw, manifest.raw], written)
        self.store.note_image(
            manifest.digest,
            {config.digest, *(layer.digest for layer in layers)},
            set(document.diff_ids),
            name=None if name is None else str(name),
        )
        return self._made(manifest, document, manifest.digest if name is None else name.familiar)

    def close(self) -> None:
        """Delete what was removed, and close what is open of the store; idempotent. It is opened again when needed."""
        for thread in tuple(self._sweeping):
            thread.join()
        with self._lock:
            store, self._store = self._store, None
            self._known.clear()
        if store is not None and self._pid == os.getpid():
            store.close()

    # -- names -----------------------------------------------------------------------------

    def tag(self, image: str | Image, name: str) -> Image:
        """Give an image a further name; the image that had it keeps its others."""
        found, _ = self._own(image)
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
        found, _ = self._own(image)
        name = image.name if isinstance(image, Image) else image
        names = [each for each, digest in self.store.names().items() if digest == found.digest]
        if len(names) > 1 and not found.digest.startswith(("sha256:" + name, name)):
            self.store.untag(str(Reference.parse(name)))
            return
        if len(names) > 1 and not force:
            raise StateError(
                f"image {name}", f"known by {len(names)} names", "remove it by its digest without force"
            )
        self.store.remove(found.digest)
        self._sweep()

    def prune(
        self,
        *,
        all: bool = False,  # noqa: A002  (as docker)
        where: Callable[[Image], bool] | None = None,
    ) -> Collected:
        """Remove images without a name, with ``all`` every one that no container has; and what no image needs.

        ``where`` is asked for each: only those for which it says true.
        """
        if where is not None:
            for image in self.list():
                if (all or image.name.startswith("sha256:")) and where(image):
                    with suppress(StateError, ImageNotFound):
                        self.store.remove(image.digest)
        elif all:
            for each in self.store.images():
                with suppress(StateError, ImageNotFound):
                    self.store.remove(each.digest)
        found = self.store.collect(unnamed=where is None, sweeping=False)
        self._sweep()
        return found

    def _sweep(self) -> None:
        """Delete what was removed while the caller goes on; what is not deleted at the end of the process is later."""
        thread = threading.Thread(
            target=self._try_to_sweep, args=(self.store,), name="pycontainer-sweep", daemon=True
        )
        self._sweeping.append(thread)
        thread.start()

    def _try_to_sweep(self, store: Store) -> None:
        with suppress(PyContainerError):
            store.sweep()
        self._sweeping.remove(threading.current_thread())

    def _own(self, image: str | Image) -> tuple[Image, Stored]:
        found = self.get(image) if isinstance(image, str) else image
        if found.stored is None or found.stored.images.root != self.root:
            raise InvalidArgument(
                "image", found.name, "an image of this engine's store is needed: load or pull it"
            )
        return found, found.stored


def _hides_all(layer: str) -> bool:
    with Fd(os.open(layer, OPEN_DIRECTORY)) as root:
        return Marks().opaque(root.fileno())
