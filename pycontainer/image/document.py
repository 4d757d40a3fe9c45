"""An image's configuration as a document: for which platform, from which layers and how it was made, and what it sets.

The OCI image specification's (config.md) and Docker's are one format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from pycontainer.errors import ImageError, InvalidArgument
from pycontainer.image.config import CONFIG_KEYS, ImageConfig
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.digest import check_digest, digest_of
from pycontainer.image.jsontext import read_object, spelled, write_object
from pycontainer.image.manifest import Manifest
from pycontainer.image.mediatypes import layer_compression
from pycontainer.image.platform import Platform

_PLATFORM = ("architecture", "os", "variant")
_KNOWN = (*_PLATFORM, "config", "rootfs", "history", "created", "author")
_HISTORY = ("created", "created_by", "author", "comment", "empty_layer")
#: Of the container that an image was committed from, which the next one is not (Docker, before BuildKit).
_OF_THE_LAST = ("container", "container_config")


@attrs.frozen(kw_only=True)
class History:
    """How a layer came to be; ``empty_layer``: a step that made none. ``created`` is a time of RFC 3339, or ``None``."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    @classmethod
    def from_json(cls, value: object, where: str) -> History:
        """Read one that ``where`` tells. Raises :class:`ImageError`."""
        if not isinstance(value, Mapping):
            raise ImageError(f"{where} is no object")
        told = spelled(value, _HISTORY, where)
        empty = told.get("empty_layer") or False
        if not isinstance(empty, bool):
            raise ImageError(f"{where} does not say whether its layer is empty")
        return cls(
            created=_text(told, "created", where) or None,
            created_by=_text(told, "created_by", where),
            author=_text(told, "author", where),
            comment=_text(told, "comment", where),
            empty_layer=empty,
        )

    def to_json(self) -> dict[str, Any]:
        """The object in a configuration, without what is not set."""
        return {key: value for key, value in attrs.asdict(self).items() if value}


@attrs.frozen(kw_only=True)
class Document:
    """An image's configuration blob. Made by :func:`parse_document` and :meth:`make`.

    ``raw`` are its exact bytes and ``digest``, which engines show as the image's id, is theirs.  ``diff_ids`` are the
    digests of the layers when decompressed, the lowest first.  ``platform.architecture`` is empty where it is not told.
    ``more`` holds the fields that are not known here, as they came.
    """

    platform: Platform
    config: ImageConfig
    diff_ids: tuple[str, ...]
    history: tuple[History, ...] = ()
    created: str | None = None
    author: str = ""
    more: tuple[tuple[str, Any], ...] = attrs.field(default=(), eq=False, repr=False)
    raw: bytes = attrs.field(repr=False)
    digest: str = attrs.field(
        init=False, default=attrs.Factory(lambda self: digest_of(self.raw), takes_self=True)
    )

    @classmethod
    def make(
        cls,
        *,
        platform: Platform,
        config: ImageConfig,
        diff_ids: Sequence[str],
        history: Iterable[History] = (),
        created: str | None = None,
        author: str = "",
        more: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
    ) -> Document:
        """One in canonical JSON: equal arguments make equal bytes, and with them an equal digest.

        ``created`` is a time of RFC 3339.  Raises :class:`InvalidArgument` and :class:`ImageError`.
        """
        value: dict[str, Any] = {
            **dict(more),
            **platform.to_json(),
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            "config": config.to_json(),
        }
        value |= {"created": created} if created else {}
        value |= {"author": author} if author else {}
        entries = [each.to_json() for each in history]
        value |= {"history": entries} if entries else {}
        return parse_document(write_object(value), "the configuration that was to be made")

    def extended(
        self,
        diff_id: str | None,
        history: History,
        config: ImageConfig | None = None,
        created: str | None = None,
    ) -> Document:
        """The configuration of this image with one layer more (``None``: with none), and perhaps other settings.

        All that it says is kept, also what is not known here, but for Docker's notes on the container
        that it was committed from.  ``created`` is by default the time of ``history``.
        """
        value = spelled(read_object(self.raw, "the configuration"), _KNOWN, "the configuration")
        if (diff_id is None) != history.empty_layer:
            raise InvalidArgument("history", history, "an empty layer has no diff_id, and any other has one")
        rootfs = spelled(value["rootfs"], ("type", "diff_ids"), "the configuration")
        added = [] if diff_id is None else [diff_id]
        value["rootfs"] = {**rootfs, "diff_ids": [*self.diff_ids, *added]}
        value["history"] = [*(value.get("history") or ()), history.to_json()]
        if config is not None:
            value["config"] = config.to_json()
        if created or history.created:
            value["created"] = created or history.created
        for name in _OF_THE_LAST:
            value.pop(name, None)
        return parse_document(write_object(value), "the configuration that was to be made")

    def layers(self, manifest: Manifest, where: str) -> tuple[tuple[Descriptor, str], ...]:
        """The layers of the manifest that has this configuration, each with its diff_id, the lowest first.

        Raises :class:`ImageError` unless there are as many of both, all of them layers that can be unpacked.
        """
        if len(manifest.layers) != len(self.diff_ids):
            raise ImageError(
                f"{where} has {len(manifest.layers)} layers, and its configuration tells of {len(self.diff_ids)}"
            )
        for layer in manifest.layers:
            if layer_compression(layer.media_type) is None:
                raise ImageError(
                    f"{where} has a layer of the type {ascii(layer.media_type)[:200]}: that is none"
                )
        return tuple(zip(manifest.layers, self.diff_ids, strict=True))


