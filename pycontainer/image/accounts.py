"""Users and groups as an image's own /etc/passwd and /etc/group name them.

These files are the image's, and hostile: they are reached inside its root, must be regular files of at
most a megabyte, and are read line by line with bounds on every number (CVE-2024-9676, CVE-2024-40635).
No library of the image or the host is asked (CVE-2019-14271).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import attrs

from pycontainer.errors import ImageError, InvalidArgument, KernelError
from pycontainer.kernel import native
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.layers import Lowers, Marks
from pycontainer.kernel.rooted import Rooted, named

#: The largest id; the one above means "no change" to the kernel (setresuid(2)).
_LARGEST = (1 << 32) - 2
_FILE_LIMIT = 1 << 20
#: How many groups a process may have besides its own (``NGROUPS_MAX``, limits.h).
_GROUPS_LIMIT = 65536

#: How old a change must be, in nanoseconds, so that a later one has another time: file systems take the time of
#: the last clock tick, which is at most 10 ms apart (CONFIG_HZ=100).
_SETTLED = 20_000_000
_KNOWN_LIMIT = 64

#: Returns the content of a file of the image, empty if there is none.
_Read: TypeAlias = Callable[[str], str]
#: Returns the content of a file below a root, of so many bytes at most, or raises KernelError.
Reader: TypeAlias = Callable[[Rooted, str, int], bytes]


@attrs.frozen
class Identity:
    """Who a program runs as: numbers of the container, and what the accounts say of them."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    name: str


