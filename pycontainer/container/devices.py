"""The /dev of a container: a small tmpfs with the devices that every program may use, and no other.

The OCI runtime specification's default devices (config-linux.md), as in Docker.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

import attrs

from pycontainer.container.arguments import Tty, text, window
from pycontainer.container.slots import DEV, EXPORT, MASTER, SENT_MASTER, TEMPORARY, TERMINAL
from pycontainer.errors import InvalidArgument
from pycontainer.kernel import operation as op
from pycontainer.kernel.cgroup import DeviceRule
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


@attrs.frozen
class Device:
    """A device of the host that a container gets: its path there, its name below /dev, and what may be done."""

    source: str
    name: str
    mode: int
    number: int
    access: str


def parse_devices(texts: Iterable[str]) -> tuple[Device, ...]:
    """Devices as ``docker run --device`` writes them: ``source[:target][:rwm]``. Raises :class:`InvalidArgument`."""
    found: dict[str, Device] = {}
    for each in texts:
        device = _parse(text("devices", each))
        if device.name in found or device.name in (*NAMES, *LINKS, *PLACES):
            raise InvalidArgument("devices", each, f"there is another /dev/{device.name}")
        found[device.name] = device
    return tuple(found.values())


def _parse(word: str) -> Device:
    source, *rest = word.split(":")
    access = rest.pop() if rest and "/" not in rest[-1] else "rwm"
    target = rest.pop() if rest else source
    if (
        rest
        or not source.startswith("/")
        or not access
        or set(access) - set("rwm")
        or len(set(access)) < len(access)
    ):
        raise InvalidArgument("devices", word, "'source[:target][:rwm]' is needed")
    name = os.path.normpath(target).removeprefix("/dev/")
    if name.startswith("/") or name == "." or ".." in target.split("/"):
        raise InvalidArgument("devices", word, "the target is to lie below /dev")
    try:
        status = os.stat(source)
    except OSError as error:
        raise InvalidArgument("devices", word, f"there is no such device: {error.strerror}") from None
    if not stat.S_ISCHR(status.st_mode) and not stat.S_ISBLK(status.st_mode):
        raise InvalidArgument("devices", word, "it is no device")
    return Device(source, name, status.st_mode, status.st_rdev, access)


def device_rules(devices: Iterable[Device]) -> tuple[DeviceRule, ...] | None:
    """What a cgroup has to allow, where one of them is not to be used in every way; else ``None``."""
    if all(set(each.access) == set("rwm") for each in devices):
        return None
    rules = [
        DeviceRule(kind="c", major=os.major(number), minor=os.minor(number)) for number in NAMES.values()
    ]
    # Terminals: the container's own, and the one that stands for it.
    rules += [
        DeviceRule(kind="c", major=136),
        DeviceRule(kind="c", major=5, minor=1),
        DeviceRule(kind="c", major=5, minor=2),
    ]
    for each in devices:
        kind = "b" if stat.S_ISBLK(each.mode) else "c"
        rules.append(
            DeviceRule(
                kind=kind, major=os.major(each.number), minor=os.minor(each.number), access=each.access
            )
        )
    return tuple(rules)


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


def make(names: Iterable[str], further: Iterable[Device], owner: tuple[int, int] | None) -> list[Operation]:
    """Device nodes, where they can be made; ``owner`` is who they and the directory go to."""
    ops = [op.make_device(name, at=DEV, mode=stat.S_IFCHR | 0o666, device=NAMES[name]) for name in names]
    made = [*names, ""]
    for device in further:
        parts = device.name.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            ops.append(attrs.evolve(op.make_dir(folder, at=DEV), options=lib.PC_OP_MAY_EXIST))
        ops.append(op.make_device(device.name, at=DEV, mode=device.mode, device=device.number))
        made.append(device.name)
    if owner is not None:
        ops += [op.make_owner(name, at=DEV, uid=owner[0], gid=owner[1]) for name in made]
    return ops


def open_of_host(source: str, number: int) -> list[Operation]:
    """A device of the host, verified, in slot TEMPORARY: for a user namespace, where none can be made.

    To be bound when /dev is attached: before Linux 6.15 nothing can be mounted on what is not.
    """
    return [
        op.open_tree(source, out=TEMPORARY),
        op.verify(TEMPORARY, device=number, purpose=source),
    ]


def links() -> list[Operation]:
    """The links that programs expect."""
    return [op.make_link(name, target, at=DEV) for name, target in LINKS.items()]


def terminal(tty: Tty) -> list[Operation]:
    """A pty of its own: the master goes to the host, the other side is in slots TERMINAL and, to be bound, TEMPORARY."""
    return [
        op.open_path("pts/ptmx", at=DEV, out=MASTER, flags=os.O_RDWR | os.O_NOCTTY),
        op.terminal_peer(MASTER, out=TERMINAL, window=window(tty)),
        op.send(MASTER, to=EXPORT, tag=SENT_MASTER),
        op.open_tree("", at=TERMINAL, out=TEMPORARY),
    ]
