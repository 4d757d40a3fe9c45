"""When the time of a command is up: its wall time, and the processor time that its cgroup counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from pycontainer.kernel.process import LONGEST_POLL

# Reading the count takes some 10 us: at most so often, in seconds.
_SHORTEST_LOOK = 0.002


class Deadline:
    """Two clocks, the first of which runs from now on; ``None`` never ends.

    ``timeout`` and ``cpu_timeout`` are seconds; ``cpu_used`` tells how many seconds of processor time are used.

    >>> Deadline(60).left() > 59
    True
    """

    __slots__ = ("_cores", "_cpu_timeout", "_cpu_used", "_end")

    def __init__(
        self,
        timeout: float | None = None,
        cpu_timeout: float | None = None,
        cpu_used: Callable[[], float] | None = None,
    ) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout
        self._cpu_timeout = cpu_timeout
        self._cpu_used = cpu_used
        # Asks the kernel for a file.
        self._cores = 1 if cpu_timeout is None else os.cpu_count() or 1

    def left(self) -> float:
        """The seconds after which to ask again; 0 when the time is up."""
        left = LONGEST_POLL if self._end is None else min(LONGEST_POLL, self._end - time.monotonic())
        if left > 0:
            left = min(left, self._cpu_left())
        return max(0.0, left)

    def passed(self) -> str:
        """Which of the two has ended: ``"timeout"`` or ``"cpu_timeout"``."""
        return "timeout" if self._end is not None and self._end <= time.monotonic() else "cpu_timeout"

    def _cpu_left(self) -> float:
        if self._cpu_timeout is None or self._cpu_used is None:
            return LONGEST_POLL
        left = self._cpu_timeout - self._cpu_used()
        # On all cores at once it is used up no sooner than that.
        return 0.0 if left <= 0 else max(_SHORTEST_LOOK, left / self._cores)
