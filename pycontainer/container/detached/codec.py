"""What a container was made from, as JSON can say it: written when it is made, read by every process after.

Exactly the values come back that were written; classes are those listed here and no other.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs

from pycontainer.container.bounds import Bounds
from pycontainer.container.detached.options import HealthCheck
from pycontainer.container.devices import Device
from pycontainer.container.found import Stack, Tree
from pycontainer.container.mounts import Bind, ImageMount, Tmpfs, VolumeMount
from pycontainer.container.security import Security
from pycontainer.container.shape import Shape
from pycontainer.container.spec import Spec
from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig
from pycontainer.image.image import Image
from pycontainer.image.images import Images
from pycontainer.kernel.cgroup import DeviceRule, IoLimit, Limits
from pycontainer.kernel.idmap import Extent, IdMap
from pycontainer.kernel.seccomp import profile
from pycontainer.network.wish import Place, Port, Wish

_CLASSES = {
    each.__name__: each
    for each in (
        Bind, Bounds, Device, DeviceRule, Extent, HealthCheck, IdMap, Image, ImageConfig, ImageMount, IoLimit, Limits, Place,
        Port, Security, Shape, Spec, Stack, Tmpfs, Tree, VolumeMount, Wish, profile.Action, profile.Condition,
        profile.Profile, profile.Rule,
    )
}  # fmt: skip
#: Those that few containers have: loaded when needed.
_RARE = frozenset({"Bandwidth", "Egress"})
#: Fields that are what a process has open, or found: they are looked up again.
_NOT_WRITTEN = {"Image": {"stored", "holder"}}


def encode(value: Any) -> Any:
    """A value of JSON. Raises :class:`InvalidArgument` for what cannot outlive the process."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [encode(each) for each in value]
    if isinstance(value, frozenset):
        return {"$": "set", "of": sorted(encode(each) for each in value)}
    if isinstance(value, dict):
        return {"$": "dict", "of": [[encode(key), encode(each)] for key, each in value.items()]}
    if isinstance(value, profile.Profile) and value == _usual_profile():
        return {"$": "the usual profile"}
    name = type(value).__name__
    if _class(name) is not type(value):
        raise InvalidArgument(
            "detach", value, "this is something of this process, which the container outlives"
        )
    return {"$": name, **{each.name: encode(getattr(value, each.name)) for each in _fields(type(value))}}


def decode(value: Any, images: Images | None = None) -> Any:
    """What :func:`encode` was given. An image of a store is the one that ``images`` has by its digest."""
    if isinstance(value, list):
        return tuple(decode(each, images) for each in value)
    if not isinstance(value, dict):
        return value
    kind = value["$"]
    if kind == "set":
        return frozenset(decode(each, images) for each in value["of"])
    if kind == "dict":
        return {decode(key, images): decode(each, images) for key, each in value["of"]}
    if kind == "the usual profile":
        return _usual_profile()
    class_ = _class(kind)
    names = {each.name: each.alias for each in _fields(class_)}
    if not value.keys() <= {"$", *names}:
        raise InvalidArgument(
            kind, sorted(value.keys() - {"$", *names})[0], "a newer pycontainer wrote this: upgrade"
        )
    made = class_(**{alias: decode(value[name], images) for name, alias in names.items() if name in value})
    if isinstance(made, Image) and made.digest and images is not None:
        return attrs.evolve(images.get(made.digest), name=made.name)
    return made


def _class(name: str) -> Any:
    if name in _RARE:
        from pycontainer.network.bandwidth import Bandwidth
        from pycontainer.network.egress import Egress

        return {"Bandwidth": Bandwidth, "Egress": Egress}[name]
    return _CLASSES.get(name)


def _fields(kind: type) -> list[Any]:
    hidden = _NOT_WRITTEN.get(kind.__name__, set())
    return [each for each in attrs.fields(kind) if each.init and each.name not in hidden]


@cache
def _usual_profile() -> Any:
    return Security.default().seccomp
