"""Network namespaces made before they are needed: one for each user namespace that has had one."""

from __future__ import annotations

import os
import threading

from pycontainer.errors import PyContainerError
from pycontainer.kernel import netns
from pycontainer.kernel.netns import NetworkNamespace
from pycontainer.network.naming import redirect

#: How many are kept; each is five open files, and what a namespace takes of the kernel's memory.
_MOST = 8
_Key = tuple[tuple[int, int], tuple[int, int], bool]


class Spare:
    """The idle namespaces of this process, none of which was ever a container's. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[_Key, NetworkNamespace] = {}

    def take(self, userns: int | None, ids: tuple[int, int], *, resolver: bool) -> NetworkNamespace:
        """One that is ready, or a new one; the caller's to close. Raises :class:`PyContainerError`."""
        if userns is not None:
            with self._lock:
                found = self._idle.pop(_key(userns, ids, resolver), None)
            if found is not None:
                return found
        return _make(userns, ids, resolver)

    def prepare(self, userns: int | None, ids: tuple[int, int], *, resolver: bool) -> None:
        """Have one ready for the next container in that user namespace, unless there is; failing is no harm."""
        if userns is None:
            return
        key = _key(userns, ids, resolver)
        if key in self._idle:
            return
        try:
            made = _make(userns, ids, resolver)
        except PyContainerError:
            return  # whoever needs one is told why there is none
        with self._lock:
            old: NetworkNamespace | None = made
            if key not in self._idle:
                self._idle[key] = made
                # The oldest one's user namespace may be gone for good.
                old = self._idle.pop(next(iter(self._idle))) if len(self._idle) > _MOST else None
        if old is not None:
            old.close()

    def close(self) -> None:
        """Close the idle ones. Idempotent."""
        with self._lock:
            while self._idle:
                self._idle.popitem()[1].close()


def _key(userns: int, ids: tuple[int, int], resolver: bool) -> _Key:
    # An idle one keeps its user namespace, so that its number is no other's.
    status = os.fstat(userns)
    return (status.st_dev, status.st_ino), ids, resolver


def _make(userns: int | None, ids: tuple[int, int], resolver: bool) -> NetworkNamespace:
    made = netns.create(userns, ids=ids, resolver=resolver)
    try:
        redirect(made)
    except BaseException:
        made.close()
        raise
    return made
