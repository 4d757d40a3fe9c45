"""What templates can call: the functions of Go's text/template and of Docker's, and how Go shows values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

_MISSING = object()


def field(value: Any, name: str) -> Any:
    """A field of a value. Raises :class:`LookupError` with the fields that there are."""
    if isinstance(value, dict):
        if name in value:
            return value[name]
        if not any(key[:1].isupper() for key in value):  # a map of the user's: labels, options
            return _MISSING
        raise LookupError(f"there is no field .{name}; there are {', '.join(sorted(value))}")
    if value is _MISSING:
        return _MISSING
    raise LookupError(f"there is no field .{name} in {shown(value)!r}")


def method_of(value: Any, name: str) -> Callable[..., Any] | None:
    """What a template calls by ``.Name ARGUMENT``, if the value has it."""
    return value.method(name) if hasattr(value, "method") else None


def truth(value: Any) -> bool:
    """Go's: what is empty is false."""
    return bool(value) and value is not _MISSING


def shown(value: Any) -> str:
    """A value as Go prints it."""
    if value is None or value is _MISSING:
        return "<no value>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{shown(each)}' for key, each in sorted(value.items()))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(map(shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_json(value: Any) -> str:
    """A value in JSON, as Go writes it."""
    return json.dumps(None if value is _MISSING else value, separators=(",", ":"), ensure_ascii=False)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(value, (list, tuple, str)):
            if not isinstance(key, int) or not 0 <= key < len(value):
                raise LookupError(f"index out of range: {shown(key)}")
            value = value[key]
        elif value is not None:
            raise TypeError(f"{shown(value)!r} has no parts")
    return value


def _printf(form: str, *values: Any) -> str:
    left = list(values)

    def one(match: re.Match[str]) -> str:
        if match[2] == "%":
            return "%"
        if not left:
            return f"%!{match[2]}(MISSING)"
        value = left.pop(0)
        if match[2] == "q":
            return json.dumps(shown(value), ensure_ascii=False)
        if match[2] in "sv":
            return f"%{match[1]}s" % shown(value)
        return str(f"%{match[1]}{match[2]}" % value)

    return re.sub(r"%([-+ 0#]*\d*(?:\.\d+)?)([sdvqxXfgt%])", one, form)


def _join(values: Any, separator: str = "") -> str:
    return separator.join(map(shown, values or ()))


def _pad(text: str, before: int, after: int) -> str:
    return f"{' ' * before}{text}{' ' * after}" if text else text


def _slice(value: Any, *bounds: int) -> Any:
    return value[slice(*bounds)] if len(bounds) > 1 else value[bounds[0] if bounds else 0 :]


def _first(wanted: bool) -> Callable[..., Any]:
    def choose(*values: Any) -> Any:
        for value in values:
            if truth(value) == wanted:
                return value
        return values[-1]

    return choose


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _first(False),
    "eq": lambda left, *others: any(left == other for other in others),
    "ge": lambda left, right: left >= right,
    "gt": lambda left, right: left > right,
    "index": _index,
    "join": _join,
    "json": as_json,
    "le": lambda left, right: left <= right,
    "len": len,
    "lower": lambda text: shown(text).lower(),
    "lt": lambda left, right: left < right,
    "ne": lambda left, right: left != right,
    "not": lambda value: not truth(value),
    "or": _first(True),
    "pad": _pad,
    "print": lambda *values: "".join(map(shown, values)),
    "printf": _printf,
    "println": lambda *values: " ".join(map(shown, values)) + "\n",
    "slice": _slice,
    "split": lambda text, separator: shown(text).split(separator),
    "title": lambda text: shown(text).title(),
    "truncate": lambda text, count: shown(text)[:count],
    "upper": lambda text: shown(text).upper(),
}

#: In the heading of a table a column is called by its name, whatever is made of its values, as in Docker.
HEADING: dict[str, Callable[..., Any]] = {
    **FUNCTIONS,
    **dict.fromkeys(
        ("join", "json", "lower", "pad", "slice", "split", "title", "truncate", "upper"),
        lambda name, *_: name,
    ),
}
