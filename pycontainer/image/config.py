"""An image's configuration: what its author set for the programs that run from it.

The names are Docker's and the OCI image specification's (config.md), translated here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from pycontainer.errors import InvalidArgument


def _words(value: Any) -> tuple[str, ...]:
    """A list of words; ``None`` and absence are the same in configurations of the world."""
    if value is None:
        return ()
    if isinstance(value, str) or not all(isinstance(word, str) for word in value):
        raise InvalidArgument("config", value, "a list of text is needed")
    return tuple(value)


def _sorted(value: Any) -> tuple[str, ...]:
    return tuple(sorted(value or ()))


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(dict(value or {}).items()))


@attrs.frozen(kw_only=True)
class ImageConfig:
    """What an image sets for its programs; all of it may be overridden when a container is made.

    >>> ImageConfig(cmd=["sh"], env=["A=1"]).cmd
    ('sh',)
    """

    env: tuple[str, ...] = attrs.field(default=(), converter=_words)
    entrypoint: tuple[str, ...] = attrs.field(default=(), converter=_words)
    cmd: tuple[str, ...] = attrs.field(default=(), converter=_words)
    user: str = ""
    workdir: str = ""
    labels: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_pairs)
    volumes: tuple[str, ...] = attrs.field(default=(), converter=_sorted)
    stop_signal: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ImageConfig:
        """From the ``config`` object of an OCI or Docker image configuration; unknown keys are left out."""
        return cls(**{name: value[key] or default for key, (name, default) in _KEYS.items() if key in value})

    def to_json(self) -> dict[str, Any]:
        """The ``config`` object, without what is not set."""
        found: dict[str, Any] = {}
        for key, (name, default) in _KEYS.items():
            value = getattr(self, name)
            if value:
                found[key] = dict(value) if name == "labels" else value
                if name == "volumes":
                    found[key] = {path: {} for path in value}
                elif isinstance(default, tuple):
                    found[key] = list(value)
        return found


#: JSON key -> our name, and what absence means.
_KEYS: dict[str, tuple[str, Any]] = {
    "Env": ("env", ()),
    "Entrypoint": ("entrypoint", ()),
    "Cmd": ("cmd", ()),
    "User": ("user", ""),
    "WorkingDir": ("workdir", ""),
    "Labels": ("labels", {}),
    "Volumes": ("volumes", ()),
    "StopSignal": ("stop_signal", ""),
}
