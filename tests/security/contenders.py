"""Other programs that confine, each asked to run the hostile program by its defaults, and by its usual hardening.

A contender is a command in front of the program's own words.  Its root file system is a directory with the program
and nothing else.  None of them pulls an image; what needs a daemon starts one of its own, in a directory of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import attrs

from pycontainer.container.security import MASKED, READ_ONLY
from pycontainer.kernel import capabilities
from pycontainer.kernel.seccomp import default

#: What Docker's documentation and its bench for security recommend, beyond its defaults.
HARDENED = [
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--network=none",
    "--read-only",
    "--tmpfs=/tmp",
    "--pids-limit=256",
    "--memory=512m",
    "--cpus=1",
]


class Unavailable(Exception):
    """It is not here, or cannot work here; the message says why."""


@attrs.frozen
class Contender:
    """``prefix`` and the program's words make a command."""

    name: str
    prefix: list[str]


def found(name: str) -> str:
    """The path of a program."""
    path = shutil.which(name)
    if path is None:
        raise Unavailable(f"there is no {name}")
    return path


def make_root(folder: Path, probe: Path) -> Path:
    """A root file system with the program and the directories that a container has."""
    root = folder / "root"
    for name in ("dev", "etc", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy(probe, root / "probe")
    return root


# -- bubblewrap ------------------------------------------------------------------------------------


def bwrap(root: Path) -> Generator[Contender]:
    """As its README shows it, everything unshared and a new session; hardened: no capabilities, no nested users, an own id."""
    argv = [
        found("bwrap"),
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--ro-bind",
        str(root),
        "/",
    ]
    argv += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--clearenv"]
    yield Contender("bwrap", argv)
    argv += ["--unshare-user", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL", "--hostname", "box"]
    if (
        "--disable-userns"
        in subprocess.run([argv[0], "--help"], capture_output=True, text=True, check=True).stdout
    ):
        argv += ["--disable-userns"]
    yield Contender("bwrap, hardened", argv)


# -- OCI runtimes with Docker's default configuration ----------------------------------------------


def runtime(name: str, folder: Path, root: Path) -> Generator[Contender]:
    """crun or runc with what Docker writes for ``docker run`` without options (without a network of its own)."""
    bundle = folder / name
    bundle.mkdir()
    argv = [found(name), "--root", str(folder / f"{name}-state")]
    if name == "crun" and not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        raise Unavailable("it refuses a host that has both versions of cgroups")
    run = [*argv, "run", "--bundle", str(bundle), f"probe-{os.getpid()}-{name}"]
    config = {
        "ociVersion": "1.0.2",
        "hostname": "box",
        "process": _process(["/probe"]),
        "root": {"path": str(root), "readonly": False},
        "mounts": list(_mounts()),
        "linux": {
            "namespaces": [{"type": kind} for kind in ("mount", "pid", "uts", "ipc", "network", "cgroup")],
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
            "seccomp": docker_seccomp(),
            "resources": {"devices": list(_devices())},
        },
    }
    # The words come with each run, so they are written into the bundle by a shell in front.
    text = json.dumps(config)
    script = (
        "import json, os, sys; config = json.loads(sys.argv[1]); split = sys.argv.index('--', 3);"
        "config['process']['args'] = sys.argv[split + 1:]; json.dump(config, open(sys.argv[2] + '/config.json', 'w'));"
        "os.execv(sys.argv[3], sys.argv[3:split])"
    )
    yield Contender(
        f"{name}, Docker's profile", [found("python3"), "-c", script, text, str(bundle), *run, "--"]
    )


def _process(argv: list[str]) -> dict[str, Any]:
    names = sorted(capabilities.DOCKER_DEFAULT)
    return {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": argv,
        "env": ["PATH=/"],
        "cwd": "/",
        "noNewPrivileges": False,
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "rlimits": [],
    }


def _mounts() -> Iterator[dict[str, Any]]:
    quiet = ["nosuid", "noexec", "nodev"]
    for place, kind, options in (
        ("/proc", "proc", quiet),
        ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ("/sys", "sysfs", [*quiet, "ro"]),
        ("/sys/fs/cgroup", "cgroup", [*quiet, "ro"]),
        ("/dev/mqueue", "mqueue", quiet),
        ("/dev/shm", "tmpfs", [*quiet, "mode=1777", "size=65536k"]),
    ):
        yield {"destination": place, "type": kind, "source": kind, "options": options}


def _devices() -> Iterator[dict[str, Any]]:
    yield {"allow": False, "access": "rwm"}
    for kind in ("c", "b"):
        yield {"allow": True, "type": kind, "access": "m"}
    for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)):
        yield {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
    yield {"allow": True, "type": "c", "major": 136, "access": "rwm"}


def docker_seccomp() -> dict[str, Any]:
    """Docker's profile in OCI's form, from our tables: our differences from it (default.py) taken back."""
    more = {"arch_prctl", "chroot", "modify_ldt", "name_to_handle_at", "ptrace"}
    more |= {"process_vm_readv", "process_vm_writev"}
    plain = sorted(default.COMMON | more)
    rules: list[dict[str, Any]] = [{"names": plain, "action": "SCMP_ACT_ALLOW"}]
    rules += [_where("personality", 0, "SCMP_CMP_EQ", value) for value in default.PERSONALITIES]
    refused = {default.AF_ALG, default.AF_VSOCK, *default.OBSOLETE_FAMILIES}
    rules += [_where("socket", 0, "SCMP_CMP_EQ", family) for family in range(46) if family not in refused]
    rules.append(_where("clone", 0, "SCMP_CMP_MASKED_EQ", default.CLONE_NEW_NAMESPACES))
    rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38})
    arches = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    if os.uname().machine == "aarch64":
        arches = ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": arches,
        "syscalls": rules,
    }


