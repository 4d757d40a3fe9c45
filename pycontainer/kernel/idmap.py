"""Id maps: which host ids stand behind the ids of a user namespace.

Owns the choice of host ids: a root caller gets blocks of 65536 ids that nobody else uses, held by a lock
file each; an ordinary user gets its own id, or the ranges that /etc/subuid grants it.  Host id 0 is never
mapped for a root caller: the kernel's checks on /proc/sys compare with host id 0, whatever the capabilities.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Iterable, Set
from functools import cache

import attrs

from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.home import make_private

#: Size of a block, and of the id space that images expect.
BLOCK = 65536
#: Host ids that systemd's and Debian's allocation tables leave unused (systemd, UIDS-GIDS.md).
FIRST, LAST = 0x7000_0000, 0x7FFF_0000
#: Where root's blocks are claimed, one file each; the lock ends with its holder.
CLAIMS = "/run/pycontainer/ids"
_SUBORDINATE = re.compile(r"^([^:\n]+):([0-9]{1,10}):([0-9]{1,10})[ \t]*$", re.MULTILINE)


@attrs.frozen
class Extent:
    """``count`` ids from ``inside`` stand for those from ``outside``; a line of user_namespaces(7)'s uid_map."""

    inside: int
    outside: int
    count: int

    def __str__(self) -> str:
        return f"{self.inside} {self.outside} {self.count}"


def _extents(extents: Iterable[Extent | tuple[int, int, int]]) -> tuple[Extent, ...]:
    found = tuple(each if isinstance(each, Extent) else Extent(*each) for each in extents)
    if not found:
        raise InvalidArgument("userns", found, "an id map has one extent at least")
    return found


@attrs.frozen
class IdMap:
    """The maps of users and groups of one user namespace: extents, or triples (inside, outside, count).

    >>> m = IdMap.block(0x70000000)
    >>> m.host_uid(0), m.host_uid(65535), m.host_uid(65536)
    (1879048192, 1879113727, None)
    """

    uids: tuple[Extent, ...] = attrs.field(converter=_extents)
    gids: tuple[Extent, ...] = attrs.field(converter=_extents)

    @classmethod
    def block(cls, base: int) -> IdMap:
        """Ids 0..65535 onto a block of host ids."""
        extents = (Extent(0, base, BLOCK),)
        return cls(extents, extents)

    @classmethod
    def single(cls, uid: int, gid: int, *, inside: tuple[int, int] = (0, 0)) -> IdMap:
        """One id: all that an ordinary user may map without help (user_namespaces(7))."""
        return cls((Extent(inside[0], uid, 1),), (Extent(inside[1], gid, 1),))

    @property
    def is_single(self) -> bool:
        """Is only one user mapped? Then setgroups(2) is denied inside."""
        return sum(extent.count for extent in self.uids) == 1

    @property
    def first(self) -> tuple[int, int]:
        """The user and group that set a container up: root where there is one, else the smallest ids."""
        return min(extent.inside for extent in self.uids), min(extent.inside for extent in self.gids)

    def host_uid(self, uid: int) -> int | None:
        """The host's id of a user, or ``None`` where it has none."""
        return _outside(self.uids, uid)

    def host_gid(self, gid: int) -> int | None:
        """The host's id of a group, or ``None`` where it has none."""
        return _outside(self.gids, gid)

    def inside(self, uid: int, gid: int) -> tuple[int | None, int | None]:
        """The namespace's numbers of a user and a group of the host, ``None`` where it has none.

        >>> IdMap.single(1000, 100).inside(1000, 0)
        (0, None)
        """
        return _inside(self.uids, uid), _inside(self.gids, gid)


def _inside(extents: tuple[Extent, ...], number: int) -> int | None:
    for extent in extents:
        if extent.outside <= number < extent.outside + extent.count:
            return extent.inside + number - extent.outside
    return None


def _outside(extents: tuple[Extent, ...], number: int) -> int | None:
    for extent in extents:
        if extent.inside <= number < extent.inside + extent.count:
            return extent.outside + number - extent.inside
    return None


@attrs.frozen(eq=False)
class Claim:
    """A block of host ids that is this process's until :meth:`release`, or until it ends."""

    base: int
    lock: int

    def release(self) -> None:
        """Give the block back. Call once."""
        os.close(self.lock)


def claim_block() -> Claim:
    """Claim an unused block for a root caller. Raises :class:`NotSupported` when all are in use."""
    return claim_blocks(1)[0]


