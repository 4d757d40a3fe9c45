"""What ``docker save`` writes: a tar archive with a manifest.json (moby, image/tarexport).

::

    manifest.json   [{"Config": "<hex>.json", "RepoTags": ["debian:12"], "Layers": ["<id>/layer.tar"]}]

The names of the files are the archive's own.  Layers are tar archives, whose digests the configuration tells;
kaniko, Bazel and others compress them.  ``repositories``, from before there was a manifest.json, tells no more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from pycontainer.errors import ImageError, ImageNotFound
from pycontainer.image.archive.contents import Contents
from pycontainer.image.archive.members import normal
from pycontainer.image.archive.offer import Found, Offer, check_platform, names_of
from pycontainer.image.archive.piece import Piece
from pycontainer.image.compression import HEAD, kind_of
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.document import Document, parse_document
from pycontainer.image.jsontext import read_list, spelled
from pycontainer.image.manifest import make_manifest
from pycontainer.image.mediatypes import OCI_CONFIG, OCI_LAYER
from pycontainer.image.platform import Platform

MANIFEST, REPOSITORIES = "manifest.json", "repositories"
_FIELDS = ("Config", "RepoTags", "Layers")
_CHUNK = 1 << 20
#: Names that tell what they stand for: ``<hex>.json``, ``blobs/sha256/<hex>``, ``sha256:<hex>``.
_TELLING = re.compile(r"(?:blobs/sha256/|sha256:)?([0-9a-f]{64})(?:\.json)?")
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_TYPES = {"none": OCI_LAYER, "gzip": f"{OCI_LAYER}+gzip", "zstd": f"{OCI_LAYER}+zstd"}


def is_saved(contents: Contents) -> bool:
    """Whether it is an archive of this kind. Raises :class:`ImageError` for one of before Docker 1.10."""
    if contents.has(MANIFEST):
        return True
    if contents.has(REPOSITORIES):
        raise ImageError(
            f"it has no {MANIFEST}, as archives of before Docker 1.10: save it again with a tool of today"
        )
    return False


def offers(contents: Contents) -> list[Offer]:
    """The images of such an archive. Raises :class:`ImageError`, :class:`ImageNotFound`."""
    with contents.open(MANIFEST) as piece:
        entries = read_list(piece.content(), MANIFEST)
    files = _Files(contents)
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for number, value in enumerate(entries, 1):
        where = f"image {number} of {MANIFEST}"
        if not isinstance(value, dict):
            raise ImageError(f"{where} is no object")
        told = spelled(value, _FIELDS, where)
        [config] = _texts([told.get("Config")], "configuration", where)
        layers = tuple(_texts(told.get("Layers"), "layers", where))
        found.setdefault((config, layers), []).extend(_texts(told.get("RepoTags"), "names", where))
    return [
        Offer(
            labels=tuple(dict.fromkeys(names)),
            references=names_of(names),
            read=partial(files.image, config, layers),
        )
        for (config, layers), names in found.items()
    ]


def _texts(value: Any, what: str, where: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ImageError(f"{where} has {what} that are no texts")
    return value


class _Files:
    """The files of the archive, and which blobs they are."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._digests: dict[str, str] = {}
        self._places: dict[str, str] = {}

    def image(self, config: str, layers: Sequence[str], platform: Platform | None) -> Found:
        """The image of a configuration and its layers, the lowest first, by their names in the archive."""
        document = self._document(config)
        check_platform(document, platform)
        if len(layers) != len(document.diff_ids):
            told = len(document.diff_ids)
            raise ImageError(f"{config} tells of {told} layers, and {MANIFEST} of {len(layers)}")
        blobs = [self._layer(name, diff_id) for name, diff_id in zip(layers, document.diff_ids, strict=True)]
        described = Descriptor(media_type=OCI_CONFIG, digest=document.digest, size=len(document.raw))
        return Found(manifest=make_manifest(described, blobs), document=document, open=self._open)

    def _document(self, name: str) -> Document:
        with self._file(name) as piece:
            document = parse_document(piece.content(), name)
        told = _TELLING.fullmatch(name)
        if told and document.digest != f"sha256:{told[1]}":
            raise ImageError(f"{name} is damaged: its content has the digest {document.digest}")
        return document

    def _layer(self, name: str, diff_id: str) -> Descriptor:
        """The blob that a file is."""
        with self._file(name) as piece:
            head = piece.read(HEAD)
            kind = kind_of(head)
            if kind == "none":
                # What it is, if it is right; and it is looked at when it is taken in.
                blob = Descriptor(media_type=OCI_LAYER, digest=diff_id, size=piece.size)
            elif kind in _TYPES:
                blob = Descriptor(
                    media_type=_TYPES[kind], digest=self._digest(name, head, piece), size=piece.size
                )
            else:
                raise ImageError(f"{name} is compressed with {kind}, which layers are not: gzip or zstd are")
        self._places[blob.digest] = name
        return blob

    def _digest(self, name: str, head: bytes, rest: Piece) -> str:
        told = _BLOB.fullmatch(name)
        if told:
            return f"sha256:{told[1]}"
        if name not in self._digests:
            found = hashlib.sha256(head)
            while part := rest.read(_CHUNK):
                found.update(part)
            self._digests[name] = f"sha256:{found.hexdigest()}"
        return self._digests[name]

    def _open(self, blob: Descriptor) -> Piece:
        return self._file(self._places[blob.digest])

    def _file(self, name: str) -> Piece:
        place = normal(name)
        if place is None:
            raise ImageNotFound(f"there is no {ascii(name)[:200]} in it")
        return self._contents.open(place)
