"""Are the values of an object of the types that its class says? For what came from a stranger."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

import attrs


def fits(value: Any, hint: Any) -> bool:
    """Is ``value`` of the type ``hint``, and all that is in it? ``True`` is no number, and ``1`` no float.

    >>> fits((1, 2), tuple[int, ...]), fits((1, True), tuple[int, ...])
    (True, False)
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in {typing.Union, types.UnionType}:
        return any(fits(value, each) for each in args)
    if origin is typing.Literal:
        return any(type(value) is type(each) and value == each for each in args)
    if origin is tuple:
        return _is_tuple(value, args)
    if origin is frozenset:
        return type(value) is frozenset and all(fits(each, args[0]) for each in value)
    if origin in {dict, Mapping}:
        return type(value) is dict and all(
            fits(key, args[0]) and fits(each, args[1]) for key, each in value.items()
        )
    if hint in {None, types.NoneType}:
        return value is None
    if isinstance(hint, type) and attrs.has(hint):
        hints = typing.get_type_hints(hint)
        return type(value) is hint and all(
            fits(getattr(value, each.name), hints[each.name]) for each in attrs.fields(hint)
        )
    return type(value) is hint


def _is_tuple(value: Any, args: tuple[Any, ...]) -> bool:
    if type(value) is not tuple:
        return False
    if len(args) == 2 and args[1] is Ellipsis:
        return all(fits(each, args[0]) for each in value)
    return len(value) == len(args) and all(map(fits, value, args))
