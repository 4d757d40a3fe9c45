"""What a user may mount into a container, as frozen values."""

from __future__ import annotations

import os
from typing import Any

import attrs

from pycontainer.errors import InvalidArgument
from pycontainer.kernel.native import lib
from pycontainer.size import parse_size

#: Docker's names for the propagation of mount events (mount_namespaces(7)), and the kernel's.
PROPAGATION = {
    "private": lib.MS_PRIVATE, "rprivate": lib.MS_PRIVATE,
    "slave": lib.MS_SLAVE, "rslave": lib.MS_SLAVE,
    "shared": lib.MS_SHARED, "rshared": lib.MS_SHARED,
}  # fmt: skip


def _absolute(_: object, attribute: Any, value: str) -> None:
    parts = value.split("/")
    if not value.startswith("/") or ".." in parts or "\0" in value:
        raise InvalidArgument(attribute.name, value, "an absolute path without '..' is needed")
    if not any(parts):
        raise InvalidArgument(attribute.name, value, "the root itself cannot be mounted over")


def _source(path: str | os.PathLike[str]) -> str:
    return os.path.abspath(os.fspath(path))


def _size(value: int | str | None) -> int | None:
    return None if value is None else parse_size("size", value)


def _propagation(_: object, __: Any, value: str) -> None:
    if value not in PROPAGATION:
        raise InvalidArgument("propagation", value, f"one of {', '.join(PROPAGATION)} is needed")


@attrs.frozen
class Bind:
    """A file or directory of the host, shown in the container at ``target`` (``docker run -v``).

    ``source`` is a path of the host, absolute or from the caller's directory; it must exist when the
    container starts.  ``target`` is made where it is absent.  With ``idmap`` (the default) the container's
    root appears on the host as the caller, so that files made inside belong to the caller; it needs a file
    system with idmapped mounts (mount_setattr(2): ext4, xfs, btrfs, tmpfs since 6.3).  ``idmap=False``
    shows the host's ids as they are: nobody, in a user namespace.  ``propagation`` as in Docker.

    >>> Bind("/srv/data", "/data", read_only=True).target
    '/data'
    """

    source: str = attrs.field(converter=_source)
    target: str = attrs.field(validator=_absolute)
    read_only: bool = attrs.field(default=False, kw_only=True)
    propagation: str = attrs.field(default="rprivate", kw_only=True, validator=_propagation)
    idmap: bool = attrs.field(default=True, kw_only=True)


@attrs.frozen
class Tmpfs:
    """A memory file system, empty at each start (``docker run --tmpfs``); ``size`` in bytes or as "64M".

    Without ``size`` the kernel bounds it to half of the memory (tmpfs(5)).

    >>> Tmpfs("/scratch", size="64M").size
    67108864
    """

    target: str = attrs.field(validator=_absolute)
    size: int | None = attrs.field(default=None, kw_only=True, converter=_size)
    mode: int = attrs.field(default=0o1777, kw_only=True)


#: What ``mounts=`` accepts beside text.
Mount = Bind | Tmpfs


def parse_mount(text: str) -> Bind:
    """A mount as ``docker run -v`` writes it: ``source:target[:ro|rw]``. Raises :class:`InvalidArgument`."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise InvalidArgument("mounts", text, "'source:target' or 'source:target:ro' is needed")
    flags = parts[2].split(",") if len(parts) == 3 else []
    read_only, propagation = False, "rprivate"
    for flag in flags:
        if flag in ("ro", "rw"):
            read_only = flag == "ro"
        elif flag in PROPAGATION:
            propagation = flag
        else:
            raise InvalidArgument(
                "mounts", text, f"unknown option {flag!r}: ro, rw or a propagation is needed"
            )
    return Bind(parts[0], parts[1], read_only=read_only, propagation=propagation)
