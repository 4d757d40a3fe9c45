"""The shape of a container's file system: all that decides which operations set it up."""

from __future__ import annotations

import attrs

from pycontainer.container.arguments import Tty
from pycontainer.container.devices import Device
from pycontainer.container.found import Found


@attrs.frozen(kw_only=True)
class Shape:
    """All that decides which operations set a container's file system up.

    ``owner`` is the host id that the container's root has; ``layers`` are host directories, bottom first;
    ``upper`` is the host directory of the writable layer, or ``None`` for memory of at most
    ``upper_size`` bytes.  ``mounts`` pairs a mount with "is a directory".  ``idmapped``: sources are opened
    outside and get the id map in slot USERNS, but for layers that already have the right owners
    (``layers_idmapped=False``) and image binds whose file system cannot (``binds_idmapped=False``).
    """

    layers: tuple[str, ...]
    binds: tuple[str, ...] = ()
    mounts: tuple[tuple[Found, bool], ...] = ()
    owner: tuple[int, int] = (0, 0)
    idmapped: bool = False
    layers_idmapped: bool = True
    binds_idmapped: bool = True
    in_userns: bool = True
    own_network: bool = True
    mount_sys: bool = True
    make_devices: bool = True
    tty_group: bool = True
    upper: str | None = None
    upper_size: int | None = None
    volatile: bool = False
    read_only: bool = False
    terminal: Tty = False
    masked: tuple[str, ...] = ()
    read_only_paths: tuple[str, ...] = ()
    workdir: str | None = None
    lower_by_layer: bool = True
    shm_size: int = 64 << 20
    device_names: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    minimal_proc: bool = False
    sysctls: tuple[tuple[str, str], ...] = ()
    landlock: bool = False
    send_upper: bool = False
    send_root: bool = False
    send_mounts: bool = False
