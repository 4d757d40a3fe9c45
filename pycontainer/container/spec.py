"""What a container is to be, as a frozen and checked value.

Every argument of the public calls that describes a container ends up here, checked before anything
happens: a wrong one raises :class:`InvalidArgument` with its name and value.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import attrs

from pycontainer.container import attributes
from pycontainer.container.arguments import (
    Tty,
    account,
    directory,
    environment,
    flag,
    several,
    terminal,
    words,
)
from pycontainer.container.bounds import Bounds, make_bounds
from pycontainer.container.devices import Device, device_rules, parse_devices
from pycontainer.container.mounts import Mount, Tmpfs, VolumeMount, check_mounts
from pycontainer.container.security import Security
from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig
from pycontainer.image.image import Image
from pycontainer.kernel.idmap import IdMap
from pycontainer.network.wish import ARGUMENTS, HOST, NOTHING, Wish
from pycontainer.size import parse_size

#: Docker's search path for images that set none.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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
    tty: Tty
    init: bool
    network: Wish
    security: Security
    ulimits: tuple[tuple[int, int, int], ...]
    bounds: Bounds
    size: int | None
    shm_size: int
    stop_signal: int
    labels: tuple[tuple[str, str], ...]
    extra_fds: tuple[tuple[int, int], ...]
    umask: int
    groups: tuple[str, ...]
    devices: tuple[Device, ...]
    sysctls: tuple[tuple[str, str], ...]
    oom_score_adj: int | None


def make_spec(
    image: Image,
    command: Sequence[str] | str | None = None,
    *,
    entrypoint: Sequence[str] | str | None = None,
    env: Mapping[str, str] | Sequence[str] | None = None,
    workdir: str | os.PathLike[str] | None = None,
    user: str | int | None = None,
    mounts: Iterable[Mount | str] = (),
    tmpfs: Iterable[str] = (),
    read_only: bool | None = None,
    tty: Tty = False,
    init: bool = False,
    network: Any = "none",
    security: Security | None = None,
    privileged: bool = False,
    cap_add: Iterable[str] = (),
    cap_drop: Iterable[str] = (),
    userns: str | IdMap | None = None,
    size: int | str | None = None,
    shm_size: int | str = 64 << 20,
    devices: Iterable[str] = (),
    sysctls: Mapping[str, str | int] | None = None,
    best_effort: bool = False,
    **further: Any,
) -> Spec:
    """Check and complete what a user asked for; pure but for looking whether sources of the host exist.

    ``further`` are attributes of its processes and limits.  See :func:`pycontainer.run` for the arguments.
    """
    config = image.config
    told = {name: further.pop(name) for name in attributes.NAMES & further.keys()}
    wish = _wish(network, {name: further.pop(name) for name in ARGUMENTS & further.keys()})
    chosen = _security(security, privileged, cap_add, cap_drop, userns)
    if user is None and chosen.userns == "keep-id":
        user = f"{os.geteuid()}:{os.getegid()}"
    named_devices = parse_devices(several("devices", devices, "'/dev/fuse', or 'source:target:rw'"))
    return Spec(
        image=image,
        argv=_argv(config, command, entrypoint),
        env=_env(config, env),
        workdir=directory(workdir if workdir is not None else config.workdir or "/"),
        user=account(user) if user is not None else config.user or "",
        mounts=_with_own(check_mounts(mounts, tmpfs, host_network=wish.mode == "host"), chosen, config),
        read_only=chosen.read_only_root if read_only is None else flag("read_only", read_only),
        tty=terminal(tty),
        init=flag("init", init),
        network=wish,
        security=chosen,
        bounds=_bounds(further, chosen, named_devices, best_effort=flag("best_effort", best_effort)),
        size=None if size is None else parse_size("size", size),
        shm_size=parse_size("shm_size", shm_size),
        devices=named_devices,
        sysctls=attributes.kernel_settings(sysctls, own_network=wish.is_own),
        **attributes.parse_attributes(config, **told),
    )


@attrs.frozen
class Call:
    """What one command says of itself, in a container that is specified but for it; ``None`` is as specified."""

    argv: tuple[str, ...]
    env: dict[str, str] | None = None
    workdir: str | None = None
    user: str | None = None

    def of(self, spec: Spec) -> Spec:
        """The specification of a container for this command alone."""
        return attrs.evolve(
            spec,
            argv=self.argv,
            env=tuple({**dict(spec.env), **(self.env or {})}.items()),
            workdir=spec.workdir if self.workdir is None else self.workdir,
            user=spec.user if self.user is None else self.user,
        )


def call_of(
    spec: Spec,
    command: Any = None,
    *,
    entrypoint: Any = None,
    env: Any = None,
    workdir: Any = None,
    user: Any = None,
) -> Call:
    """Check a command for a container that is already specified; arguments as of :func:`make_spec`."""
    return Call(
        _argv(spec.image.config, command, entrypoint),
        None if env is None else environment("env", env),
        None if workdir is None else directory(workdir),
        None if user is None else account(user),
    )


#: Specifications made before, by what they were made from.
_made: dict[Any, Spec] = {}
_MADE_LIMIT = 64
_PLAIN = (str, int, float, bool, type(None), Security, IdMap)


def spec_of(image: Image, command: Any, options: Mapping[str, Any]) -> Spec:
    """As :func:`make_spec`, which is asked once for equal arguments; mounts are looked at each time."""
    mounts: tuple[tuple[Mount, bool], ...] = ()
    network = options.get("network")
    if hasattr(network, "definition"):  # a Network, by its name
        from pycontainer.network.parse import name_of

        options = {**options, "network": name_of(network)}
    on_host_network = network == "host"
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
    # Equal images of two stores are held each in its own.
    parts: list[Any] = [image, id(image.holder)]
    for name, value in (("command", command), *options.items()):
        kind = type(value)
        if kind in _PLAIN or (name in {"network", "bandwidth"} and hasattr(kind, "__attrs_attrs__")):
            parts += name, kind, value
        elif kind is list or kind is tuple:
            parts += name, kind, tuple(value), tuple(map(type, value))
        elif kind is dict:
            parts += name, kind, tuple(value.items()), tuple(map(type, value.values()))
        else:
            return None
    return tuple(parts)


def _wish(network: Any, told: Mapping[str, Any]) -> Wish:
    if not told and network in ("none", "host"):
        return HOST if network == "host" else NOTHING
    from pycontainer.network.parse import parse

    return parse(network, **told)


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


def _security(
    chosen: Any, privileged: bool, cap_add: Iterable[str], cap_drop: Iterable[str], userns: Any
) -> Security:
    if chosen is not None and not isinstance(chosen, Security):
        raise InvalidArgument(
            "security",
            chosen,
            "a Security is needed: Security.default(), .strict() or .privileged(), changed",
        )
    if flag("privileged", privileged):
        if chosen is not None:
            raise InvalidArgument("privileged", privileged, "give either 'privileged' or 'security'")
        chosen = Security.privileged()
    chosen = chosen or Security.default()
    if userns is not None:
        chosen = chosen.evolve(userns=userns)
    if cap_add or cap_drop:
        add = several("cap_add", cap_add, "names of capabilities")
        drop = several("cap_drop", cap_drop, "names of capabilities")
        chosen = chosen.evolve(cap_add=add, cap_drop=drop)
    return cast("Security", chosen)


def _bounds(
    limits: Mapping[str, Any], security: Security, devices: tuple[Device, ...], *, best_effort: bool
) -> Bounds:
    """The limits of the call, those of its security where it says nothing, and what may be done with devices."""
    given = dict(limits)
    for name in ("memory", "cpus", "pids"):
        if given.get(name) is None:
            given[name] = getattr(security, name)
    bounds = make_bounds(given, best_effort=best_effort)
    rules = device_rules(devices)
    return bounds if rules is None else bounds.with_devices(rules, optional=best_effort)


def _with_own(
    mounts: tuple[tuple[Mount, bool], ...], security: Security, config: ImageConfig
) -> tuple[tuple[Mount, bool], ...]:
    """The mounts with those that nobody asked for: a /tmp, and a volume for each directory that the image declares."""
    taken = {os.path.normpath(mount.target) for mount, _ in mounts}
    if security.tmp is not None and "/tmp" not in taken:
        mounts += ((Tmpfs("/tmp", size=security.tmp), True),)
        taken.add("/tmp")
    for path in config.volumes:
        target = os.path.normpath("/" + path.lstrip("/"))
        if target not in taken:
            mounts += ((VolumeMount(None, target, declared=True), True),)
            taken.add(target)
    return mounts
