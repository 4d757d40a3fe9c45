"""Images from where they are: the store, or a registry with bars on a terminal."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TextIO

from pycontainer.errors import ImageNotFound, InvalidArgument, NotSupported

if TYPE_CHECKING:
    from pycontainer.engine import Engine
    from pycontainer.image.image import Image
    from pycontainer.image.images import Images
    from pycontainer.image.progress import Listener

#: When ``run`` asks the registry.
PULL = ("always", "missing", "never")


def obtain(engine: Engine, name: str, *, pull: str, platform: str | None, quiet: bool) -> Image:
    """The image that ``run`` and ``create`` name. Raises :class:`ImageNotFound`, :class:`RegistryError`."""
    from pycontainer.image.image import image_in_no_store

    if pull not in PULL:
        raise InvalidArgument("pull", pull, f"one of {', '.join(PULL)} is needed")
    plain = image_in_no_store(name)
    if plain is not None:
        return plain
    if name.partition(":")[0] in {"oci", "oci-archive", "docker-archive"}:
        return engine.resolve(name)
    if pull != "always":
        try:
            found = engine.images.get(name)
        except ImageNotFound:
            if pull == "never":
                raise ImageNotFound(
                    f"{name}: no such image here, and --pull never forbids to fetch it"
                ) from None
        else:
            if platform is None or _fits(found, platform):
                return found
            if pull == "never":
                raise ImageNotFound(f"{name}: it is here for {found.platform}, and not for {platform}")
        if not quiet:
            print(f"Unable to find image {with_tag(name)!r} locally", file=sys.stderr)
    return fetch(engine.images, name, platform=platform, out=None if quiet else sys.stderr)


def fetch(images: Images, name: str, *, platform: str | None, out: TextIO | None, **registry: Any) -> Image:
    """Pull an image, and tell of it on ``out`` as Docker does."""
    from pycontainer.image.reference import Reference

    reference = Reference.parse(name)
    if out is not None:
        what = reference.tag or reference.digest or "latest"
        print(f"{what}: Pulling from {reference.repository}", file=out, flush=True)
    before = _digest(images, name)
    with ExitStack() as stack:
        listener = None if out is None else bars(stack)
        found = images.pull(name, platform=platform, progress=listener, **registry)
    if out is not None:
        news = "Image is up to date for" if before == found.digest else "Downloaded newer image for"
        print(f"Digest: {found.digest}\nStatus: {news} {with_tag(name)}", file=out, flush=True)
    return found


def bars(stack: ExitStack) -> Listener | None:
    """Bars on the terminal, until the stack is closed; ``None`` where there is none, or nothing to draw them."""
    from pycontainer.image.bars import ProgressBars

    if not sys.stderr.isatty():
        return None
    try:
        return stack.enter_context(ProgressBars())
    except NotSupported:
        return None


def with_tag(name: str) -> str:
    """A name with the tag that is meant."""
    from pycontainer.image.reference import Reference

    reference = Reference.parse(name)
    return reference.familiar if reference.tag or reference.digest else f"{reference.familiar}:latest"


def _digest(images: Images, name: str) -> str | None:
    try:
        return images.get(name).digest
    except ImageNotFound:
        return None


def _fits(image: Image, platform: str) -> bool:
    from pycontainer.image.platform import Platform

    return image.platform is not None and Platform.parse(platform).runs(image.platform)
