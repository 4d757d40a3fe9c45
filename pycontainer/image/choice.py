"""Which of an index's manifests is for a platform (OCI image specification, image-index.md)."""

from __future__ import annotations

from collections.abc import Sequence

from pycontainer.errors import ImageNotFound
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.mediatypes import INDEXES, MANIFESTS
from pycontainer.image.platform import Platform

#: BuildKit's records of how an image was built are manifests beside it, and nothing to run.
_RECORD = "vnd.docker.reference.type"
_SHOWN = 20


def choose(manifests: Sequence[Descriptor], platform: Platform | None) -> Descriptor:
    """The one for ``platform``, by default this machine's: the nearest variant that it runs, the first of equals.

    A machine of one variant runs what is for lower ones (``arm/v7`` what is for ``v6``), and never what is for another
    architecture.  What has no platform is taken if nothing else is for it: its configuration knows.  Attestations,
    ``unknown/unknown``, and what is no image are never taken.  Raises :class:`ImageNotFound`, with what there is.
    """
    wanted = platform if platform is not None else Platform.host()
    best: tuple[tuple[int, ...], Descriptor] | None = None
    for each in manifests:
        rank = _rank(each, wanted)
        if rank is not None and (best is None or rank > best[0]):
            best = rank, each
    if best is None:
        raise ImageNotFound(f"there is no image for {_named(wanted)} in it, only for {_listed(manifests)}")
    return best[1]


def _rank(each: Descriptor, wanted: Platform) -> tuple[int, ...] | None:
    """How well it fits; ``None``: not at all."""
    if each.media_type not in MANIFESTS | INDEXES or each.artifact_type or _RECORD in dict(each.annotations):
        return None
    direct = int(each.media_type in MANIFESTS)
    if each.platform is None or not (each.platform.os or each.platform.architecture):
        return (0, 0, 0, direct)
    fitness = wanted.fitness(each.platform)
    return None if fitness is None else (*fitness, direct)


def _named(platform: Platform) -> str:
    text = str(platform)
    return text if text.isascii() and text.isprintable() and len(text) < 80 else ascii(text)[:80]


def _listed(manifests: Sequence[Descriptor]) -> str:
    found = dict.fromkeys(
        _named(each.platform) for each in manifests if each.platform and each.platform.os != "unknown"
    )
    names = [name for name in found if name]
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "") or "none"
