"""How a program of a container is confined: the part of a start that a first program and an exec share."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from pycontainer.container.security import Security
from pycontainer.container.spec import Spec
from pycontainer.errors import InvalidArgument, NotSupported
from pycontainer.image.accounts import Identity
from pycontainer.kernel import capabilities, seccomp
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.program import program
from pycontainer.kernel.spawn import Capabilities


class FdTable:
    """The slots of a start: those of the plan first, then what :meth:`add` appends."""

    __slots__ = ("fds",)

    def __init__(self, reserved: int) -> None:
        self.fds = [-1] * reserved

    def add(self, fd: int) -> int:
        """A slot that holds ``fd``."""
        self.fds.append(fd)
        return len(self.fds) - 1


def confinement(spec: Spec, identity: Identity, map_: IdMap | None) -> dict[str, Any]:
    """The fields of a :class:`Spawn` that confine the program, whoever starts it."""
    check_mapped(identity, map_)
    security = spec.security
    single = map_ is not None and map_.is_single
    return {
        "ids": (identity.uid, identity.gid),
        # In a map of one id setgroups(2) is denied, and there is no other group to have.
        "groups": None if single else identity.groups,
        "capabilities": _sets(security, is_root=identity.uid == 0, in_userns=map_ is not None),
        "no_new_privs": security.no_new_privs,
        "seccomp": b""
        if security.seccomp is None
        else seccomp.compile(security.seccomp, security.capabilities),
        "rlimits": spec.ulimits,
        "umask": spec.umask,
        "keyring": security.keyring,
        "session": True,
    }


def check_mapped(identity: Identity, map_: IdMap | None) -> None:
    """Refuse a user or group that the user namespace does not have."""
    if map_ is None:
        return
    missing = [f"user {identity.uid}"] if map_.host_uid(identity.uid) is None else []
    missing += [f"group {gid}" for gid in (identity.gid, *identity.groups) if map_.host_gid(gid) is None]
    if (
        missing
        and map_.is_single
        and identity.uid == 0
        and missing == [f"group {g}" for g in identity.groups]
    ):
        return
    if missing:
        raise InvalidArgument(
            "user",
            identity.name or identity.uid,
            f"{', '.join(missing)} not mapped in the user namespace: "
            + (
                "get subordinate ids (/etc/subuid, /etc/subgid and the package uidmap), or run as root"
                if map_.is_single
                else f"it has the ids 0..{sum(extent.count for extent in map_.uids) - 1}"
            ),
        )


@lru_cache(maxsize=64)
def _sets(security: Security, *, is_root: bool, in_userns: bool) -> Capabilities:
    """The bounding set is what was asked for; a program that is not root has only the ambient ones, as in Docker.

    In a new user namespace the bounding set is full; elsewhere it is the caller's: ``ALL`` is all of that,
    a capability asked for by name that is not in it is refused.
    """
    names = security.capabilities
    granted = capabilities.grant(names, capabilities.all_names() if in_userns else None)
    if granted.missing and names != capabilities.all_names():
        raise NotSupported(
            f"{', '.join(sorted(granted.missing))} not in the bounding set of this process",
            "start it with these capabilities, or leave them out (cap_drop)",
        )
    mask = capabilities.mask(granted.names)
    ambient = capabilities.mask(security.ambient) & mask
    return Capabilities(
        bounding=mask,
        permitted=mask if is_root else ambient,
        # What is ambient must be inheritable (capabilities(7)).
        inheritable=capabilities.mask(security.inheritable) & mask | ambient,
        ambient=ambient,
        last=capabilities.last(),
    )


def candidates(name: str, env: dict[str, str]) -> tuple[bytes, ...]:
    """The paths at which execvp(3) would look for a program, in order."""
    if "/" in name:
        return (os.fsencode(name),)
    return tuple(os.fsencode(f"{folder or '.'}/{name}") for folder in env.get("PATH", "").split(":"))


def command(
    argv: tuple[str, ...], env: dict[str, str], table: FdTable, report: int, *, below_init: bool
) -> dict[str, Any]:
    """The fields that say what is executed: our static program first, which becomes it, or its init.

    Whoever executes a program is ``/proc/self/exe`` to it: never the host's interpreter (CVE-2019-5736).
    A failed execve is told through the program's fd ``report``.
    """
    found = candidates(argv[0], env)
    words: tuple[bytes, ...] = (b"init",) if below_init else (b"init", b"become")
    words += (b"%d" % report, b"%d" % len(found), *found, b"--", *map(os.fsencode, argv))
    return {
        "argv": words,
        "program": table.add(program("init", hidden=not below_init)),
        "env": tuple(os.fsencode(f"{name}={value}") for name, value in env.items()),
    }


def waiting(table: FdTable, channel: int, *, below_init: bool) -> dict[str, Any]:
    """The same fields where it is told later what is executed, through its fd ``channel`` (kernel.order)."""
    words = (b"init",) if below_init else (b"init", b"become")
    return {
        "argv": (*words, b"await", b"%d" % channel),
        "program": table.add(program("init", hidden=not below_init)),
    }


def full_environment(spec: Spec, identity: Identity, extra: dict[str, str] | None = None) -> dict[str, str]:
    """Docker's defaults, below what the image and the user set; HOSTNAME comes with the start."""
    env = {"HOME": identity.home}
    if spec.tty:
        env["TERM"] = "xterm"
    env.update(spec.env)
    env.update(extra or {})
    return env
