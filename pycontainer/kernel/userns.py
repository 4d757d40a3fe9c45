"""User namespaces with their maps written, kept by fd and entered by setns.

The map of a new user namespace is written from outside, which costs a rendezvous.  So a namespace is made
once, by a process that only holds it open for a moment, and then serves one container after the other:
entering it takes microseconds.  No two containers have the same one at the same time.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs

from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.kernel import idmap
from pycontainer.kernel import operation as op
from pycontainer.kernel.idmap import Claim, IdMap
from pycontainer.kernel.leash import spawn_leashed
from pycontainer.kernel.native import lib, wait_usage
from pycontainer.kernel.program import program
from pycontainer.kernel.script import Script
from pycontainer.kernel.spawn import NOTHING, Spawn, spawn


def hold(
    namespaces: int,
    *,
    script: Script = NOTHING,
    fds: tuple[int, ...] = (),
    slots: int = 0,
    leashed: bool = False,
    **more: Any,
) -> tuple[int, int]:
    """A process that does nothing in new namespaces: its pid and pidfd. End it with :func:`release`.

    One that is ``leashed`` ends with this process.  ``script`` may use the slots of ``fds`` and as many more as ``slots`` says in all; ``more`` are further
    fields of a :class:`Spawn`.
    """
    table = (*fds, *[-1] * (slots - len(fds)), program("init"))
    start = spawn_leashed if leashed else spawn
    return start(
        Spawn(
            argv=(b"init",), program=len(table) - 1, fds=table, script=script, namespaces=namespaces, **more
        )
    )


def release(pidfd: int) -> None:
    """End and reap a process of :func:`hold`, and close its pidfd."""
    try:
        # Other code of the host may have reaped it.
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            wait_usage(pidfd, os.WEXITED)
    finally:
        os.close(pidfd)


#: Said inside, it holds for the namespace and those below (user_namespaces(7), namespaces(7)).
_NO_FURTHER = Script.of(inner=[op.write_file("/proc/sys/user/max_user_namespaces", b"0")])


def create(map_: IdMap, *, nested: bool = True, leashed: bool = True) -> int:
    """A new user namespace with this map, as an fd that is the caller's to close; ``nested``: with others in it.

    Not ``leashed``, it needs no reaper, and leaves a process when this one is killed meanwhile.

    Raises :class:`KernelError`; user_namespaces(7) tells who may map what.
    """
    script = NOTHING if nested else _NO_FURTHER
    pid, pidfd = when_ready(
        lambda fd: hold(lib.CLONE_NEWUSER, script=script, fds=(fd,), stdio=((0, 0),), leashed=leashed)
    )
    try:
        _write_maps(pid, map_)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if isinstance(error, KernelError):
            raise
        raise KernelError(error.errno or 0, "write the id map of a user namespace") from error
    finally:
        release(pidfd)


def when_ready(start: Callable[[int], tuple[int, int]]) -> tuple[int, int]:
    """Start our ``init`` to hold namespaces, and wait until its files in /proc can be opened.

    They are root's while execve is under way, for the process shared our memory until then, which is not
    dumpable (proc(5)).  ``start`` gets an fd that the process must have as any fd of its own: it closes all when
    it is past that.
    """
    ready, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            held = start(theirs)
        finally:
            os.close(theirs)
        try:
            os.read(ready, 1)
        except BaseException:
            release(held[1])
            raise
    finally:
        os.close(ready)
    return held


def _write_maps(pid: int, map_: IdMap) -> None:
    if not map_.is_single and not idmap.rules_host():
        for helper, extents in (("newuidmap", map_.uids), ("newgidmap", map_.gids)):
            _run_helper(helper, pid, extents)
        return
    if map_.is_single:
        # Without it an unprivileged group map is refused (user_namespaces(7), CVE-2014-8989).
        _write(f"/proc/{pid}/setgroups", "deny")
    _write(f"/proc/{pid}/uid_map", "\n".join(str(extent) for extent in map_.uids))
    _write(f"/proc/{pid}/gid_map", "\n".join(str(extent) for extent in map_.gids))


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _run_helper(helper: str, pid: int, extents: tuple[idmap.Extent, ...]) -> None:
    path = idmap.find_helper(helper) or helper
    numbers = " ".join(str(extent) for extent in extents).split()
    argv = tuple(os.fsencode(word) for word in (helper, str(pid), *numbers))
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        request = Spawn(
            argv=argv,
            candidates=(os.fsencode(path),),
            fds=(null,),
            stdio=((0, 0), (0, 1), (0, 2)),
            session=False,
        )
        _, pidfd = spawn(request)
    finally:
        os.close(null)
    try:
        ended = wait_usage(pidfd, os.WEXITED)
    finally:
        os.close(pidfd)
    if ended is None or ended.status != 0:
        raise KernelError(1, f"map ids with {path} {' '.join(map(os.fsdecode, argv[1:]))}")


@attrs.frozen
class Wanted:
    """What kind of user namespace a container needs.

    ``map`` is ``None`` for the usual one, ``"keep-id"``, or a map of the caller's own.
    """

    map: IdMap | str | None = None
    nested: bool = True

    @classmethod
    def of(cls, userns: IdMap | str, nested: bool) -> Wanted:
        """From what a caller says: ``"auto"`` is the usual one."""
        return cls(None if userns == "auto" else userns, nested)


_USUAL = Wanted()
#: Of the blocks that a process has, the share that it claims at once, and how many at most.
_SHARE, _AT_ONCE = 4, 16


@attrs.define(eq=False)
class Lease:
    """A user namespace that belongs to one container at a time, or to several that are to be together."""

    fd: int
    map: IdMap
    wanted: Wanted
    #: The host ids of a root caller.
    claim: Claim | None
    is_shared: bool = False

    def share(self, fd: int) -> Lease:
        """The same namespace, which ``fd`` stands for, for a container beside this one's; it serves no others later."""
        self.is_shared = True
        return Lease(fd, self.map, self.wanted, None, True)

    @property
    def has_claim(self) -> bool:
        """Are its ids a block that nobody else has?"""
        return self.claim is not None

    def discard(self) -> None:
        """Close the namespace and give its ids back. Call once."""
        os.close(self.fd)
        if self.claim is not None:
            self.claim.release()