def parse_document(raw: bytes, where: str) -> Document:
    """Read the configuration of an image, of at most 4 MiB. Raises :class:`ImageError`, with ``where`` in its message.

    >>> parse_document(b'{"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": []}}', "x").platform.os
    'linux'
    """
    value = spelled(read_object(raw, where), _KNOWN, where)
    history = value.get("history") or []
    if not isinstance(history, list):
        raise ImageError(f"{where} has a history that is no list")
    # Images from before these two were demanded are for Linux.
    told = {"os": "linux", **{name: value[name] for name in _PLATFORM if value.get(name)}}
    return Document(
        platform=Platform.from_json(told, where),
        config=_config(value.get("config"), where),
        diff_ids=_diff_ids(value.get("rootfs"), where),
        history=tuple(
            History.from_json(each, f"step {number} of the history of {where}")
            for number, each in enumerate(history, 1)
        ),
        created=_text(value, "created", where) or None,
        author=_text(value, "author", where),
        more=tuple((key, each) for key, each in value.items() if key not in _KNOWN),
        raw=raw,
    )


def _config(value: object, where: str) -> ImageConfig:
    if value is None:
        return ImageConfig()
    if not isinstance(value, dict):
        raise ImageError(f"{where} has settings that are no object")
    told = spelled(value, CONFIG_KEYS, where)
    for name in ("Cmd", "Entrypoint"):
        if isinstance(told.get(name), str):  # one word, as Docker reads it (strslice)
            told[name] = [told[name]]
    try:
        return ImageConfig.from_json(told)
    except InvalidArgument as error:
        raise ImageError(f"{where} has a wrong setting: {error}") from None


def _diff_ids(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, dict):
        raise ImageError(f"{where} is no configuration of an image: it has no 'rootfs'")
    told = spelled(value, ("type", "diff_ids"), where)
    if told.get("type") not in (None, "", "layers"):
        raise ImageError(f"{where} has a file system that is not made of layers")
    found = told.get("diff_ids")
    if found is None:
        found = []
    if not isinstance(found, list):
        raise ImageError(f"{where} has diff_ids that are no list")
    return tuple(check_digest(each, where) for each in found)


def _text(value: Mapping[str, Any], name: str, where: str) -> str:
    found = value.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise ImageError(f"{where} has a {name!r} that is no text")
    return found
