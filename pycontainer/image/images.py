"""The images of an engine: what its store has, and what comes from and goes to registries and archives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from pycontainer.errors import ImageNotFound, InvalidArgument
from pycontainer.home import default_root
from pycontainer.image.catalog import Catalog
from pycontainer.image.image import Image
from pycontainer.image.platform import Platform
from pycontainer.image.progress import Listener, Teller
from pycontainer.image.reference import Reference

if TYPE_CHECKING:
    from typing_extensions import Unpack

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
        if isinstance(image, Image):
            return image
        if not isinstance(image, str):
            raise InvalidArgument("image", image, "text or an Image is needed")
        if image in {"host", "host:"}:
            return Image.from_host()
        transport, colon, rest = image.partition(":")
        if colon and transport == "rootfs":
            return Image.from_rootfs(rest, store=f"{self._root}/rootfs")
        if colon and transport in {"oci", "oci-archive", "docker-archive"} and rest.startswith(("/", ".")):
            return self._of_archive(transport, rest)
        try:
            return self.get(image)
        except ImageNotFound:
            return self.pull(image)

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
        """Hash everything again. With ``repair`` what is damaged is fetched again from where it came."""
        raise NotImplementedError


_images: dict[str, Images] = {}


def images_at(root: str) -> Images:
    """The images below an engine's root: one object for a process."""
    return _images.setdefault(root, Images(root))


def default_images() -> Images:
    """The images of the default engine."""
    return images_at(default_root())
