"""What a container is to be, as a frozen and checked value.

Every argument of the public calls that describes a container ends up here, checked before anything
happens: a wrong one raises :class:`InvalidArgument` with its name and value.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from pycontainer.container.mounts import Bind, Mount, Tmpfs, parse_mount
from pycontainer.container.security import Security
from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig
from pycontainer.image.image import Image
from pycontainer.kernel.signals import signal_number
from pycontainer.size import parse_size

#: Docker's search path for images that set none.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NETWORKS = ("none", "host")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?")

#: ulimits by Docker's names.
ULIMITS = {
    name: getattr(resource, f"RLIMIT_{name.upper()}")
    for name in ("as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc",
                 "rss", "rtprio", "rttime", "sigpending", "stack")
    if hasattr(resource, f"RLIMIT_{name.upper()}")
}  # fmt: skip


@attrs.frozen(kw_only=True)
class Spec:
    """A container to be; made by :func:`make_spec`."""

    image: Image
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    workdir: str
    user: str
    hostname: str | None
    mounts: tuple[tuple[Mount, bool], ...]
    read_only: bool
    tty: bool
    init: bool
    network: str
    security: Security
    ulimits: tuple[tuple[int, int, int], ...]
    size: int | None
    shm_size: int
    stop_signal: int
    labels: tuple[tuple[str, str], ...]
    extra_fds: tuple[tuple[int, int], ...]
    umask: int


def make_spec(
    image: Image,
    command: Sequence[str] | str | None = None,
    *,
    entrypoint: Sequence[str] | str | None = None,
    env: Mapping[str, str] | Sequence[str] | None = None,
    workdir: str | None = None,
    user: str | int | None = None,
    hostname: str | None = None,
    mounts: Iterable[Mount | str] = (),
    tmpfs: Iterable[str] = (),
    read_only: bool = False,
    tty: bool = False,
    init: bool = False,
    network: str = "none",
    security: Security | None = None,
    privileged: bool = False,
    cap_add: Iterable[str] = (),
    cap_drop: Iterable[str] = (),
    userns: str | None = None,
    ulimits: Mapping[str, int | tuple[int, int]] | None = None,
    size: int | str | None = None,
    shm_size: int | str = 64 << 20,
    stop_signal: int | str | None = None,
    labels: Mapping[str, str] | None = None,
    extra_fds: Mapping[int, int] | Sequence[int] = (),
    umask: int = 0o022,
) -> Spec:
    """Check and complete what a user asked for; pure but for looking whether bind sources exist.

    See :func:`pycontainer.run` for the arguments.
    """
    config = image.config
    if privileged and security is not None:
        raise InvalidArgument("privileged", privileged, "give either 'privileged' or 'security'")
    chosen = Security.privileged() if privileged else security or Security.default()
    if cap_add or cap_drop or userns is not None:
        chosen = chosen.evolve(cap_add=cap_add, cap_drop=cap_drop, userns=userns)
    if network not in NETWORKS:
        raise InvalidArgument("network", network, f"one of {', '.join(NETWORKS)} is needed")
    if hostname is not None and not _HOSTNAME.fullmatch(hostname):
        raise InvalidArgument("hostname", hostname, "up to 64 letters, digits, '-' and '.' are needed")
    return Spec(
        image=image,
        argv=_argv(config, command, entrypoint),
        env=_env(config, env),
        workdir=directory(workdir if workdir is not None else config.workdir or "/"),
        user=_text("user", str(user)) if user is not None else config.user or "",
        hostname=hostname,
        mounts=_mounts(mounts, tmpfs),
        read_only=read_only,
        tty=tty,
        init=init,
        network=network,
        security=chosen,
        ulimits=_ulimits(ulimits or {}),
        size=None if size is None else parse_size("size", size),
        shm_size=parse_size("shm_size", shm_size),
        stop_signal=signal_number(stop_signal or config.stop_signal or "TERM"),
        labels=tuple(sorted({**dict(config.labels), **(labels or {})}.items())),
        extra_fds=_extra_fds(extra_fds),
        umask=umask,
    )


def _text(argument: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(argument, value, "text is needed")
    if "\0" in value:
        raise InvalidArgument(argument, value, "a NUL byte cannot be handed to the kernel")
    return value


def words(argument: str, value: Sequence[str] | str | os.PathLike[str]) -> tuple[str, ...]:
    """A command as a tuple; a single string is one word, as in ``subprocess`` without a shell."""
    if isinstance(value, (str, os.PathLike)):
        value = [os.fspath(value)]
    if isinstance(value, bytes):
        raise InvalidArgument(argument, value, "a list of words is needed")
    return tuple(
        _text(argument, os.fspath(word) if isinstance(word, os.PathLike) else word) for word in value
    )


def _argv(config: ImageConfig, command: Any, entrypoint: Any) -> tuple[str, ...]:
    """Docker's rules: the entrypoint, then the command; an own entrypoint discards the image's command."""
    first = words("entrypoint", entrypoint) if entrypoint is not None else config.entrypoint
    rest = (
        words("command", command) if command is not None else (() if entrypoint is not None else config.cmd)
    )
    argv = tuple(first) + tuple(rest)
    if not argv:
        raise InvalidArgument("command", command, "the image names no command: give one")
    if not argv[0]:
        raise InvalidArgument("command", list(argv), "the program's name is empty")
    return argv


def environment(argument: str, env: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    """Variables from a mapping or from ``["NAME=value"]``, checked."""
    if env is None:
        return {}
    if not isinstance(env, Mapping):
        pairs = [_text(argument, item).partition("=") for item in words(argument, env)]
        env = {name: value for name, _, value in pairs}
    for name, value in env.items():
        if not _text(argument, name) or "=" in name:
            raise InvalidArgument(argument, name, "a variable's name is not empty and has no '='")
        _text(f"{argument}[{name!r}]", value)
    return dict(env)


def _env(config: ImageConfig, env: Any) -> tuple[tuple[str, str], ...]:
    merged = {"PATH": DEFAULT_PATH, **environment("image env", config.env), **environment("env", env)}
    return tuple(merged.items())


def directory(path: str) -> str:
    """A working directory, checked."""
    if not _text("workdir", path).startswith("/"):
        raise InvalidArgument("workdir", path, "an absolute path is needed")
    return os.path.normpath(path).replace("//", "/")


def _mounts(mounts: Iterable[Mount | str], tmpfs: Iterable[str]) -> tuple[tuple[Mount, bool], ...]:
    found: list[tuple[Mount, bool]] = []
    if isinstance(mounts, (str, Bind, Tmpfs)):
        raise InvalidArgument("mounts", mounts, "a list is needed")
    every: list[Mount] = [parse_mount(each) if isinstance(each, str) else each for each in mounts]
    every += [_parse_tmpfs(each) for each in tmpfs]
    for mount in every:
        if isinstance(mount, Tmpfs):
            found.append((mount, True))
        elif not isinstance(mount, Bind):
            raise InvalidArgument("mounts", mount, "a Bind, a Tmpfs or 'source:target[:ro]' is needed")
        elif not os.path.exists(mount.source):
            raise InvalidArgument("mounts", mount.source, "the source does not exist")
        else:
            found.append((mount, os.path.isdir(mount.source)))
    targets = [os.path.normpath(mount.target) for mount, _ in found]
    for target in targets:
        if targets.count(target) > 1:
            raise InvalidArgument("mounts", target, "two mounts have this target")
    return tuple(found)


def _parse_tmpfs(text: str) -> Tmpfs:
    """``docker run --tmpfs``: ``/path[:size=64m,mode=1777]``."""
    target, _, options = _text("tmpfs", text).partition(":")
    known: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        name, _, value = option.partition("=")
        if name == "size":
            known["size"] = value
        elif name == "mode" and value.isdigit():
            known["mode"] = int(value, 8)
        else:
            raise InvalidArgument("tmpfs", text, f"unknown option {option!r}: size= or mode= is needed")
    return Tmpfs(target, **known)


def _ulimits(ulimits: Mapping[str, int | tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Core dumps off unless asked for; the rest is inherited."""
    found = {ULIMITS["core"]: (0, 0)}
    for name, value in ulimits.items():
        if name not in ULIMITS:
            raise InvalidArgument("ulimits", name, f"one of {', '.join(sorted(ULIMITS))} is needed")
        soft, hard = (value, value) if isinstance(value, int) else value
        unlimited = (1 << 64) - 1
        pair = tuple(unlimited if each == -1 else each for each in (soft, hard))
        if pair[0] > pair[1] or min(pair) < 0:
            raise InvalidArgument("ulimits", {name: value}, "0 <= soft <= hard is needed; -1 is unlimited")
        found[ULIMITS[name]] = (pair[0], pair[1])
    return tuple((kind, soft, hard) for kind, (soft, hard) in found.items())


def _extra_fds(fds: Mapping[int, int] | Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Pairs of a host fd and the number that the program sees it as; a sequence keeps the numbers."""
    pairs = fds.items() if isinstance(fds, Mapping) else [(fd, fd) for fd in fds]
    for host, target in pairs:
        if target < 3 or target > 1 << 20 or host < 0:
            raise InvalidArgument("extra_fds", {host: target}, "an open fd and a number from 3 are needed")
        try:
            os.fstat(host)
        except OSError:
            raise InvalidArgument("extra_fds", host, "no such fd is open") from None
    return tuple(pairs)
