"""The checkpoints that a detached container has.

::

    <folder>/checkpoints/<name>/
        images/     CRIU's
        told        what a restore has to know (JSON)
        upper/      the writable layer as it was, of a container that went on
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from pycontainer.container.arguments import container_name
from pycontainer.container.detached.typed import fits
from pycontainer.errors import InvalidArgument, KernelError, NotSupported, StateError
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.kinds import status_of
from pycontainer.kernel.rooted import OPEN_DIRECTORY

if TYPE_CHECKING:
    from pycontainer.container.detached.container import Detached

_VERSION = 1
#: What the names of those begin with that are not there yet, or no longer.
PARTIAL = ".new-"


@attrs.frozen(kw_only=True)
class Told:
    """What a restore has to know of a checkpoint.

    ``externals`` are CRIU's names of mounts, and where a restore finds them; ``files`` its names of what the monitor had
    opened for the program; ``streams`` those of the three pipes.  ``started`` is the start that it was of.
    """

    externals: tuple[tuple[str, str], ...]
    files: tuple[str, ...]
    streams: tuple[str | None, str | None, str | None]
    map: Any
    started: int
    created: int

    def write(self, path: str) -> None:
        """Write it to a file."""
        with open(path, "x") as file:
            json.dump(self.to_json(), file)
            file.flush()
            os.fsync(file.fileno())

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON can say it."""
        return {"version": _VERSION, **attrs.asdict(self)}

    @classmethod
    def read(cls, path: str) -> Told:
        """Read it from a file. Raises :class:`NotSupported` for one of a newer version."""
        with open(path) as file:
            return cls.from_json(json.load(file))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Told:
        """What :meth:`to_json` gave. Raises :class:`NotSupported`, ``TypeError`` for what is not of its form."""
        found = dict(value)
        if found.pop("version", None) != _VERSION:
            raise NotSupported("a checkpoint of another version of pycontainer", "upgrade pycontainer")
        for name in ("externals", "files", "streams"):
            found[name] = tuple(tuple(each) if isinstance(each, list) else each for each in found[name])
        told = cls(**found)
        if not fits(told, cls):
            raise TypeError("something in it is of another type")
        return told


def names(folder: str) -> list[str]:
    """The checkpoints of a container, oldest first."""
    place = f"{folder}/checkpoints"
    found = []
    with suppress(FileNotFoundError):
        found = [
            (os.stat(f"{place}/{name}/told").st_mtime_ns, name)
            for name in os.listdir(place)
            if not name.startswith(".") and os.path.exists(f"{place}/{name}/told")
        ]
    return [name for _, name in sorted(found)]


def place_of(container: Detached, name: str) -> str:
    """Where a checkpoint is. Raises :class:`InvalidArgument` when there is none of this name."""
    if container_name(name) not in names(container._home.folder):
        raise InvalidArgument("name", name, "the container has no such checkpoint")
    return f"{container._home.folder}/checkpoints/{name}"


def check_files(container: Detached, place: str, verb: str) -> None:
    """Raise :class:`StateError` when the files that a checkpoint is of are not there any more: a start changes them."""
    if os.path.isdir(f"{place}/upper"):
        return
    if container.run_state.started not in {0, Told.read(f"{place}/told").started}:
        raise StateError(f"container {container.name}", "changed by a start since the checkpoint", verb)


def remove(container: Detached, name: str) -> None:
    """Remove a checkpoint: at once it is not there any more."""
    place = place_of(container, name)
    gone = f"{PARTIAL}{os.urandom(4).hex()}"
    try:
        os.rename(place, f"{os.path.dirname(place)}/{gone}")
    except FileNotFoundError:
        raise InvalidArgument("name", name, "the container has no such checkpoint") from None
    remove_partial(container, gone)


def remove_partial(container: Detached, name: str) -> None:
    """Remove what is left of one; idempotent."""
    with (
        suppress(FileNotFoundError, KernelError),
        Fd(os.open(f"{container._home.folder}/checkpoints", OPEN_DIRECTORY)) as above,
    ):
        if status_of(above.fileno(), name) is not None:
            container._workspace.reach.remove(above.fileno(), name)


def remove_partials(container: Detached) -> None:
    """Remove what who was killed has left; call it with the lock of who starts or removes the container."""
    with suppress(FileNotFoundError):
        for name in os.listdir(f"{container._home.folder}/checkpoints"):
            if name.startswith(PARTIAL):
                remove_partial(container, name)
