"""What a user's mounts show, opened and set up, before it has a place in the container."""

from __future__ import annotations

from pycontainer.container.mounts import PROPAGATION, Bind, Tmpfs, is_magic
from pycontainer.container.slots import TEMPORARY, USERNS
from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Operation

_PLAIN = lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_NODEV


def tmpfs(mount: Tmpfs, *, out: int) -> list[Operation]:
    """A memory file system, in a slot."""
    size = [("size", str(mount.size))] if mount.size is not None else []
    options = [("mode", f"{mount.mode:o}"), *size]
    return op.new_mount("tmpfs", options, out=out, attributes=_PLAIN, purpose=mount.target)


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
