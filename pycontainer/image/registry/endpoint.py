"""Endpoints: one registry as requests see it: authenticated, tried again, and errors told as ours."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TypeVar

from pycontainer.errors import ImageNotFound, InvalidArgument, RegistryError, StateError
from pycontainer.image.digest import is_digest
from pycontainer.image.registry.answer import Answer
from pycontainer.image.registry.authentication import Authentication, Scope
from pycontainer.image.registry.credentials import Credential
from pycontainer.image.registry.location import Location
from pycontainer.image.registry.patience import Attempts, Broken, Patience
from pycontainer.image.registry.wire import HUB, Body, Settings, Wire

_T = TypeVar("_T")
#: distribution-spec, "Pulling manifests".
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_UNKNOWN = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"})


class Endpoint:
    """One registry: sends requests with what it wants to see, and as often as patience allows."""

    def __init__(
        self,
        host: str,
        settings: Settings,
        *,
        find: Callable[[str], Credential | None],
        patience: Patience,
    ) -> None:
        self.wire = Wire(host, settings)
        self.host = HUB if self.wire.is_hub else self.wire.host
        self._patience = patience
        #: Whether it was tried in vain, and has never answered: no further request of many is to wait for it.
        self.gone = False
        self._closed = threading.Event()
        self._authentication = Authentication(self.wire, lambda: find(self.host))

    def attempts(self) -> Attempts:
        """Return a counter for the attempts at one thing."""
        return Attempts(self._patience, self.host, self._closed)

    def persist(self, action: Callable[[], _T]) -> _T:
        """Do something as often as it takes and patience allows; it raises :class:`Broken` where it fails."""
        attempts = self.attempts()
        while True:
            try:
                return action()
            except Broken as error:
                self.failed(attempts, error)

    def failed(self, attempts: Attempts, error: Broken) -> None:
        """Note a failure and wait, as :meth:`Attempts.failed` does."""
        try:
            attempts.failed(error, known=self.wire.known)
        except RegistryError:
            self.gone = not self.wire.known
            raise

    def once(
        self,
        method: str,
        target: str | Location,
        *scopes: Scope,
        headers: dict[str, str] | None = None,
        body: Body | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Send one request, and once more with what the registry then wants to see; the caller closes the answer.

        ``target`` is a path behind ``/v2/`` or what :meth:`Wire.check` returned.  Raises :class:`Broken`, at
        once for answers that say to come later.
        """
        if self._closed.is_set():
            raise StateError(f"the client of {self.host}", "closed", "ask")
        base = self.wire.base
        location = target if isinstance(target, Location) else base.at(f"/v2/{target}")
        own = location.origin == base.origin
        sent = self._authentication.header(scopes) if own else None
        answer = self.wire.follow(
            method, location, headers=headers or {}, authorization=sent, body=body, timeout=timeout
        )
        if answer.status == 401 and own and answer.location.origin == base.origin:
            try:
                other = self._authentication.learn(answer, sent, scopes)
            except BaseException:
                answer.close()
                raise
            if other is not None:
                answer.drop()
                answer = self.wire.follow(
                    method, location, headers=headers or {}, authorization=other, body=body, timeout=timeout
                )
        if answer.status in {408, 429, 500, 502, 503, 504}:
            raise answer.failure(f"{method} {location.target.partition('?')[0][:300]}")
        return answer

    def document(
        self, method: str, target: str, *scopes: Scope, largest: int, headers: dict[str, str] | None = None
    ) -> tuple[Answer, bytes]:
        """Return an answer and its whole body, of at most ``largest`` bytes; the answer is closed."""

        def attempt() -> tuple[Answer, bytes]:
            answer = self.once(method, target, *scopes, headers=headers)
            if answer.status >= 300:
                return answer, b""
            return answer, answer.document(largest)

        return self.persist(attempt)

    def refuse(self, answer: Answer, doing: str) -> RegistryError | ImageNotFound:
        """Close an answer that is none of those hoped for, and return it as the error to raise."""
        failure = answer.failure(doing)
        if failure.status == 404 and (failure.code in _UNKNOWN or failure.code is None):
            return ImageNotFound(f"{self.host}: {failure.what}")
        if failure.status in {401, 403}:
            failure.what += "; log in, or look at the name: some registries say so of what is not there"
        return failure.final(self.host)

    def close(self) -> None:
        """Close the connections; what waits for another attempt ends with :class:`StateError`."""
        self._closed.set()
        self.wire.close()


def check_repository(repository: object) -> str:
    """The name of a repository. Raises :class:`InvalidArgument`.

    >>> check_repository("library/debian")
    'library/debian'
    """
    if not isinstance(repository, str) or len(repository) > 255 or _REPOSITORY.fullmatch(repository) is None:
        raise InvalidArgument(
            "repository", repository, "small letters, digits and . _ - as in 'library/debian' are needed"
        )
    return repository


def check_reference(reference: object) -> str:
    """A tag or digest. Raises :class:`InvalidArgument`."""
    if isinstance(reference, str) and (is_digest(reference) or _TAG.fullmatch(reference) is not None):
        return reference
    raise InvalidArgument(
        "reference", reference, "a tag as in '12-slim', or sha256: and 64 digits, is needed"
    )


def is_tag(text: object) -> bool:
    """Whether this is a tag (distribution-spec, "Pulling manifests")."""
    return isinstance(text, str) and _TAG.fullmatch(text) is not None
