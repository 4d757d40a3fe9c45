"""OCI image layouts (image-spec 1.1, image-layout.md): index.json and the blobs that it leads to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from pycontainer.errors import ImageError, shown
from pycontainer.image.archive.contents import Contents
from pycontainer.image.archive.offer import Found, Offer, check_platform, names_of
from pycontainer.image.archive.piece import Piece
from pycontainer.image.choice import choose
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.document import parse_document
from pycontainer.image.jsontext import read_object
from pycontainer.image.manifest import Index, Manifest, parse_manifest
from pycontainer.image.mediatypes import INDEXES, MANIFESTS, layer_compression
from pycontainer.image.platform import Platform

LAYOUT, INDEX, BLOBS = "oci-layout", "index.json", "blobs/sha256"
VERSION = "1.0.0"
#: The tag, or the name with it (image-spec, annotations.md); and the name, as containerd and BuildKit write it.
TAG, NAME = "org.opencontainers.image.ref.name", "io.containerd.image.name"
#: An index may name an index; nobody needs more.
_DEPTH = 4


def is_layout(contents: Contents) -> bool:
    """Whether it is one, or means to be one."""
    return contents.has(INDEX) and contents.has(LAYOUT)


def offers(contents: Contents) -> list[Offer]:
    """The images of a layout. Raises :class:`ImageError`, :class:`ImageNotFound`."""
    with contents.open(LAYOUT) as piece:
        version = read_object(piece.content(), LAYOUT).get("imageLayoutVersion")
    if version != VERSION:
        raise ImageError(f"it is a layout of the version {shown(version)[:50]}: {VERSION} is needed")
    with contents.open(INDEX) as piece:
        index = parse_manifest(piece.content(), None, INDEX)
    if not isinstance(index, Index):
        raise ImageError(f"{INDEX} is a manifest, and an index is needed")
    found: dict[frozenset[str], tuple[tuple[Descriptor, ...], list[str]]] = {}
    for labels, candidates in _grouped(index.manifests):
        same = frozenset(each.digest for each in candidates)
        found.setdefault(same, (candidates, []))[1].extend(labels)
    return [
        Offer(
            labels=tuple(dict.fromkeys(labels)),
            references=names_of(labels),
            read=partial(_read, contents, candidates),
        )
        for candidates, labels in found.values()
    ]


def blob_name(blob: Descriptor) -> str:
    """Where in a layout a blob is."""
    return f"{BLOBS}/{blob.hex}"


def open_blob(contents: Contents, blob: Descriptor) -> Piece:
    """Open a blob, if it can be the one that is meant. Raises :class:`ImageError`, :class:`ImageNotFound`."""
    piece = contents.open(blob_name(blob))
    if piece.size != blob.size:
        piece.close()
        raise ImageError(f"the blob {blob.digest} has {piece.size} bytes, and {blob.size} were told")
    return piece


def _grouped(manifests: Iterable[Descriptor]) -> list[tuple[list[str], tuple[Descriptor, ...]]]:
    """Labels, and what they may stand for: one image for several platforms may be there as an index or without one."""
    labelled: dict[str, list[Descriptor]] = {}
    single: list[Descriptor] = []
    several: list[Descriptor] = []
    for each in manifests:
        if each.media_type not in MANIFESTS | INDEXES or each.artifact_type:
            continue
        notes = dict(each.annotations)
        # The name first: it says more than the tag, of which there may be many in many repositories.
        labels = [text for key in (NAME, TAG) if (text := notes.get(key))]
        if labels:
            labelled.setdefault(labels[0], []).append(each)
        else:
            (single if each.platform is None else several).append(each)
    found = [(_labels(label, group), tuple(group)) for label, group in labelled.items()]
    if len({each.platform for each in several}) < len(several):  # these are not one image
        single, several = single + several, []
    found += [([], (each,)) for each in single]
    return found + ([([], tuple(several))] if several else [])


def _labels(label: str, group: Sequence[Descriptor]) -> list[str]:
    tags = [text for each in group for key, text in each.annotations if key == TAG]
    return [label, *tags]


def _read(contents: Contents, candidates: Sequence[Descriptor], platform: Platform | None) -> Found | None:
    manifest = _manifest(contents, candidates, platform)
    if not manifest.is_image or any(layer_compression(each.media_type) is None for each in manifest.layers):
        return None
    with open_blob(contents, manifest.config) as piece:
        raw = piece.content(manifest.config.digest)
    document = parse_document(raw, f"the configuration {manifest.config.digest}")
    check_platform(document, platform)
    return Found(manifest=manifest, document=document, open=partial(open_blob, contents))


def _manifest(contents: Contents, candidates: Sequence[Descriptor], platform: Platform | None) -> Manifest:
    for _ in range(_DEPTH):
        # One that is alone is what was saved, also for another machine.
        alone = platform is None and len(candidates) == 1
        chosen = candidates[0] if alone else choose(candidates, platform)
        with open_blob(contents, chosen) as piece:
            raw = piece.content(chosen.digest)
        found = parse_manifest(raw, chosen.media_type, f"the manifest {chosen.digest}")
        if isinstance(found, Manifest):
            return found
        candidates = found.manifests
    raise ImageError(f"an index of more than {_DEPTH - 1} indexes in each other")
