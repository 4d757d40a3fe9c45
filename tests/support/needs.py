"""What a test needs of its host, found out by trying it and nothing else.

``@pytest.mark.needs("root", "cgroup2")`` names probes of this module. A need that is
missing fails the test, unless the command line names it (``--allow-missing cgroup2``):
then the test is skipped, with the reason. A name that is not known here is an error.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support import registry, servers


class Missing(Exception):
    """The host lacks it; the message says what was tried and what came of it."""


def _attempt(*command: str) -> str:
    """Run a command that has to succeed; its output."""
    path = shutil.which(command[0])
    if path is None:
        raise Missing(f"there is no program {command[0]}")
    done = subprocess.run(
        [path, *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise Missing(f"{' '.join(command)}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout


def _root() -> None:
    if os.geteuid() != 0:
        raise Missing("the tests do not run as root")
    _attempt("unshare", "--mount", "true")


def _user() -> None:
    if os.geteuid() == 0:
        raise Missing("the tests run as root")


def _userns() -> None:
    _attempt("unshare", "--user", "--map-root-user", "true")


def _subuid() -> None:
    """A user namespace whose second id is the first of our own range, mapped by newuidmap(1)."""
    name = pwd.getpwuid(os.geteuid()).pw_name
    first = _first_subuid(name)
    with _holding_namespace() as pid:
        _attempt("newuidmap", pid, "0", str(os.geteuid()), "1", "1", str(first), "1")


def _first_subuid(name: str) -> int:
    try:
        lines = Path("/etc/subuid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise Missing(str(error)) from None
    for line in lines:
        owner, first, count = line.split(":")
        if owner in {name, str(os.geteuid())} and int(count) >= 65536:
            return int(first)
    raise Missing(f"/etc/subuid has no range of 65536 for {name}")


@contextlib.contextmanager
def _holding_namespace() -> Iterator[str]:
    """The pid of a process in a new, unmapped user namespace."""
    with subprocess.Popen(
        ["unshare", "--user", "sh", "-c", "echo; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            if process.stdout is None or process.stdout.read(1) != b"\n":
                raise Missing("unshare --user fails")
            yield str(process.pid)
        finally:
            process.kill()


def cgroup_places(version: int) -> list[str]:
    """Directories in which the present process might make cgroups with limits, nearest first.

    Every ancestor of the cgroup it is in, in the hierarchy with the memory controller (v1)
    or in the unified one (v2).
    """
    wanted = "cgroup2" if version == 2 else "cgroup"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        separator = fields.index("-")
        kind, options = fields[separator + 1], fields[separator + 3].split(",")
        if kind == wanted and (version == 2 or "memory" in options):
            place = Path(fields[4] + _own_cgroup(version))
            return [str(place), *(str(above) for above in place.parents if str(above).startswith(fields[4]))]
    return []


def _own_cgroup(version: int) -> str:
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" if version == 2 else "memory" in controllers.split(","):
            return path.rstrip("/")
    raise Missing(f"the process is in no cgroup v{version} hierarchy")


def _cgroup_with_limits(version: int, knob: str) -> str:
    """Make and remove a cgroup that has a writable memory limit; the directory it was made in."""
    tried = "no such hierarchy is mounted"
    for place in cgroup_places(version):
        probe = f"{place}/probe-{os.getpid()}"
        try:
            os.mkdir(probe)
        except OSError as error:
            tried = str(error)
            continue
        try:
            if os.access(f"{probe}/{knob}", os.W_OK):
                return place
            tried = f"no {knob} in {probe}"
        finally:
            os.rmdir(probe)
    raise Missing(f"no cgroup v{version} with a memory limit can be made: {tried}")


def _cgroup1() -> None:
    _cgroup_with_limits(1, "memory.limit_in_bytes")


def _cgroup2() -> None:
    _cgroup_with_limits(2, "memory.max")


def _cgroup2_tree() -> None:
    """The tree of version 2, with or without controllers, where a cgroup can be made."""
    for place in cgroup_places(2)[:1]:
        os.mkdir(f"{place}/probe-{os.getpid()}")
        os.rmdir(f"{place}/probe-{os.getpid()}")
        return
    raise Missing("no cgroup v2 tree is mounted")


def _user_scope() -> None:
    """Version 2 alone, a cgroup that this process may not use, and a systemd of the user that could give another."""
    if "\n" in Path("/proc/self/cgroup").read_text().strip():
        raise Missing("there is more than version 2 of cgroups")
    own = cgroup_places(2)[0]
    if os.access(f"{own}/cgroup.procs", os.W_OK):
        raise Missing(f"this process may use its cgroup {own}")
    _attempt("busctl", "--user", "status", "org.freedesktop.systemd1")


def _cgroup() -> None:
    reasons = []
    for probe in (_cgroup2, _cgroup1):
        try:
            return probe()
        except Missing as error:
            reasons.append(str(error))
    raise Missing("; ".join(reasons))


def _overlay() -> None:
    """An overlay whose upper directory lies where the tests keep their files."""
    script = (
        'cd "$1"; mkdir l u w m; mount -t overlay -o "$2"lowerdir=l,upperdir=u,workdir=w overlay m; touch m/f'
    )
    as_root = os.geteuid() == 0
    root = os.environ.get("PYCONTAINER_ROOT")  # made by the first engine; what is above it is there
    with tempfile.TemporaryDirectory(dir=root and os.path.dirname(root)) as place:
        unshare = ["unshare", "--mount"] if as_root else ["unshare", "--user", "--map-root-user", "--mount"]
        _attempt(*unshare, "sh", "-ec", script, "sh", place, "" if as_root else "userxattr,")


def _criu() -> None:
    """CRIU that can work: as root, on a kernel that it knows."""
    _root()
    _attempt("criu", "check")


def _netns() -> None:
    options = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    _attempt("unshare", *options, "--net", "true")


def _bridge_network() -> None:
    """Bridges, pairs of veth and the rules of nf_tables that networks are made of, in a namespace of its own."""
    script = (
        "ip link add br0 type bridge; ip link add veth0 type veth peer name veth1; ip link set veth0 master br0;"
        "iptables -t nat -A POSTROUTING -j MASQUERADE; python3 --version"
    )
    options = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    _attempt("unshare", *options, "--net", "sh", "-ec", script)


def _tun() -> None:
    os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))


def _kvm() -> None:
    os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))


def _psi() -> None:
    Path("/proc/pressure/memory").read_bytes()


def _tmpfs_xattr() -> None:
    """``user.*`` attributes on tmpfs: Linux 6.6."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        os.setxattr(file.fileno(), "user.probe", b"1")