def _where(name: str, index: int, operator: str, value: int) -> dict[str, Any]:
    argument = {"index": index, "op": operator, "value": value}
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}


# -- engines ---------------------------------------------------------------------------------------


def podman(folder: Path, root: Path) -> Generator[Contender]:
    """``podman run --rootfs`` with a storage of its own."""
    argv = [found("podman"), "--root", f"{folder}/podman", "--runroot", f"{folder}/podman-run"]
    # For a host without systemd and its journal; a runtime that takes both layouts of cgroups.
    argv += ["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=runc"]
    argv += ["run", "--rm", "--init", "--log-driver=k8s-file"]
    for name, options in (("podman", ["--network=none"]), ("podman, hardened", HARDENED)):
        copy = folder / name
        shutil.copytree(root, copy)
        yield Contender(name, [*argv, *options, "--rootfs", str(copy)])


def docker(folder: Path, root: Path) -> Generator[Contender]:
    """``docker run`` of a daemon of its own, which makes no bridge and no rules of a firewall."""
    home = folder / "docker"
    home.mkdir()
    address = f"unix://{home}/socket"
    command = [found("dockerd"), "--host", address, "--pidfile", f"{home}/pid", "--data-root", f"{home}/data"]
    command += ["--exec-root", f"{home}/exec", "--bridge=none", "--iptables=false", "--storage-driver=vfs"]
    client = [found("docker"), "--host", address]
    with open(home / "log", "w") as log:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _import_image(daemon, client, root)
        for name, options in (("docker", ["--network=none"]), ("docker, hardened", HARDENED)):
            yield Contender(name, [*client, "run", "--rm", "--init", *options, "probe"])
    finally:
        daemon.terminate()
        daemon.wait(60)


def _import_image(daemon: subprocess.Popen[bytes], client: list[str], root: Path) -> None:
    archive = subprocess.run(["tar", "-C", str(root), "-c", "."], capture_output=True, check=True).stdout
    deadline = time.monotonic() + 120
    while True:
        done = subprocess.run(
            [*client, "import", "-", "probe"], input=archive, capture_output=True, check=False
        )
        if done.returncode == 0:
            return
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise Unavailable(done.stderr.decode().strip())
        time.sleep(0.2)
