"""Answers: what came back for one request, read in bounds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from pycontainer.image.registry.location import Location
from pycontainer.image.registry.patience import Broken, retry_after

if TYPE_CHECKING:
    import urllib3

#: What is read of an error's text, and of a body that nobody wants so that its connection may be kept.
_ERROR = 1 << 16
#: How much of the registry's own words is repeated.
_WORDS = 500


class Answer:
    """The answer to one request. Its maker closes it; closing twice is closing once."""

    def __init__(
        self, response: urllib3.HTTPResponse, location: Location, fail: Callable[[BaseException], NoReturn]
    ) -> None:
        self._response = response
        self._fail = fail
        self.location = location
        self.status = int(response.status)

    def header(self, name: str) -> str | None:
        """Return a header's value; several of one name are joined by commas."""
        value = self._response.headers.get(name)
        return None if value is None else str(value)

    @property
    def length(self) -> int | None:
        """How long the body says it is, in bytes."""
        text = (self.header("Content-Length") or "").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    def read(self, count: int) -> bytes:
        """Up to so many bytes of the body, and none only at its end. Raises :class:`Broken`."""
        try:
            return self._response.read1(count, decode_content=False)
        except Exception as error:  # noqa: BLE001  (told in words by the one module that knows urllib3)
            self.close()
            self._fail(error)

    def document(self, largest: int) -> bytes:
        """Return the whole body, which then is closed. Raises :class:`Broken`, also for a larger one."""
        parts: list[bytes] = []
        room = largest + 1
        try:
            while room and (part := self.read(min(room, 1 << 18))):
                parts.append(part)
                room -= len(part)
        finally:
            self.close()
        if not room:
            raise Broken(f"it answers with more than {largest} bytes", again=False)
        return b"".join(parts)

    def drop(self) -> None:
        """Leave the body, so that the connection can be used again where it is short."""
        try:
            self.document(_ERROR)
        except Broken:
            self.close()

    def close(self) -> None:
        """Give the connection back, or close it when the body was not read to its end."""
        whole = self._response.closed
        if not whole:
            self._response.close()
        self._response.release_conn()

    def failure(self, doing: str) -> Broken:
        """Close the answer and return it as a failure of what was being done."""
        code, words = self._words()
        told = [f"{doing}: it answers {self.status}"]
        if code or words:
            told.append(": ".join(each for each in (code, words) if each))
        after = self.header("Retry-After")
        if self.status == 429:
            limits = [
                f"{name}: {ascii(value)[1:-1][:80]}"
                for name in ("RateLimit-Limit", "RateLimit-Remaining", "Retry-After")
                if (value := self.header(name))
            ]
            told += limits
        return Broken(
            ", ".join(told),
            again=self.status in {408, 429, 500, 502, 503, 504},
            status=self.status,
            code=code or None,
            after=retry_after(after) if self.status in {429, 503} else None,
        )

    def _words(self) -> tuple[str, str]:
        """Code and message of an error (distribution-spec, "Error Codes"), bounded and printable."""
        try:
            value: Any = json.loads(self.document(_ERROR))
            first = value["errors"][0]
            code, message = first.get("code"), first.get("message")
        except (Broken, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            self.close()
            return "", ""
        return tuple(  # type: ignore[return-value]
            ascii(each)[1:-1][:_WORDS] if isinstance(each, str) else "" for each in (code, message)
        )
