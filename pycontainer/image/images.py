"""The images of an engine: what its store has, and what comes from and goes to registries and archives."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import IO, TYPE_CHECKING, Literal, TypedDict

from pycontainer.errors import ImageError, ImageNotFound
from pycontainer.home import default_root
from pycontainer.image.catalog import Catalog
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.image import Image, image_in_no_store
from pycontainer.image.manifest import Manifest, parse_manifest
from pycontainer.image.platform import Platform
from pycontainer.image.progress import Listener, Teller
from pycontainer.image.reference import Reference

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.image.config import ImageConfig
    from pycontainer.image.registry import Registry
    from pycontainer.image.store import Report


class RegistryOptions(TypedDict, total=False):
    """How a registry is spoken to; see :class:`~pycontainer.image.registry.Registry`."""

    auth: tuple[str, str] | None
    insecure: bool
    timeout: float
    ca: str | os.PathLike[str] | None
    certificate: tuple[str, str] | None
    mirrors: Sequence[str]


class Images(Catalog):
    """The images below an engine's root. Thread-safe; several processes may use one root at once.

    The constructor touches nothing; the store is made (mode 0700) when first needed.

    >>> images = Engine().images                                    # doctest: +SKIP
    >>> images.pull("debian:12").config.cmd                         # doctest: +SKIP
    ('bash',)
    """

    def resolve(self, image: str | Image) -> Image:
        """The image that a string names; an :class:`Image` is returned as it is.

        ``name[:tag][@digest]``, from the store, else from its registry; ``host:``; ``rootfs:/path``; ``oci:/path[:tag]``,
        ``oci-archive:/x.tar`` and ``docker-archive:/x.tar``, which are taken into the store first.
        Raises :class:`InvalidArgument`, :class:`ImageNotFound`, :class:`RegistryError`, :class:`ImageError`.
        """
        found = image_in_no_store(image)
        if found is not None:
            return found
        assert isinstance(image, str)  # noqa: S101  all others are in no store
        transport, colon, rest = image.partition(":")
        if colon and transport in {"oci", "oci-archive", "docker-archive"} and rest.startswith(("/", ".")):
            from pycontainer.image.archive.transport import of_transport

            return of_transport(self, transport, rest)
        try:
            return self.get(image)
        except ImageNotFound:
            return self.pull(image)

    # -- archives --------------------------------------------------------------------------

    def load(
        self,
        path: str | os.PathLike[str] | IO[bytes],
        *,
        platform: str | None = None,
        progress: Listener | None = None,
    ) -> builtins.list[Image]:
        """Take all images of an archive into the store: an OCI layout, a tar archive of one, or what ``docker save`` wrote.

        See :func:`pycontainer.image.archive.load`.
        """
        from pycontainer.image.archive import load

        return load(self, path, platform=platform, progress=progress)

    def save(
        self,
        images: str | Image | Sequence[str | Image],
        path: str | os.PathLike[str] | IO[bytes],
        *,
        format: Literal["oci", "docker", "oci-dir"] = "oci",  # noqa: A002  (as other programs call it)
        progress: Listener | None = None,
    ) -> None:
        """Write images, given by their names or as they are, to an archive, all of it or nothing.

        See :func:`pycontainer.image.archive.save`.
        """
        from pycontainer.image.archive import save

        given = [images] if isinstance(images, (str, Image)) else images
        found = [self.get(each) if isinstance(each, str) else each for each in given]
        save(self, found, path, format, progress=progress)

    def import_rootfs(
        self,
        source: str | os.PathLike[str] | IO[bytes],
        name: str | None = None,
        *,
        config: ImageConfig | None = None,
        changes: str | Iterable[str] = (),
        message: str = "",
        platform: str | None = None,
    ) -> Image:
        """Make an image of one layer from a tar archive of a root file system, which may be compressed.

        ``source`` is a file, or one that is open for reading bytes, a pipe as well.  ``changes`` are instructions
        of a Dockerfile that change ``config``: ``['CMD ["serve"]', "ENV A=1"]``.  It is for this machine unless ``platform`` ("linux/arm64") is told.  Raises :class:`ImageError` for an archive that is none,
        :class:`UnsafeArchive`, :class:`InvalidArgument`, :class:`KernelError`; nothing is left of it then.
        """
        from pycontainer.image.config import ImageConfig
        from pycontainer.image.imported import import_archive
        from pycontainer.image.instructions import changed

        if changes:
            config = changed(config or ImageConfig(), changes)
        return import_archive(self, source, name, config=config, message=message, platform=platform)

    # -- registries ------------------------------------------------------------------------

    def pull(
        self,
        name: str,
        *,
        platform: str | None = None,
        progress: Listener | None = None,
        **registry: Unpack[RegistryOptions],
    ) -> Image:
        """Fetch an image from its registry; what the store has of it is not fetched again.

        ``name`` is ``[registry/]repository[:tag][@digest]`` by Docker's rules.  ``platform`` ("linux/arm64") chooses
        from an index, by default what this machine runs.  ``auth`` is user and password, by default what
        ``docker login`` has left; ``insecure`` allows plain http and any certificate; ``timeout`` is how many
        seconds may go by without a byte; ``mirrors`` are registries to ask first.  ``progress`` is called with a
        :class:`Progress` now and then.

        The image has its name when this returns, and all of it is on disk; after a failure what had come stays
        for the next attempt.  Raises :class:`InvalidArgument`, :class:`ImageNotFound`, :class:`RegistryError`,
        :class:`ImageError` for content that is not what it should be, :class:`KernelError`.
        """
        from pycontainer.image.pull import pull

        reference = Reference.parse(name)
        wanted = None if platform is None else Platform.parse(platform)
        with self._registry(reference, registry) as host, self.store.lease():
            digest = pull(
                host,
                self.store,
                reference.repository,
                reference.digest or reference.tag or "latest",
                platform=wanted,
                tell=Teller(progress),
            )
            self.store.tag(str(reference), digest)
        return self._image(digest, reference.familiar)

    def push(
        self,
        image: str | Image,
        name: str | None = None,
        *,
        progress: Listener | None = None,
        **registry: Unpack[RegistryOptions],
    ) -> str:
        """Send an image to the registry of ``name``, by default its own name; the manifest's digest is returned.

        What the registry has is not sent.  ``registry`` as for :meth:`pull`.  Raises :class:`RegistryError`.
        """
        from pycontainer.image.push import push

        found, stored = self._own(image)
        reference = Reference.parse(name or found.name)
        with self._registry(reference, registry) as host, self.store.hold(found.digest):
            return push(
                host,
                self.store,
                reference.repository,
                reference.tag or "latest",
                stored.manifest,
                tell=Teller(progress),
            )

    def _registry(self, reference: Reference, options: RegistryOptions) -> Registry:
        from pycontainer.image.registry import Registry

        unknown = set(options) - set(RegistryOptions.__annotations__)
        if unknown:
            raise TypeError(f"unexpected keyword argument {unknown.pop()!r}")
        return Registry(reference.registry, **options)

    def verify(self, *, repair: bool = False, **registry: Unpack[RegistryOptions]) -> Report:
        """Hash every blob again, and look at everything else; see :meth:`Store.verify`.

        With ``repair`` what is damaged or missing is fetched again from a registry that had it, spoken to as in
        :meth:`pull`; what nobody has stays damaged.
        """
        return self.store.verify(partial(self._fetch_again, registry) if repair else None)

    def _fetch_again(self, options: RegistryOptions, digest: str) -> None:
        from pycontainer.image.intake import store_blob
        from pycontainer.image.pull import source_in

        blob = self._described(digest)
        for host, repository in sorted(self.store.sources(digest)):
            with self._registry(Reference(registry=host, repository=repository), options) as registry:
                if blob is None:
                    self.store.add_blob(registry.manifest(repository, digest)[0])
                else:
                    store_blob(self.store, blob, source_in(registry, repository), Teller(None))
                return
        raise ImageError(f"the blob {digest}: no registry is known that has it")

    def _described(self, digest: str) -> Descriptor | None:
        """What the manifests of the store say of a blob; ``None`` for one that no manifest names."""
        for each in self.store.images():
            with suppress(ImageError):
                manifest = parse_manifest(self.store.read_blob(each.digest), None, "a manifest in the store")
                if isinstance(manifest, Manifest):
                    for blob in (manifest.config, *manifest.layers):
                        if blob.digest == digest:
                            return blob
        return None


_default: dict[str, Images] = {}


def default_images() -> Images:
    """The images of the default engine."""
    root = default_root()
    return _default.setdefault(root, Images(root))
