"""Uploads: how a blob comes into a registry (distribution-spec, "Pushing blobs").

::

    POST  blobs/uploads/?mount=D&from=OTHER      201: it was in OTHER, and is here now
                                                 202: Location: where to upload
    PUT   Location?digest=D   (the whole)        201
    or
    PATCH Location  Content-Range: 0-9           202: Location, Range: 0-9      again and again, then
    PUT   Location?digest=D   (nothing)          201

A connection that breaks in between is followed by ``GET Location``, which says how far the upload came.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Protocol

import attrs

from pycontainer.errors import ImageError, RegistryError
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.registry.answer import Answer
from pycontainer.image.registry.authentication import Scope, repository_scope
from pycontainer.image.registry.endpoint import Endpoint
from pycontainer.image.registry.location import Location
from pycontainer.image.registry.patience import Attempts, Broken

_CHUNK = 1 << 18
#: How fast a registry is that hashes or copies an upload before it answers, at the least: bytes a second.
_HASHING = 8 << 20
_LARGEST_CHUNK = 1 << 30


class Source(Protocol):
    """What a blob is read from: a file open for reading bytes."""

    def read(self, count: int, /) -> bytes:
        """Up to so many bytes, and none only at the end."""

    def close(self) -> None:
        """Let go of it."""


OpenAt = Callable[[int], Source]
Progress = Callable[[int], None]


class _Foreign(Exception):
    """The caller's own part failed: that is nothing which another attempt mends, whatever its kind."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _Restart(Exception):
    """The upload cannot go on where it was: it is forgotten, or what is there is not what was sent."""


