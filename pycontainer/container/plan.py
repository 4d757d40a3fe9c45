"""The plan of a container's file system: a pure function from its shape to operations.

Nothing is executed here and nothing is read from the host, so plans are tested without root, and equal
shapes share one plan.

The order, as the container's first process executes it ("scratch" is a tmpfs that only it sees)::

    outer, in the host's view     open the layers and bind sources; give them the container's id map
    inner, in the new namespaces  scratch: upper, work, root, empty
                                  overlay on scratch/root
                                  /proc /sys /dev, the image's own binds, then the user's mounts by depth
                                  masked and read-only paths
                                  pivot_root into scratch/root: the host's tree is gone

Where there is no id map to give (``idmapped=False``) the outer part is empty and sources are opened inside.
"""

from __future__ import annotations

import os
import stat
from functools import lru_cache

import attrs

from pycontainer.container import devices, proc, sources, walls
from pycontainer.container.found import Found, Stack, Tree
from pycontainer.container.mounts import Tmpfs
from pycontainer.container.shape import Shape
from pycontainer.container.slots import (
    DEV,
    EMPTY,
    EXPORT,
    FIRST_SOURCE,
    NULL,
    ROOT,
    RULESET,
    SCRATCH,
    SENT_MOUNTS,
    SENT_ROOT,
    SENT_UPPER,
    TARGET,
    TEMPORARY,
    UPPER,
    USERNS,
)
from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Operation, Script

_QUIET = lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_NODEV | lib.MOUNT_ATTR_NOEXEC
# Devices are in /dev alone: an image's own are nothing, also with the host's ids.
_NODEV = lib.MOUNT_ATTR_NODEV


@attrs.frozen
class Plan:
    """Operations ready to run, and how many slots they use."""

    script: Script
    slots: int

    def describe(self) -> str:
        """The whole plan in words, a line for each operation."""
        lines = [f"outer: {each.describe()}" for each in self.script.outer]
        return "\n".join(lines + [f"inner: {each.describe()}" for each in self.script.inner])


@lru_cache(maxsize=512)
def plan(shape: Shape) -> Plan:
    """The operations for a shape; pure."""
    return Planner(shape).plan()


