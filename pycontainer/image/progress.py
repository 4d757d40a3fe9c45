"""How far a transfer has come, told to whoever asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

import attrs


@attrs.frozen(kw_only=True)
class Progress:
    """A step of a pull, push, load or save: ``done`` of ``total`` bytes of the blob ``digest``.

    ``step`` is "there" for what need not be moved, "download" or "upload" while it is, "done" at its end.
    """

    step: Literal["there", "download", "upload", "done"]
    digest: str
    done: int
    total: int


#: What a caller gives to be told; it is never called by two threads at once.
Listener = Callable[[Progress], object]


class Teller:
    """Tells a listener, if there is one; an exception of its own ends the transfer. Thread-safe."""

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self._lock = threading.Lock()

    def __call__(
        self, step: Literal["there", "download", "upload", "done"], digest: str, done: int, total: int
    ) -> None:
        """Tell of a step."""
        if self._listener is not None:
            with self._lock:
                self._listener(Progress(step=step, digest=digest, done=done, total=total))
