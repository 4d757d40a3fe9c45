"""An image: layers and a configuration, as a frozen value."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs

from pycontainer.errors import ImageError, ImageNotFound, InvalidArgument
from pycontainer.image.config import ImageConfig

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.image.document import Document, History
    from pycontainer.image.images import Images, RegistryOptions
    from pycontainer.image.manifest import Manifest
    from pycontainer.image.platform import Platform
    from pycontainer.image.progress import Listener
    from pycontainer.kernel.layers import Namespace

#: The directories of the host that the host image shows, where they are directories (on a host whose /bin
#: is not a link into /usr).
_HOST_DIRECTORIES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


class Hold(Protocol):
    """Keeps something until it is closed."""

    def close(self) -> None:
        """Let go of it; idempotent."""
        ...


@attrs.frozen(kw_only=True)
class Stored:
    """Where an image of a store came from: the store's images, its manifest, its configuration, and its trees there."""

    images: Images
    manifest: Manifest
    document: Document
    trees: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Image:
    """What containers start from.

    ``layers`` are directories of the host, bottom first, that are never written to; without any the image
    is the host's own, whose tree is made for each owner.  ``binds`` are further directories of the
    host that appear read-only at the same path.  ``digest`` is that of its manifest; of an image that is not
    in a store it is empty.  ``marks``: the kind of containers whose writable layers are among the layers.

    >>> Image.from_host().name
    'host:'
    """

    name: str
    layers: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    config: ImageConfig = attrs.field(factory=ImageConfig)
    digest: str = ""
    marks: Namespace | None = None
    stored: Stored | None = attrs.field(default=None, eq=False, repr=False)
    holder: Callable[[], Hold] | None = attrs.field(default=None, eq=False, repr=False)

    # -- images of a store -----------------------------------------------------------------

    @classmethod
    def pull(
        cls,
        name: str,
        *,
        platform: str | None = None,
        progress: Listener | None = None,
        **registry: Unpack[RegistryOptions],
    ) -> Image:
        """Fetch an image from its registry into the default engine's store; see :meth:`Images.pull`."""
        return _default_images().pull(name, platform=platform, progress=progress, **registry)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Image:
        """Take an archive into the default engine's store: the first of its images; see :meth:`Images.load` for all."""
        return _default_images().load(path)[0]

    def push(
        self,
        name: str | None = None,
        *,
        progress: Listener | None = None,
        **registry: Unpack[RegistryOptions],
    ) -> str:
        """Send it to the registry that ``name``, by default its own, is of; see :meth:`Images.push`."""
        return self._in_store("push").images.push(self, name, progress=progress, **registry)

    def tag(self, name: str) -> Image:
        """Give it a further name, which another image may have had; the image by that name."""
        return self._in_store("tag").images.tag(self, name)

    def remove(self, *, force: bool = False) -> None:
        """Take its name away, and with the last one what nobody else needs; see :meth:`Images.remove`."""
        self._in_store("remove").images.remove(self, force=force)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        format: Literal["oci", "docker", "oci-dir"] = "oci",  # noqa: A002  (docker and podman call it so)
    ) -> None:
        """Write it to an archive; see :meth:`Images.save`."""
        self._in_store("save").images.save(self, path, format=format)

    def hold(self) -> Hold | None:
        """Keep it from being removed until the hold is closed, or this process ends; ``None``: nobody can."""
        return None if self.holder is None else self.holder()

    @property
    def id(self) -> str:
        """The digest of its configuration, as ``docker images`` shows it; empty outside of stores."""
        return "" if self.stored is None else self.stored.manifest.config.digest

    @property
    def size(self) -> int:
        """What it takes to transfer it, in bytes: its layers as they are packed, and its configuration."""
        if self.stored is None:
            return 0
        manifest = self.stored.manifest
        return manifest.config.size + sum(layer.size for layer in manifest.layers)

    @property
    def history(self) -> tuple[History, ...]:
        """How it came to be, oldest first."""
        return () if self.stored is None else self.stored.document.history

    @property
    def platform(self) -> Platform | None:
        """For which machines it is."""
        return None if self.stored is None else self.stored.document.platform

    @property
    def created(self) -> str | None:
        """When it was made, as its configuration tells (RFC 3339)."""
        return None if self.stored is None else self.stored.document.created

    def _in_store(self, verb: str) -> Stored:
        if self.stored is None:
            raise ImageError(f"{self.name} is in no store: there is nothing to {verb}")
        return self.stored

    # -- others ----------------------------------------------------------------------------

    @classmethod
    def from_host(cls) -> Image:
        """The host's own programs: its /usr, read-only, with an /etc of its own that holds nothing secret.

        Works without a network and without anything stored.  Files of /usr that only root may read stay
        unreadable, where the file system cannot show them with the container's owners.
        """
        return _HOST

    @classmethod
    def from_rootfs(
        cls,
        path: str | os.PathLike[str],
        config: ImageConfig | Mapping[str, Any] | None = None,
        *,
        store: str | os.PathLike[str] | None = None,
    ) -> Image:
        """A directory with a root file system, used in place; or a tar archive (plain, gzip, zstd) of one.

        The directory is never written to.  An archive is unpacked once, into ``store`` (by default
        ``rootfs`` in the default engine's root), below a name made from its content: a second call finds
        it there.  ``config`` is an :class:`ImageConfig` or the ``config`` object of an OCI image.
        Raises :class:`ImageNotFound`, and :class:`ImageError` for a bad archive.
        """
        try:
            place = os.path.realpath(path)
        except ValueError:
            raise InvalidArgument("path", path, "no path has a NUL or half a surrogate in it") from None
        settings = config if isinstance(config, ImageConfig) else ImageConfig.from_json(config or {})
        if os.path.isfile(place):
            from pycontainer.image.rootfs import unpacked

            layer = unpacked(place, store)
        elif os.path.isdir(place):
            layer = place
        else:
            raise ImageNotFound(f"rootfs:{os.fspath(path)}: no such directory or archive")
        return cls(name=f"rootfs:{place}", layers=(layer,), config=settings)


_HOST = Image(
    name="host:",
    binds=tuple(path for path in _HOST_DIRECTORIES if os.path.isdir(path) and not os.path.islink(path)),
    config=ImageConfig(cmd=("/bin/sh",)),
)


def image_in_no_store(image: str | Image) -> Image | None:
    """What ``host:`` and ``rootfs:/path`` name, and an :class:`Image` itself; ``None`` for a name in a store.

    Raises :class:`InvalidArgument`, :class:`ImageNotFound`, :class:`ImageError`.
    """
    if isinstance(image, Image):
        return image
    if not isinstance(image, str):
        raise InvalidArgument("image", image, "text or an Image is needed")
    if image in {"host", "host:"}:
        return _HOST
    return Image.from_rootfs(image[7:]) if image.startswith("rootfs:") else None


def _default_images() -> Images:
    from pycontainer.image.images import default_images

    return default_images()
