"""Filters of containers, in the manner of ``docker ps --filter``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pycontainer.container.container import Container
from pycontainer.errors import InvalidArgument

_STATES = ("created", "running", "paused", "restarting", "exited", "dead")


def _label(container: Container, value: str) -> bool:
    name, equals, text = value.partition("=")
    labels = dict(container.spec.labels)
    return name in labels and (not equals or labels[name] == text)


def _ancestor(container: Container, value: str) -> bool:
    image = container.spec.image
    return value in {image.name, image.digest} or image.name.removesuffix(":latest") == value


def _network(container: Container, value: str) -> bool:
    """By what was asked for, and of one that runs by its networks' names."""
    wish = container.spec.network
    if wish.mode != "networks":
        return wish.mode == value
    runs = container.status in {"running", "paused"}
    return value in (container.addresses if runs else {each.network for each in wish.places})


_FILTERS: dict[str, Callable[[Container, str], bool]] = {
    "id": lambda container, value: container.id.startswith(value),
    "name": lambda container, value: value in container.name,
    "label": _label,
    "status": lambda container, value: container.status == value,
    "ancestor": _ancestor,
    "exited": lambda container, value: container.status == "exited" and str(container.exit_code) == value,
    "network": _network,
    "health": lambda container, value: (getattr(container, "health", None) or "none") == value,
}


def matching(filters: Mapping[str, Any] | None) -> Callable[[Container], bool]:
    """A test by Docker's filters: of several values for one key any does, but of labels all must be there.

    Raises :class:`InvalidArgument` for an unknown key or state.
    """
    wanted: dict[str, list[str]] = {}
    for key, given in (filters or {}).items():
        if key not in _FILTERS:
            raise InvalidArgument("filters", key, f"there are {', '.join(sorted(_FILTERS))}")
        values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
        wanted[key] = [str(value) for value in values]
    for value in wanted.get("status", ()):
        if value not in _STATES:
            raise InvalidArgument("filters", {"status": value}, f"there are {', '.join(_STATES)}")

    def matches(container: Container) -> bool:
        return all(
            (all if key == "label" else any)(_FILTERS[key](container, value) for value in values)
            for key, values in wanted.items()
        )

    return matches