def identify(user: str, layers: Sequence[str], more: tuple[str, ...] = ()) -> Identity:
    """Return who ``user`` is in an image made of these directories, bottom first; see :func:`identify_in`.

    >>> identify("nobody", ["/"]).uid
    65534
    """
    if len(layers) == 1:
        with Fd(os.open(layers[0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
            return identify_in(user, Rooted(root.fileno(), where="in the image"), more)
    with named("read the accounts of the image"), Lowers(layers[::-1], Marks()) as merged:
        return _identify(user, lambda path: _read_merged(merged, path), more)


def _directly(root: Rooted, path: str, limit: int) -> bytes:
    return root.read_bytes(path, limit=limit)


def identify_in(user: str, root: Rooted, more: tuple[str, ...] = (), *, read: Reader = _directly) -> Identity:
    """Return who ``user`` is below ``root``, by Docker's rules; ``read`` is who reads there.

    ``user`` is "user", "uid", "user:group", "uid:gid" or a mixture; "" is uid 0.  A number need not have an
    account: its group is then 0, its home "/".  With a group there are no supplementary ones but ``more``.

    Raises :class:`InvalidArgument` for a name that the accounts do not have and a number above 2^32-2,
    :class:`ImageError` for an account with impossible numbers, :class:`KernelError` for files that are not
    regular or too large.
    """
    return _identify(user, lambda path: _read_below(root, path, read), more)


class Accounts:
    """The accounts of one container, read again when their files have changed. Thread-safe.

    >>> Accounts().identify("0", Rooted(root)).uid              # doctest: +SKIP
    0
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[object, tuple[object, Identity]] = {}

    def identify(
        self, user: str, root: Rooted, more: tuple[str, ...] = (), *, read: Reader = _directly
    ) -> Identity:
        """Return who ``user`` is below ``root``, which is the same at every call; see :func:`identify_in`."""
        # Taken before the files are read: whatever changes after it is seen the next time.
        now = time.time_ns()
        top = root.fileno()
        stamps = native.stamp(top, b"/etc/passwd"), native.stamp(top, b"/etc/group")
        known = self._known.get((user, more))
        if known is not None and known[0] == stamps:
            return known[1]
        identity = identify_in(user, root, more, read=read)
        if all(stamp is not None and stamp[-1] + _SETTLED < now for stamp in stamps):
            if len(self._known) >= _KNOWN_LIMIT:
                self._known.clear()
            self._known[user, more] = (stamps, identity)
        return identity


def _read_below(root: Rooted, path: str, read: Reader) -> str:
    try:
        return _text(read(root, path, _FILE_LIMIT))
    except KernelError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return ""
        raise


def _read_merged(merged: Lowers, path: str) -> str:
    entry = merged.find(path)
    if entry is None:
        return ""
    root = Rooted(entry.dir_fd, where="in the image")
    return _text(root.read_bytes(os.fsencode(entry.name), limit=_FILE_LIMIT))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _identify(user: str, read: _Read, more: tuple[str, ...]) -> Identity:
    found = _find(user, read)
    if not more:
        return found
    groups = {_group(read, "group_add", each, each) for each in more} | set(found.groups)
    return attrs.evolve(found, groups=tuple(sorted(groups - {found.gid})))


def _find(user: str, read: _Read) -> Identity:
    name, colon, group = user.partition(":")
    if colon and not group:
        raise InvalidArgument("user", user, "the group after ':' is empty")
    number = _number("user", name) if name else 0
    account = _account(read("/etc/passwd"), name, number)
    if account is not None:
        fields, uid, gid = account
        name, home = fields[0], fields[5] if fields[5].startswith("/") else "/"
    elif number is not None:
        uid, gid, home = number, 0, "/"
    else:
        raise InvalidArgument("user", user, f"/etc/passwd of the container has no user {name!r}")
    if group:
        return Identity(uid, _group(read, "user", user, group), (), home, name)
    groups = _memberships(read("/etc/group"), name, gid) if account is not None else ()
    return Identity(uid, gid, groups, home, name)


def _account(text: str, name: str, number: int | None) -> tuple[list[str], int, int] | None:
    """Find a line of passwd(5): by number if one is given, else by name."""
    for fields in _lines(text, 6):
        uid, gid = _id(fields[2]), _id(fields[3])
        if number is not None:
            if uid != number:
                continue
        elif fields[0] != name:
            continue
        if uid is None or gid is None:
            raise ImageError(f"/etc/passwd of the container has impossible numbers for {fields[0][:100]!r}")
        return fields, uid, gid
    return None


def _group(read: _Read, argument: str, value: str, group: str) -> int:
    number = _number(argument, group)
    if number is not None:
        return number
    for fields in _lines(read("/etc/group"), 3):
        if fields[0] == group:
            gid = _id(fields[2])
            if gid is None:
                raise ImageError(f"/etc/group of the container has an impossible number for {group[:100]!r}")
            return gid
    raise InvalidArgument(argument, value, f"/etc/group of the container has no group {group!r}")


def _memberships(text: str, name: str, own: int) -> tuple[int, ...]:
    """Return the groups that list a user, in order; lines with an impossible number are passed over."""
    found = set()
    for fields in _lines(text, 4):
        if name in fields[3] and name in fields[3].strip().split(","):
            gid = _id(fields[2])
            if gid is not None and gid != own:
                found.add(gid)
    if len(found) > _GROUPS_LIMIT:
        raise ImageError(f"/etc/group of the container lists {name[:100]!r} more than {_GROUPS_LIMIT} times")
    return tuple(sorted(found))


def _lines(text: str, count: int) -> Iterator[list[str]]:
    """Yield the fields of each line that has a name and at least ``count`` fields, and no NUL."""
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) >= count and fields[0] and "\0" not in line:
            yield fields


def _number(argument: str, text: str) -> int | None:
    """Return an id in plain decimal digits, or ``None`` for a name; :class:`InvalidArgument` out of range."""
    if not text.isascii() or not text.isdigit():
        return None
    number = _id(text)
    if number is None:
        raise InvalidArgument(argument, text, f"an id is at most {_LARGEST}")
    return number


def _id(text: str) -> int | None:
    # str.isdigit knows the digits of all scripts, and int() takes signs, spaces and underscores.
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _LARGEST:
        return int(text)
    return None