def claim_blocks(count: int) -> list[Claim]:
    """Claim several at once, which costs little more than one: as many as there are, one at least.

    Raises :class:`NotSupported` when all are in use.
    """
    make_private(CLAIMS)
    taken = granted_ranges()
    claims: list[Claim] = []
    try:
        for base in range(FIRST, LAST, BLOCK):
            if len(claims) == count:
                break
            if not any(start < base + BLOCK and base < start + length for start, length in taken):
                claims += _try_to_claim(base)
        _end_orphans({each.base for each in claims})
    except BaseException:
        for each in claims:
            each.release()
        raise
    if not claims:
        raise NotSupported("every block of host ids is in use", "end some containers")
    return claims


def _try_to_claim(base: int) -> list[Claim]:
    fd = os.open(f"{CLAIMS}/{base:#x}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return []
    return [Claim(base, fd)]


def _end_orphans(bases: Set[int]) -> None:
    """Kill what runs with ids of blocks that nobody had claimed.

    Its container's host process and its reaper were both killed; a new container must not share its ids.
    """
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            pidfd = os.pidfd_open(int(name))
        except ProcessLookupError:
            continue
        except OSError as error:
            raise KernelError(error.errno or 0, f"open a pidfd of process {name}") from None
        try:
            with open(f"/proc/{name}/status") as file:
                uid = next(int(line.split()[1]) for line in file if line.startswith("Uid:"))
            if uid - (uid - FIRST) % BLOCK in bases:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue
        finally:
            os.close(pidfd)


@cache
def granted_ranges() -> tuple[tuple[int, int], ...]:
    """All ranges that /etc/subuid and /etc/subgid grant to anybody."""
    found: set[tuple[int, int]] = set()
    for path in ("/etc/subuid", "/etc/subgid"):
        found.update((start, count) for _, start, count in _subordinate(path))
    return tuple(sorted(found))


def _subordinate(path: str) -> list[tuple[str, int, int]]:
    """The lines of subuid(5); what is no such line is passed over, as newuidmap(1) does."""
    try:
        with open(path, "rb") as file:
            lines = _SUBORDINATE.finditer(os.fsdecode(file.read()))
    except FileNotFoundError:
        return []
    return [(line[1], int(line[2]), int(line[3])) for line in lines]


def rules_host() -> bool:
    """Is this process root of the whole id space, so that it may claim blocks, map ids and make devices?

    Not root of a user namespace that has a part of the host's ids, as in a rootless container.
    """
    return os.geteuid() == 0 and _sees_all_ids()


@cache
def _sees_all_ids() -> bool:
    with open("/proc/self/uid_map") as file:
        return sum(int(line.split()[2]) for line in file) >= LAST


def has_range() -> bool:
    """Is the caller an ordinary user with subordinate ids, whose containers have files of other users?"""
    return not rules_host() and not user_map().is_single


def user_map(*, keep: bool = False) -> IdMap:
    """The map of an ordinary user: with its subordinate ranges where newuidmap(1) can write them, else single.

    Container root is the caller; 1 and above are the subordinate ids.  With ``keep`` the caller has its own
    id inside, too, and root is the first of the subordinate ids.
    """
    uid, gid = os.geteuid(), os.getegid()
    uids, gids = _grant("/etc/subuid", uid), _grant("/etc/subgid", uid)
    if uids is None or gids is None or find_helper("newuidmap") is None or find_helper("newgidmap") is None:
        return IdMap.single(uid, gid, inside=(uid, gid) if keep else (0, 0))
    if keep:
        return IdMap(_around(uid, uids), _around(gid, gids))
    return IdMap((Extent(0, uid, 1), uids), (Extent(0, gid, 1), gids))


def _around(own: int, granted: Extent) -> tuple[Extent, ...]:
    """An id that stays the same, with the granted ones below and above it."""
    below = min(own, granted.count)
    extents = [Extent(0, granted.outside, below), Extent(own, own, 1)]
    if granted.count > below:
        extents.append(Extent(own + 1, granted.outside + below, granted.count - below))
    return tuple(extents)


def _grant(path: str, uid: int) -> Extent | None:
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    for owner, start, count in _subordinate(path):
        if owner in (name, str(uid)) and count > 1:
            return Extent(1, start, min(count, BLOCK - 1))
    return None


def find_helper(name: str) -> str | None:
    """The path of a set-user-id helper of the shadow suite, or ``None``."""
    for folder in ("/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return None
