"""Other programs that confine, each asked to run the hostile program by its defaults, and by its usual hardening.

A contender is a command in front of the program's own words.  Its root file system is a directory with the program
and nothing else.  None of them pulls an image; what needs a daemon starts one of its own, in a directory of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
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
    """``prefix`` and the program's words make a command; ``close`` ends what was started for it."""

    name: str
    prefix: list[str]
    close: Callable[[], None] = lambda: None
    env: dict[str, str] = attrs.field(factory=dict)


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


def bwrap(root: Path, *, hardened: bool) -> Contender:
    """As its README shows it: everything unshared, a new session; hardened: no capabilities, no nested users, an own id."""
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
    if hardened:
        own = ["--unshare-user", "--uid", "1000", "--gid", "1000"]
        argv += [*own, "--cap-drop", "ALL", "--hostname", "box"]
        if (
            "--disable-userns"
            in subprocess.run([argv[0], "--help"], capture_output=True, text=True, check=True).stdout
        ):
            argv += ["--disable-userns"]
    return Contender("bwrap hardened" if hardened else "bwrap", argv)


# -- OCI runtimes with Docker's default configuration ----------------------------------------------


def runtime(name: str, folder: Path, root: Path) -> Contender:
    """crun or runc with what Docker writes for ``docker run`` without options (without a network of its own)."""
    bundle = folder / name
    bundle.mkdir()
    argv = [found(name), "--root", str(folder / f"{name}-state")]
    argv += ["--cgroup-manager=disabled"] if name == "crun" else []
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
        },
    }
    # The words come with each run, so they are written into the bundle by a shell in front.
    text = json.dumps(config)
    script = (
        "import json, os, sys; config = json.loads(sys.argv[1]); split = sys.argv.index('--', 3);"
        "config['process']['args'] = sys.argv[split + 1:]; json.dump(config, open(sys.argv[2] + '/config.json', 'w'));"
        "os.execv(sys.argv[3], sys.argv[3:split])"
    )
    return Contender(
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


def docker_seccomp() -> dict[str, Any]:
    """Docker's profile in OCI's form, from our tables: our differences from it (default.py) taken back."""
    plain = sorted(
        default.COMMON | {"ptrace", "process_vm_readv", "process_vm_writev", "modify_ldt", "arch_prctl"}
    )
    plain = [name for name in plain if name != "socket"]
    plain += [name for name in default.UNLOCKED["CAP_SYS_CHROOT"].split() if name not in plain]
    rules: list[dict[str, Any]] = [{"names": plain, "action": "SCMP_ACT_ALLOW"}]
    rules += [_where("personality", 0, "SCMP_CMP_EQ", value) for value in default.PERSONALITIES]
    for low, operator, high in ((default.AF_ALG, "SCMP_CMP_LT", 0), (default.AF_VSOCK, "SCMP_CMP_GT", 0)):
        rules.append(_where("socket", 0, operator, low or high))
    rules.append(_where("socket", 0, "SCMP_CMP_EQ", default.AF_ALG + 1))
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


def podman(folder: Path, root: Path, *, hardened: bool) -> Contender:
    """``podman run --rootfs`` with a storage of its own."""
    places = ["--root", str(folder / "podman"), "--runroot", str(folder / "podman-run")]
    # A host without systemd or its journal; a runtime that takes both layouts of cgroups.
    how = ["--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=runc"]
    argv = [
        found("podman"),
        *places,
        *how,
        "run",
        "--rm",
        "--init",
        "--log-driver=k8s-file",
        "--network=none",
    ]
    argv += HARDENED if hardened else []
    copy = folder / f"podman-root-{int(hardened)}"
    shutil.copytree(root, copy, symlinks=True)
    return Contender("podman hardened" if hardened else "podman", [*argv, "--rootfs", str(copy)])


def docker(folder: Path, root: Path) -> Iterator[Contender]:
    """``docker run`` of a daemon of its own, which makes no bridge and no rules of a firewall."""
    found("dockerd")
    home = folder / "docker"
    home.mkdir()
    socket = f"unix://{home}/socket"
    command = [
        found("dockerd"),
        "--host",
        socket,
        "--data-root",
        f"{home}/data",
        "--exec-root",
        f"{home}/exec",
    ]
    command += ["--pidfile", f"{home}/pid", "--bridge=none", "--iptables=false", "--storage-driver=vfs"]
    with open(home / "log", "w") as log:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def close() -> None:
        daemon.terminate()
        daemon.wait(60)

    client = [found("docker"), "--host", socket]
    archive = subprocess.run(["tar", "-C", str(root), "-c", "."], capture_output=True, check=True).stdout
    for _ in range(200):
        done = subprocess.run(
            [*client, "import", "-", "probe"], input=archive, capture_output=True, check=False
        )
        if done.returncode == 0 or daemon.poll() is not None:
            break
    if done.returncode:
        close()
        raise Unavailable(done.stderr.decode().strip().splitlines()[-1])
    run = [*client, "run", "--rm", "--init"]
    yield Contender("docker", [*run, "--network=none", "probe"])
    yield Contender("docker hardened", [*run, *HARDENED, "probe"], close)
