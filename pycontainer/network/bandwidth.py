"""What a container's traffic is to be bounded by, as a frozen value."""

from __future__ import annotations

from typing import Any

import attrs

from pycontainer.errors import InvalidArgument
from pycontainer.size import parse_size

#: The shortest burst: what passes in this many seconds, and no less than some packets.
_BURST_SECONDS = 0.01
_LEAST_BURST = 1 << 16
_LEAST_RATE = 1000


def _rate(name: str, value: Any) -> int | None:
    if value is None:
        return None
    rate = parse_size(name, value)
    if rate < _LEAST_RATE:
        raise InvalidArgument(name, value, f"at least {_LEAST_RATE} bytes a second are needed")
    return rate


def _download(value: Any) -> int | None:
    return _rate("download", value)


def _upload(value: Any) -> int | None:
    return _rate("upload", value)


def _burst(value: Any) -> int | None:
    return None if value is None else max(parse_size("burst", value), 1 << 12)


def _seconds(_: object, attribute: Any, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 60:
        raise InvalidArgument(attribute.name, value, "seconds from 0 to 60 are needed")


def _chance(_: object, __: Any, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InvalidArgument("loss", value, "a chance from 0 to 1 is needed")


@attrs.frozen(kw_only=True)
class Bandwidth:
    """Bounds of a container's traffic over each of its networks, and faults for tests.

    ``download`` and ``upload`` are bytes a second, to and from the container; ``burst`` is how many bytes may
    pass at once, by default those of 10 ms.  ``delay`` and ``jitter`` in seconds and ``loss``, a chance, are
    added in both directions; they need the kernel's netem.

    >>> Bandwidth(download="10M", upload="1M").upload
    1048576
    """

    download: int | None = attrs.field(default=None, converter=_download)
    upload: int | None = attrs.field(default=None, converter=_upload)
    burst: int | None = attrs.field(default=None, converter=_burst)
    delay: float = attrs.field(default=0.0, validator=_seconds)
    jitter: float = attrs.field(default=0.0, validator=_seconds)
    loss: float = attrs.field(default=0.0, validator=_chance)

    def burst_of(self, rate: int) -> int:
        """How many bytes may pass at once at this rate."""
        return self.burst or min(max(_LEAST_BURST, round(rate * _BURST_SECONDS)), 1 << 30)
