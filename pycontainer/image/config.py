"""An image's configuration: what its author set for the programs that run from it.

The names are Docker's and the OCI image specification's (config.md), translated here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from pycontainer.errors import InvalidArgument
from pycontainer.kernel.encoding import encode


def _text(value: Any) -> str:
    """Return a text; ``None`` and absence are the same in configurations of the world."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidArgument("config", value, "text is needed")
    encode("config", value)
    return value


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise InvalidArgument("config", value, "a list of text is needed")
    return tuple(_text(word) for word in value)


def _paths(value: Any) -> tuple[str, ...]:
    """Return what is a list in our notation and an object with empty values in JSON."""
    return tuple(sorted(set(_words(list(value) if isinstance(value, Mapping) else value))))


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    items = value.items() if isinstance(value, Mapping) else value
    try:
        return tuple(sorted((_text(key), _text(text)) for key, text in items))
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidArgument):
            raise
        raise InvalidArgument("config", value, "names with texts are needed") from None


def _others(value: Any) -> tuple[tuple[str, Any], ...]:
    try:
        found = tuple(sorted(dict(value).items())) if value else ()
        _as_text(found)
    except (TypeError, ValueError, RecursionError):
        raise InvalidArgument("config", value, "names with what JSON can say are needed") from None
    for key, _ in found:
        if not isinstance(key, str) or key in _KEYS:
            raise InvalidArgument("config", key, "a key that is not known here is needed")
    return found


def _as_text(value: tuple[tuple[str, Any], ...]) -> str:
    """By what they are compared: lists and objects cannot be keys."""
    if not value:
        return ""
    import json

    text = json.dumps(dict(value), sort_keys=True, ensure_ascii=False, allow_nan=False)
    text.encode()
    return text


@attrs.frozen(kw_only=True)
class ImageConfig:
    """What an image sets for its programs; all of it may be overridden when a container is made.

    Values are checked for their types alone, as they come: :class:`InvalidArgument` tells of wrong ones.

    >>> ImageConfig(cmd=["sh"], env=["A=1"], labels={"a": "b"}).cmd
    ('sh',)
    """

    env: tuple[str, ...] = attrs.field(default=(), converter=_words)
    """``NAME=value`` each."""
    entrypoint: tuple[str, ...] = attrs.field(default=(), converter=_words)
    cmd: tuple[str, ...] = attrs.field(default=(), converter=_words)
    user: str = attrs.field(default="", converter=_text)
    """As :func:`~pycontainer.image.accounts.identify_in` takes it."""
    workdir: str = attrs.field(default="", converter=_text)
    labels: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_pairs)
    volumes: tuple[str, ...] = attrs.field(default=(), converter=_paths)
    stop_signal: str = attrs.field(default="", converter=_text)
    exposed_ports: tuple[str, ...] = attrs.field(default=(), converter=_paths)
    """``80/tcp`` each."""
    more: tuple[tuple[str, Any], ...] = attrs.field(default=(), converter=_others, eq=_as_text, repr=False)
    """What is not known here, as it came: it is written again."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ImageConfig:
        """Translate the ``config`` object of an OCI or Docker image configuration.

        Unknown keys have no effect, as the specification demands, and are kept.  Raises :class:`InvalidArgument`.
        """
        if not isinstance(value, Mapping):
            raise InvalidArgument("config", value, "an object is needed")
        known = {name: value[key] for key, name in _KEYS.items() if key in value}
        return cls(**known, more=[(key, each) for key, each in value.items() if key not in _KEYS])

    def to_json(self) -> dict[str, Any]:
        """Return the ``config`` object, without what is not set."""
        found: dict[str, Any] = {}
        for key, name in _KEYS.items():
            value = getattr(self, name)
            if not value:
                continue
            if name == "labels":
                found[key] = dict(value)
            elif name in {"volumes", "exposed_ports"}:
                found[key] = {path: {} for path in value}
            else:
                found[key] = value if isinstance(value, str) else list(value)
        return {**found, **dict(self.more)}


#: JSON key -> our name.
_KEYS = {
    "Env": "env",
    "Entrypoint": "entrypoint",
    "Cmd": "cmd",
    "User": "user",
    "WorkingDir": "workdir",
    "Labels": "labels",
    "Volumes": "volumes",
    "StopSignal": "stop_signal",
    "ExposedPorts": "exposed_ports",
}
#: The names in JSON.
CONFIG_KEYS = tuple(_KEYS)
