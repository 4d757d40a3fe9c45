"""JSON of others: read within bounds and in one way only; and written so that equal values are equal bytes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from pycontainer.errors import ImageError, InvalidArgument

#: Bytes of a manifest, an index or a configuration, as the registries bound them (distribution-spec 1.1).
LARGEST = 4 << 20
#: Brackets in brackets.  No image nests ten deep, and Python's own bound depends on its caller's stack.
_DEEPEST = 64
#: Others read numbers as double precision, which holds no longer ones.
_MOST_DIGITS = 300
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")


def read_object(raw: bytes, where: str) -> dict[str, Any]:
    """The JSON object (RFC 8259) that ``where`` is; :class:`ImageError` for what is none, or is not the same for all.

    A name that an object has twice is refused: some readers take the first, some the last, and a signature
    is checked by one of them.  So are NaN, numbers that no double holds, half surrogate pairs, other encodings than
    UTF-8, what nests too deep, and more than ``LARGEST`` bytes.
    """
    value = _read(raw, where)
    if not isinstance(value, dict):
        raise ImageError(f"{where} is no JSON object")
    return value


def read_list(raw: bytes, where: str) -> list[Any]:
    """The JSON array that ``where`` is, read as :func:`read_object` reads objects."""
    value = _read(raw, where)
    if not isinstance(value, list):
        raise ImageError(f"{where} is no JSON array")
    return value


def _read(raw: bytes, where: str) -> Any:
    if len(raw) > LARGEST:
        raise ImageError(f"{where} has {len(raw)} bytes: {LARGEST} are possible")
    try:
        _check_depth(raw)
        value = json.loads(
            raw.decode(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_real,
            parse_constant=_constant,
        )
        if _HALF_CHARACTER.search(raw):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{where} is no JSON document: {str(error)[:300]}") from None
    return value


def write_object(value: Mapping[str, Any]) -> bytes:
    """Canonical JSON: names sorted, nothing between them, UTF-8. Raises :class:`InvalidArgument` for what has none."""
    return _written(value)


def write_list(value: list[Any]) -> bytes:
    """The same, of an array."""
    return _written(value)


def _written(value: object) -> bytes:
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument("value", value, f"it cannot be said in JSON: {str(error)[:300]}") from None


def spelled(value: Mapping[str, Any], names: Iterable[str], where: str) -> dict[str, Any]:
    """The object with these names in their own spelling; :class:`ImageError` if it has one in two spellings.

    The JSON reader of Go, which is everybody else's, takes names in upper and lower case alike, the last one wins.
    What would be another image to it is none.
    """
    right = {name.casefold(): name for name in names}
    found: dict[str, Any] = {}
    for key, each in value.items():
        name = right.get(key.casefold(), key)
        if name in found:
            raise ImageError(f"{where} says {name!r} twice, in two spellings")
        found[name] = each
    return found


def _check_depth(raw: bytes) -> None:
    """Before it is parsed: Python's parser is recursive, and an application may have raised its bound."""
    text = re.sub(rb'"[^"]*"?', b"", raw.replace(b"\\\\", b"").replace(b'\\"', b"")).translate(
        None, _NO_BRACKETS
    )
    for _ in range(_DEEPEST):
        # The innermost pairs, all at once.
        rest = text.replace(b"[]", b"").replace(b"{}", b"")
        if not rest:
            return
        if len(rest) == len(text):
            raise ValueError("its brackets do not match")
        text = rest
    raise ValueError("it nests too deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"it says {ascii(key)[:200]} twice")
            seen.add(key)
    return found


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    value = float(text) if len(text) <= _MOST_DIGITS else math.inf
    if math.isinf(value):
        raise ValueError(f"a number is out of range: {text[:20]}")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
