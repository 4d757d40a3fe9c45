"""Text for people: sizes, times, colour, and nothing that a terminal would obey."""

from __future__ import annotations

import os
import re
from typing import TextIO

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "bold": "1"}
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DAY = 24.0


def printable(text: str) -> str:
    """The text on one line, without what a terminal would obey: images and programs choose names and labels."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else _escaped(sign) for sign in text)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape", "surrogatepass").decode()


def coloured(text: str, colour: str, stream: TextIO) -> str:
    """The text in a colour if the stream is a terminal and nobody has said NO_COLOR (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def size(count: float, *, digits: int = 3) -> str:
    """Bytes as Docker shows them: powers of 1000, ``124MB``."""
    return _scaled(count, 1000.0, _DECIMAL, digits)


def binary_size(count: float) -> str:
    """Bytes in powers of 1024: ``1.944GiB``."""
    return _scaled(count, 1024.0, _BINARY, 4)


def _scaled(count: float, step: float, units: tuple[str, ...], digits: int) -> str:
    level = 0
    value = float(count)
    while level < len(units) - 1 and float(f"{value:.{digits}g}") >= step:
        value /= step
        level += 1
    return f"{value:.{digits}g}{units[level]}"


def duration(seconds: float) -> str:
    """As Docker says it: ``3 weeks``, ``About an hour``."""
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if int(seconds) == 1 else f"{int(seconds)} seconds"
    if seconds < 3600:
        return "About a minute" if seconds < 120 else f"{int(seconds / 60)} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for unit, days, limit in (("days", 1, 14), ("weeks", 7, 60), ("months", 30, 730)):
        if hours < _DAY * limit:
            return f"{int(hours / _DAY / days)} {unit}"
    return f"{int(hours / _DAY / 365)} years"


def since(moment: str | float | None) -> str:
    """How long ago that was: a time of RFC 3339, or seconds since 1970; ``N/A`` where nobody has told."""
    import time

    seconds = seconds_of(moment)
    return "N/A" if seconds is None else f"{duration(max(0.0, time.time() - seconds))} ago"


def seconds_of(moment: str | float | None) -> float | None:
    """Seconds since 1970 of a time of RFC 3339; ``None`` for what is none, or means none as in Docker."""
    if moment is None or isinstance(moment, (int, float)):
        return moment
    from datetime import datetime

    # Python 3.10 reads neither nanoseconds nor a "Z".
    match = re.fullmatch(r"([^.]*?)(\.\d+)?(z|[+-]\d\d:\d\d)", moment.strip().lower())
    if match is None:
        return None
    zone = "+00:00" if match[3] == "z" else match[3]
    try:
        found = datetime.fromisoformat(match[1].upper() + zone)
    except ValueError:
        return None
    return None if found.year <= 1 else found.timestamp() + float(f"0{match[2] or '.0'}")


def moment(option: str, text: str) -> float:
    """Seconds since 1970: a time of RFC 3339 or a part of one, such seconds, or a duration before now, such as ``10m``.

    Raises :class:`InvalidArgument`.
    """
    import time
    from datetime import datetime

    from pycontainer.duration import parse_duration as read
    from pycontainer.errors import InvalidArgument

    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    found = seconds_of(text)
    if found is None:
        try:
            found = datetime.fromisoformat(text).astimezone().timestamp()
        except ValueError:
            try:
                return time.time() - read(option, text)
            except InvalidArgument:
                raise InvalidArgument(
                    option, text, "a time such as 2026-01-31T12:00:00Z, or a duration such as 10m, is needed"
                ) from None
    return found


def rfc3339(seconds: float) -> str:
    """A time as JSON has it."""
    from datetime import datetime, timezone

    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")


def clock(moment: str | float | None) -> str:
    """A time as Docker's ``CreatedAt``: ``2026-01-01 00:00:00 +0000 UTC``."""
    from datetime import datetime

    seconds = seconds_of(moment)
    if seconds is None:
        return "N/A"
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z")
