"""Checks that several arguments share; each raises :class:`InvalidArgument` with the argument and its value."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from pycontainer.errors import InvalidArgument
from pycontainer.kernel.encoding import encode

#: Longer than anybody waits, in seconds; a sum with the clock is a number yet.
_AGES = 1e9
#: No terminal, one, or one whose window has so many rows and columns at the beginning.
Tty = bool | tuple[int, int]
#: The kernel's struct winsize has 16 bits for each.
LARGEST_WINDOW = 0xFFFF


def text(argument: str, value: Any) -> str:
    """Text that can be handed to the kernel."""
    if not isinstance(value, str):
        raise InvalidArgument(argument, value, "text is needed")
    if "\0" in value or not value.isascii():
        encode(argument, value)
    return value


def flag(argument: str, value: Any) -> bool:
    """``True`` or ``False``, and not what merely counts as one: the text "no" would be true."""
    if value is not True and value is not False:
        raise InvalidArgument(argument, value, "True or False is needed")
    return value


def seconds(argument: str, value: Any) -> float | None:
    """A time to wait, ``None`` for ever; what is below 0 is over at once. In a float, what a clock can be asked for."""
    if value is None:
        return None
    # NaN is not equal to itself: nothing would ever be later.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124
        raise InvalidArgument(argument, value, "a number of seconds, or None for ever, is needed")
    return float(max(-_AGES, min(value, _AGES)))


def grace(argument: str, value: Any) -> float | None:
    """The time that a program has to end by itself, from 0 on; ``None`` for ever. Below 0 it means that to Docker."""
    found = seconds(argument, value)
    if found is not None and found < 0:
        raise InvalidArgument(argument, value, "0 or more seconds, or None for ever, is needed")
    return found


def terminal(value: Any) -> Tty:
    """Whether a program is on a terminal, or the window of that: rows and columns."""
    if isinstance(value, (tuple, list)) and len(value) == 2:
        rows, columns = value
        if all(type(each) is int and 0 < each <= LARGEST_WINDOW for each in (rows, columns)):
            return rows, columns
    elif value is True or value is False:
        return value
    raise InvalidArgument("tty", value, "True, False or (rows, columns), each from 1 to 65535, is needed")


def window(tty: Tty) -> tuple[int, int]:
    """Rows and columns at the beginning; (0, 0) where nobody says."""
    return tty if isinstance(tty, tuple) else (0, 0)


def several(argument: str, value: Any, of: str) -> list[Any]:
    """The items of a list; ``of`` says what they are."""
    if isinstance(value, (str, bytes, os.PathLike, Mapping)) or not isinstance(value, Iterable):
        raise InvalidArgument(argument, value, f"a list of {of} is needed")
    return list(value)


def mapping(argument: str, value: Any, of: str) -> Mapping[Any, Any]:
    """A mapping, of nothing for ``None``; ``of`` shows one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidArgument(argument, value, f"a dictionary is needed, such as {of}")
    return value


def account(value: Any) -> str:
    """A user as ``"name"``, ``"uid"``, ``"name:group"`` or a number; who that is, the image tells."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InvalidArgument(
            "user", value, "a number, or text like 'name', '1000' or 'name:group', is needed"
        )
    if isinstance(value, int) and not 0 <= value < (1 << 32) - 1:
        raise InvalidArgument("user", value, "a number from 0 to 4294967294 is needed")
    return text("user", str(value))


def directory(path: str | os.PathLike[str]) -> str:
    """A working directory."""
    found = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not text("workdir", found).startswith("/"):
        raise InvalidArgument("workdir", path, "an absolute path is needed")
    return os.path.normpath(found).replace("//", "/")


def words(argument: str, value: Sequence[str] | str | os.PathLike[str]) -> tuple[str, ...]:
    """A command as a tuple; a single string is one word, as in ``subprocess`` without a shell."""
    if isinstance(value, (str, os.PathLike)):
        value = [os.fspath(value)]
    if isinstance(value, (bytes, Mapping, Set)) or not isinstance(value, Iterable):
        raise InvalidArgument(argument, value, "a list of words is needed")
    return tuple(text(argument, os.fspath(word) if isinstance(word, os.PathLike) else word) for word in value)


def environment(argument: str, env: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    """Variables from a mapping or from ``["NAME=value"]``."""
    if env is None:
        return {}
    if not isinstance(env, Mapping):
        pairs = {item: item.partition("=") for item in words(argument, env)}
        for item, (_, equals, _) in pairs.items():
            if not equals:
                # Docker would take the caller's variable, and hand it on unasked where the caller has none.
                way_out = f"an item is 'NAME=value': for this process's own say {argument}={{{item!r}: os.environ[{item!r}]}}"
                raise InvalidArgument(argument, item, way_out)
        env = {name: value for name, _, value in pairs.values()}
    for name, value in env.items():
        if not text(argument, name) or "=" in name:
            raise InvalidArgument(argument, name, "a variable's name is not empty and has no '='")
        text(f"{argument}[{name!r}]", value)
    return dict(env)


def container_name(name: Any) -> str:
    """What is the name of a container by Docker's rule."""
    import re

    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", text("name", name)):
        raise InvalidArgument("name", name, "letters, digits, '_', '.' and '-' are needed, two at least")
    return str(name)
