"""Probes of control groups: the layout, each controller, and what the tree of version 2 can without any."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pycontainer.checkup.feature import Ask, Lacking, Probes
from pycontainer.checkup.host import Host
from pycontainer.kernel import userns
from pycontainer.kernel.cgroup.device_program import DeviceProgram
from pycontainer.kernel.cgroup.directory import Directory
from pycontainer.kernel.cgroup.home import Home
from pycontainer.kernel.cgroup.layout import read_layout

PROBES = Probes()

_DELEGATE = (
    "run as root, or in a cgroup that is delegated to you: systemd-run --user --scope -p Delegate=yes COMMAND"
)
_CONTROLLER = (
    "systemctl edit user@.service: [Service] Delegate=cpu cpuset io memory pids; then log in again and use "
    "systemd-run --user --scope -p Delegate=yes COMMAND"
)


@contextmanager
def _home() -> Iterator[Home]:
    """Where the library makes cgroups, found anew."""
    home = Home(read_layout())
    try:
        yield home
    finally:
        home.close()


@contextmanager
def _group(above: Directory) -> Iterator[Directory]:
    """A new cgroup, removed at the end."""
    try:
        made = above.make(f"pycontainer-doctor-{os.urandom(4).hex()}")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise Lacking(f"no cgroup can be made in {above.path}: {error.strerror}", _DELEGATE) from None
    try:
        yield made
    finally:
        made.remove_tree()


@contextmanager
def _unified() -> Iterator[Directory]:
    """A new cgroup in the tree of version 2."""
    with _home() as home:
        if home.tree is None:
            raise Lacking("no tree of version 2 is mounted", "mount -t cgroup2 none /sys/fs/cgroup/unified")
        with _group(home.tree) as made:
            yield made


@PROBES.add(
    "cgroups",
    tries="looked for mounted trees that show this process's own cgroup",
    needed_for="limits, accounting, pause, and the end of a command with all its children",
    fix="mount -t cgroup2 none /sys/fs/cgroup",
)
def _cgroups(_: Host) -> str:
    layout = read_layout()
    v1 = ", ".join(sorted(layout.v1))
    if layout.unified is None and not layout.v1:
        raise Lacking("none is mounted")
    if layout.is_pure:
        return "version 2"
    return f"version 1: {v1}" if layout.unified is None else f"hybrid: version 2, and on version 1 {v1}"


@PROBES.add(
    "cgroup-make",
    tries="made and removed a cgroup in the tree of version 2",
    needed_for="pause, the end of a command with all its children; on version 2 every limit",
    fix=_DELEGATE,
)
def _make(_: Host) -> str:
    with _unified() as made:
        return f"below {os.path.dirname(made.path)}"


@PROBES.add(
    "cgroup-clone",
    tries="started a process in a new cgroup, clone3(CLONE_INTO_CGROUP)",
    needed_for="limits from a program's first instruction on, without a wait for the kernel",
    fix=f"Linux 5.7; {_DELEGATE}",
)
def _clone(_: Host) -> str:
    with _unified() as made:
        pid, pidfd = userns.hold(0, fds=(made.fileno(),), cgroup=0)
        try:
            if pid not in made.processes():
                raise Lacking("the process is not in the cgroup")
        finally:
            userns.release(pidfd)
    return "works"


@PROBES.add(
    "cgroup-kill",
    tries="wrote to cgroup.kill of a new cgroup",
    needed_for="the end of all processes of a container in one step",
    fix="Linux 5.14, and a mounted tree of version 2; without it processes are frozen, killed and thawed",
)
def _kill(_: Host) -> str:
    with _unified() as made:
        if not made.has("cgroup.kill"):
            raise Lacking("cgroups have no file cgroup.kill")
        made.write("cgroup.kill", b"1")
    return "works"


@PROBES.add(
    "cgroup-freeze",
    tries="froze and thawed a new cgroup",
    needed_for="pause and unpause",
    fix=f"Linux 5.2 with version 2, or the freezer of version 1; {_DELEGATE}",
)
def _freeze(_: Host) -> str:
    with _home() as home:
        if home.tree is None:
            place = home.layout.v1.get("freezer")
            if place is None:
                raise Lacking("no tree of version 2 and no freezer of version 1 is mounted")
            with _group(home.hierarchy(place)) as made:
                made.write("freezer.state", b"FROZEN")
                made.write("freezer.state", b"THAWED")
            return "version 1"
        with _group(home.tree) as made:
            made.write("cgroup.freeze", b"1")
            made.write("cgroup.freeze", b"0")
    return "version 2"


@PROBES.add(
    "psi",
    tries="read /proc/pressure/memory",
    needed_for="pressure in the statistics of a cgroup",
    fix="boot with psi=1, on a kernel with CONFIG_PSI",
)
def _psi(_: Host) -> str:
    with open("/proc/pressure/memory") as file:
        return file.readline().strip()


def _usable(made: Directory, prefix: str) -> None:
    """Has the new cgroup a file of that name, or of a name that begins so, that we may write to?"""
    names = [name for name in os.listdir(made.fileno()) if name == prefix or name.startswith(prefix + ".")]
    if not names:
        raise Lacking(f"new cgroups have no {prefix}")
    if not os.access(names[0], os.W_OK, dir_fd=made.fileno(), effective_ids=True):
        raise Lacking(f"{made.path}/{names[0]} may not be written to", _DELEGATE)


def _controller(name: str, v1: str, v2: str) -> Ask:
    def ask(_: Host) -> str:
        with _home() as home:
            place = home.layout.v1.get(name)
            if place is not None:
                with _group(home.hierarchy(place)) as made:
                    _usable(made, v1)
                return "version 1"
            if home.tree is None:
                raise Lacking("it is mounted nowhere", "boot without cgroup_disable=, and mount it")
            return _controller_of_version_2(home.tree, name, v2)

    return ask


def _controller_of_version_2(tree: Directory, name: str, knob: str) -> str:
    if name not in tree.read("cgroup.controllers").decode().split():
        if tree.has("cgroup.type"):
            raise Lacking(f"the cgroup {tree.path} was not given it", _CONTROLLER)
        raise Lacking("the kernel does not have it", "a kernel built with it, booted without cgroup_disable=")
    if name in tree.read("cgroup.subtree_control").decode().split():
        with _group(tree) as made:
            _usable(made, knob)
        return "version 2"
    if not os.access("cgroup.subtree_control", os.W_OK, dir_fd=tree.fileno(), effective_ids=True):
        raise Lacking(f"{tree.path}/cgroup.subtree_control may not be written to", _DELEGATE)
    # Not tried: processes may have to move for it, which the first limit does.
    return "version 2; is enabled when first needed"


#: Controller, a file of its limit in version 1 and 2, and what depends on it.
_CONTROLLERS = (
    ("memory", "memory.limit_in_bytes", "memory.max", "memory limits, peaks and out-of-memory kills"),
    ("cpu", "cpu.cfs_quota_us", "cpu.max", "cpu limits and weights"),
    ("cpuset", "cpuset.cpus", "cpuset.cpus", "choosing processors and memory nodes"),
    ("pids", "pids.max", "pids.max", "limits of processes: fork bombs end"),
    ("io", "blkio.throttle.read_bps_device", "io.max", "limits of disk traffic"),
    ("hugetlb", "hugetlb", "hugetlb", "limits of huge pages"),
)
for _name, _v1, _v2, _use in _CONTROLLERS:
    PROBES.add(
        f"cgroup-{_name}",
        tries=f"looked for {_v1} or {_v2} in a new cgroup, and whether it may be written to",
        needed_for=_use,
        fix=_DELEGATE,
    )(_controller(_name, _v1, _v2))


@PROBES.add(
    "cgroup-devices",
    tries="wrote to devices.deny of a new cgroup; on version 2 attached an eBPF program to one",
    needed_for="limits of which devices may be opened",
    fix="run as root, on a kernel with CONFIG_CGROUP_BPF (version 2) or CONFIG_CGROUP_DEVICE (version 1)",
)
def _devices(_: Host) -> str:
    with _home() as home:
        place = home.layout.v1.get("devices")
        if place is not None:
            with _group(home.hierarchy(place)) as made:
                made.write("devices.deny", b"a")
            return "version 1"
    with _unified() as made:
        DeviceProgram.attach(made.fileno(), ()).close()
    return "version 2"
