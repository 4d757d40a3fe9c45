"""Users and groups as an image's own /etc/passwd and /etc/group name them.

These files are the image's, and hostile: they are reached inside its root, must be regular files of at
most a megabyte, and are read line by line with bounds on every number (CVE-2024-9676, CVE-2024-40635).
"""

from __future__ import annotations

import errno
import os

import attrs

from pycontainer.errors import InvalidArgument, KernelError
from pycontainer.kernel.rooted import Rooted

#: The largest id; the one above means "no change" to the kernel (setresuid(2)).
_LARGEST = (1 << 32) - 2
_FILE_LIMIT = 1 << 20


@attrs.frozen
class Identity:
    """Who a program runs as: numbers of the container, and what the accounts say of them."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    name: str


@attrs.frozen
class _User:
    name: str
    uid: int
    gid: int
    home: str


def identify(user: str, layers: tuple[str, ...]) -> Identity:
    """Who ``user`` is in an image made of these directories, bottom first; see :func:`identify_in`."""

    def read(path: str) -> str:
        for layer in reversed(layers):
            fd = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                text = _read(Rooted(fd, where="in the image"), path)
            finally:
                os.close(fd)
            if text:
                return text
        return ""

    return _identify(user, read)


def identify_in(user: str, root: Rooted) -> Identity:
    """Who ``user`` is below ``root``: "user", "uid", "user:group", "uid:gid" and their mixtures; "" is root.

    As Docker does: a number need not have an account; its group is then 0 and its home "/".  Raises
    :class:`InvalidArgument` for a name that the accounts do not have.
    """
    return _identify(user, lambda path: _read(root, path))


def _read(root: Rooted, path: str) -> str:
    try:
        return root.read_bytes(path, limit=_FILE_LIMIT).decode("utf-8", "surrogateescape")
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return ""
        raise


def _identify(user: str, read: object) -> Identity:
    assert callable(read)  # noqa: S101
    name, colon, group = user.partition(":")
    if colon and not group:
        raise InvalidArgument("user", user, "the group after ':' is empty")
    passwd = _users(read("/etc/passwd"))
    number = _number(name)
    if name == "":
        found = next((each for each in passwd if each.uid == 0), None)
        number = 0
    elif number is not None:
        found = next((each for each in passwd if each.uid == number), None)
    else:
        found = next((each for each in passwd if each.name == name), None)
        if found is None:
            raise InvalidArgument("user", user, f"/etc/passwd of the container has no user {name!r}")
    uid = found.uid if found is not None else number or 0
    gid = found.gid if found is not None else 0
    home = found.home if found is not None and found.home else "/"
    account = found.name if found is not None else name
    groups = _groups(read("/etc/group"))
    if group:
        chosen = _number(group)
        if chosen is None:
            chosen = next((number for known, number, _ in groups if known == group), None)
        if chosen is None:
            raise InvalidArgument("user", user, f"/etc/group of the container has no group {group!r}")
        return Identity(uid, chosen, (), home, account)
    members = tuple(sorted({number for _, number, users in groups if account in users and number != gid}))
    return Identity(uid, gid, members, home, account)


def _number(text: str) -> int | None:
    """An id in plain decimal digits, or ``None`` for a name. Raises :class:`InvalidArgument` out of range."""
    if not text.isascii() or not text.isdigit():
        return None
    if len(text) > 10 or int(text) > _LARGEST:
        raise InvalidArgument("user", text, f"an id is at most {_LARGEST}")
    return int(text)


def _id(text: str) -> int | None:
    """An id in an account file; lines with a bad one are passed over."""
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _LARGEST:
        return int(text)
    return None


def _users(text: str) -> list[_User]:
    """The lines of passwd(5)."""
    found = []
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) >= 6 and fields[0]:
            uid, gid = _id(fields[2]), _id(fields[3])
            if uid is not None and gid is not None:
                found.append(_User(fields[0], uid, gid, fields[5]))
    return found


def _groups(text: str) -> list[tuple[str, int, frozenset[str]]]:
    """The lines of group(5)."""
    found = []
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) >= 4 and fields[0]:
            gid = _id(fields[2])
            if gid is not None:
                found.append((fields[0], gid, frozenset(filter(None, fields[3].strip().split(",")))))
    return found
