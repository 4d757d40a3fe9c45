"""To whom a place on a network belongs: a host process, or a detached container.

Its name is in the record.  As long as it lives it keeps a file below the engine's root locked.
"""

from __future__ import annotations

from pycontainer.state.places import is_locked

_CONTAINERS = "containers/"


def of_container(identity: str) -> str:
    """The name of a detached container, whose places last as long as its monitor."""
    return _CONTAINERS + identity


def is_alive(root: str, owner: str) -> bool:
    """Whether it lives: the host process of that folder below ``<root>/run``, or its reaper; or the monitor."""
    path = f"{root}/{owner}/alive" if owner.startswith(_CONTAINERS) else f"{root}/run/{owner}/lock"
    return is_locked(path)
