"""What a container is to be, as a frozen and checked value.

Every argument of the public calls that describes a container ends up here, checked before anything
happens: a wrong one raises :class:`InvalidArgument` with its name and value.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import attrs

from pycontainer.container.arguments import (
    account,
    directory,
    environment,
    flag,
    mapping,
    several,
    text,
    words,
)
from pycontainer.container.bounds import Bounds, make_bounds
from pycontainer.container.mounts import Mount, check_mounts
from pycontainer.container.security import Security
from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig
from pycontainer.image.image import Image
from pycontainer.kernel.signals import signal_number
from pycontainer.size import parse_size

#: Docker's search path for images that set none.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NETWORKS = ("none", "host")
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
    bounds: Bounds
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
    workdir: str | os.PathLike[str] | None = None,
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
    best_effort: bool = False,
    **limits: Any,
) -> Spec:
    """Check and complete what a user asked for; pure but for looking whether bind sources exist.

    See :func:`pycontainer.run` for the arguments.
    """
    config = image.config
    if network not in NETWORKS:
        raise InvalidArgument("network", network, f"one of {', '.join(NETWORKS)} is needed")
    return Spec(
        image=image,
        argv=_argv(config, command, entrypoint),
        env=_env(config, env),
        workdir=directory(workdir if workdir is not None else config.workdir or "/"),
        user=account(user) if user is not None else config.user or "",
        hostname=_hostname(hostname),
        mounts=check_mounts(mounts, tmpfs, host_network=network == "host"),
        read_only=flag("read_only", read_only),
        tty=flag("tty", tty),
        init=flag("init", init),
        network=network,
        security=_security(security, privileged, cap_add, cap_drop, userns),
        ulimits=_ulimits(ulimits),
        bounds=make_bounds(limits, best_effort=flag("best_effort", best_effort)),
        size=None if size is None else parse_size("size", size),
        shm_size=parse_size("shm_size", shm_size),
        stop_signal=_stop_signal(stop_signal, config),
        labels=_labels(config, labels),
        extra_fds=_extra_fds(extra_fds),
        umask=_umask(umask),
    )


#: Specifications made before, by what they were made from.
_made: dict[Any, Spec] = {}
_MADE_LIMIT = 64
_PLAIN = (str, int, float, bool, type(None), Security)


def spec_of(image: Image, command: Any, options: Mapping[str, Any]) -> Spec:
    """As :func:`make_spec`, which is asked once for equal arguments; mounts are looked at each time."""
    mounts: tuple[tuple[Mount, bool], ...] = ()
    on_host_network = options.get("network") == "host"
    if on_host_network or "mounts" in options or "tmpfs" in options:
        mounts = check_mounts(
            options.get("mounts", ()), options.get("tmpfs", ()), host_network=on_host_network
        )
        options = {**options, "mounts": tuple(mount for mount, _ in mounts), "tmpfs": ()}
    key = _key(image, command, options)
    try:
        found = None if key is None else _made.get((key, mounts))
    except TypeError:
        # Something in a list cannot be hashed; make_spec knows whether it is wrong.
        key = found = None
    if found is None:
        found = make_spec(image, command, **options)
        if key is not None and not found.extra_fds:
            if len(_made) >= _MADE_LIMIT:
                _made.clear()
            _made[key, mounts] = found
    return found


def _key(image: Image, command: Any, options: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What tells arguments apart, with their types: ``1`` equals ``True``, and only one of them is right."""
    parts: list[Any] = [image]
    for name, value in (("command", command), *options.items()):
        kind = type(value)
        if kind in _PLAIN:
            parts += name, kind, value
        elif kind is list or kind is tuple:
            parts += name, kind, tuple(value), tuple(map(type, value))
        elif kind is dict:
            parts += name, kind, tuple(value.items()), tuple(map(type, value.values()))
        else:
            return None
    return tuple(parts)


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


def _env(config: ImageConfig, env: Any) -> tuple[tuple[str, str], ...]:
    merged = {"PATH": DEFAULT_PATH, **environment("image env", config.env), **environment("env", env)}
    return tuple(merged.items())


