"""A registry, as those see it who pull and push (distribution-spec 1.1)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from pycontainer.errors import ImageError, InvalidArgument, RegistryError
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.digest import check_digest, is_digest
from pycontainer.image.manifest import Index
from pycontainer.image.registry.authentication import repository_scope
from pycontainer.image.registry.blobstream import BlobStream
from pycontainer.image.registry.credentials import Credential, find_credential
from pycontainer.image.registry.endpoint import Endpoint, check_reference, check_repository, is_tag
from pycontainer.image.registry.listing import list_all
from pycontainer.image.registry.manifests import delete, get_manifest, look_up, put_manifest
from pycontainer.image.registry.patience import Patience
from pycontainer.image.registry.referrers import get_referrers, has_subject, note_subject
from pycontainer.image.registry.upload import OpenAt, Progress, Upload
from pycontainer.image.registry.wire import Settings

_T = TypeVar("_T")
#: A user with a password, or what says who is asking, given the name of the registry.
Auth = Credential | tuple[str, str] | Callable[[str], Credential | tuple[str, str] | None] | None


class Registry:
    """One registry, and the mirrors that are asked first. Thread-safe; nothing is connected to before the first call.

    ``host`` is as in names of images: "docker.io", "registry.example:5000", "[::1]:5000".

    ``auth``
        who asks: ``(user, password)``, a :class:`Credential`, or a callable that is given the name of a
        registry; by default what ``docker login`` and ``podman login`` wrote.  Pairs and credentials are for
        this registry alone, a callable is asked for mirrors as well.  ``lambda host: None`` is nobody.
    ``insecure``
        allow plain http, and certificates that nobody vouches for.  Without it plain http is spoken with
        this machine alone ("localhost", 127.0.0.0/8, ::1).
    ``timeout``
        seconds without any byte (or next to none) after which a connection is given up, and tried again.
    ``ca``, ``certificate``
        a file of certificate authorities in addition to the system's; the client's own certificate, a file
        with its key or a pair of files.  Both are also looked for in /etc/docker/certs.d/HOST.
    ``mirrors``
        hosts that are asked before this one for what is pulled, in this order.
    ``patience``
        how often and how long after a failure something is tried again.

    Every method raises :class:`RegistryError` when the registry, or the way to it, fails;
    :class:`RegistryDenied` and :class:`RateLimited` among them; :class:`ImageNotFound` for what is not there;
    :class:`ImageError` for content that is not what it should be; :class:`NotSupported` where urllib3 is
    missing or a configuration file is broken.

    >>> with Registry("localhost:5000") as registry:            # doctest: +SKIP
    ...     raw, media_type, digest = registry.manifest("team/app", "v1")
    """

    def __init__(
        self,
        host: str,
        *,
        auth: Auth = None,
        insecure: bool = False,
        timeout: float = 60.0,
        ca: str | os.PathLike[str] | None = None,
        certificate: str | os.PathLike[str] | tuple[str, str] | None = None,
        mirrors: Sequence[str] = (),
        agent: str = "pycontainer",
        patience: Patience | None = None,
    ) -> None:
        if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout <= 86400:
            raise InvalidArgument("timeout", timeout, "seconds, more than 0, are needed")
        if isinstance(mirrors, str):
            raise InvalidArgument("mirrors", mirrors, "a list of hosts is needed")
        pair = (
            certificate if isinstance(certificate, tuple) or certificate is None else os.fspath(certificate)
        )
        settings = Settings(
            insecure=insecure,
            timeout=float(timeout),
            agent=agent,
            ca=None if ca is None else os.fspath(ca),
            certificate=pair,
        )
        patience = patience or Patience()
        self._auth = auth
        _check_auth(auth)
        self._own = Endpoint(host, settings, find=self._find, patience=patience)
        # There is somebody else to ask: less patience.
        hasty = attrs.evolve(patience, attempts=min(patience.attempts, 3), unknown=1)
        self._mirrors = [Endpoint(mirror, settings, find=self._find, patience=hasty) for mirror in mirrors]
        self.host = self._own.host

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str, str]:
        """Return a manifest or index by tag or digest: its exact bytes, media type and digest.

        The digest is computed from the bytes; one that the registry tells otherwise, or that was asked for
        otherwise, is an :class:`ImageError`, as is anything over 4 MiB.
        """
        check_repository(repository)
        check_reference(reference)
        return self._pull(lambda endpoint: get_manifest(endpoint, repository, reference))

    def resolve(self, repository: str, reference: str) -> Descriptor:
        """Return what a tag or digest means: media type, digest and size of its manifest, which is not fetched."""
        check_repository(repository)
        check_reference(reference)
        return self._pull(lambda endpoint: look_up(endpoint, repository, reference))

    def blob(
        self, repository: str, descriptor: Descriptor, offset: int = 0, *, verify: bool = True
    ) -> BlobStream:
        """Open a blob for reading from ``offset`` on; see :class:`BlobStream`. The caller closes it."""
        check_repository(repository)
        check_digest(descriptor.digest, "the descriptor")
        if not 0 <= offset <= descriptor.size:
            raise InvalidArgument("offset", offset, f"the blob has {descriptor.size} bytes")
        return BlobStream([*self._there(), self._own], repository, descriptor, offset, verify)

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether the registry itself, and not a mirror, has a blob in this repository."""
        check_repository(repository)
        check_digest(digest, "the blob")
        answer, _ = self._own.document(
            "HEAD", f"{repository}/blobs/{digest}", repository_scope(repository, "pull"), largest=0
        )
        if answer.status not in {200, 404}:
            raise self._own.refuse(answer, f"look for the blob {digest} in {repository}")
        answer.drop()
        return answer.status == 200

    def push_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        open_at: OpenAt,
        *,
        mount_from: str | None = None,
        progress: Progress | None = None,
        chunk: int | None = None,
    ) -> str:
        """Bring a blob into a repository, unless it is there.

        ``open_at(offset)`` opens its content from there on, as a file open for reading bytes that is closed
        after use; it is called again after a broken connection.  ``mount_from`` is a repository of the same
        registry that may have the blob.  ``progress`` is called with how many bytes of it are there, which
        after a broken connection may be fewer than before.  With ``chunk`` it is sent in requests of so many
        bytes, or of as many as the registry wants at the least; by default in one.

        Returns "present", "mounted" or "uploaded".  What ``open_at`` and ``read`` raise is passed on.
        """
        check_repository(repository)
        check_digest(descriptor.digest, "the descriptor")
        if mount_from is not None:
            check_repository(mount_from)
        if chunk is not None and chunk <= 0:
            raise InvalidArgument("chunk", chunk, "bytes, more than 0, are needed")
        return Upload(
            endpoint=self._own,
            repository=repository,
            descriptor=descriptor,
            open_at=open_at,
            mount_from=None if mount_from == repository else mount_from,
            progress=progress or _quiet,
            chunk=chunk,
        ).run()

    def push_manifest(self, repository: str, reference: str, raw: bytes, media_type: str) -> str:
        """Write a manifest or index, by tag or by its own digest; returns its digest. What it names must be there.

        One with a subject is added to the subject's referrers where the registry does not do so itself.
        """
        check_repository(repository)
        check_reference(reference)
        digest, answer = put_manifest(self._own, repository, reference, raw, media_type)
        if has_subject(raw) and answer.header("OCI-Subject") is None:
            note_subject(self._own, repository, raw, media_type, digest)
        return digest

    def referrers(self, repository: str, digest: str, *, artifact_type: str = "") -> Index:
        """Return an index of the manifests that name this one as their subject, such as its signatures.

        Registries that know nothing of it have a list under a tag, which :meth:`push_manifest` keeps.
        """
        check_repository(repository)
        check_digest(digest, "the subject")
        return get_referrers(self._own, repository, digest, artifact_type)

    def tags(self, repository: str) -> list[str]:
        """Return all tags of a repository, sorted."""
        check_repository(repository)
        return list_all(
            self._own,
            f"{repository}/tags/list",
            "tags",
            repository_scope(repository, "pull"),
            is_tag,
            f"list the tags of {repository}",
        )

    def catalog(self) -> list[str]:
        """Return the names of all repositories, sorted, where the registry tells them."""
        scope = "registry:catalog", frozenset({"*"})
        return list_all(self._own, "_catalog", "repositories", scope, _is_text, "list the repositories")

    def delete(self, repository: str, reference: str) -> None:
        """Delete a tag, or the manifest of a digest with all its tags. Blobs stay.

        Many registries let only digests be deleted: :class:`RegistryError`, and nothing is deleted.
        """
        check_repository(repository)
        check_reference(reference)
        kind = "manifest" if is_digest(reference) else "tag"
        delete(self._own, repository, f"manifests/{reference}", f"the {kind} {reference}")

    def delete_blob(self, repository: str, digest: str) -> None:
        """Delete a blob from a repository."""
        check_repository(repository)
        check_digest(digest, "the blob")
        delete(self._own, repository, f"blobs/{digest}", f"the blob {digest}")

    def close(self) -> None:
        """Close the connections. What waits in another thread to try again ends with :class:`StateError`."""
        for endpoint in (*self._mirrors, self._own):
            endpoint.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pull(self, action: Callable[[Endpoint], _T]) -> _T:
        """Ask the mirrors, then the registry itself, whose error is the one that is told."""
        for mirror in self._there():
            try:
                return action(mirror)
            except (RegistryError, ImageError):
                continue
        return action(self._own)

    def _there(self) -> list[Endpoint]:
        return [mirror for mirror in self._mirrors if not mirror.gone]

    def _find(self, host: str) -> Credential | None:
        """Who asks at a host: what was given for this registry goes to no other."""
        auth = self._auth
        if callable(auth):
            auth = auth(host)
        elif auth is None or host != self.host:
            return find_credential(host)
        if isinstance(auth, tuple):
            return Credential(user=auth[0], password=auth[1])
        return auth


def _check_auth(auth: Auth) -> None:
    if auth is None or isinstance(auth, Credential) or callable(auth):
        return
    if not isinstance(auth, tuple) or len(auth) != 2 or not all(isinstance(each, str) for each in auth):
        raise InvalidArgument("auth", "...", "a user and a password, or a callable, are needed")
    if ":" in auth[0]:
        raise InvalidArgument("auth", f"({auth[0]!r}, ...)", "the name of a user has no colon (RFC 7617)")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) < 1024


def _quiet(count: int) -> None:
    """Nobody wants to know."""