class Leases:
    """The idle user namespaces of this process; thread-safe.

    Root gets one block of host ids for each; an ordinary user gets a namespace of its own for each, over
    the same ids.
    """

    def __init__(self) -> None:
        self._idle: dict[Wanted, deque[Lease]] = {}
        self._claims: deque[Claim] = deque()
        #: How many blocks leases have; threads that miss each other here claim a few more or less at once.
        self._in_use = 0

    def take(self, wanted: Wanted = _USUAL) -> Lease:
        """An idle lease, or a new one. Raises :class:`NotSupported`, :class:`InvalidArgument`, :class:`KernelError`."""
        try:
            return self._idle[wanted].pop()
        except (KeyError, IndexError):
            return _make(wanted, self._claim)

    def _claim(self) -> Claim:
        """A block of ids. Each claim looks at all processes, so who has many containers claims several at once."""
        try:
            found = self._claims.pop()
        except IndexError:
            found, *more = idmap.claim_blocks(1 + min(self._in_use // _SHARE, _AT_ONCE))
            self._claims.extend(reversed(more))
        self._in_use += 1
        return found

    def give_back(self, lease: Lease, *, reusable: bool) -> None:
        """Return a lease whose container is gone; not ``reusable``: when it could leave state behind."""
        # A map of the caller's own may be used by others at the same time.
        if reusable and not lease.is_shared and not isinstance(lease.wanted.map, IdMap):
            self._idle.setdefault(lease.wanted, deque()).append(lease)
        else:
            self._in_use -= lease.has_claim
            lease.discard()

    def close(self) -> None:
        """Discard the idle ones."""
        for idle in self._idle.values():
            while idle:
                idle.pop().discard()
        while self._claims:
            self._claims.pop().release()


def _make(wanted: Wanted, claimed: Callable[[], Claim]) -> Lease:
    if isinstance(wanted.map, IdMap):
        _check_own(wanted.map)
        return Lease(create(wanted.map, nested=wanted.nested), wanted.map, wanted, None)
    if not idmap.rules_host():
        map_ = idmap.user_map(keep=wanted.map == "keep-id")
        return Lease(create(map_, nested=wanted.nested), map_, wanted, None)
    if wanted.map == "keep-id":
        raise NotSupported(
            "userns='keep-id' is for ordinary users: root's own id is never mapped", "use 'auto', or an IdMap"
        )
    claim = claimed()
    try:
        map_ = IdMap.block(claim.base)
        return Lease(create(map_, nested=wanted.nested), map_, wanted, claim)
    except BaseException:
        claim.release()
        raise


def _check_own(map_: IdMap) -> None:
    """Host id 0 may write to most of /proc/sys, whatever its capabilities."""
    for extent in (*map_.uids, *map_.gids):
        if extent.outside == 0 and idmap.rules_host():
            raise InvalidArgument(
                "userns", str(extent), "root of the host is not to be mapped: say userns='host'"
            )