def _hostname(name: Any) -> str | None:
    if name is not None and not _HOSTNAME.fullmatch(text("hostname", name)):
        raise InvalidArgument("hostname", name, "up to 64 letters, digits, '-' and '.' are needed")
    return cast("str | None", name)


def _security(
    chosen: Any, privileged: bool, cap_add: Iterable[str], cap_drop: Iterable[str], userns: str | None
) -> Security:
    if chosen is not None and not isinstance(chosen, Security):
        raise InvalidArgument(
            "security", chosen, "a Security is needed: Security.default() or Security.privileged(), changed"
        )
    if flag("privileged", privileged):
        if chosen is not None:
            raise InvalidArgument("privileged", privileged, "give either 'privileged' or 'security'")
        chosen = Security.privileged()
    chosen = chosen or Security.default()
    if cap_add or cap_drop or userns is not None:
        add = several("cap_add", cap_add, "names of capabilities")
        drop = several("cap_drop", cap_drop, "names of capabilities")
        chosen = chosen.evolve(cap_add=add, cap_drop=drop, userns=userns)
    return cast("Security", chosen)


def _ulimits(ulimits: Mapping[str, int | tuple[int, int]] | None) -> tuple[tuple[int, int, int], ...]:
    """Core dumps off unless asked for; the rest is inherited."""
    found = {ULIMITS["core"]: (0, 0)}
    for name, value in mapping("ulimits", ulimits, "{'nofile': 64}").items():
        if name not in ULIMITS:
            raise InvalidArgument("ulimits", name, f"one of {', '.join(sorted(ULIMITS))} is needed")
        pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
        if len(pair) != 2 or any(isinstance(each, bool) or not isinstance(each, int) for each in pair):
            raise InvalidArgument(
                "ulimits", {name: value}, "a number, or the two numbers (soft, hard), are needed"
            )
        soft, hard = ((1 << 64) - 1 if each == -1 else each for each in pair)
        if soft > hard or soft < 0 or hard >= 1 << 64:
            raise InvalidArgument("ulimits", {name: value}, "0 <= soft <= hard is needed; -1 is unlimited")
        found[ULIMITS[name]] = (soft, hard)
    return tuple((kind, soft, hard) for kind, (soft, hard) in found.items())


def _stop_signal(signal: Any, config: ImageConfig) -> int:
    if signal is None:
        return signal_number(config.stop_signal or "TERM")
    if isinstance(signal, bool) or not isinstance(signal, (int, str)):
        raise InvalidArgument(
            "stop_signal", signal, "a number or name of a signal is needed, such as 15 or 'TERM'"
        )
    try:
        return signal_number(signal)
    except InvalidArgument as error:
        raise InvalidArgument("stop_signal", signal, error.reason) from None


def _labels(config: ImageConfig, labels: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    given = mapping("labels", labels, "{'name': 'text'}")
    for name, value in given.items():
        text("labels", name)
        text(f"labels[{name!r}]", value)
    return tuple(sorted({**dict(config.labels), **given}.items()))


def _extra_fds(fds: Mapping[int, int] | Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Pairs of a host fd and the number that the program sees it as; a sequence keeps the numbers."""
    if isinstance(fds, Mapping):
        pairs = list(fds.items())
    else:
        pairs = [(fd, fd) for fd in several("extra_fds", fds, "descriptors")]
    for host, target in pairs:
        if any(isinstance(fd, bool) or not isinstance(fd, int) for fd in (host, target)):
            raise InvalidArgument("extra_fds", (host, target), "numbers of descriptors are needed")
        if target < 3 or target > 1 << 20 or host < 0:
            raise InvalidArgument("extra_fds", (host, target), "an open fd and a number from 3 are needed")
        try:
            os.fstat(host)
        except (OSError, OverflowError):
            raise InvalidArgument("extra_fds", host, "no such fd is open") from None
    targets = [target for _, target in pairs]
    for target in targets:
        if targets.count(target) > 1:
            raise InvalidArgument("extra_fds", target, "two descriptors have this number inside")
    return tuple(pairs)


def _umask(umask: Any) -> int:
    if isinstance(umask, bool) or not isinstance(umask, int) or not 0 <= umask <= 0o777:
        raise InvalidArgument("umask", umask, "a number from 0 to 0o777 is needed, such as 0o022")
    return umask
