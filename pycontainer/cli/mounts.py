"""``--volume`` and ``--mount``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

from pycontainer.container.mounts import Bind, ImageMount, Mount, Tmpfs, VolumeMount
from pycontainer.errors import InvalidArgument

#: Docker's names of a key -> the one that counts.
_SAME = {
    "src": "source", "dst": "target", "destination": "target", "ro": "readonly",
    "tmpfs-size": "size", "tmpfs-mode": "mode", "bind-propagation": "propagation",
    "volume-nocopy": "nocopy", "volume-subpath": "subpath", "image-subpath": "subpath",
}  # fmt: skip
#: What is so in any case.
_AS_IT_IS = {("volume-driver", "local"), ("bind-recursive", "enabled")}
_KEYS = {
    "bind": {"source", "target", "readonly", "propagation"},
    "volume": {"source", "target", "readonly", "nocopy", "subpath"},
    "tmpfs": {"target", "size", "mode"},
    "image": {"source", "target", "subpath", "readonly"},
}


def mounts(volumes: Sequence[str], texts: Sequence[str]) -> list[Mount | str]:
    """The library's mounts. Raises :class:`InvalidArgument`."""
    return [*volumes, *map(mount, texts)]


def mount(text: str) -> Mount:
    """``type=bind,source=/data,target=/data,readonly``, as ``--mount`` of Docker has it."""
    told: dict[str, str] = {}
    for part in next(csv.reader([text]), []):
        name, equals, value = part.strip().partition("=")
        if (name.lower(), value) not in _AS_IT_IS and name.lower() != "consistency":
            told[_SAME.get(name.lower(), name.lower())] = value if equals else "true"
    kind = told.pop("type", "volume")
    if kind not in _KEYS:
        raise InvalidArgument("mount", text, f"type={kind}: one of {', '.join(_KEYS)} is needed")
    for name in told:
        if name not in _KEYS[kind]:
            raise InvalidArgument(
                "mount", text, f"unknown key {name!r}: a {kind} has {', '.join(sorted(_KEYS[kind]))}"
            )
    if "target" not in told:
        raise InvalidArgument("mount", text, "target= is missing")
    if kind in {"bind", "image"} and "source" not in told:
        raise InvalidArgument("mount", text, "source= is missing")
    return _MAKERS[kind](text, told)


def _bind(text: str, told: dict[str, str]) -> Mount:
    further: dict[str, Any] = {"propagation": told["propagation"]} if "propagation" in told else {}
    return Bind(told["source"], told["target"], read_only=_bool(text, told, "readonly"), **further)


def _volume(text: str, told: dict[str, str]) -> Mount:
    return VolumeMount(
        told.get("source") or None,
        told["target"],
        read_only=_bool(text, told, "readonly"),
        nocopy=_bool(text, told, "nocopy"),
        subpath=told.get("subpath"),
    )


def _tmpfs(text: str, told: dict[str, str]) -> Mount:
    further: dict[str, Any] = {}
    if "mode" in told:
        if not told["mode"] or told["mode"].strip("01234567"):
            raise InvalidArgument("mount", text, "tmpfs-mode is an octal number, such as 1777")
        further["mode"] = int(told["mode"], 8)
    return Tmpfs(told["target"], size=told.get("size"), **further)


def _image(text: str, told: dict[str, str]) -> Mount:
    if "readonly" in told and not _bool(text, told, "readonly"):
        raise InvalidArgument("mount", text, "an image is mounted read-only")
    return ImageMount(told["source"], told["target"], subpath=told.get("subpath"))


_MAKERS = {"bind": _bind, "volume": _volume, "tmpfs": _tmpfs, "image": _image}


def _bool(text: str, told: dict[str, str], name: str) -> bool:
    value = told.get(name, "false").lower()
    if value not in {"true", "1", "false", "0"}:
        raise InvalidArgument("mount", text, f"{name} is true or false")
    return value in {"true", "1"}
