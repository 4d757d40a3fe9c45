"""Landlock: what a process and its children may do with files, whatever the mounts say (landlock(7)).

Rights are added to the kernel's interface version by version; one that it does not know cannot be handled.
"""

from __future__ import annotations

from functools import cache

from pycontainer.kernel.native import lib

#: What only reads: execute, read a file, list a directory.
READ = lib.LANDLOCK_ACCESS_FS_EXECUTE | lib.LANDLOCK_ACCESS_FS_READ_DIR | lib.LANDLOCK_ACCESS_FS_READ_FILE
#: The rights that a file has; all others are of directories (include/uapi/linux/landlock.h).
_OF_FILES = 0x1 | 0x2 | 0x4 | 1 << 14 | 1 << 15
#: Version -> how many of the rights it knows: 13 at first, then to link between directories (2), to truncate (3),
#: ioctl of devices (5).
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
#: Since version 6: abstract sockets of others are out of reach.
_ABSTRACT_SOCKETS = 1


@cache
def version() -> int:
    """The version of the interface, or 0 where the kernel has none or it is off."""
    return max(int(lib.pc_landlock_abi()), 0)


def all_rights() -> int:
    """All rights to files that this kernel can handle; 0 without Landlock."""
    known = version()
    return (1 << _RIGHTS.get(known, _RIGHTS[5])) - 1 if known else 0


def rights(*, directory: bool, write: bool) -> int:
    """The rights to what is beneath a directory, or to a file."""
    found = all_rights() if write else all_rights() & READ
    return found if directory else found & _OF_FILES


def scope() -> int:
    """What is cut off from processes outside: abstract sockets, where the kernel can."""
    return _ABSTRACT_SOCKETS if version() >= 6 else 0
