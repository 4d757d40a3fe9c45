"""Probes of namespaces and of the ids in them, and of mounts made in them."""

from __future__ import annotations

import os

from pycontainer.checkup.feature import Lacking, Probes
from pycontainer.checkup.host import Host, run, scratch, setting
from pycontainer.errors import KernelError
from pycontainer.kernel import idmap, userns
from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib

PROBES = Probes()

_NOBODY = 65534
#: The settings that forbid user namespaces: name, the values that do, and how to allow them.
_SETTINGS = (
    ("user/max_user_namespaces", ("0",), "sysctl -w user.max_user_namespaces=15000"),
    ("kernel/unprivileged_userns_clone", ("0",), "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("kernel/apparmor_restrict_unprivileged_userns", ("1", "2"),
     "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with 'userns,' for this program"),
)  # fmt: skip
_USERNS_FIX = (
    "a kernel with CONFIG_USER_NS, and no call filter or security module around this process that forbids it: "
    "in Docker, docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
)


def _forbidden(*, unprivileged: bool) -> tuple[str, str] | None:
    """The setting that forbids user namespaces, with its value, and the command that allows them."""
    for name, values, fix in _SETTINGS if unprivileged else _SETTINGS[:1]:
        value = setting(name)
        if value in values:
            return f"{name.replace('/', '.')}={value}", fix
    return None


@PROBES.add(
    "user-namespaces",
    needed=True,
    tries="made a user namespace and wrote its id map",
    needed_for="every container, but root's with userns='host'",
    fix=_USERNS_FIX,
)
def _user_namespaces(host: Host) -> str:
    try:
        host.userns()
        host.inside()
    except KernelError as error:
        found = _forbidden(unprivileged=not idmap.rules_host())
        if found is None:
            raise
        raise Lacking(f"{error.step}: {error.strerror} ({found[0]})", found[1]) from None
    return "works"


@PROBES.add(
    "user-namespaces-for-all",
    tries="made one as an ordinary user: unshare(1) run by user 65534 where the caller is root",
    needed_for="containers of ordinary users",
    fix=_USERNS_FIX,
)
def _user_namespaces_for_all(host: Host) -> str:
    if not idmap.rules_host():
        return _user_namespaces(host)
    try:
        run("unshare", "--user", "true", ids=(_NOBODY, _NOBODY))
    except Lacking as lack:
        found = _forbidden(unprivileged=True)
        raise Lacking(f"{lack.detail} ({found[0]})", found[1]) if found else lack from None
    return "works"


@PROBES.add(
    "subordinate-ids",
    tries="made a user namespace with as many ids as containers of this user get",
    needed_for="more than one user in a container",
    fix="usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER, and apt install uidmap",
)
def _subordinate_ids(host: Host) -> str:
    if idmap.rules_host():
        host.userns()
        return f"root takes blocks of {idmap.BLOCK} ids that nobody has"
    map_ = idmap.user_map()
    if map_.is_single:
        lacks = [name for name in ("newuidmap", "newgidmap") if idmap.find_helper(name) is None]
        if lacks:
            raise Lacking(f"no program {' and no '.join(lacks)}", "apt install uidmap")
        raise Lacking("/etc/subuid and /etc/subgid grant this user nothing: one id alone can be mapped")
    os.close(userns.create(map_, leashed=False))
    return f"{sum(extent.count for extent in map_.uids)} ids"


@PROBES.add(
    "newuidmap",
    tries="looked for the programs newuidmap and newgidmap, set-user-id or with capabilities",
    needed_for="subordinate ids of ordinary users",
    fix="apt install uidmap",
)
def _newuidmap(_: Host) -> str:
    found = [idmap.find_helper(name) for name in ("newuidmap", "newgidmap")]
    if None in found:
        raise Lacking("they are not installed")
    for path in filter(None, found):
        raised = os.stat(path).st_mode & 0o4000 or "security.capability" in os.listxattr(path)
        if not raised:
            raise Lacking(f"{path} has no more rights than its caller", f"chmod u+s {path}")
    return found[0] or ""


@PROBES.add(
    "container-namespaces",
    needed=True,
    tries="made a process in new mount, pid, uts, ipc and cgroup namespaces of a user namespace",
    needed_for="every container",
    fix="a kernel with CONFIG_NAMESPACES, CONFIG_PID_NS, CONFIG_UTS_NS, CONFIG_IPC_NS; sysctl user.max_*_namespaces above 0",
)
def _container_namespaces(host: Host) -> str:
    kinds = (lib.CLONE_NEWNS, lib.CLONE_NEWPID, lib.CLONE_NEWUTS, lib.CLONE_NEWIPC, lib.CLONE_NEWCGROUP)
    host.inside(namespaces=sum(kinds))
    return "works"


@PROBES.add(
    "network-namespaces",
    needed=True,
    tries="made a process in a new network namespace of a user namespace and brought lo up",
    needed_for="every container, but those with network='host'",
    fix="a kernel with CONFIG_NET_NS, and sysctl -w user.max_net_namespaces=15000",
)
def _network_namespaces(host: Host) -> str:
    host.inside([op.loopback()], namespaces=lib.CLONE_NEWNET)
    return "works"


@PROBES.add(
    "time-namespaces",
    tries="made a time namespace, unshare(CLONE_NEWTIME), in a user namespace",
    needed_for="Namespace.create('time')",
    fix="Linux 5.6 with CONFIG_TIME_NS, and sysctl -w user.max_time_namespaces=15000",
)
def _time_namespaces(host: Host) -> str:
    host.inside([op.unshare(lib.CLONE_NEWTIME)])
    return "works"


@PROBES.add(
    "mount-api",
    needed=True,
    tries="fsopen(2), fsmount(2), open_tree(2), mount_setattr(2) and move_mount(2) of a tmpfs in a user namespace",
    needed_for="every container's file system",
    fix="Linux 5.12, and no call filter around this process that hides these calls",
)
def _mount_api(host: Host) -> str:
    ops = [
        *scratch(),
        op.make_dir("x"),
        op.open_tree("x", out=2),
        op.set_attributes(2, attributes=lib.MOUNT_ATTR_RDONLY),
        op.ensure("/y", at=1, out=3, mode=0o040755),
        op.move_mount(2, at=3),
    ]
    host.inside(ops, namespaces=lib.CLONE_NEWNS, slots=3)
    return "works"


@PROBES.add(
    "proc",
    needed=True,
    tries="mounted a proc of a new pid namespace of a user namespace",
    needed_for="/proc in a container",
    fix="run where /proc is not partly covered: docker run --security-opt systempaths=unconfined",
)
def _proc(host: Host) -> str:
    host.inside(op.new_mount("proc", out=1), namespaces=lib.CLONE_NEWNS | lib.CLONE_NEWPID, slots=1)
    return "works"
