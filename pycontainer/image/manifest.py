"""Manifests and indexes: what an image is made of, and for which platforms there is one.

The OCI's (image-spec 1.1: manifest.md, image-index.md) and Docker's (image manifest version 2, schema 2) are
read into the same values.  The bytes are kept as they came: a digest is of them, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import attrs

from pycontainer.errors import ImageError, InvalidArgument, shown
from pycontainer.image.choice import choose
from pycontainer.image.descriptor import Descriptor, read_annotations
from pycontainer.image.digest import digest_of
from pycontainer.image.jsontext import read_object, spelled, write_object
from pycontainer.image.mediatypes import (
    CONFIGS,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEXES,
    MANIFESTS,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA_1,
)
from pycontainer.image.platform import Platform

#: What servers say of files that they do not know.
_ANYTHING = frozenset(
    {"", "application/json", "application/octet-stream", "binary/octet-stream", "text/plain"}
)
_COMMON = ("schemaVersion", "mediaType", "annotations", "subject", "artifactType")
_OF_MANIFEST, _OF_INDEX, _OF_SCHEMA_1 = ("config", "layers"), ("manifests",), ("fsLayers",)
_DESCRIPTOR = ("mediaType", "digest", "size", "platform", "annotations", "artifactType")
Annotations = Mapping[str, str] | Iterable[tuple[str, str]]


@attrs.frozen(kw_only=True)
class _Described:
    """What manifests and indexes have in common.

    ``raw`` are its exact bytes and ``digest`` is theirs; ``more`` holds the fields that are not known here, as they
    came.
    """

    media_type: str
    annotations: tuple[tuple[str, str], ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""
    more: tuple[tuple[str, Any], ...] = attrs.field(default=(), eq=False, repr=False)
    raw: bytes = attrs.field(repr=False)
    digest: str = attrs.field(
        init=False, default=attrs.Factory(lambda self: digest_of(self.raw), takes_self=True)
    )


@attrs.frozen(kw_only=True)
class Manifest(_Described):
    """One image, or another artifact: its configuration and its layers, the lowest first.

    Made by :func:`parse_manifest` and :func:`make_manifest`.
    """

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def is_image(self) -> bool:
        """Whether it is an image at all: artifacts have the same form, and a configuration of another type."""
        return self.config.media_type in CONFIGS


@attrs.frozen(kw_only=True)
class Index(_Described):
    """Several manifests, mostly of one image for several platforms; Docker's "manifest list".

    Made by :func:`parse_manifest` and :func:`make_index`.
    """

    manifests: tuple[Descriptor, ...]

    def choose(self, platform: Platform | None = None) -> Descriptor:
        """What is for this platform, by default this machine's; see :func:`~pycontainer.image.choice.choose`.

        It may be an index again.  Raises :class:`ImageNotFound`, with the platforms that there are.
        """
        return choose(self.manifests, platform)


def parse_manifest(raw: bytes, media_type: str | None, where: str) -> Manifest | Index:
    """Read a manifest or an index of at most 4 MiB; ``media_type`` is what it was sent as, if that is known.

    Nothing may be both (CVE-2021-41190): the type that it was sent as, the type that it tells and the fields
    that it has must agree.  Raises :class:`ImageError`, with ``where`` in its message, for all that is not well-formed.

    >>> parse_manifest(b'{"schemaVersion": 2, "manifests": []}', None, "index.json").media_type
    'application/vnd.oci.image.index.v1+json'
    """
    names = (*_COMMON, *_OF_MANIFEST, *_OF_INDEX, *_OF_SCHEMA_1)
    value = spelled(read_object(raw, where), names, where)
    kind = _kind(value, (media_type or "").partition(";")[0].strip().lower(), where)
    subject = value.get("subject")
    artifact_type = value.get("artifactType") or ""
    if not isinstance(artifact_type, str):
        raise ImageError(f"{where} has an artifact type that is no text")
    common: dict[str, Any] = {
        "media_type": kind,
        "annotations": read_annotations(value.get("annotations"), where),
        "subject": None if subject is None else _descriptor(subject, f"the subject of {where}"),
        "artifact_type": artifact_type,
        "more": tuple((key, each) for key, each in value.items() if key not in names),
        "raw": raw,
    }
    if kind in INDEXES:
        return Index(manifests=_descriptors(value["manifests"], "manifest", where), **common)
    config = _descriptor(value.get("config"), f"the configuration of {where}")
    layers = _descriptors(value["layers"], "layer", where)
    _check_sizes((config, *layers), where)
    return Manifest(config=config, layers=layers, **common)


def make_manifest(
    config: Descriptor,
    layers: Sequence[Descriptor],
    *,
    annotations: Annotations = (),
    subject: Descriptor | None = None,
    artifact_type: str = "",
    docker: bool = False,
) -> Manifest:
    """A manifest in canonical JSON: equal arguments make equal bytes, and with them an equal digest.

    ``docker=True`` makes one of schema 2, which knows neither annotations nor subjects, and layers of Docker's types alone.
    """
    if docker:
        _check_docker([config, *layers], annotations, subject, artifact_type)
    value = {"config": config.to_json(), "layers": [layer.to_json() for layer in layers]}
    kind = DOCKER_MANIFEST if docker else OCI_MANIFEST
    return cast("Manifest", _made(kind, value, annotations, subject, artifact_type))


def make_index(
    manifests: Sequence[Descriptor],
    *,
    annotations: Annotations = (),
    subject: Descriptor | None = None,
    artifact_type: str = "",
    docker: bool = False,
) -> Index:
    """An index in canonical JSON, as :func:`make_manifest` makes manifests; ``docker=True`` for a manifest list."""
    if docker:
        _check_docker(manifests, annotations, subject, artifact_type)
    value = {"manifests": [each.to_json() for each in manifests]}
    kind = DOCKER_INDEX if docker else OCI_INDEX
    return cast("Index", _made(kind, value, annotations, subject, artifact_type))


def _made(
    media_type: str,
    value: dict[str, Any],
    annotations: Annotations,
    subject: Descriptor | None,
    artifact_type: str,
) -> Manifest | Index:
    value |= {"schemaVersion": 2, "mediaType": media_type}
    if annotations:
        value["annotations"] = dict(annotations)
    if subject is not None:
        value["subject"] = subject.to_json()
    if artifact_type:
        value["artifactType"] = artifact_type
    # Read again, so that nothing is made that would not be taken.
    return parse_manifest(write_object(value), media_type, "what was to be made")


def _check_docker(
    parts: Sequence[Descriptor], annotations: Annotations, subject: Descriptor | None, artifact_type: str
) -> None:
    if annotations or subject is not None or artifact_type:
        raise InvalidArgument(
            "docker", True, "only an OCI manifest has annotations, a subject or an artifact type"
        )
    for part in parts:
        if not part.media_type.startswith("application/vnd.docker."):
            raise InvalidArgument("docker", True, f"Docker's schema 2 has no {part.media_type!r} in it")


def _kind(value: Mapping[str, Any], told: str, where: str) -> str:
    """The media type of the object that was sent as ``told``."""
    version, field = value.get("schemaVersion"), value.get("mediaType") or ""
    if not isinstance(field, str):
        raise ImageError(f"{where} has a media type that is no text")
    if told in SCHEMA_1 or field in SCHEMA_1 or (type(version) is int and version == 1):
        raise ImageError(
            f"{where} is a Docker image manifest of schema 1, in which layers cannot be verified:"
            " push the image again with a tool of today"
        )
    if type(version) is not int or version != 2:
        raise ImageError(f"{where} has the schema version {shown(version)[:50]}: 2 is needed")
    for media_type in (told if told not in _ANYTHING else field, field):
        if media_type and media_type not in MANIFESTS | INDEXES:
            raise ImageError(f"{where} is of the type {shown(media_type)[:200]}: no manifest and no index")
    if told not in _ANYTHING and field and told != field:
        raise ImageError(f"{where} was sent as {told!r} and says that it is {field!r}")
    told = field or (told if told not in _ANYTHING else "")
    present = {name for name in (*_OF_MANIFEST, *_OF_INDEX, *_OF_SCHEMA_1) if value.get(name) is not None}
    kind = told or (OCI_INDEX if present & {*_OF_INDEX} else OCI_MANIFEST)
    foreign = present - {*(_OF_INDEX if kind in INDEXES else _OF_MANIFEST)}
    if foreign:
        raise ImageError(
            f"{where} is a {_noun(kind)} by its type and has {sorted(foreign)[0]!r}: it cannot be both"
        )
    needed = _OF_INDEX[0] if kind in INDEXES else _OF_MANIFEST[1]
    if needed not in value:
        raise ImageError(f"{where} is a {_noun(kind)} without {needed!r}")
    return kind


def _noun(kind: str) -> str:
    return "list of manifests" if kind in INDEXES else "manifest"


def _descriptor(value: object, where: str) -> Descriptor:
    return Descriptor.from_json(
        spelled(value, _DESCRIPTOR, where) if isinstance(value, dict) else value, where
    )


def _descriptors(value: object, noun: str, where: str) -> tuple[Descriptor, ...]:
    if value is None:  # how Go writes an empty list
        return ()
    if not isinstance(value, list):
        raise ImageError(f"{where} has a list of {noun}s that is none")
    found = tuple(_descriptor(each, f"{noun} {number} of {where}") for number, each in enumerate(value, 1))
    _check_sizes(found, where)
    return found


def _check_sizes(parts: Iterable[Descriptor], where: str) -> None:
    """The same content cannot have two sizes; an empty layer may well be there twice."""
    sizes: dict[str, int] = {}
    for part in parts:
        if sizes.setdefault(part.digest, part.size) != part.size:
            raise ImageError(f"{where} tells two sizes of {part.digest}")
