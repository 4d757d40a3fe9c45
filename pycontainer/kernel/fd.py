"""An owned file descriptor: the handle that every other kernel object holds its resource by.

Owns exactly one descriptor and closes it once. Knows nothing of what the descriptor is for.  And the one
thing that os.write lacks.
"""

from __future__ import annotations

import os
import warnings
from types import TracebackType
from typing import Any, NoReturn


class Fd:
    """Owner of one open file descriptor.

    The constructor takes ownership and makes no system call: from then on only
    this object closes ``fd``. ``close`` is idempotent; ``with`` closes at the end.
    Ownership leaves visibly, by ``detach``. An ``Fd`` that is collected while open
    is closed with a ``ResourceWarning``, as sockets are. It cannot be copied or
    pickled, since a copy would be a second owner. ``close`` from two threads at
    once is the caller's to prevent, as for any file.

    >>> with Fd(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)) as null:
    ...     os.read(null.fileno(), 1)
    b''
    """

    __slots__ = ("__weakref__", "_fd")

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def closed(self) -> bool:
        """Whether the descriptor is no longer held: closed or detached."""
        return self._fd < 0

    def fileno(self) -> int:
        """Return the descriptor, which stays owned here; ``ValueError`` when closed, as for files."""
        if self._fd < 0:
            raise ValueError("I/O operation on closed descriptor")
        return self._fd

    def detach(self) -> int:
        """Give the descriptor up to the caller, who closes it; ``ValueError`` when closed."""
        fd = self.fileno()
        self._fd = -1
        return fd

    def dup(self) -> Fd:
        """Return an owner of a duplicate (close-on-exec) of the same open file description.

        Raises ``OSError`` (EMFILE) when the process has no descriptor left.
        """
        return Fd(os.dup(self.fileno()))

    def close(self) -> None:
        """Close the descriptor; nothing happens when it is closed or detached already.

        The descriptor is released even where close(2) reports an error (``OSError``).
        """
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Fd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Bound early: at interpreter shutdown the module's names may be gone before the last object.
    def __del__(self, _warn: Any = warnings.warn, _close: Any = os.close) -> None:
        fd = getattr(self, "_fd", -1)
        if fd >= 0:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self)
            self._fd = -1
            try:  # noqa: SIM105  (contextlib.suppress may be gone at shutdown)
                _close(fd)
            except OSError:
                # Nobody could catch it here, and the kernel has released the descriptor all the same.
                pass

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot copy or pickle {type(self).__name__!r}: it owns its descriptor")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self._fd < 0 else self._fd}>"


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of ``data``, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
