"""Architectures and the numbers of their system calls.

Owns the reading of the generated table (numbers.py).  An architecture is named as by ``uname -m``; the
32-bit ones stand for the calls that 32-bit programs make on the 64-bit kernel.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from pycontainer.errors import InvalidArgument, NotSupported

#: How the kernel marks a call of the architecture (linux/audit.h, AUDIT_ARCH_*).
AUDIT = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
ARCHES = tuple(AUDIT)
#: The 32-bit calls that a 64-bit kernel answers too.
COMPAT = {"x86_64": "i386", "aarch64": "arm"}
#: The bit that marks calls of the x32 ABI, which have the audit mark of x86-64 (asm/unistd.h).
X32_BIT = 0x40000000


def native() -> str:
    """The architecture of this machine.

    Raises :class:`NotSupported` where no table of calls is shipped.
    """
    machine = os.uname().machine
    if machine not in COMPAT:
        fix = f"seccomp filters are made for {' and '.join(COMPAT)}: run without one (seccomp=None) here"
        raise NotSupported(f"there is no table of system calls for {machine}", fix)
    return machine


def check_arch(arch: str) -> str:
    """Return ``arch`` when it is known; raises :class:`InvalidArgument`."""
    if not isinstance(arch, str) or arch not in AUDIT:
        raise InvalidArgument("arch", arch, f"known are {', '.join(ARCHES)}")
    return arch


def numbers(arch: str) -> Mapping[str, int]:
    """Names and numbers of the calls of an architecture, by name; read-only.

    >>> numbers("x86_64")["execve"], numbers("aarch64")["execve"]
    (59, 221)
    """
    return _tables()[check_arch(arch)]


def check_name(name: str) -> str:
    """Return ``name`` when some architecture of Linux has such a call.

    A call that only another architecture has is no mistake: profiles are written for all.  Raises
    :class:`InvalidArgument`, with the names that are near.
    """
    if not isinstance(name, str) or name not in _known():
        from difflib import get_close_matches

        from pycontainer.kernel.seccomp.numbers import KERNEL

        near = get_close_matches(name, _known(), n=3) if isinstance(name, str) else []
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InvalidArgument("syscall", name, f"Linux {KERNEL[0]}.{KERNEL[1]} has no such call{hint}")
    return name


@cache
def _tables() -> dict[str, Mapping[str, int]]:
    from pycontainer.kernel.seccomp import numbers as data

    tables: dict[str, dict[str, int]] = {arch: {} for arch in data.ARCHES}
    for entry in data.TABLE.split():
        name, _, row = entry.partition(":")
        for arch, number in zip(data.ARCHES, row.split(","), strict=True):
            if number:
                tables[arch][name] = int(number)
    return {arch: MappingProxyType(table) for arch, table in tables.items()}


@cache
def _known() -> frozenset[str]:
    from pycontainer.kernel.seccomp.numbers import FOREIGN

    return frozenset(FOREIGN.split()).union(*_tables().values())
