"""Owners, modes, times and extended attributes of what is unpacked, as the archive tells them.

Kept are ``user.*`` and, with the owners, ``security.capability``.  Labels of security modules and ACLs of
another host mean nothing here and are left out; what would steer overlayfs is refused.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from pycontainer.errors import UnsafeArchive
from pycontainer.image.tarstream import Entry

#: Attributes by which an archive would tell overlayfs what to show (overlayfs.rst).
_OVERLAY = (b"trusted.overlay.", b"user.overlay.")
_CAPABILITY = b"security.capability"
_REVISION_2 = 2


def check_attributes(entry: Entry) -> None:
    """Raise :class:`UnsafeArchive` for attributes that no honest archive has."""
    for key, _ in entry.xattrs:
        if key.startswith(_OVERLAY):
            raise UnsafeArchive(f"{shown(entry.name)} has the attribute {shown(key)}, which steers overlayfs")


def give(entry: Entry, file: int, *, owners: bool) -> None:
    """Give an open file what the archive tells of it, in an order in which nothing gets lost."""
    if owners:
        os.fchown(file, entry.uid, entry.gid)  # takes the set-user-id bits and the capabilities away
    give_xattrs(entry, file, owners=owners)
    os.fchmod(file, entry.mode)  # after the attributes, which want write permission
    os.utime(file, ns=(entry.mtime, entry.mtime))


def give_xattrs(entry: Entry, file: int, *, owners: bool) -> None:
    """Give an open file or directory its extended attributes."""
    for key, value in entry.xattrs:
        if key.startswith(b"user.") or (key == _CAPABILITY and owners):
            os.setxattr(file, key, value)


def give_named(entry: Entry, file: int, *, owners: bool) -> None:
    """As :func:`give`, for a fifo: ``file`` is open as a path only."""
    path = f"/proc/self/fd/{file}"
    if owners:
        os.chown(path, entry.uid, entry.gid)
    os.chmod(path, entry.mode)
    os.utime(path, ns=(entry.mtime, entry.mtime))


def kept(
    file: int, is_root: Callable[[int], bool]
) -> tuple[tuple[tuple[bytes, bytes], ...], tuple[bytes, ...]]:
    """Return the attributes of an open file that a layer keeps, and the names of those that it has no form for.

    ``is_root`` tells whether a user is the layer's root.
    """
    try:
        names = sorted(os.fsencode(name) for name in os.listxattr(file))
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return (), ()
        raise
    names = [name for name in names if name.startswith(b"user.") or name == _CAPABILITY]
    names = [name for name in names if not name.startswith(_OVERLAY)]
    # "=" ends the name in an extended header.
    found = [(name, os.getxattr(file, name)) for name in names if b"=" not in name]
    return (
        tuple((name, _unrooted(value, is_root) if name == _CAPABILITY else value) for name, value in found),
        tuple(name for name in names if b"=" in name),
    )


def _unrooted(capability: bytes, is_root: Callable[[int], bool]) -> bytes:
    """File capabilities without the root user that revision 3 adds, where that is the layer's own.

    Struct vfs_ns_cap_data of linux/capability.h: a word with revision and flags, two pairs of words, the user.
    """
    if len(capability) != 24 or not is_root(int.from_bytes(capability[20:], "little")):
        return capability
    return bytes([*capability[:3], _REVISION_2]) + capability[4:20]


def shown(name: bytes) -> str:
    """Return a name for people: cut, and without control characters."""
    return ascii(os.fsdecode(name[:200]))
