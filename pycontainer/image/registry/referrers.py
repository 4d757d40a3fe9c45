"""Referrers: what refers to a manifest as its subject, such as signatures (distribution-spec 1.1, "Listing Referrers").

A registry that does not keep the list itself has it under a tag, ``sha256-<hex>``, which clients keep.
"""

from __future__ import annotations

from pycontainer.errors import ImageError, ImageNotFound, RegistryError
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.jsontext import read_object
from pycontainer.image.manifest import Index, Manifest, make_index, parse_manifest
from pycontainer.image.mediatypes import OCI_INDEX
from pycontainer.image.registry.authentication import repository_scope
from pycontainer.image.registry.endpoint import Endpoint
from pycontainer.image.registry.listing import pages
from pycontainer.image.registry.manifests import get_manifest, put_manifest

_MOST = 100_000


def get_referrers(endpoint: Endpoint, repository: str, digest: str, artifact_type: str = "") -> Index:
    """Return an index of what refers to a digest; an empty one where nothing does."""
    what = f"list what refers to {digest} in {repository}"
    target = f"{repository}/referrers/{digest}" + (
        f"?artifactType={_quoted(artifact_type)}" if artifact_type else ""
    )
    scope = repository_scope(repository, "pull")
    found: list[Descriptor] = []
    try:
        for value in pages(endpoint, target, scope, what):
            if not isinstance(value.get("manifests"), list):
                raise RegistryError(endpoint.host, f"{what}: it answers with something else than an index")
            found += [
                Descriptor.from_json(each, f"{endpoint.host}: {what}: it") for each in value["manifests"]
            ]
            if len(found) > _MOST:
                raise RegistryError(endpoint.host, f"{what}: the list has no end")
    except ImageNotFound:
        found = list(_tagged(endpoint, repository, digest))
    # A registry may leave the choice to its clients.
    return make_index([each for each in found if not artifact_type or each.artifact_type == artifact_type])


def note_subject(endpoint: Endpoint, repository: str, raw: bytes, media_type: str, digest: str) -> None:
    """Add a manifest that was pushed to the list of its subject, for a registry that does not do so itself.

    Another client that does the same at the same moment may undo it: the specification knows no lock.
    """
    where = f"the manifest {digest}"
    manifest = parse_manifest(raw, media_type, where)
    if manifest.subject is None:
        return
    known = _tagged(endpoint, repository, manifest.subject.digest)
    if any(each.digest == digest for each in known):
        return
    kind = manifest.artifact_type
    if not kind and isinstance(manifest, Manifest):
        kind = manifest.config.media_type
    own = Descriptor(
        media_type=manifest.media_type,
        digest=digest,
        size=len(raw),
        annotations=manifest.annotations,
        artifact_type=kind,
    )
    index = make_index([*known, own])
    put_manifest(endpoint, repository, _tag(manifest.subject.digest), index.raw, OCI_INDEX)


def has_subject(raw: bytes) -> bool:
    """Whether a manifest refers to another."""
    try:
        return read_object(raw, "the manifest").get("subject") is not None
    except ImageError:
        return False


def _tagged(endpoint: Endpoint, repository: str, digest: str) -> tuple[Descriptor, ...]:
    """What the tag of a digest lists."""
    try:
        raw, media_type, _ = get_manifest(endpoint, repository, _tag(digest))
    except ImageNotFound:
        return ()
    index = parse_manifest(raw, media_type, f"{endpoint.host}: the tag {_tag(digest)} of {repository}")
    if not isinstance(index, Index):
        raise ImageError(f"{endpoint.host}: the tag {_tag(digest)} of {repository} is no index")
    return index.manifests


def _tag(digest: str) -> str:
    return digest.replace(":", "-")


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
