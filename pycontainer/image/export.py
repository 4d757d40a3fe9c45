"""Layers as one archive: what an overlay of them shows."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from typing import IO

from pycontainer.image.newfile import NewFile
from pycontainer.image.pack import pack_layer
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.idmap import has_range, rules_host, user_map
from pycontainer.kernel.layers import Namespace
from pycontainer.kernel.overlay import OverlayMount
from pycontainer.kernel.reach import Reach
from pycontainer.kernel.rooted import OPEN_DIRECTORY

_PIECE = 1 << 20


def export(
    layers: Sequence[str], target: str | os.PathLike[str] | IO[bytes], *, marks: Namespace, reach: Reach
) -> None:
    """Write what ``layers``, the lowest first, show together; nobody may write to them meanwhile.

    A path gets the archive when it is complete and on disk.  Raises :class:`InvalidArgument` for a path that
    is a device or the like, and :class:`KernelError`.
    """
    with OverlayMount(lower=layers[::-1], userxattr=marks == "user") as mount:
        with Fd(os.open(".", OPEN_DIRECTORY, dir_fd=mount.fileno())) as root:
            if not isinstance(target, (str, os.PathLike)):
                _pack(root.fileno(), target, reach)
                return
            with NewFile(target) as file:
                _pack(root.fileno(), file, reach)
                file.commit()


def pack_into(root: int, file: int) -> None:
    """Pack a directory into a file or pipe; both are descriptors, and borrowed."""
    pack_layer(root, partial(write_all, file))


def _pack(root: int, target: NewFile | IO[bytes], reach: Reach) -> None:
    """All files, whoever owns them, by the container's numbers of their owners."""
    if not has_range():
        pack_layer(root, target.write, ids=None if rules_host() else user_map())
        return
    file = _descriptor(target)
    if file is not None:
        reach.steward().call(pack_into, (root, file))
        return
    with tempfile.TemporaryFile() as whole:
        reach.steward().call(pack_into, (root, whole.fileno()))
        whole.seek(0)
        while piece := whole.read(_PIECE):
            target.write(piece)


def _descriptor(target: NewFile | IO[bytes]) -> int | None:
    """What another process can write to instead; what is only in memory, or changed on its way, has none."""
    if isinstance(target, NewFile):
        return target.fileno()
    if isinstance(target, io.BufferedWriter) and isinstance(target.raw, io.FileIO):
        target.flush()
        return target.fileno()
    return None
