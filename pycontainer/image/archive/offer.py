"""What an archive offers: an image by its names, read when it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import attrs

from pycontainer.errors import ImageNotFound, InvalidArgument
from pycontainer.image.archive.piece import Piece
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.document import Document
from pycontainer.image.manifest import Manifest
from pycontainer.image.platform import Platform
from pycontainer.image.reference import Reference

#: How many names a message repeats.
_SHOWN = 20


@attrs.frozen(kw_only=True)
class Found:
    """An image in an archive: its manifest and configuration, read and verified, and where its layers are."""

    manifest: Manifest
    document: Document
    open: Callable[[Descriptor], Piece]


@attrs.frozen(kw_only=True)
class Offer:
    """An image that an archive has, perhaps for several platforms.

    ``labels`` is what the archive calls it, ``references`` what of that is the name of an image.  ``read`` gives the
    one for a platform, ``None`` for something that is no image: a signature, a chart.
    """

    labels: tuple[str, ...]
    references: tuple[Reference, ...]
    read: Callable[[Platform | None], Found | None]


def wanted(offers: Sequence[Offer], label: str | None) -> Offer:
    """The one of that label, or of that name or tag; without a label the only one.

    Raises :class:`ImageNotFound`, and :class:`InvalidArgument` where several might be meant.
    """
    if label is None:
        found = list(offers)
    else:
        found = [each for each in offers if label in each.labels] or [
            each for each in offers if any(_is(reference, label) for reference in each.references)
        ]
    if len(found) == 1:
        return found[0]
    names = _listed(name for each in offers for name in each.labels)
    if not found:
        raise ImageNotFound(f"there is no image {'' if label is None else label!r} in it, only: {names}")
    raise InvalidArgument("image", label or "", f"there are {len(found)} in it, name one: {names}")


def _is(reference: Reference, label: str) -> bool:
    if label == reference.tag:
        return True
    try:
        return Reference.parse(label) == reference
    except InvalidArgument:
        return False


def _listed(names: Iterable[str]) -> str:
    found = [ascii(name)[1:-1][:200] for name in dict.fromkeys(names)]
    return ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "") or "some without a name"


def names_of(labels: Iterable[str]) -> tuple[Reference, ...]:
    """Those labels that are names of images, with their tags.

    A tag alone names no image, and what a digest says of the content is not the archive's to say.
    """
    found: dict[Reference, None] = {}
    for label in labels:
        if "/" in label or ":" in label:
            with suppress(InvalidArgument):
                reference = Reference.parse(label)
                if reference.tag is not None:
                    found[attrs.evolve(reference, digest=None)] = None
    return tuple(found)


def check_platform(document: Document, platform: Platform | None) -> None:
    """Raise :class:`ImageNotFound` for the configuration of an image for another platform, where that is told."""
    told = document.platform
    if platform is not None and told.architecture and not platform.runs(told):
        raise ImageNotFound(
            f"there is no image for {platform} in it, only for {ascii(str(told))[1:-1][:200]}"
        )
