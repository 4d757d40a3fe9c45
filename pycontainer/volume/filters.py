"""By what a list of volumes is chosen: the filters of ``docker volume ls``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from pycontainer.errors import InvalidArgument

_NAMES = ("name", "label", "driver", "dangling")


@attrs.frozen(kw_only=True)
class Filters:
    """What a volume has to fit."""

    name: str = ""
    labels: tuple[tuple[str, str | None], ...] = ()
    driver: str = "local"
    dangling: bool | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> Filters:
        """Check what a caller gave. Raises :class:`InvalidArgument` for what is not known."""
        given = given or {}
        for key in given:
            if key not in _NAMES:
                raise InvalidArgument("filters", key, f"one of {', '.join(_NAMES)} is needed")
        labels = given.get("label", ())
        if isinstance(labels, str):
            labels = (labels,)
        if not isinstance(labels, Sequence) or not all(isinstance(label, str) for label in labels):
            raise InvalidArgument("filters", labels, "a label is 'key' or 'key=value'")
        dangling = given.get("dangling")
        if dangling is not None and not isinstance(dangling, bool):
            raise InvalidArgument("filters", dangling, "'dangling' is True or False")
        pairs = [label.partition("=") for label in labels]
        return cls(
            name=str(given.get("name", "")),
            labels=tuple((key, value if equals else None) for key, equals, value in pairs),
            driver=str(given.get("driver", "local")),
            dangling=dangling,
        )

    def fit(self, name: str, labels: Mapping[str, str]) -> bool:
        """Does a volume fit, leaving aside who uses it?"""
        if self.name not in name or self.driver != "local":
            return False
        return all(key in labels and value in (None, labels[key]) for key, value in self.labels)
