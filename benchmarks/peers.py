"""Other programs that start a container, each asked for as much of the same as it can do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from benchmarks.benchmark import BenchmarkError
from benchmarks.bundle import make_bundle
from benchmarks.contender import Contender, Peer, Program
from benchmarks.material import Material

_TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_SECCOMP_FD = 9
_IMAGE = "debian:12"


def start_peers(
    material: Material, *, network: str, userns: str
) -> list[tuple[str, Callable[[], Contender]]]:
    """Who starts ``true`` how, by name; making one raises FileNotFoundError or BenchmarkError where it cannot."""
    peers: list[tuple[str, Callable[[], Contender]]] = [
        ("posix_spawn, no isolation", lambda: Peer("posix_spawn, no isolation", ["/usr/bin/true"])),
        ("unshare", lambda: _unshare(network, userns)),
        ("bwrap", lambda: _bwrap(material, network, userns)),
        ("crun, no cgroups", lambda: _runtime(material, "crun", network, userns, cgroups=False)),
        ("crun", lambda: _runtime(material, "crun", network, userns, cgroups=True)),
        ("runc", lambda: _runtime(material, "runc", network, userns, cgroups=True)),
        ("podman run", lambda: _engine("podman", network)),
        ("docker run", lambda: _engine("docker", network)),
    ]
    return peers


def found(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(2, "not found", name)
    return path


def _unshare(network: str, userns: str) -> Contender:
    flags = ["--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "--mount-proc"]
    flags += ["--net"] if network != "host" else []
    flags += ["--user", "--map-root-user"] if userns == "auto" else []
    return Peer("unshare", [found("unshare"), *flags, "/usr/bin/true"])


def _bwrap(material: Material, network: str, userns: str) -> Contender:
    """The root is a tmpfs, for it has no overlay; it makes /proc/sys and the like read-only by itself."""
    argv = [found("bwrap"), *_bwrap_namespaces(network, userns), "--die-with-parent", "--new-session"]
    argv += ["--ro-bind", "/usr", "/usr", "--dir", "/etc", "--dir", "/tmp", "--dir", "/root"]
    for name in ("bin", "sbin", "lib", "lib64"):
        argv += ["--symlink", f"usr/{name}", f"/{name}"]
    argv += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm", "--mqueue", "/dev/mqueue"]
    argv += ["--ro-bind", "/sys", "/sys"]
    for path in material.security.masked:
        if os.path.isdir(path):
            argv += ["--tmpfs", path]
        elif os.path.exists(path):
            argv += ["--ro-bind", "/dev/null", path]
    argv += ["--clearenv"]
    for variable in material.environment:
        argv += ["--setenv", *variable.split("=", 1)]
    argv += ["--cap-drop", "ALL"]
    for name in sorted(material.security.capabilities):
        argv += ["--cap-add", name]
    argv += ["--seccomp", str(_SECCOMP_FD), "/usr/bin/true"]
    return Peer("bwrap", argv, files={_SECCOMP_FD: material.seccomp})


def _bwrap_namespaces(network: str, userns: str) -> list[str]:
    if userns == "auto":
        chosen = ["--unshare-all", "--unshare-user"] + (["--share-net"] if network == "host" else [])
    else:
        chosen = ["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup"]
        chosen += ["--unshare-net"] if network != "host" else []
    return [*chosen, "--hostname", "bench"]


def _runtime(material: Material, name: str, network: str, userns: str, *, cgroups: bool) -> Contender:
    label = name if cgroups else f"{name}, no cgroups"
    path = found(name)
    tag = f"{name}-{int(cgroups)}-{network}-{userns}"
    bundle = make_bundle(material, tag, ["true"], network=network, userns=userns)
    argv = [path, "--root", f"{material.folder}/{tag}-state"]
    argv += [] if cgroups else ["--cgroup-manager=disabled"]
    argv += ["run", "--bundle", bundle, f"bench-{os.getpid()}-{tag}"]
    return runtime_peer(label, argv)


def runtime_peer(label: str, argv: list[str]) -> Contender:
    """A command of crun or runc as a contender, in a mount namespace of its own where it needs one."""
    prefix = runtime_prefix(argv[0])
    if not prefix:
        return Peer(label, argv)
    command = [*prefix, sys.executable, "-m", "benchmarks.peer_program", label, *argv]
    return Program(label, command, {**os.environ, "PYTHONPATH": _TOP}).contender("start")


def runtime_prefix(path: str) -> list[str]:
    """crun refuses hosts with both cgroup versions: it gets a mount namespace that has only the first."""
    unified = "/sys/fs/cgroup/unified"
    if os.path.basename(path) != "crun" or not os.path.ismount(unified):
        return []
    script = f'umount {unified} && exec "$@"'
    return [found("unshare"), "--mount", "--propagation", "private", "sh", "-c", script, "sh"]


def _engine(name: str, network: str) -> Contender:
    """Docker or podman, where it works and has an image already: nothing is pulled."""
    path = found(name)
    done = subprocess.run([path, "image", "inspect", _IMAGE], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise BenchmarkError(lines[-1] if lines else f"no image {_IMAGE}")
    argv = [path, "run", "--rm", "--network", "none" if network != "host" else "host", _IMAGE, "true"]
    return Peer(f"{name} run", argv)