class Planner:
    """Collects the operations, in the order that is told above."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.outer: list[Operation] = []
        self.inner: list[Operation] = []
        self.next_slot = FIRST_SOURCE
        #: Layers that are to be stacked once there is a scratch directory, and the slot for the result.
        self.stacks: list[tuple[Stack, list[int], int]] = []
        #: Where sources are opened: before the id map is entered when they are to get one.
        self.sources = self.outer if shape.idmapped else self.inner

    def plan(self) -> Plan:
        """All of them; to be called once."""
        self.inner.append(op.open_path("/", out=TARGET, flags=os.O_PATH | os.O_DIRECTORY))
        self.inner.append(
            op.set_attributes(TARGET, propagation=lib.MS_PRIVATE, recursive=True, purpose="the host's mounts")
        )
        shape = self.shape
        layers_idmap = shape.idmapped and shape.layers_idmapped
        layers = [self._source(path, idmap=layers_idmap) for path in shape.layers]
        upper = self._upper_source()
        binds_idmap = shape.idmapped and shape.binds_idmapped
        binds = [(path, self._source(path, idmap=binds_idmap, read_only=True)) for path in shape.binds]
        mounts = [(mount, directory, self._mount_source(mount)) for mount, directory in shape.mounts]
        self._devices()
        self._scratch()
        self._overlay(layers, upper)
        for number, (stack, slots, out) in enumerate(self.stacks):
            self.inner += sources.stack(stack, slots, out=out, shape=shape, number=number)
        for path, slot in binds:
            self._attach(slot, path)
        self._kernel_file_systems()
        for mount, directory, slot in sorted(mounts, key=lambda each: each[0].target.count("/")):
            self._attach(slot, mount.target, directory=directory)
        self._restrictions()
        self._finish()
        return Plan(Script.of(outer=self.outer, inner=self.inner), self.next_slot)

    # -- sources ---------------------------------------------------------------------------

    def _slot(self) -> int:
        self.next_slot += 1
        return self.next_slot - 1

    def _source(self, path: str, *, idmap: bool, read_only: bool = False) -> int:
        slot = self._slot()
        # In a user namespace what is mounted below cannot be left off: it may cover something (EINVAL).
        recursive = read_only or (self.shape.in_userns and not self.shape.idmapped)
        self.sources.append(op.open_tree(path, out=slot, recursive=recursive))
        attributes = lib.MOUNT_ATTR_RDONLY if read_only else 0
        if idmap or attributes:
            self.sources.append(
                op.set_attributes(
                    slot,
                    attributes=attributes,
                    propagation=lib.MS_PRIVATE,
                    userns=USERNS if idmap else -1,
                    recursive=recursive,
                    purpose=path,
                )
            )
        return slot

    def _upper_source(self) -> int | None:
        if self.shape.upper is None:
            return None
        return self._source(self.shape.upper, idmap=self.shape.idmapped)

    def _mount_source(self, mount: Found) -> int:
        slot = self._slot()
        idmapped = self.shape.idmapped
        if isinstance(mount, Tmpfs):
            self.inner += sources.tmpfs(mount, out=slot)
        elif isinstance(mount, Stack):
            layers = [self._source(path, idmap=idmapped) for path in mount.layers]
            self.stacks.append((mount, layers, slot))
        elif isinstance(mount, Tree):
            self.sources += sources.tree(mount, out=slot, idmapped=idmapped, slot=self._slot)
        else:
            self.sources += sources.bind(mount, out=slot, idmapped=idmapped)
        return slot

    # -- the tree --------------------------------------------------------------------------

    def _devices(self) -> None:
        where = self.outer if self.shape.idmapped else self.inner
        where += devices.directory()
        if self.shape.make_devices:
            owner = self.shape.owner if self.shape.idmapped else None
            where += devices.make(self.shape.device_names, self.shape.devices, owner)

    def _bind_devices(self) -> None:
        wanted = [(f"/dev/{name}", name, devices.NAMES[name]) for name in self.shape.device_names]
        wanted += [(each.source, each.name, each.number) for each in self.shape.devices]
        for source, name, number in wanted:
            self.inner += devices.open_of_host(source, number)
            self._attach(TEMPORARY, f"/dev/{name}", directory=False)

    def _scratch(self) -> None:
        size = [("size", str(self.shape.upper_size))] if self.shape.upper_size is not None else []
        self.inner += op.new_mount(
            "tmpfs", [("mode", "700"), *size], out=SCRATCH, purpose="the writable layer"
        )
        # Not over "/": what is stacked there would be what the pivot takes away, instead of the old root.
        self.inner.append(op.move_mount(SCRATCH, at=op.HERE, path="/proc", purpose="a scratch place"))
        self.inner.append(op.enter_directory(SCRATCH))
        self.inner += [op.make_dir(name) for name in ("root", "empty")]

    def _overlay(self, layers: list[int], upper: int | None) -> None:
        for number, slot in enumerate(layers):
            self.inner.append(op.make_dir(str(number)))
            self.inner.append(op.move_mount(slot, at=op.HERE, path=str(number), purpose="a layer's place"))
        base = "disk/" if upper is not None else ""
        if upper is not None:
            self.inner.append(op.make_dir("disk"))
            self.inner.append(
                op.move_mount(upper, at=op.HERE, path="disk", purpose="the writable layer's place")
            )
        self.inner.append(self._may_exist(op.make_dir(f"{base}upper")))
        self.inner.append(self._may_exist(op.make_dir(f"{base}work", mode=0o700)))
        options: list[tuple[str, str | None]] = [("upperdir", f"{base}upper"), ("workdir", f"{base}work")]
        if self.shape.in_userns:
            options.append(("userxattr", None))
        if self.shape.volatile and upper is not None:
            options.append(("volatile", None))
        names = [str(number) for number in reversed(range(len(layers)))]
        if self.shape.lower_by_layer:
            lowers = [("lowerdir+", name) for name in names]
            self.inner += op.new_mount("overlay", [*lowers, *options], out=ROOT, attributes=_NODEV)
            self.inner.append(op.move_mount(ROOT, at=op.HERE, path="root", purpose="/"))
        else:
            lowerdir = f"lowerdir={':'.join(names)}"
            data = ",".join([lowerdir, *(k if v is None else f"{k}={v}" for k, v in options)])
            self.inner.append(op.mount_overlay(data, "root"))
            self.inner.append(op.open_path("root", out=ROOT, flags=os.O_PATH | os.O_DIRECTORY))
            self.inner.append(op.set_attributes(ROOT, attributes=_NODEV, purpose="/"))

    @staticmethod
    def _may_exist(operation: Operation) -> Operation:
        return attrs.evolve(operation, options=lib.PC_OP_MAY_EXIST)

    def _attach(self, slot: int, target: str, *, directory: bool = True) -> None:
        mode = stat.S_IFDIR | 0o755 if directory else stat.S_IFREG | 0o644
        self.inner.append(op.ensure(target, at=ROOT, out=TARGET, mode=mode))
        self.inner.append(op.move_mount(slot, at=TARGET, purpose=target))
        self.inner.append(op.close(TARGET))
        if slot == TEMPORARY:
            self.inner.append(op.close(slot))

    def _kernel_file_systems(self) -> None:
        self.inner += proc.mount(self.shape, out=TEMPORARY)
        if self.shape.send_mounts:
            self.inner.append(op.open_path("self/ns/mnt", at=TEMPORARY, out=UPPER, flags=os.O_RDONLY))
            self.inner += [op.send(UPPER, to=EXPORT, tag=SENT_MOUNTS), op.close(UPPER)]
        self._attach(TEMPORARY, "/proc")
        if self.shape.mount_sys and not self.shape.minimal_proc:
            self._mount("sysfs", "/sys", attributes=_QUIET | lib.MOUNT_ATTR_RDONLY)
        self._attach(DEV, "/dev")
        if not self.shape.make_devices:
            self._bind_devices()
        if self.shape.masked:  # before a mount can lie on it (CVE-2025-31133)
            self.inner.append(op.open_path("null", at=DEV, out=NULL))
        self.inner += devices.links()
        group = [("gid", "5")] if self.shape.tty_group else []
        self._mount(
            "devpts",
            "/dev/pts",
            [("newinstance", None), ("ptmxmode", "0666"), ("mode", "0620"), *group],
            attributes=lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_NOEXEC,
        )
        self._mount(
            "tmpfs", "/dev/shm", [("mode", "1777"), ("size", str(self.shape.shm_size))], attributes=_QUIET
        )
        self._mount("mqueue", "/dev/mqueue", attributes=_QUIET)
        if self.shape.terminal:
            self.inner += devices.terminal(self.shape.terminal)
            self._attach(TEMPORARY, "/dev/console", directory=False)

    def _mount(
        self,
        fstype: str,
        target: str,
        options: list[tuple[str, str | None]] | None = None,
        *,
        attributes: int,
    ) -> None:
        self.inner += op.new_mount(
            fstype, options or [], out=TEMPORARY, attributes=attributes, purpose=target
        )
        self._attach(TEMPORARY, target)

    # -- restrictions ----------------------------------------------------------------------

    def _restrictions(self) -> None:
        shape = self.shape
        if shape.masked:
            self.inner.append(op.open_path("empty", out=EMPTY, flags=os.O_PATH | os.O_DIRECTORY))
            self.inner += [op.mask(path, at=ROOT, file=NULL, directory=EMPTY) for path in shape.masked]
        for path in shape.read_only_paths:
            self.inner.append(op.read_only(path, at=ROOT, attributes=lib.MOUNT_ATTR_RDONLY | _QUIET))
        if shape.workdir not in (None, "/"):
            place = op.ensure(shape.workdir, at=ROOT, out=TARGET, mode=stat.S_IFDIR | 0o755)
            self.inner.append(attrs.evolve(place, text=f"find or make the working directory {shape.workdir}"))
        if shape.read_only:
            self.inner.append(op.set_attributes(ROOT, attributes=lib.MOUNT_ATTR_RDONLY, purpose="the root"))

    def _finish(self) -> None:
        if self.shape.send_upper:
            flags = os.O_RDONLY | os.O_DIRECTORY
            base = "disk/" if self.shape.upper is not None else ""
            self.inner.append(op.open_path(f"{base}upper", out=UPPER, flags=flags))
            self.inner.append(op.send(UPPER, to=EXPORT, tag=SENT_UPPER))
        if self.shape.send_root:
            self.inner.append(op.open_path("root", out=UPPER, flags=os.O_RDONLY | os.O_DIRECTORY))
            self.inner.append(op.send(UPPER, to=EXPORT, tag=SENT_ROOT))
        if self.shape.own_network:
            self.inner.append(op.loopback())
        self.inner.append(op.enter_directory(ROOT))
        self.inner.append(op.pivot())
        if self.shape.landlock:
            self.inner += walls.rules(self.shape, RULESET, slot=self._slot, scoped=not self.shape.own_network)
