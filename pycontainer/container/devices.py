"""The /dev of a container: a small tmpfs with the devices that every program may use, and no other.

The OCI runtime specification's default devices (config-linux.md), as in Docker.
"""

from __future__ import annotations

import os
import stat

from pycontainer.container.slots import DEV, TEMPORARY
from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Operation

#: Names and numbers; mem(4), random(4), tty(4).
NAMES = {
    "null": os.makedev(1, 3),
    "zero": os.makedev(1, 5),
    "full": os.makedev(1, 7),
    "random": os.makedev(1, 8),
    "urandom": os.makedev(1, 9),
    "tty": os.makedev(5, 0),
}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
    "core": "/proc/kcore",
}


#: Where further file systems are mounted.
PLACES = ("pts", "shm", "mqueue")


def directory() -> list[Operation]:
    """The tmpfs itself, in slot DEV, with places for what is mounted in it."""
    tmpfs = op.new_mount(
        "tmpfs",
        [("mode", "755"), ("size", "64k"), ("nr_inodes", "1024")],
        out=DEV,
        attributes=lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_NOEXEC,
        purpose="/dev",
    )
    return tmpfs + [op.make_dir(name, at=DEV) for name in PLACES]


def make(owner: tuple[int, int] | None) -> list[Operation]:
    """Device nodes, where they can be made; ``owner`` is who they and the directory go to."""
    ops = []
    for name, device in NAMES.items():
        ops.append(op.make_device(name, at=DEV, mode=stat.S_IFCHR | 0o666, device=device))
    if owner is not None:
        ops += [op.make_owner(name, at=DEV, uid=owner[0], gid=owner[1]) for name in (*NAMES, "")]
    return ops


def open_of_host(name: str) -> list[Operation]:
    """A device of the host, verified, in slot TEMPORARY: for a user namespace, where none can be made.

    To be bound when /dev is attached: before Linux 6.15 nothing can be mounted on what is not.
    """
    return [
        op.open_tree(f"/dev/{name}", out=TEMPORARY),
        op.verify(TEMPORARY, device=NAMES[name], purpose=f"/dev/{name}"),
    ]


def links() -> list[Operation]:
    """The links that programs expect."""
    return [op.make_link(name, target, at=DEV) for name, target in LINKS.items()]
