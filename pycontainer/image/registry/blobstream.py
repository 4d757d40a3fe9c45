"""Blob streams: the bytes of a blob, whatever happens to the connections that bring them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

from pycontainer.errors import ImageError, ImageNotFound, RegistryError
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.registry.answer import Answer
from pycontainer.image.registry.authentication import repository_scope
from pycontainer.image.registry.endpoint import Endpoint
from pycontainer.image.registry.patience import Broken

_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/(?:([0-9]{1,19})|\*)")
_CHUNK = 1 << 18


class BlobStream:
    """The content of a blob from an offset on, in the manner of a file; for one thread at a time.

    A connection that breaks or stalls is followed by another that goes on where it ended (``Range``, RFC
    9110, 14), and one registry by the next where there are mirrors.  Not a byte more than the descriptor's
    ``size`` comes, and none less: both are errors.  Read from its beginning, the digest is verified before
    the last bytes are given, unless ``verify`` is false: then, and with an offset, that is left to the reader.

    >>> with registry.blob("library/debian", layer) as stream:          # doctest: +SKIP
    ...     while part := stream.read(1 << 18): ...
    """

    def __init__(
        self, sources: Sequence[Endpoint], repository: str, descriptor: Descriptor, offset: int, verify: bool
    ) -> None:
        self.descriptor = descriptor
        self.offset = offset
        self._sources = list(sources)
        self._repository = repository
        self._hash = hashlib.sha256() if verify and offset == 0 else None
        self._answer: Answer | None = None
        self._skip = 0
        self._attempts = self._sources[0].attempts()
        self._closed = False
        if offset < descriptor.size or self._hash is not None:
            # So that what is not there is told before anything is made ready for it.
            self._persist(self._open)

    def read(self, count: int = _CHUNK) -> bytes:
        """Up to ``count`` bytes, and none only at the end.

        Raises :class:`RegistryError` when it cannot go on, :class:`ImageError` for a size or digest that is
        not the descriptor's, ``ValueError`` when closed.
        """
        if self._closed:
            raise ValueError("the stream is closed")
        if count <= 0 or self.offset == self.descriptor.size:
            return b""
        try:
            return self._persist(lambda: self._next(count))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave the blob. Nothing happens the second time."""
        self._closed = True
        self._leave()

    def __enter__(self) -> BlobStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _persist(self, action: Callable[[], bytes]) -> bytes:
        """Try again, here as long as it helps, then at the next registry; the last one's error is raised."""
        while True:
            try:
                return action()
            except Broken as error:
                self._leave()
                try:
                    self._sources[0].failed(self._attempts, error)
                except RegistryError:
                    if not self._another():
                        raise
            except (RegistryError, ImageNotFound, ImageError) as error:
                self._leave()
                # A digest that is wrong at the end: what was read before is given away already.
                if isinstance(error, _Spoilt) or not self._another():
                    raise

    def _another(self) -> bool:
        if len(self._sources) == 1:
            return False
        del self._sources[0]
        self._attempts = self._sources[0].attempts()
        return True

    def _leave(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    def _next(self, count: int) -> bytes:
        if self._answer is None:
            self._open()
        answer = self._answer
        if answer is None:
            return b""
        while self._skip:
            self._skip -= len(self._some(answer, min(self._skip, _CHUNK)))
        part = self._some(answer, min(count, self.descriptor.size - self.offset))
        self.offset += len(part)
        self._attempts.progressed(len(part))
        if self._hash is not None:
            self._hash.update(part)
        if self.offset == self.descriptor.size:
            self._finish(answer)
        return part

    def _some(self, answer: Answer, count: int) -> bytes:
        part = answer.read(count)
        if not part:
            raise Broken(
                f"the blob {self.descriptor.digest} ends after {self.offset} of {self.descriptor.size} bytes"
            )
        return part

    def _finish(self, answer: Answer) -> None:
        """Verify that this is all, and what it is."""
        try:
            more = answer.length is None and answer.read(1)
        except Broken:
            more = b""  # a connection that breaks behind the last byte
        if more:
            raise _Spoilt(
                f"the blob {self.descriptor.digest} is larger than the {self.descriptor.size} bytes told"
            )
        self._leave()
        if self._hash is not None and self._hash.hexdigest() != self.descriptor.hex:
            raise _Spoilt(
                f"the blob {self.descriptor.digest} came with the digest sha256:{self._hash.hexdigest()}"
            )

    def _open(self) -> bytes:
        """Ask for what is left. The answer is known to be about that when this returns."""
        size, offset = self.descriptor.size, self.offset
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        endpoint = self._sources[0]
        answer = endpoint.once(
            "GET",
            f"{self._repository}/blobs/{self.descriptor.digest}",
            repository_scope(self._repository, "pull"),
            headers=headers,
        )
        try:
            left = self._left(endpoint, answer, size, offset)
            encoding = answer.header("Content-Encoding")
            if encoding and encoding.lower() != "identity":
                raise RegistryError(endpoint.host, f"it encodes a blob as {ascii(encoding)[:50]}, unasked")
            if answer.length is not None and answer.length != left:
                raise ImageError(
                    f"the blob {self.descriptor.digest} is told to be {size} bytes, "
                    f"and {endpoint.host} would send {answer.length} for {left}"
                )
        except BaseException:
            answer.close()
            raise
        self._answer = answer
        if offset == size:
            self._finish(answer)
        return b""

    def _left(self, endpoint: Endpoint, answer: Answer, size: int, offset: int) -> int:
        """How many bytes the answer has to hold."""
        self._skip = 0
        if answer.status == 200:
            # A server that knows no ranges sends all of it once more.
            self._skip = offset
            return size
        if answer.status != 206 or not offset:
            error = endpoint.refuse(answer, f"get the blob {self.descriptor.digest} of {self._repository}")
            if isinstance(error, ImageNotFound):
                raise RegistryError(
                    endpoint.host, str(error).partition(": ")[2], status=404, code="BLOB_UNKNOWN"
                )
            raise error
        told = _RANGE.fullmatch((answer.header("Content-Range") or "").strip())
        if (
            told is None
            or int(told[1]) != offset
            or not offset <= int(told[2]) < size
            or int(told[3] or size) != size
        ):
            raise RegistryError(
                endpoint.host,
                f"asked for the bytes from {offset} to {size - 1} of a blob, it sends "
                f"{ascii(answer.header('Content-Range'))[:100]}",
                status=206,
            )
        return int(told[2]) + 1 - offset


class _Spoilt(ImageError):
    """What was given away already is wrong, or all of it: no other registry mends that."""
