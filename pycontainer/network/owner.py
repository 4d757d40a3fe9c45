"""To whom a place on a network belongs: a host process, or a detached container.

Its name is in the record.  As long as it lives it keeps a file below the engine's root locked.
"""

from __future__ import annotations

import fcntl
import os

_CONTAINERS = "containers/"


def of_container(identity: str) -> str:
    """The name of a detached container, whose places last as long as its monitor."""
    return _CONTAINERS + identity


def is_alive(root: str, owner: str) -> bool:
    """Whether it lives: the host process of that folder below ``<root>/run``, or its reaper; or the monitor."""
    path = f"{root}/{owner}/alive" if owner.startswith(_CONTAINERS) else f"{root}/run/{owner}/lock"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
