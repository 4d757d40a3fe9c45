"""What came back from a call: bytes that a container chose, as values of a few types, or an exception.

The container is hostile.  Nothing of it is executed or looked up by name but Python's own exceptions, from a
fixed table; the length is bounded by who reads.  The form is JSON in which every object is a tag with its content
(``zygote.py``), and the bytes of bytes-like values after it.
"""

from __future__ import annotations

import builtins
import json
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from pycontainer.errors import RemoteError

#: How long the text is, and the bytes after it.
HEAD = struct.Struct(">QQ")
_EXCEPTIONS = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, Exception)
}
#: As many keys may have one hash: more take time by their square, which a container can make of numbers.
_COLLISIONS = 50
_FORMATS = frozenset("bBhHiIlLqQnNfd?")


class Wrong(Exception):
    """These bytes are no result."""


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in a container: its traceback there, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def size_of(head: bytes | bytearray) -> int:
    """How many bytes follow the first ``HEAD.size``."""
    return sum(HEAD.unpack_from(head))


def decode(data: bytearray) -> Any:
    """The value of a whole result; an exception of the function is raised. Raises :class:`Wrong`."""
    answer = _parse(data)
    if not isinstance(answer, list) or not answer:
        raise Wrong
    if answer[0] == "ok" and len(answer) == 2:
        return answer[1]
    if answer[0] != "error" or len(answer) != 4:
        raise Wrong
    _, name, arguments, text = answer
    if not isinstance(name, str) or not isinstance(arguments, list) or not isinstance(text, str):
        raise Wrong
    raise _exception(name, arguments, text) from RemoteTraceback(_printable(text))


def _parse(data: bytearray) -> Any:
    length, attached = HEAD.unpack_from(data)
    view = memoryview(data)[HEAD.size :]
    if len(view) != length + attached:
        raise Wrong
    decoder = _Decoder(view[length:])
    try:
        return json.loads(bytes(view[:length]), object_pairs_hook=decoder.decode)
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
        raise Wrong from None


class _Decoder:
    def __init__(self, attached: memoryview) -> None:
        self._attached = attached
        self._tags: dict[str, Callable[[Any], Any]] = {
            "i": lambda text: int(text, 16),
            "tuple": lambda items: tuple(_listed(items)),
            "set": lambda items: set(_spread(_listed(items))),
            "frozenset": lambda items: frozenset(_spread(_listed(items))),
            "dict": _dictionary,
            "complex": lambda parts: complex(*parts),
            "bytes": lambda place: bytes(self._slice(*place)),
            "bytearray": lambda place: bytearray(self._slice(*place)),
            "memoryview": self._array,
        }

    def decode(self, pairs: list[tuple[str, Any]]) -> Any:
        ((tag, content),) = pairs
        return self._tags[tag](content)

    def _slice(self, start: int, length: int) -> memoryview:
        if not 0 <= start <= start + length <= len(self._attached):
            raise Wrong
        return self._attached[start : start + length]

    def _array(self, content: Any) -> memoryview:
        start, length, form, shape = content
        if form not in _FORMATS or not isinstance(shape, list) or len(shape) > 32:
            raise Wrong
        data = memoryview(bytes(self._slice(start, length)))
        # One without items has one dimension: memoryview.cast makes no other.
        return data.cast(form, shape) if len(shape) > 1 and 0 not in shape else data.cast(form)


def _listed(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise Wrong
    return items


def _spread(keys: list[Any]) -> Iterable[Any]:
    """The same keys, unless they were made to collide."""
    hashes = Counter(hash(key) for key in keys if not isinstance(key, str))
    if hashes and max(hashes.values()) > _COLLISIONS and len(keys) > _COLLISIONS:
        raise Wrong
    return keys


def _dictionary(items: Any) -> dict[Any, Any]:
    pairs = [(key, value) for key, value in _listed(items)]
    _spread([key for key, _ in pairs])
    return dict(pairs)


def _exception(name: str, arguments: list[Any], text: str) -> Exception:
    kind = _EXCEPTIONS.get(name)
    if kind is not None:
        try:
            return kind(*arguments)
        except Exception:  # noqa: BLE001  it wants other arguments: a UnicodeDecodeError
            pass
    message = ", ".join(str(each)[:1000] for each in arguments[:10])
    return RemoteError(_printable(name[:200]), _printable(message), _printable(text))


def _printable(text: str) -> str:
    """Without what would move a terminal's cursor, but for the ends of lines."""
    return "".join(
        sign
        if sign.isprintable() or sign == "\n"
        else sign.encode("unicode_escape", "surrogatepass").decode()
        for sign in text
    )
