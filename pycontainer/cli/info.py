"""``info``."""

from __future__ import annotations

import os
import platform
from typing import Any

import pycontainer
from pycontainer.cli.command import Call, Command
from pycontainer.cli.gofunctions import as_json
from pycontainer.cli.listing import write
from pycontainer.cli.parser import Parser
from pycontainer.cli.text import binary_size


def _options(parser: Parser) -> None:
    parser.value("--format", "-f", help="'json', or a Go template, such as '{{.DockerRootDir}}'")


def _run(call: Call) -> None:
    told = _told(call)
    form = call.given.format
    if form == "json":
        write(as_json(told))
    elif form is not None:
        from pycontainer.cli.gotemplate import Template

        write(Template(form).render(told))
    else:
        write("\n".join(_lines(told)))


def _told(call: Call) -> dict[str, Any]:
    """By Docker's names, where it has one. An engine that nobody has used yet is not made for this."""
    there = os.path.isdir(call.root)
    host = os.uname()
    images = call.images.list() if there else []
    states = [each.status for each in call.engine.containers.list(all=True)] if there else []
    return {
        "Containers": len(states),
        "ContainersRunning": states.count("running"),
        "ContainersPaused": states.count("paused"),
        "ContainersStopped": len([each for each in states if each not in {"running", "paused"}]),
        "Images": len({image.digest for image in images}),
        "Networks": len(call.networks.list()) if there else 0,
        "Volumes": len(call.volumes.list()) if there else 0,
        "DockerRootDir": call.root,
        "Driver": "overlay",
        "CgroupVersion": _cgroup_version(),
        "Rootless": os.geteuid() != 0,
        "SecurityOptions": ["seccomp", "userns", "no-new-privileges"],
        "KernelVersion": host.release,
        "OperatingSystem": _distribution(),
        "OSType": "linux",
        "Architecture": host.machine,
        "NCPU": os.cpu_count() or 0,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "Name": host.nodename,
        "ServerVersion": pycontainer.__version__,
        "PythonVersion": platform.python_version(),
    }


def _lines(told: dict[str, Any]) -> list[str]:
    names = {
        "Containers": told["Containers"],
        " Running": told["ContainersRunning"],
        " Paused": told["ContainersPaused"],
        " Stopped": told["ContainersStopped"],
        "Images": told["Images"],
        "Networks": told["Networks"],
        "Volumes": told["Volumes"],
        "Version": told["ServerVersion"],
        "Root Dir": told["DockerRootDir"],
        "Storage Driver": told["Driver"],
        "Cgroup Version": told["CgroupVersion"],
        "Rootless": str(told["Rootless"]).lower(),
        "Security": ", ".join(told["SecurityOptions"]),
        "Kernel Version": told["KernelVersion"],
        "Operating System": told["OperatingSystem"],
        "Architecture": told["Architecture"],
        "CPUs": told["NCPU"],
        "Total Memory": binary_size(told["MemTotal"]),
        "Name": told["Name"],
        "Python": told["PythonVersion"],
    }
    return [f"{name}: {value}" for name, value in names.items()]


def _cgroup_version() -> str:
    """That of the hierarchy on which limits are held; none where there is none."""
    try:
        with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii"):
            return "2"
    except OSError:
        return "1" if os.path.isdir("/sys/fs/cgroup/memory") else "none"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


INFO = Command("[OPTIONS]", _run, _options)
