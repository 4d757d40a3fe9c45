"""Filters of containers, in the manner of ``docker ps --filter``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from pycontainer.errors import InvalidArgument

RUNNING = frozenset({"running", "paused", "restarting"})
#: What there is of what is not free text.
_KNOWN = {
    "status": ("created", "running", "paused", "restarting", "exited", "dead"),
    "health": ("none", "starting", "healthy", "unhealthy"),
}
#: What could be iterated over, and is one value, or none.
_SINGLE = (str, bytes, bytearray, Mapping)
#: So many digits of an image's id are no name.
_SHORT = 12


class Told(Protocol):
    """What of a container is looked at."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def labels(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def image(self) -> str: ...  # noqa: D102
    @property
    def digest(self) -> str | None: ...  # noqa: D102
    @property
    def mounts(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def networks(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def exit_code(self) -> int | None: ...  # noqa: D102
    @property
    def health(self) -> str | None: ...  # noqa: D102


_T = TypeVar("_T", bound=Told)


def _label(container: Told, value: str) -> bool:
    name, equals, text = value.partition("=")
    return name in container.labels and (not equals or container.labels[name] == text)


def _ancestor(container: Told, value: str) -> bool:
    if value in {container.image, container.digest} or container.image.removesuffix(":latest") == value:
        return True
    digits = value.removeprefix("sha256:")
    is_id = len(digits) >= _SHORT and not digits.strip("0123456789abcdef")
    return is_id and (container.digest or "").startswith(f"sha256:{digits}")


def _name(container: Told, value: str) -> bool:
    """As Docker does it: a regular expression, of the name with its slash or without; what is none is a part of the name."""
    import re

    try:
        pattern = re.compile(value)
    except re.error:
        return value in container.name
    return any(map(pattern.search, (container.name, f"/{container.name}")))


_FILTERS: dict[str, Callable[[Told, str], bool]] = {
    "id": lambda container, value: container.id.startswith(value),
    "name": _name,
    "label": _label,
    "status": lambda container, value: container.status == value,
    "ancestor": _ancestor,
    "exited": lambda container, value: container.status == "exited" and str(container.exit_code) == value,
    "volume": lambda container, value: value in container.mounts,
    "network": lambda container, value: value in container.networks,
    "health": lambda container, value: (container.health or "none") == value,
}


def chosen(every: Iterable[_T], *, all_: bool, filters: Mapping[str, Any] | None) -> list[_T]:
    """Those that run, or with ``all_``, or a filter by how they are, all; that the filters fit."""
    matches = matching(filters)
    everything = all_ or bool(filters and {"status", "exited"} & filters.keys())
    return [each for each in every if (everything or each.status in RUNNING) and matches(each)]


def _value(key: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InvalidArgument("filters", {key: value}, "text, or a list of texts, is needed")
    known = _KNOWN.get(key)
    if known is not None and value not in known:
        raise InvalidArgument("filters", {key: value}, f"there are {', '.join(known)}")
    if key == "exited" and not str(value).isdecimal():
        raise InvalidArgument("filters", {key: value}, "an exit code, a number, is needed")
    return str(value)


def matching(filters: Mapping[str, Any] | None) -> Callable[[Told], bool]:
    """A test by Docker's filters: of several values for one key any does, but of labels all must be there.

    Raises :class:`InvalidArgument` for an unknown key, state, or health, and what is no value.
    """
    if filters is not None and not isinstance(filters, Mapping):
        raise InvalidArgument("filters", filters, "a dictionary is needed, such as {'status': 'exited'}")
    wanted: dict[str, list[str]] = {}
    for key, given in (filters or {}).items():
        if key not in _FILTERS:
            raise InvalidArgument("filters", key, f"there are {', '.join(sorted(_FILTERS))}")
        values = list(given) if isinstance(given, Iterable) and not isinstance(given, _SINGLE) else [given]
        wanted[key] = [_value(key, value) for value in values]

    def matches(container: Told) -> bool:
        return all(
            (all if key == "label" else any)(_FILTERS[key](container, value) for value in values)
            for key, values in wanted.items()
        )

    return matches