@attrs.define(kw_only=True)
class Upload:
    """One blob on its way into a repository."""

    endpoint: Endpoint
    repository: str
    descriptor: Descriptor
    open_at: OpenAt
    mount_from: str | None
    progress: Progress
    chunk: int | None
    _location: Location | None = None
    _offset: int = 0
    _least: int = 0
    _broken: bool = False

    @property
    def _scopes(self) -> tuple[Scope, ...]:
        own = repository_scope(self.repository, "pull", "push")
        return (own, repository_scope(self.mount_from, "pull")) if self.mount_from else (own,)

    def run(self) -> str:
        """Bring it there: "present" where it was already, "mounted" or "uploaded"."""
        attempts = self.endpoint.attempts()
        restarts = 0
        while True:
            try:
                if self._is_there():
                    self.progress(self.descriptor.size)
                    return "uploaded" if self._broken else "present"
                return self._advance(attempts)
            except _Restart as error:
                self._location, self._offset, self._broken = None, 0, True
                restarts += 1
                if restarts > 2:
                    raise RegistryError(
                        self.endpoint.host, f"the upload of {self.descriptor.digest}: {error}"
                    ) from None
            except _Foreign as error:
                self._cancel()
                raise error.error from None
            except Broken as error:
                self._broken = True
                self.endpoint.failed(attempts, error)

    def _cancel(self) -> None:
        """Have the registry forget what came so far; where it does not know how, it does so by and by."""
        if self._location is not None:
            with contextlib.suppress(Broken, RegistryError):
                self.endpoint.once("DELETE", self._location, *self._scopes).drop()

    def _is_there(self) -> bool:
        """Whether the blob is there already; an upload that broke may have come to its end unheard."""
        if self._location is not None and not self._broken:
            return False
        target = f"{self.repository}/blobs/{self.descriptor.digest}"
        answer = self.endpoint.once("HEAD", target, *self._scopes)
        if answer.status == 200:
            answer.drop()
            return True
        if answer.status != 404:
            raise self.endpoint.refuse(
                answer, f"look for the blob {self.descriptor.digest} in {self.repository}"
            )
        answer.drop()
        return False

    def _advance(self, attempts: Attempts) -> str:
        if self._location is not None and self._broken:
            self._ask()
        if self._location is None and self._start():
            self.progress(self.descriptor.size)
            return "mounted"
        size = self.descriptor.size
        if self.chunk is None and self._offset == 0:
            self._put(whole=True)
        else:
            while self._offset < size:
                before = self._offset
                self._patch(max(self.chunk or size, self._least))
                attempts.progressed(self._offset - before)
            self._put(whole=False)
        self.progress(size)
        return "uploaded"

    def _start(self) -> bool:
        """Begin an upload, or have the blob mounted: then there is none to begin."""
        target = f"{self.repository}/blobs/uploads/"
        if self.mount_from:
            target += f"?mount={self.descriptor.digest}&from={self.mount_from}"
        answer = self.endpoint.once("POST", target, *self._scopes, headers={"Content-Length": "0"})
        if answer.status == 201 and self.mount_from:
            answer.drop()
            return True
        self._went_on(answer, {202}, "begin an upload")
        least = answer.header("OCI-Chunk-Min-Length") or ""
        self._least = (
            min(int(least), _LARGEST_CHUNK) if least.isascii() and least.isdigit() and len(least) < 20 else 0
        )
        self._offset, self._broken = 0, False
        return False

    def _went_on(self, answer: Answer, good: set[int], doing: str) -> None:
        """Take over the address at which the upload goes on."""
        if answer.status not in good:
            raise self.endpoint.refuse(answer, f"{doing} in {self.repository}")
        told = answer.header("Location")
        answer.drop()
        if told is None:
            if self._location is None:
                raise RegistryError(
                    self.endpoint.host, f"{doing}: it does not say where to", status=answer.status
                )
            return
        self._location = self.endpoint.wire.check(answer.location, told)

    def _ask(self) -> None:
        """Ask how far an upload came whose connection broke."""
        answer = self.endpoint.once("GET", self._where(), *self._scopes)
        if answer.status not in {202, 204}:
            answer.drop()
            raise _Restart(f"it answers {answer.status} when asked how far it came")
        told = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,19})", (answer.header("Range") or "0-0").strip())
        self._went_on(answer, {202, 204}, "go on with an upload")
        end = 0 if told is None else int(told[1]) + 1
        if end < 2:
            # "0-0" is said of one byte and of none: begin anew, which costs nothing.
            self._location = None
            return
        if end > self.descriptor.size:
            raise _Restart("it has more bytes than were sent")
        self._offset = end
        self._broken = False
        self.progress(end)

    def _patch(self, length: int) -> None:
        end = min(self._offset + length, self.descriptor.size)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - self._offset),
            "Content-Range": f"{self._offset}-{end - 1}",
        }
        start = self._offset
        answer = self.endpoint.once(
            "PATCH", self._where(), *self._scopes, headers=headers, body=lambda: self._content(start, end)
        )
        if answer.status in {404, 416}:
            answer.drop()
            raise Broken(f"upload to {self.repository}: it answers {answer.status}", status=answer.status)
        told = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,19})", (answer.header("Range") or f"0-{end - 1}").strip())
        self._went_on(answer, {202, 201, 204}, "upload")
        got = int(told[1]) + 1 if told is not None else end
        if not start < got <= end:
            raise _Restart(f"it has {got} bytes after {end} were sent")
        self._offset = got

    def _put(self, *, whole: bool) -> None:
        size = self.descriptor.size if whole else 0
        location = self._where()
        sign = "&" if "?" in location.target else "?"
        answer = self.endpoint.once(
            "PUT",
            location.at(f"{location.target}{sign}digest={self.descriptor.digest}"),
            *self._scopes,
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            body=lambda: self._content(0, size),
            timeout=self.endpoint.wire.timeout + self.descriptor.size / _HASHING,
        )
        if answer.status in {201, 204}:
            answer.drop()
            return
        error = self.endpoint.refuse(answer, f"upload {self.descriptor.digest} to {self.repository}")
        resumed = self._broken or not whole
        if resumed and (
            answer.status == 404 or getattr(error, "code", None) in {"DIGEST_INVALID", "SIZE_INVALID"}
        ):
            raise _Restart(str(error)) from None
        raise error

    def _where(self) -> Location:
        if self._location is None:
            raise _Restart("it has no place")
        return self._location

    def _content(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes of a request's body: as many as were announced, or the request fails."""
        if start == end:
            return
        try:
            source = self.open_at(start)
        except Exception as error:
            raise _Foreign(error) from error
        try:
            while start < end:
                part = source.read(min(end - start, _CHUNK))
                if not part:
                    raise ImageError(
                        f"{self.descriptor.digest} ends after {start} of {self.descriptor.size} bytes"
                    )
                start += len(part)
                yield part
                self.progress(start)
        except Exception as error:
            raise _Foreign(error) from error
        finally:
            source.close()
