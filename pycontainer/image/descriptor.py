"""Descriptors: what a blob is, by media type, digest and size (OCI image specification, descriptor.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from pycontainer.errors import ImageError
from pycontainer.image.digest import check_digest
from pycontainer.image.platform import Platform

#: No blob of an image is larger: what says so is not to be believed.
LARGEST_BLOB = 1 << 40
_KNOWN = frozenset({"mediaType", "digest", "size", "platform", "annotations", "artifactType"})


@attrs.frozen(kw_only=True)
class Descriptor:
    """What a blob is and how to verify it; ``size`` in bytes.

    ``more`` holds the fields that are not known here, as they came.  URLs from which a blob might be had
    are among them and never followed (CVE-2020-15157).
    """

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    artifact_type: str = ""
    more: tuple[tuple[str, Any], ...] = attrs.field(default=(), eq=False)

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return self.digest.partition(":")[2]

    @classmethod
    def from_json(cls, value: object, where: str) -> Descriptor:
        """Read one that ``where`` tells. Raises :class:`ImageError` for what is none."""
        if not isinstance(value, Mapping):
            raise ImageError(f"{where} is no descriptor")
        size, media_type = value.get("size"), value.get("mediaType")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST_BLOB:
            raise ImageError(f"{where} has no possible size")
        if not isinstance(media_type, str) or not media_type:
            raise ImageError(f"{where} has no media type")
        kind = value.get("artifactType") or ""
        if not isinstance(kind, str):
            raise ImageError(f"{where} has an artifact type that is no text")
        platform = value.get("platform")
        return cls(
            media_type=media_type,
            digest=check_digest(value.get("digest"), where),
            size=size,
            platform=None if platform is None else Platform.from_json(platform, where),
            annotations=read_annotations(value.get("annotations"), where),
            artifact_type=kind,
            more=tuple((key, each) for key, each in value.items() if key not in _KNOWN),
        )

    def to_json(self) -> dict[str, Any]:
        """The object in a manifest or index."""
        found: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.platform is not None:
            found["platform"] = self.platform.to_json()
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        if self.artifact_type:
            found["artifactType"] = self.artifact_type
        return {**found, **dict(self.more)}


def read_annotations(value: object, where: str) -> tuple[tuple[str, str], ...]:
    """Names with texts. Raises :class:`ImageError` for anything else."""
    if value is None:
        return ()
    if not isinstance(value, Mapping) or not all(
        isinstance(key, str) and isinstance(text, str) for key, text in value.items()
    ):
        raise ImageError(f"{where} has annotations that are not names with texts")
    return tuple(sorted(value.items()))
