"""Making a detached container: its folder, its volumes, its row."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from pycontainer.container.detached import codec
from pycontainer.container.detached.home import Home
from pycontainer.container.detached.options import parse_keeping
from pycontainer.container.spec import Spec
from pycontainer.container.volumes import Mounts, attach
from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import OPEN_DIRECTORY
from pycontainer.state import events
from pycontainer.state.records import Record, Records

if TYPE_CHECKING:
    from pycontainer.container.workspace import Workspace


def make(
    workspace: Workspace,
    records: Records,
    spec: Spec,
    given: Mapping[str, Any],
    name: str | None,
    fill: Callable[[str, Mounts], None] | None = None,
) -> Record:
    """Make a detached container, not yet started; ``given`` are arguments of :data:`NAMES`.

    ``fill`` puts something into its folder and its volumes before anybody can find it.

    Raises :class:`PyContainerError` with nothing left behind; who is killed meanwhile leaves a folder that the next
    one removes.
    """
    keeping = parse_keeping(given, spec.image.config)
    if spec.extra_fds:
        raise InvalidArgument(
            "extra_fds", spec.extra_fds, "a detached container cannot have what this process has open"
        )
    if spec.oom_score_adj is not None:
        raise NotSupported("oom_score_adj= of a detached container", "set the caller's own: it is inherited")
    if spec.size is not None:
        raise NotSupported("size= of a detached container", "give it a volume with a size")
    if keeping.stdin_open and spec.tty:
        keeping = parse_keeping(
            {**given, "stdin_open": False}, spec.image.config
        )  # its terminal is its input
    written = json.dumps(codec.encode(spec))
    id_ = os.urandom(32).hex()
    places = records.places
    with places.new(id_) as folder:
        try:
            os.mkdir(f"{folder}/files", 0o755)
            home = Home(workspace, folder)
            # Not closed: what it holds is held by the folder, which the volumes know of.
            found = attach(cast("Workspace", home), spec, name=id_[:12], who=f"container {name or id_[:12]}")
            if spec.image.stored is not None:
                spec.image.stored.images.store.pin(spec.image.digest, home.alive)
            if fill is not None:
                fill(folder, found.mounts)
            record = Record(
                id=id_,
                name=name or id_[:12],
                created=time.time_ns(),
                image=spec.image.name,
                spec=written,
                options={"keeping": keeping.to_json(), "mounts": codec.encode(found.mounts)},
                labels=dict(spec.labels),
            )
            records.add(record)
        except BaseException as error:
            with Fd(os.open(places.path, OPEN_DIRECTORY)) as above:
                workspace.reach.remove(above.fileno(), id_)
            if isinstance(error, OSError) and not isinstance(error, KernelError):
                raise KernelError(error.errno or 0, f"make {folder}") from error
            raise
    events.append(places.path, id_, "create", image=spec.image.name, name=record.name)
    return record