def _prjquota() -> None:
    """An ext4 file system with project quotas, mounted from a file in a mount namespace of its own."""
    script = (
        'cd "$1"; truncate -s 16M i; mkfs.ext4 -q -O quota,project -E quotatype=prjquota i; mkdir m;'
        "modprobe -q quota_v2 || true; mount -o loop,prjquota i m"
    )
    with tempfile.TemporaryDirectory() as place:
        _attempt("unshare", "--mount", "sh", "-ec", script, "sh", place)


def _registry() -> None:
    """A real registry, installed or to be had from the distribution, and certificates for it."""
    _attempt("openssl", "version")
    try:
        _attempt(registry.program(), "--version")
    except registry.NoRegistry as error:
        raise Missing(str(error)) from None


def _debootstrap() -> None:
    """It has no option that does nothing; it wants its directory of suites."""
    if shutil.which("debootstrap") is None:
        raise Missing("there is no program debootstrap")
    if not Path("/usr/share/debootstrap/scripts").is_dir():
        raise Missing("there is no /usr/share/debootstrap/scripts")


def _servers() -> None:
    """PostgreSQL, Redis and nginx, from the distribution's packages."""
    try:
        servers.tree()
    except servers.NoServers as error:
        raise Missing(str(error)) from None


def _program(*command: str) -> Callable[[], None]:
    def run() -> None:
        _attempt(*command)

    return run


def _postgres() -> None:
    """The programs of a PostgreSQL server, where Debian puts them."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        raise Missing("there is no /usr/lib/postgresql/*/bin/postgres")


PROBES: dict[str, Callable[[], None]] = {
    "root": _root,
    "user": _user,
    "userns": _userns,
    "subuid": _subuid,
    "cgroup": _cgroup,
    "cgroup1": _cgroup1,
    "cgroup2": _cgroup2,
    "cgroup2_tree": _cgroup2_tree,
    "overlay": _overlay,
    "criu": _criu,
    "netns": _netns,
    "bridge_network": _bridge_network,
    "kvm": _kvm,
    "prjquota": _prjquota,
    "pasta": _program("pasta", "--version"),
    "postgres": _postgres,
    "psi": _psi,
    "registry": _registry,
    "servers": _servers,
    "tun": _tun,
    "tmpfs_xattr": _tmpfs_xattr,
    "user_scope": _user_scope,
    "busctl": _program("busctl", "--version"),
    "dbus_session": _program("dbus-run-session", "--version"),
    "busybox": _program("busybox", "true"),
    "cc": _program("cc", "--version"),
    "dockerd": _program("dockerd", "--version"),
    "podman": _program("podman", "--version"),
    "runc": _program("runc", "--version"),
    "skopeo": _program("skopeo", "--version"),
    "slirp4netns": _program("slirp4netns", "--version"),
    "fish": _program("fish", "--version"),
    "tmux": _program("tmux", "-V"),
    "umoci": _program("umoci", "--version"),
    "zsh": _program("zsh", "--version"),
    "debootstrap": _debootstrap,
    "strace": _program("strace", "-V"),
}


@functools.cache
def lacking(name: str) -> str | None:
    """Return why the host lacks ``name``, or None when it has it; ``KeyError`` when no probe is called so."""
    try:
        PROBES[name]()
    except (Missing, OSError) as error:
        return str(error)
    return None
