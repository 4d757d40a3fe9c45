"""How containers of one kind are started, from their specification and from what is kept of them on the host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pycontainer.container import networked, slots
from pycontainer.container import plan as plans
from pycontainer.container.confinement import confinement, full_environment
from pycontainer.container.shape import Shape
from pycontainer.container.spec import Spec
from pycontainer.container.start import Recipe
from pycontainer.image.accounts import Identity
from pycontainer.kernel import features, landlock
from pycontainer.kernel.idmap import IdMap, rules_host
from pycontainer.kernel.native import lib
from pycontainer.kernel.userns import Lease

if TYPE_CHECKING:
    from pycontainer.container.launch import Layer

#: What every container has of its own; the network and user namespaces depend on its specification.
NAMESPACES = lib.CLONE_NEWNS | lib.CLONE_NEWPID | lib.CLONE_NEWUTS | lib.CLONE_NEWIPC


def recipe_of(
    spec: Spec,
    map_: IdMap | None,
    identity: Identity,
    lowers: tuple[str, ...],
    layer: Layer,
    *,
    seat: tuple[bool, int],
    folder: str | None,
    waits: bool = False,
    leashed: bool = True,
) -> Recipe:
    """How containers of this kind are started.

    One that ``waits`` is told later what its program is.  The end of one that is not ``leashed`` is the care of another
    one than this process's reaper.
    """
    plan = plans.plan(shape_of(spec, map_, lowers, layer, folder))
    fields = confinement(spec, identity, map_)
    fields.update(
        script=plan.script,
        joins=networked.joins(spec, in_userns=map_ is not None),
        namespaces=NAMESPACES | (lib.CLONE_NEWNET if spec.network.mode == "none" else 0),
        terminal=slots.TERMINAL if spec.tty else -1,
        landlock=slots.RULESET if spec.security.landlock and landlock.version() else -1,
        ns_root=map_ is not None,
        ns_ids=(0, 0) if map_ is None else map_.first,
        cgroup_namespace=True,
        workdir=os.fsencode(spec.workdir),
    )
    return Recipe.make(
        spec.argv,
        full_environment(spec, identity),
        fields,
        reserved=plan.slots,
        terminal=slots.TERMINAL if spec.tty else None,
        extra=spec.extra_fds,
        init=spec.init,
        seat=seat,
        waits=waits,
        first=leashed,
    )


def owner_of(lease: Lease | None) -> tuple[int, int]:
    """Whose the host image's tree is: an ordinary user cannot give files away."""
    if not rules_host():
        return os.geteuid(), os.getegid()
    return _root_of(None if lease is None else lease.map)


def _root_of(map_: IdMap | None) -> tuple[int, int]:
    if map_ is None:
        return os.geteuid(), os.getegid()
    return map_.host_uid(0) or 0, map_.host_gid(0) or 0


def shape_of(
    spec: Spec, map_: IdMap | None, lowers: tuple[str, ...], layer: Layer, folder: str | None
) -> Shape:
    """The shape of a container's file system; ``folder`` has the files that tell it of its networks, if it is on any."""
    is_root = rules_host()
    idmapped = is_root and map_ is not None
    binds = spec.image.binds
    return Shape(
        layers=lowers,
        binds=binds,
        mounts=networked.with_names(layer.mounts, folder),
        owner=_root_of(map_) if idmapped else (0, 0),
        idmapped=idmapped,
        layers_idmapped=bool(spec.image.layers),
        binds_idmapped=idmapped and all(features.can_idmap(path) for path in binds),
        in_userns=map_ is not None,
        own_network=spec.network.is_own,
        # sysfs belongs to the network namespace: who does not own that cannot mount it.
        mount_sys=spec.network.is_own or map_ is None,
        make_devices=is_root,
        tty_group=map_ is None or map_.host_gid(5) is not None,
        upper=layer.upper,
        volatile=layer.throw_away,
        # On disk its folder is bounded (Workspace.make_folder).
        upper_size=spec.size if layer.upper is None else None,
        read_only=spec.read_only,
        terminal=spec.tty,
        device_names=spec.security.devices,
        devices=spec.devices,
        minimal_proc=spec.security.minimal_proc,
        sysctls=spec.sysctls,
        landlock=spec.security.landlock,
        masked=spec.security.masked,
        read_only_paths=spec.security.read_only,
        workdir=spec.workdir,
        lower_by_layer=features.overlay_takes_layers(),
        shm_size=spec.shm_size,
        send_upper=layer.send_upper,
        send_root=layer.send_root,
        send_mounts=layer.send_mounts,
    )
