"""What a volume is, as it is written beside its content: once, when it is made."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any

import attrs

from pycontainer.errors import InvalidArgument, PyContainerError
from pycontainer.kernel.encoding import encode

_VERSION = 1
#: Docker's rule, and a bound that leaves room for what is added to a name on disk.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,199}")


def check_name(name: Any) -> str:
    """A volume's name by Docker's rule. Raises :class:`InvalidArgument`.

    >>> check_name("data")
    'data'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgument(
            "name", name, "2 to 200 letters, digits, '_', '.' and '-' are needed, a letter or digit first"
        )
    return name


def check_labels(labels: Any) -> tuple[tuple[str, str], ...]:
    """Labels as sorted pairs. Raises :class:`InvalidArgument`."""
    if labels is None:
        return ()
    if not isinstance(labels, Mapping):
        raise InvalidArgument("labels", labels, "a dictionary is needed, such as {'team': 'a'}")
    for key, value in labels.items():
        if not isinstance(key, str) or not isinstance(value, str) or not key:
            raise InvalidArgument("labels", {key: value}, "names and values are text")
        encode("labels", key + value)
    return tuple(sorted(labels.items()))


@attrs.frozen(kw_only=True)
class Record:
    """A volume's description. ``device``: a directory of the host that it stands for, instead of one of its own."""

    name: str
    created: str = attrs.field(factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), eq=False)
    labels: tuple[tuple[str, str], ...] = ()
    size: int | None = None
    device: str | None = None
    anonymous: bool = False

    def to_bytes(self) -> bytes:
        """As it is written."""
        found = {"version": _VERSION, **attrs.asdict(self), "labels": dict(self.labels)}
        return json.dumps(found, sort_keys=True, indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, name: str, data: bytes) -> Record:
        """As it was written. Raises :class:`PyContainerError` for what a newer version of this library has written."""
        found = json.loads(data)
        if found.pop("version") != _VERSION:
            raise PyContainerError(f"volume {name} was made by another version of pycontainer")
        return cls(**{**found, "name": name, "labels": tuple(sorted(found["labels"].items()))})


def parse_options(driver: str, options: Mapping[str, str] | None, device: str | None) -> str | None:
    """What Docker's local driver is told (``o``, ``type``, ``device``), as a directory of the host or ``None``.

    Raises :class:`InvalidArgument` for what is not known.
    """
    if driver != "local":
        raise InvalidArgument("driver", driver, "the driver 'local' is what there is")
    given = dict(options or {})
    kind, how, place = given.pop("type", "none"), given.pop("o", ""), given.pop("device", None)
    if given:
        raise InvalidArgument("options", sorted(given)[0], "'type', 'o' and 'device' are known")
    if options and (kind not in {"none", "bind"} or set(str(how).split(",")) - {"bind", "rbind", "rw"}):
        way_out = "{'type': 'none', 'o': 'bind', 'device': '/path'} is known; for memory say Tmpfs where it is mounted"
        raise InvalidArgument("options", dict(options), way_out)
    if place is not None and device is not None:
        raise InvalidArgument("device", device, "say it once: there is one in 'options'")
    if options and place is None:
        raise InvalidArgument("options", dict(options), "'device' is missing")
    return device if place is None else place
