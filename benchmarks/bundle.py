"""OCI bundles for crun and runc: a config.json that asks for the same container (OCI runtime specification)."""

from __future__ import annotations

import json
import os
from typing import Any

from benchmarks.material import Identity, Material
from pycontainer.kernel.seccomp import ALLOW, Profile

_DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}
_QUIET = ["nosuid", "nodev", "noexec"]
_MACHINES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


def make_bundle(material: Material, name: str, argv: list[str], *, network: str, userns: str) -> str:
    """A folder with a config.json; its root is the library's own lowest layer, shared by all."""
    identity = material.identities[0] if userns == "auto" else None
    path = f"{material.folder}/{name}"
    os.mkdir(path)
    skeleton = material.host_skeleton if identity is None else identity.skeleton
    config = {
        "ociVersion": "1.0.2",
        "hostname": "bench",
        "process": _process(material, argv),
        "root": {"path": skeleton, "readonly": False},
        "mounts": _mounts(own_sysfs=network != "host" or identity is None),
        "linux": _linux(material, identity, network),
    }
    with open(f"{path}/config.json", "w", encoding="utf-8") as file:
        json.dump(config, file)
    return path


def _process(material: Material, argv: list[str]) -> dict[str, Any]:
    names = sorted(material.security.capabilities)
    return {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": argv,
        "env": material.environment,
        "cwd": "/",
        "noNewPrivileges": True,
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
    }


def _mounts(*, own_sysfs: bool) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["bind", "ro", "private"]},
        {"destination": "/proc", "type": "proc", "source": "proc", "options": _QUIET},
        {**_DEV, "options": ["nosuid", "noexec", "mode=755", "size=65536k"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": [*_QUIET, "mode=1777", "size=65536k"],
        },
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": _QUIET},
    ]
    if own_sysfs:
        mounts.append({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*_QUIET, "ro"]})
    return mounts


def _linux(material: Material, identity: Identity | None, network: str) -> dict[str, Any]:
    kinds = ["mount", "pid", "uts", "ipc", "cgroup"]
    kinds += ["network"] if network != "host" else []
    kinds += ["user"] if identity is not None else []
    assert material.security.seccomp is not None  # noqa: S101  the default has one
    linux: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in kinds],
        "maskedPaths": list(material.security.masked),
        "readonlyPaths": list(material.security.read_only),
        "seccomp": _seccomp(material.security.seccomp, material.security.capabilities),
    }
    if identity is not None:
        extent = {"containerID": 0, "hostID": identity.base, "size": identity.count}
        linux |= {"uidMappings": [extent], "gidMappings": [extent]}
    return linux


def _seccomp(profile: Profile, granted: frozenset[str]) -> dict[str, Any]:
    """The allowing rules of a profile: what a runtime's own library makes of them is its own affair."""
    arch = os.uname().machine
    rules = []
    for rule in profile.rules:
        if rule.action == ALLOW and rule.applies(granted, arch):
            entry: dict[str, Any] = {"names": list(rule.names), "action": "SCMP_ACT_ALLOW"}
            if rule.conditions:
                entry["args"] = [_argument(each) for each in rule.conditions]
            rules.append(entry)
    return {"defaultAction": "SCMP_ACT_ERRNO", "architectures": [_MACHINES[arch]], "syscalls": rules}


def _argument(condition: Any) -> dict[str, Any]:
    if condition.op == "MASKED_EQ":
        return {
            "index": condition.index,
            "op": "SCMP_CMP_MASKED_EQ",
            "value": condition.mask,
            "valueTwo": condition.value,
        }
    return {"index": condition.index, "op": f"SCMP_CMP_{condition.op}", "value": condition.value}
