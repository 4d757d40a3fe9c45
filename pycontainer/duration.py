"""Durations as people write them."""

from __future__ import annotations

import re

from pycontainer.errors import InvalidArgument

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d*)?)(h|ms|us|µs|ns|m|s)")


def parse_duration(argument: str, text: str) -> float:
    """Seconds from Go's notation: ``1m30s``, ``500ms``. Raises :class:`InvalidArgument` naming ``argument``.

    >>> parse_duration("interval", "1m30s")
    90.0
    """
    if not text or _PART.sub("", text):
        raise InvalidArgument(argument, text, "a duration is needed, such as 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
