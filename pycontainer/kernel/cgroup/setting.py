"""A limit as the kernel takes it: what is to be written to which file of which controller."""

from __future__ import annotations

import attrs

#: Instead of content: what the file of the same name in the cgroup above says.
AS_ABOVE = b""


@attrs.frozen
class Setting:
    """``choices`` are files and contents of which the first that exists is written; ``fix`` is for when none does.

    Without choices the kernel interface cannot have this limit at all.
    """

    limit: str
    controller: str
    choices: tuple[tuple[str, bytes], ...]
    fix: str = "use a kernel that is built with it"


def bandwidth(cores: float) -> tuple[int, int]:
    """Quota and period in microseconds: 100 ms, as everybody has; a second where the quota would be too short.

    >>> bandwidth(0.5), bandwidth(0.001)
    ((50000, 100000), (1000, 1000000))
    """
    period = 100_000 if cores >= 0.01 else 1_000_000
    return round(cores * period), period
