"""The plan of a file system for processes that are restored: as a start makes it, in namespaces that exist already.

CRIU makes the processes of a checkpoint, their namespaces, and the mounts that belong to those (``/proc``, ``/sys``,
``/dev/pts``, memory file systems with their content).  All others it binds from where this plan has put them, in the mount
namespace of the first process before that has a root of its own::

    /sys            a tmpfs that covers the host's: nothing of that is used there
    /sys/root       the root, with the mounts of a start in it
    /sys/empty      an empty directory, read-only, for those that are hidden
"""

from __future__ import annotations

import attrs

from pycontainer.container import devices, slots
from pycontainer.container.mounts import Tmpfs
from pycontainer.container.plan import Plan, Planner
from pycontainer.container.shape import Shape
from pycontainer.container.slots import DEV, SCRATCH, TEMPORARY
from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib

PLACE = "/sys"
ROOT, EMPTY = f"{PLACE}/root", f"{PLACE}/empty"


def plan(shape: Shape) -> Plan:
    """The operations for a shape; pure."""
    # Memory file systems come with the checkpoint.
    kept = tuple((mount, directory) for mount, directory in shape.mounts if not isinstance(mount, Tmpfs))
    shape = attrs.evolve(
        shape, mounts=kept, terminal=False, send_upper=False, send_root=False, send_mounts=False
    )
    return _Anew(shape).plan()


class _Anew(Planner):
    def _scratch(self) -> None:
        self.inner += op.new_mount("tmpfs", [("mode", "700")], out=SCRATCH, purpose="the writable layer")
        self.inner.append(op.move_mount(SCRATCH, at=op.HERE, path=PLACE, purpose="a scratch place"))
        self.inner.append(op.enter_directory(SCRATCH))
        self.inner += [op.make_dir(name) for name in ("root", "empty")]
        self.inner.append(op.open_tree("empty", out=TEMPORARY, purpose="an empty directory"))
        self.inner.append(
            op.set_attributes(TEMPORARY, attributes=lib.MOUNT_ATTR_RDONLY, purpose="an empty directory")
        )
        self.inner.append(op.move_mount(TEMPORARY, at=op.HERE, path="empty", purpose="an empty directory"))
        self.inner.append(op.close(TEMPORARY))

    def _kernel_file_systems(self) -> None:
        self._attach(DEV, "/dev")
        self.inner += devices.links()

    def _restrictions(self) -> None:
        """All but this one are among what is bound."""
        if self.shape.read_only:
            self.inner.append(
                op.set_attributes(slots.ROOT, attributes=lib.MOUNT_ATTR_RDONLY, purpose="the root")
            )

    def _finish(self) -> None:
        """There is nobody yet whose root it could be."""
