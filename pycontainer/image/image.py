"""An image: layers and a configuration, as a frozen value; and the strings that name one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs

from pycontainer.errors import ImageNotFound, InvalidArgument
from pycontainer.image.config import ImageConfig

#: The directories of the host that the host image shows, where they are directories (on a host whose /bin
#: is not a link into /usr).
_HOST_DIRECTORIES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


@attrs.frozen(kw_only=True)
class Image:
    """What containers start from.

    ``layers`` are directories of the host, bottom first, that are never written to; without any the image
    is the host's own, whose tree is made for each owner.  ``binds`` are further directories of the
    host that appear read-only at the same path.

    >>> Image.from_host().name
    'host:'
    """

    name: str
    layers: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    config: ImageConfig = attrs.field(factory=ImageConfig)

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


def parse_image(image: str | Image) -> Image:
    """The image that a string names: ``host:`` or ``rootfs:/path``; an :class:`Image` is returned as it is.

    Raises :class:`InvalidArgument` for an unknown transport, :class:`ImageNotFound`.
    """
    if isinstance(image, Image):
        return image
    if not isinstance(image, str):
        raise InvalidArgument("image", image, "text or an Image is needed")
    if image in {"host", "host:"}:
        return Image.from_host()
    transport, colon, rest = image.partition(":")
    if colon and transport == "rootfs":
        return Image.from_rootfs(rest)
    raise InvalidArgument(
        "image", image, "'host:' or 'rootfs:/path' is needed; there is no registry client yet"
    )
