"""Paths and words as the kernel takes them: bytes without a NUL."""

from __future__ import annotations

import os

from pycontainer.errors import InvalidArgument


def encode(argument: str, value: str | bytes | os.PathLike[str]) -> bytes:
    """The bytes of a path or a word. Raises :class:`InvalidArgument`, naming ``argument``, for what has none.

    >>> encode("path", "/etc")
    b'/etc'
    """
    try:
        raw = os.fsencode(value)
    except UnicodeEncodeError:  # JSON, and \\u in a Python text, can say half of a surrogate pair
        raise InvalidArgument(argument, value, "text in Unicode is needed") from None
    if b"\0" in raw:
        raise InvalidArgument(argument, value, "a NUL byte cannot be handed to the kernel")
    return raw
