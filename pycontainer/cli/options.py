"""The options that describe a container, and the arguments of the library that they are.

Most are a row of a table; those whose notation is Docker's alone are read in :mod:`~pycontainer.cli.notation`.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any, NamedTuple

from pycontainer.cli import notation
from pycontainer.cli.parser import Parser
from pycontainer.errors import InvalidArgument


class Option(NamedTuple):
    """An option: its names, how its value is shown, what help says, the library's argument, and what it makes of it."""

    names: str
    kind: str
    help: str
    argument: str = ""
    read: Callable[[Any], Any] = lambda value: value


OPTIONS = (
    Option("--blkio-weight", "uint16", "Weight of disk I/O, from 10 to 1000", "io_weight", notation.io_weight),
    Option("--cap-add", "list", "Add Linux capabilities", "cap_add"),
    Option("--cap-drop", "list", "Drop Linux capabilities", "cap_drop"),
    Option("--cpu-shares -c", "int", "CPU shares (relative weight)", "cpu_weight", notation.cpu_weight),
    Option("--cpus", "decimal", "Number of CPUs", "cpus", notation.processors_of),
    Option("--cpu-period", "int", "Period of the CPU scheduler, in microseconds"),
    Option("--cpu-quota", "int", "CPU time within a period, in microseconds"),
    Option("--cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)", "cpuset_cpus"),
    Option("--cpuset-mems", "string", "Memory nodes in which to allow execution (0-3, 0,1)", "cpuset_mems"),
    Option("--device", "list", "Add a host device to the container", "devices"),
    Option("--device-read-bps", "list", "Limit read rate from a device (path:bytes per second)"),
    Option("--device-read-iops", "list", "Limit read rate from a device (path:operations per second)"),
    Option("--device-write-bps", "list", "Limit write rate to a device (path:bytes per second)"),
    Option("--device-write-iops", "list", "Limit write rate to a device (path:operations per second)"),
    Option("--entrypoint", "string", "Overwrite the default ENTRYPOINT of the image", "entrypoint", notation.entrypoint),
    Option("--env -e", "list", "Set environment variables; one without a value has that of yours"),
    Option("--env-file", "list", "Read in a file of environment variables"),
    Option("--group-add", "list", "Add additional groups to join", "group_add"),
    Option("--hostname -h", "string", "Container host name", "hostname"),
    Option("--init", "flag", "Run an init inside the container that forwards signals and reaps processes", "init"),
    Option("--ipc", "string", "IPC mode to use: 'private'"),
    Option("--cgroupns", "string", "Cgroup namespace to use: 'private'"),
    Option("--pid", "string", "PID namespace to use: 'private'"),
    Option("--uts", "string", "UTS namespace to use: 'private'"),
    Option("--label -l", "list", "Set meta data on a container"),
    Option("--label-file", "list", "Read in a line delimited file of labels"),
    Option("--memory -m", "bytes", "Memory limit", "memory", notation.memory),
    Option("--memory-reservation", "bytes", "Memory that is taken from others first", "memory_low", notation.memory),
    Option("--memory-swap", "bytes", "Memory and swap together: '-1' for unlimited swap", "memory_swap", notation.memory),
    Option("--mount", "mount", "Attach a filesystem mount to the container"),
    Option("--name", "string", "Assign a name to the container", "name"),
    Option("--oom-score-adj", "int", "Preference of the kernel when memory is short (-1000 to 1000)", "oom_score_adj", notation.whole("oom-score-adj")),
    Option("--pids-limit", "int", "Limit of processes and threads, -1 for unlimited", "pids", notation.pids),
    Option("--privileged", "flag", "Give extended privileges, within the container's user namespace", "privileged"),
    Option("--read-only", "flag", "Mount the container's root filesystem as read only", "read_only"),
    Option("--security-opt", "list", "Security options: no-new-privileges, seccomp=FILE, ..."),
    Option("--shm-size", "bytes", "Size of /dev/shm", "shm_size"),
    Option("--stop-signal", "string", "Signal to stop the container", "stop_signal"),
    Option("--storage-opt", "list", "Storage options: size=10G bounds what the container writes", "size", notation.storage),
    Option("--sysctl", "list", "Sysctl options: name=value", "sysctls", notation.pairs("sysctl")),
    Option("--tmpfs", "list", "Mount a tmpfs directory: /path[:size=64m,mode=1777]", "tmpfs"),
    Option("--tty -t", "flag", "Allocate a pseudo-TTY", "tty"),
    Option("--ulimit", "list", "Ulimit options: name=soft[:hard]", "ulimits", notation.ulimits),
    Option("--user -u", "string", "Username or UID, with a group or GID (name[:group])", "user"),
    Option("--userns", "string", "User namespace to use: 'auto', 'keep-id' or 'host'", "userns", notation.userns),
    Option("--volume -v", "list", "Bind mount a directory (/host:/target[:ro]) or a volume (name:/target[:ro])"),
    Option("--workdir -w", "string", "Working directory inside the container", "workdir"),
)  # fmt: skip

#: Whose only value there is.
_PRIVATE = {
    "ipc": "each container has its own",
    "cgroupns": "a container never sees the host's",
    "pid": "each container has its own",
    "uts": "each container has its own",
}
_RATES = {
    "device_read_bps": "rbps",
    "device_read_iops": "riops",
    "device_write_bps": "wbps",
    "device_write_iops": "wiops",
}


def add(parser: Parser) -> None:
    """Have them among the options of a command."""
    for option in OPTIONS:
        names = option.names.split()
        if option.kind == "flag":
            parser.flag(*names, help=option.help)
        elif option.kind == "list" or option.names == "--mount":
            parser.each(*names, metavar=option.kind, help=option.help)
        else:
            parser.value(*names, metavar=option.kind, help=option.help)


def arguments(given: Namespace) -> dict[str, Any]:
    """The library's arguments. Raises :class:`InvalidArgument`, and ``OSError`` for a file that cannot be read."""
    found: dict[str, Any] = {}
    for option in OPTIONS:
        value = getattr(given, option.names.split()[0].removeprefix("--").replace("-", "_"))
        # As in Docker, an empty text says nothing, but for the entrypoint: scripts say --name "$NAME".
        is_said = value not in (None, [], False) and (value != "" or option.argument == "entrypoint")
        if option.argument and is_said:
            found[option.argument] = option.read(value)
    found = {name: value for name, value in found.items() if value is not None}
    for name, why in _PRIVATE.items():
        value = getattr(given, name)
        if value not in (None, "", "private"):
            raise InvalidArgument(name, value, f"'private' is all there is: {why}")
    found |= notation.environment(given.env, given.env_file)
    found |= notation.labels(given.label, given.label_file)
    found |= notation.processors(given.cpu_period, given.cpu_quota, found.get("cpus"))
    rates = notation.rates({key: getattr(given, name) for name, key in _RATES.items()})
    if rates:
        found["io_max"] = rates
    if given.volume or given.mount:
        from pycontainer.cli.mounts import mounts

        found["mounts"] = mounts(given.volume, given.mount)
    if given.security_opt:
        from pycontainer.cli.securityoptions import security

        found["security"] = security(given.security_opt, privileged=found.pop("privileged", False))
    return found
