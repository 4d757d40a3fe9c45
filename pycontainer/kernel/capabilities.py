"""Capabilities by name: sets of them, Docker's rules for them, and which ones this process can give away.

Names are the kernel's, with ``CAP_``; :func:`parse` takes what people write.  Setting capabilities is the
child's work (csrc/child.c), from the masks made here.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import attrs

from pycontainer.errors import InvalidArgument

#: In the order of their numbers (linux/capability.h, Linux 5.9; none was added until 7.2).
NAMES = tuple(
    f"CAP_{name}"
    for name in """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
    """.split()
)
_NUMBERS = {name: number for number, name in enumerate(NAMES)}

#: What Docker gives to a container.
DOCKER_DEFAULT = frozenset(
    f"CAP_{name}"
    for name in """
    CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
    AUDIT_WRITE
    """.split()
)
NONE: frozenset[str] = frozenset()


@attrs.frozen
class Granted:
    """What a program gets of the capabilities that were asked for, and what it does not."""

    names: frozenset[str]
    missing: frozenset[str]

    def __str__(self) -> str:
        text = ", ".join(sorted(self.names)) or "none"
        return f"{text} (not to be had here: {', '.join(sorted(self.missing))})" if self.missing else text


@cache
def last() -> int:
    """The number of the last capability that the running kernel knows (proc(5), cap_last_cap)."""
    with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
        return int(file.read())


@cache
def all_names() -> frozenset[str]:
    """Every capability that both this kernel and this module know."""
    return frozenset(NAMES[: last() + 1])


def parse(names: Iterable[str]) -> frozenset[str]:
    """Capabilities as people write them: in either case, with or without ``CAP_``; ``ALL`` is each one.

    >>> sorted(parse(["net_admin", "CAP_KILL"]))
    ['CAP_KILL', 'CAP_NET_ADMIN']

    Raises :class:`InvalidArgument`, which names the one that is not known, and those that are near.
    """
    if isinstance(names, str):
        raise InvalidArgument("capabilities", names, "a list of names is needed")
    parsed: set[str] = set()
    for name in names:
        parsed |= all_names() if _is_all(name) else {_canonical(name)}
    return frozenset(parsed)


def _is_all(name: str) -> bool:
    return isinstance(name, str) and name.upper() in {"ALL", "CAP_ALL"}


def _canonical(name: str) -> str:
    if not isinstance(name, str):
        raise InvalidArgument("capability", name, "a name is needed")
    if name in _NUMBERS:
        return name
    bare = name.upper().removeprefix("CAP_")
    if f"CAP_{bare}" in _NUMBERS:
        return f"CAP_{bare}"
    from difflib import get_close_matches

    near = get_close_matches(bare, [known.removeprefix("CAP_") for known in NAMES])
    hint = "; did you mean " + " or ".join(f"CAP_{known}" for known in near) + "?" if near else ""
    raise InvalidArgument("capability", name, f"no such capability{hint}")


def resolve(
    add: Iterable[str], drop: Iterable[str], default: frozenset[str] = DOCKER_DEFAULT
) -> frozenset[str]:
    """Apply ``cap_add`` and ``cap_drop`` to a default by Docker's rules.

    ``add`` with ``ALL``: every one but the dropped (``drop`` with ``ALL`` is then without effect).  ``drop``
    with ``ALL``: the added ones alone.  Else the default without the dropped, and with the added, also
    those that were dropped.  Raises :class:`InvalidArgument` as :func:`parse` does.

    >>> resolve(add=["NET_ADMIN"], drop=["all"])
    frozenset({'CAP_NET_ADMIN'})
    """
    add, drop = _checked("cap_add", add), _checked("cap_drop", drop)
    if any(map(_is_all, add)):
        return all_names() - parse(name for name in drop if not _is_all(name))
    if any(map(_is_all, drop)):
        return parse(add)
    return (default - parse(drop)) | parse(add)


def _checked(argument: str, names: Iterable[str]) -> list[str]:
    if isinstance(names, str):
        raise InvalidArgument(argument, names, "a list of names is needed")
    listed = list(names)
    parse(listed)
    return listed


def mask(names: Iterable[str]) -> int:
    """The set as the kernel takes it: bit n for the capability of number n."""
    return sum(1 << _NUMBERS[name] for name in parse(names))


def bounding() -> frozenset[str]:
    """The bounding set of the calling thread: what its programs can have at most (capabilities(7))."""
    import prctl

    # By number: python-prctl 1.8 has no name for CAP_CHECKPOINT_RESTORE. It refuses the numbers that the
    # headers of its build did not have, which are then read where the kernel prints all.
    if last() > prctl.CAP_LAST_CAP:
        return _printed("CapBnd")
    return frozenset(name for name in all_names() if prctl.capbset_read(_NUMBERS[name]))


def effective() -> frozenset[str]:
    """The capabilities that the calling thread can use now."""
    return _printed("CapEff")


def _printed(field: str) -> frozenset[str]:
    """A set of the calling thread as the kernel prints it (proc(5), status)."""
    with open("/proc/thread-self/status", encoding="ascii", errors="replace") as status:
        line = next(line for line in status if line.startswith(f"{field}:"))
    bits = int(line.split()[1], 16)
    return frozenset(name for name in all_names() if bits >> _NUMBERS[name] & 1)


def grant(wanted: Iterable[str], limit: frozenset[str] | None = None) -> Granted:
    """What of ``wanted`` a program can get under ``limit``, which is :func:`bounding` when it is ``None``.

    What is missing must be told to the user.  In a new user namespace nothing is: its first process has
    every capability there, whatever the bounding set of its maker (user_namespaces(7)); pass
    ``limit=all_names()``.
    """
    names = parse(wanted)
    limit = bounding() if limit is None else limit
    return Granted(names & limit, names - limit)
