"""Layers as one archive: what an overlay of them shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import IO

from pycontainer.image.pack import pack_layer
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.layers import Namespace
from pycontainer.kernel.overlay import OverlayMount
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named


def export(layers: Sequence[str], target: str | os.PathLike[str] | IO[bytes], *, marks: Namespace) -> None:
    """Write what ``layers``, the lowest first, show together; nobody may write to them meanwhile.

    A path gets the archive when it is complete.  Raises :class:`KernelError`.
    """
    with OverlayMount(lower=layers[::-1], userxattr=marks == "user") as mount:
        with Fd(os.open(".", OPEN_DIRECTORY, dir_fd=mount.fileno())) as root:
            if isinstance(target, (str, os.PathLike)):
                _write_to(os.fspath(target), root.fileno())
            else:
                _pack(root.fileno(), target.write)


def _write_to(path: str, root: int) -> None:
    temporary = f"{path}.{os.urandom(4).hex()}"
    with named(f"write {path}"):
        try:
            with open(temporary, "xb") as file:
                _pack(root, file.write)
            os.rename(temporary, path)
        except BaseException:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise


def _pack(root: int, write: Callable[[bytes], object]) -> None:
    pack_layer(root, write)
