"""Layers as one archive: what an overlay of them shows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO

from pycontainer.image.newfile import NewFile
from pycontainer.image.pack import pack_layer
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.layers import Namespace
from pycontainer.kernel.overlay import OverlayMount
from pycontainer.kernel.rooted import OPEN_DIRECTORY


def export(layers: Sequence[str], target: str | os.PathLike[str] | IO[bytes], *, marks: Namespace) -> None:
    """Write what ``layers``, the lowest first, show together; nobody may write to them meanwhile.

    A path gets the archive when it is complete and on disk.  Raises :class:`InvalidArgument` for a path that
    is a device or the like, and :class:`KernelError`.
    """
    with OverlayMount(lower=layers[::-1], userxattr=marks == "user") as mount:
        with Fd(os.open(".", OPEN_DIRECTORY, dir_fd=mount.fileno())) as root:
            if not isinstance(target, (str, os.PathLike)):
                pack_layer(root.fileno(), target.write)
                return
            with NewFile(target) as file:
                pack_layer(root.fileno(), file.write)
                file.commit()
