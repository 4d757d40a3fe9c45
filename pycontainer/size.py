"""Sizes as people write them."""

from __future__ import annotations

from pycontainer.errors import InvalidArgument

#: Powers of 1024, as Docker reads them.
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(argument: str, value: int | str) -> int:
    """Bytes from an int or from text such as ``"64M"``, ``"1.5g"``, ``"512KiB"``; powers of 1024.

    Raises :class:`InvalidArgument` naming ``argument``.

    >>> parse_size("memory", "64M")
    67108864
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise InvalidArgument(argument, value, "bytes as an int, or text like '64M', are needed")
    if isinstance(value, int):
        size = value
    else:
        text = value.strip().lower()
        number = text.rstrip("bkmgti")
        unit = text[len(number) :].removesuffix("ib").removesuffix("b") if text != number else ""
        try:
            size = int(float(number) * _UNITS[unit])
        except (ValueError, KeyError, OverflowError):
            raise InvalidArgument(
                argument, value, "bytes as an int, or text like '64M', are needed"
            ) from None
    if size <= 0 or size >= 1 << 63:
        raise InvalidArgument(argument, value, "a positive size is needed")
    return size
