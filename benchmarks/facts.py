"""What the numbers depend on: the machine, the kernel, the versions of all that was measured."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from typing import Any

_TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_VERSIONS = {
    "bwrap": ["bwrap", "--version"],
    "crun": ["crun", "--version"],
    "docker": ["docker", "--version"],
    "docker-registry": ["docker-registry", "--version"],
    "dockerd": ["dockerd", "--version"],
    "igzip": ["igzip", "--version"],
    "podman": ["podman", "--version"],
    "runc": ["runc", "--version"],
    "skopeo": ["skopeo", "--version"],
    "tar": ["tar", "--version"],
    "umoci": ["umoci", "--version"],
    "unshare": ["unshare", "--version"],
    "zstd": ["zstd", "--version"],
}


def host_facts() -> dict[str, Any]:
    """Facts for the JSON file; nothing that names the machine."""
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30), 1),
        "cgroups": _cgroups(),
        "python": platform.python_version(),
        "compiler": _first_line([os.environ.get("CC", "cc"), "--version"]),
        "peers": {
            name: _first_line(command) for name, command in _VERSIONS.items() if shutil.which(command[0])
        },
    }


def revision() -> str | None:
    """The git revision that is measured, with "+" when files differ from it; ``None`` without one."""
    head = _run(["git", "-C", _TOP, "rev-parse", "--short=12", "HEAD"])
    if head is None:
        return None
    return head + ("+" if _run(["git", "-C", _TOP, "status", "--porcelain", "--untracked-files=no"]) else "")


def _cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else "unknown"


def _cgroups() -> str:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return "v2"
    return "hybrid" if os.path.ismount("/sys/fs/cgroup/unified") else "v1"


def _first_line(command: list[str]) -> str:
    return (_run(command) or "unknown").splitlines()[0]


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
