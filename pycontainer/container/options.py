"""The optional arguments of the public calls: their types, for type checkers, and the refusal of unknown ones.

What they mean is said once, in :func:`pycontainer.run`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from pycontainer.container.arguments import Tty
    from pycontainer.container.detached.options import HealthCheck
    from pycontainer.container.mounts import Mount
    from pycontainer.container.security import Security
    from pycontainer.kernel.idmap import IdMap
    from pycontainer.network.bandwidth import Bandwidth


class ExchangeOptions(TypedDict, total=False):
    """What goes in and out of a command, and how long it may take."""

    input: Any
    stdin: Any
    stdout: Any
    stderr: Any
    timeout: float | None
    cpu_timeout: float | None
    text: bool | None
    encoding: str | None
    errors: str | None
    output_limit: int | str | None
    on_output: Callable[[str, Any], object] | None


class LimitOptions(TypedDict, total=False):
    """What a container may use at most."""

    memory: int | str | None
    memory_swap: int | str | None
    memory_high: int | str | None
    memory_low: int | str | None
    cpus: float | None
    cpu_weight: int | None
    cpuset_cpus: str | None
    cpuset_mems: str | None
    pids: int | str | None
    io_max: Mapping[str, Mapping[str, int | str | None]] | None
    io_weight: int | None
    hugetlb: Mapping[str, int | str] | None


class KindOptions(LimitOptions, total=False):
    """What a container is to be, but for the size of its root."""

    entrypoint: Sequence[str] | str | None
    env: Mapping[str, str] | Sequence[str] | None
    workdir: str | os.PathLike[str] | None
    user: str | int | None
    hostname: str | None
    mounts: Iterable[Mount | str]
    tmpfs: Iterable[str]
    read_only: bool | None
    tty: Tty
    init: bool
    network: Any
    aliases: Iterable[str]
    ip: str | None
    ip6: str | None
    ports: Any
    dns: Iterable[str]
    dns_search: Iterable[str]
    dns_options: Iterable[str]
    extra_hosts: Mapping[str, str] | None
    bandwidth: Bandwidth | None
    security: Security | None
    privileged: bool
    cap_add: Iterable[str]
    cap_drop: Iterable[str]
    userns: str | IdMap | None
    ulimits: Mapping[str, int | tuple[int, int]] | None
    best_effort: bool
    shm_size: int | str
    stop_signal: int | str | None
    labels: Mapping[str, str] | None
    extra_fds: Mapping[int, int] | Sequence[int]
    umask: int
    group_add: Iterable[str | int]
    devices: Iterable[str]
    sysctls: Mapping[str, str | int] | None
    oom_score_adj: int | None


class ContainerOptions(KindOptions, total=False):
    """What a container is to be."""

    size: int | str | None


class PrepareOptions(ContainerOptions, ExchangeOptions, total=False):
    """A run that is not yet started."""

    changes: bool


class RunOptions(PrepareOptions, total=False):
    """The arguments of ``run``."""

    check: bool


class CallOptions(ExchangeOptions, total=False):
    """The arguments of a command in a container that is set up before: ``Pool.run``."""

    env: Mapping[str, str] | Sequence[str] | None
    workdir: str | os.PathLike[str] | None
    user: str | int | None
    changes: bool


class PooledOptions(CallOptions, total=False):
    """The arguments of ``Pool.run``."""

    check: bool


class ReadyOptions(KindOptions, total=False):
    """The arguments of ``Pool`` and ``Executor`` that describe their containers."""

    root_size: int | str | None


class DetachedOptions(ContainerOptions, total=False):
    """What a container that outlives its creator is to be."""

    name: str | None
    restart: str
    healthcheck: HealthCheck | Sequence[str] | str | bool | None
    auto_remove: bool
    stdin_open: bool
    log_size: int | str
    log_files: int


class CreateOptions(DetachedOptions, total=False):
    """The arguments of ``Container.create``."""

    detach: bool


#: Names of a command's exchange; all others describe its container.
EXCHANGE = frozenset(ExchangeOptions.__annotations__)
CONTAINER = frozenset(ContainerOptions.__annotations__)
#: The arguments of each call that has optional ones, as its user calls it.
KNOWN: dict[str, frozenset[str]] = {
    "run": EXCHANGE | CONTAINER | {"check", "changes", "detach"},
    "create": CONTAINER | {"engine"} | frozenset(CreateOptions.__annotations__),
    "Pool": frozenset(ReadyOptions.__annotations__) - {"tty", "extra_fds"} | {"size", "engine"},
    "Executor": frozenset(ReadyOptions.__annotations__) - {"tty", "extra_fds", "init", "entrypoint"},
    "Pool.run": frozenset(PooledOptions.__annotations__),
    "exec": EXCHANGE | {"env", "workdir", "user", "tty", "check"},
    "popen": frozenset(
        {
            "stdin",
            "stdout",
            "stderr",
            "env",
            "workdir",
            "user",
            "tty",
            "text",
            "encoding",
            "errors",
            "bufsize",
        }
    ),
}
#: Names of other libraries and of Docker's options, and ours.
_ALIASES = {
    "args": "command", "binds": "mounts", "blkio_weight": "io_weight", "cap": "cap_add", "cmd": "command", "cpu": "cpus",
    "cpu_limit": "cpus", "cpu_shares": "cpu_weight", "cpuset": "cpuset_cpus", "cwd": "workdir", "environ": "env",
    "device": "devices", "environment": "env", "group": "user", "groups": "group_add", "host": "hostname", "label": "labels", "io": "io_max", "max_output": "output_limit",
    "mem": "memory", "mem_limit": "memory", "mem_reservation": "memory_low", "memory_limit": "memory",
    "memory_reservation": "memory_low", "memswap_limit": "memory_swap",
    "add_host": "extra_hosts", "add_hosts": "extra_hosts", "dns_opt": "dns_options", "ipv4_address": "ip", "ipv6_address": "ip6",
    "interactive": "stdin_open", "net": "network", "network_mode": "network", "networks": "network", "network_aliases": "aliases", "publish": "ports", "pass_fds": "extra_fds", "pids_limit": "pids", "readonly": "read_only", "restart_policy": "restart",
    "security_opt": "security", "shm": "shm_size", "signal": "stop_signal", "storage_opt": "size",
    "stop_timeout": "timeout", "sysctl": "sysctls", "uid": "user", "ulimit": "ulimits", "universal_newlines": "text",
    "userns_mode": "userns", "volume": "mounts", "volumes": "mounts", "working_dir": "workdir",
}  # fmt: skip
_NOT_YET = frozenset("gpus log_driver platform pull timens".split())
_WHY = {
    "capture_output": "both outputs are captured unless told otherwise",
    "remove": "what run makes is removed at its end",
    "rm": "what run makes is removed at its end",
    "shell": "there is no shell unless the command names one: ['sh', '-c', '...']",
}


def refuse_unknown(call: str, names: Collection[str]) -> None:
    """Raise :class:`TypeError` in the name of ``call`` for the first of ``names`` that it does not know."""
    known = KNOWN[call]
    for name in names:
        if name not in known:
            raise TypeError(f"{call}() got an unexpected keyword argument {name!r}{_advice(call, name)}")


def _advice(call: str, name: str) -> str:
    """What the caller may have meant."""
    known = KNOWN[call] | {"command"}
    others = [f"{other}()" for other, names in KNOWN.items() if name in names]
    if others:
        return f": it belongs to {' and '.join(others)}"
    if name in _NOT_YET:
        return ": not there yet"
    if name in _WHY:
        return f": {_WHY[name]}"
    from difflib import get_close_matches

    meant = [_ALIASES[name]] if _ALIASES.get(name) in known else get_close_matches(name, known, n=1)
    return f": did you mean {meant[0]!r}?" if meant else ""
