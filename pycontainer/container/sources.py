"""What a user's mounts show, opened and set up, before it has a place in the container."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from pycontainer.container.found import Stack, Tree
from pycontainer.container.mounts import PROPAGATION, Bind, Tmpfs, is_magic
from pycontainer.container.slots import TEMPORARY, USERNS
from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Operation

if TYPE_CHECKING:
    from pycontainer.container.shape import Shape

_PLAIN = lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_NODEV


def tmpfs(mount: Tmpfs, *, out: int) -> list[Operation]:
    """A memory file system, in a slot."""
    size = [("size", str(mount.size))] if mount.size is not None else []
    options = [("mode", f"{mount.mode:o}"), *size]
    attributes = _PLAIN | (lib.MOUNT_ATTR_NOEXEC if mount.noexec else 0)
    return op.new_mount("tmpfs", options, out=out, attributes=attributes, purpose=mount.target)


def bind(mount: Bind, *, out: int, idmapped: bool) -> list[Operation]:
    """A part of the host's tree, in a slot; ``idmapped``: shown through the container's ids, unless it wants none."""
    recursive = mount.propagation.startswith("r")
    # It had no links when it was looked at (check_mounts); one that is there now would lead elsewhere.
    resolve = 0 if is_magic(mount.source) else lib.RESOLVE_NO_SYMLINKS
    return [
        op.open_path(mount.source, out=TEMPORARY, resolve=resolve),
        op.open_tree("", at=TEMPORARY, out=out, recursive=recursive, purpose=mount.source),
        op.close(TEMPORARY),
        op.set_attributes(
            out,
            attributes=_PLAIN | (lib.MOUNT_ATTR_RDONLY if mount.read_only else 0),
            propagation=PROPAGATION[mount.propagation],
            userns=USERNS if idmapped and mount.idmap else -1,
            recursive=recursive,
            purpose=mount.source,
        ),
    ]


def tree(mount: Tree, *, out: int, idmapped: bool, slot: Callable[[], int]) -> list[Operation]:
    """A directory of our own, or a part of it, in a slot; containers that have it may exchange what is in there."""
    place = TEMPORARY
    ops = [op.open_path(mount.source, out=place, resolve=lib.RESOLVE_NO_SYMLINKS)]
    if mount.subpath is not None:
        place = slot()
        ops += [_part(mount.subpath, at=TEMPORARY, out=place), op.close(TEMPORARY)]
    return [
        *ops,
        op.open_tree("", at=place, out=out, recursive=True, purpose=mount.source),
        op.close(place),
        op.set_attributes(
            out,
            attributes=_PLAIN | (lib.MOUNT_ATTR_RDONLY if mount.read_only else 0),
            propagation=lib.MS_PRIVATE,
            userns=USERNS if idmapped else -1,
            recursive=True,
            purpose=mount.source,
        ),
    ]


def stack(mount: Stack, layers: list[int], *, out: int, shape: Shape, number: int) -> list[Operation]:
    """The layers in those slots as one tree, in a slot; made in the scratch directory, which is the present one."""
    ops: list[Operation] = []
    names = [f"image-{number}-{each}" for each in range(len(layers))]
    for name, slot in zip(names, layers, strict=True):
        ops += [op.make_dir(name), op.move_mount(slot, at=op.HERE, path=name, purpose="a layer's place")]
    whole = f"image-{number}"
    ops.append(op.make_dir(whole))
    if shape.lower_by_layer:
        options: list[tuple[str, str | None]] = [("lowerdir+", name) for name in reversed(names)]
        options += [("userxattr", None)] if shape.in_userns else []
        ops += op.new_mount("overlay", options, out=TEMPORARY, purpose=mount.target)
        ops += [op.move_mount(TEMPORARY, at=op.HERE, path=whole), op.close(TEMPORARY)]
    else:
        data = f"lowerdir={':'.join(reversed(names))}" + (",userxattr" if shape.in_userns else "")
        ops.append(op.mount_overlay(data, whole))
    ops.append(op.open_path(whole, out=TEMPORARY))
    place = TEMPORARY
    if mount.subpath is not None:
        ops += [_part(mount.subpath, at=TEMPORARY, out=layers[0]), op.close(TEMPORARY)]
        place = layers[0]
    return [
        *ops,
        op.open_tree("", at=place, out=out, purpose=mount.target),
        op.close(place),
        op.set_attributes(out, attributes=_PLAIN | lib.MOUNT_ATTR_RDONLY, purpose=mount.target),
    ]


def _part(subpath: str, *, at: int, out: int) -> Operation:
    # No links at all, so that none leads elsewhere, and no rename by others makes the kernel ask to try again.
    resolve = lib.RESOLVE_BENEATH | lib.RESOLVE_NO_SYMLINKS
    return op.open_path(subpath, at=at, out=out, flags=os.O_PATH, resolve=resolve)
