"""Manifests of a registry: read, looked up, written and deleted, in bounds and by their digests."""

from __future__ import annotations

from pycontainer.errors import ImageError, ImageNotFound, InvalidArgument, RegistryError
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.digest import digest_of, is_digest
from pycontainer.image.mediatypes import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from pycontainer.image.registry.answer import Answer
from pycontainer.image.registry.authentication import repository_scope
from pycontainer.image.registry.endpoint import Endpoint

#: What registries take at the most (distribution-spec, "Pushing Manifests").
LARGEST_MANIFEST = 4 << 20
#: What we can read.  Registries convert, or choose, what is not among them.
_ACCEPT = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_INDEX}, {DOCKER_MANIFEST}"


def get_manifest(endpoint: Endpoint, repository: str, reference: str) -> tuple[bytes, str, str]:
    """Return the bytes, the media type without parameters ("" where none was told) and the digest."""
    target = f"{repository}/manifests/{reference}"
    answer, raw = endpoint.document(
        "GET",
        target,
        repository_scope(repository, "pull"),
        largest=LARGEST_MANIFEST,
        headers={"Accept": _ACCEPT},
    )
    name = f"the manifest {reference} of {repository}"
    if answer.status != 200:
        raise endpoint.refuse(answer, f"get {name}")
    encoding = answer.header("Content-Encoding")
    if encoding and encoding.lower() != "identity":
        raise RegistryError(endpoint.host, f"{name} comes encoded as {ascii(encoding)[:50]}, unasked")
    digest = digest_of(raw)
    if is_digest(reference) and digest != reference:
        raise ImageError(f"{endpoint.host}: {name} has the digest {digest}")
    _check_told(answer, digest, f"{endpoint.host}: {name}")
    return raw, _media_type(answer), digest


def look_up(endpoint: Endpoint, repository: str, reference: str) -> Descriptor:
    """Return what a tag or digest means, without its content where the registry tells enough."""
    target = f"{repository}/manifests/{reference}"
    answer, _ = endpoint.document(
        "HEAD", target, repository_scope(repository, "pull"), largest=0, headers={"Accept": _ACCEPT}
    )
    if answer.status != 200:
        raise endpoint.refuse(answer, f"look up the manifest {reference} of {repository}")
    digest, size = answer.header("Docker-Content-Digest"), answer.length
    if not is_digest(digest) or not size or not _media_type(answer):
        raw, media_type, told = get_manifest(endpoint, repository, reference)
        return Descriptor(media_type=media_type, digest=told, size=len(raw))
    if is_digest(reference) and digest != reference:
        raise ImageError(f"{endpoint.host}: the manifest {reference} of {repository} has the digest {digest}")
    return Descriptor(media_type=_media_type(answer), digest=str(digest), size=size)


def put_manifest(
    endpoint: Endpoint, repository: str, reference: str, raw: bytes, media_type: str
) -> tuple[str, Answer]:
    """Write a manifest; its digest, and the answer, which is closed."""
    if len(raw) > LARGEST_MANIFEST:
        raise InvalidArgument("raw", f"{len(raw)} bytes", "registries take manifests of at most 4 MiB")
    digest = digest_of(raw)
    if is_digest(reference) and reference != digest:
        raise InvalidArgument("reference", reference, f"the digest of these bytes is {digest}")
    name = f"the manifest {reference} to {repository}"

    def attempt() -> Answer:
        return endpoint.once(
            "PUT",
            f"{repository}/manifests/{reference}",
            repository_scope(repository, "pull", "push"),
            headers={"Content-Type": media_type},
            body=lambda: raw,
        )

    answer = endpoint.persist(attempt)
    if answer.status not in {200, 201, 202}:
        raise endpoint.refuse(answer, f"push {name}")
    answer.drop()
    _check_told(answer, digest, f"{endpoint.host}: {name}")
    return digest, answer


def delete(endpoint: Endpoint, repository: str, target: str, what: str) -> None:
    """Delete a manifest, a tag or a blob; one that an attempt before deleted, whose answer was lost, is gone too."""
    tried = 0

    def attempt() -> Answer:
        nonlocal tried
        tried += 1
        return endpoint.once(
            "DELETE", f"{repository}/{target}", repository_scope(repository, "delete", "pull")
        )

    answer = endpoint.persist(attempt)
    if answer.status in {200, 202, 204} or (answer.status == 404 and tried > 1):
        answer.drop()
        return
    error = endpoint.refuse(answer, f"delete {what} of {repository}")
    if isinstance(error, ImageNotFound) or answer.status not in {400, 405}:
        raise error
    raise RegistryError(
        endpoint.host, f"{error.what}; it does not let this be deleted", status=answer.status, code=error.code
    )


def _media_type(answer: Answer) -> str:
    text = (answer.header("Content-Type") or "").partition(";")[0].strip().lower()
    return text if text.isascii() and text.isprintable() and len(text) < 256 else ""


def _check_told(answer: Answer, digest: str, name: str) -> None:
    told = answer.header("Docker-Content-Digest")
    # Of other algorithms we know nothing; what we computed ourselves is what counts.
    if told is not None and told.startswith("sha256:") and told != digest:
        raise ImageError(f"{name} has the digest {digest}, and the registry says {ascii(told)[1:-1][:100]}")
