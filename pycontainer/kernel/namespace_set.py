"""Namespaces that are made together, and commands that run in them.

::

    create    a holder process in the new namespaces -> an fd of each -> the holder ends,
              but for a pid namespace: there it is the PID 1, without which nothing can start in it
    popen     fds -> setns, user namespace first, pid namespace last -> clone -> execve
    close     ends PID 1, and with it every process of the pid namespace; closes the fds
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import IO, Any

import attrs

from pycontainer.errors import InvalidArgument, KernelError, NotSupported, StateError
from pycontainer.kernel import operation as op
from pycontainer.kernel import timens, userns
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.leash import spawn_leashed
from pycontainer.kernel.namespace import KINDS, Namespace, parse_kind
from pycontainer.kernel.native import lib
from pycontainer.kernel.operation import Operation, Script
from pycontainer.kernel.pipes import Pipes
from pycontainer.kernel.process import Process
from pycontainer.kernel.program import program
from pycontainer.kernel.spawn import STEPS, Spawn
from pycontainer.kernel.userns import Lease, Leases

_PROC = "/proc"
_PROC_ATTRIBUTES = lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_NODEV | lib.MOUNT_ATTR_NOEXEC


@attrs.frozen
class _Ids:
    """What a process does about its ids when it enters the set's user namespace."""

    become_root: bool = False
    drop_groups: bool = False

    @classmethod
    def of(cls, map_: IdMap) -> _Ids:
        has_root = map_.host_uid(0) is not None and map_.host_gid(0) is not None
        return cls(has_root, has_root and not map_.is_single)


class NamespaceSet:
    """Several namespaces to run commands in. Got from :meth:`create` or :meth:`open`.

    ``set["net"]`` is one of them, ``"net" in set`` tells whether it is there, iteration gives the kinds.
    ``close`` is idempotent, ``with`` closes; the one :class:`Namespace` got from the set closes with it.

    >>> with Namespace.create("mount", "pid", "net", "user") as ns:   # doctest: +SKIP
    ...     ns.run(["ip", "link"])
    0
    """

    __slots__ = ("_holder", "_ids", "_lease", "_namespaces", "_open")

    def __init__(self) -> None:
        self._namespaces: dict[str, Namespace] = {}
        self._holder: Process | None = None
        self._lease: Lease | None = None
        self._ids = _Ids()
        self._open = True

    @classmethod
    def create(
        cls,
        *kinds: str,
        idmap: IdMap | None = None,
        offsets: Mapping[str, float] | None = None,
        proc: bool = True,
    ) -> NamespaceSet:
        """Make new namespaces of ``kinds``, of: mount, pid, net, uts, ipc, user, cgroup, time.

        With ``"user"`` the others belong to the new user namespace, and commands start as its root; its
        ids are those of ``idmap``, by default a block of unused host ids for root, and for an ordinary user
        its own id and its subordinate ones.  Without ``"user"`` the caller must be root.

        In a new network namespace ``lo`` is up.  In a new mount namespace nothing propagates to or from the
        host's, and with a new pid namespace it has an own ``/proc`` (``proc=False``: the host's stays).  A
        pid namespace has our ``init`` as PID 1.  ``offsets``, in seconds, is what the clocks ``monotonic``
        and ``boottime`` of a new time namespace are ahead of the host's.

        Raises :class:`InvalidArgument`, :class:`NotSupported` where the kernel lacks a kind, and
        :class:`KernelError` that names the step, with nothing left behind.
        """
        wanted = {parse_kind(kind).name for kind in kinds}
        if not wanted:
            raise InvalidArgument("kinds", kinds, f"at least one is needed, of {', '.join(KINDS)}")
        for name, value, kind in (("idmap", idmap, "user"), ("offsets", offsets, "time")):
            if value is not None and kind not in wanted:
                raise InvalidArgument(name, value, f'it belongs to a {kind} namespace: add "{kind}"')
        for kind in wanted:
            if not os.path.exists(f"/proc/self/ns/{KINDS[kind].file}"):
                raise NotSupported(f"this kernel has no {kind} namespaces", "leave it out, or use a kernel that has")
        self = cls()
        try:
            self._create(wanted, idmap, offsets or {}, proc=proc)
        except KernelError as error:
            self.close()
            raise _explained(error, wanted) from None
        except BaseException:
            self.close()
            raise
        return self

    def _create(self, kinds: set[str], map_: IdMap | None, offsets: Mapping[str, float], *, proc: bool) -> None:
        if "user" in kinds:
            self._lease = Leases().take() if map_ is None else Lease(userns.create(map_), map_, None)
            self._ids = _Ids.of(self._lease.map)
            self._namespaces["user"] = Namespace("user", Fd(os.dup(self._lease.fd)))
        held = [kind for kind in KINDS.values() if kind.name in kinds - {"user", "time"}]
        if held:
            flags = sum(kind.flag for kind in held)
            self._holder = self._hold(flags, _preparation(kinds, proc=proc))
            for kind in held:
                self._namespaces[kind.name] = Namespace.open(self._holder.pid, kind.name)
        if "time" in kinds:
            fd = timens.make(offsets, userns=self._user_fd(), ns_root=self._ids.become_root)
            self._namespaces["time"] = Namespace("time", Fd(fd))
        if "pid" not in kinds:
            self._end_holder()

    def _hold(self, flags: int, ops: list[Operation]) -> Process:
        user = self._user_fd()
        request = Spawn(
            argv=(b"init",),
            program=0,
            # The user namespace, and two slots for the operations.
            fds=(program("init"), -1 if user is None else user, -1),
            joins=() if user is None else ((1, lib.CLONE_NEWUSER),),
            script=Script.of(inner=ops),
            namespaces=flags,
            ns_root=self._ids.become_root,
        )
        pid, pidfd = spawn_leashed(request)
        return Process.adopt(pid, pidfd)

    def _user_fd(self) -> int | None:
        return self._namespaces["user"].fileno() if "user" in self._namespaces else None

    @classmethod
    def open(cls, pid: int, *kinds: str) -> NamespaceSet:
        """Open the namespaces of a running process: those of ``kinds``, or all that the kernel has.

        Nothing is started or ended.  The fds keep the namespaces, not the process: when the PID 1 of a pid
        namespace has ended, no command can be started in it any more.  Raises :class:`InvalidArgument` and
        :class:`KernelError`; the caller must be allowed to inspect the process (ptrace(2)).
        """
        wanted = [parse_kind(kind).name for kind in kinds]
        self = cls()
        try:
            with Fd(_open_process(pid)) as process:
                for kind in KINDS.values():
                    if kind.name in wanted or (not wanted and _exists(f"ns/{kind.file}", process)):
                        path = f"/proc/self/fd/{process.fileno()}/ns/{kind.file}"
                        self._namespaces[kind.name] = Namespace.open(path, kind.name)
                if "user" in self._namespaces:
                    self._ids = _ids_of(process)
        except BaseException:
            self.close()
            raise
        return self

    def __getitem__(self, kind: str) -> Namespace:
        self._check_open("look up a namespace")
        return self._namespaces[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._namespaces

    def __iter__(self) -> Iterator[str]:
        return iter(self._namespaces)

    def __len__(self) -> int:
        return len(self._namespaces)

    @property
    def init_pid(self) -> int | None:
        """The host's number of the pid namespace's PID 1 that this set keeps, if it keeps one."""
        return None if self._holder is None else self._holder.pid

    def run(
        self,
        argv: Sequence[str | bytes | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
    ) -> int:
        """Run a command to its end and return its exit code (128 + n for signal n); see :meth:`popen`.

        ``subprocess.PIPE`` is refused, as nobody would read it.  A command that an exception in the wait
        leaves behind (``KeyboardInterrupt``) is killed.
        """
        for name, value in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)):
            if value == Pipes.PIPE:
                raise InvalidArgument(name, value, "nobody would be at the other end: use popen")
        with self.popen(argv, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr) as process:
            return process.wait()

    def popen(
        self,
        argv: Sequence[str | bytes | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
    ) -> Process:
        """Start a command in the namespaces; the caller waits for it, as for a ``subprocess.Popen``.

        The program is looked for in the ``PATH`` of ``env``, inside; ``env`` is the caller's environment by
        default.  ``cwd`` is by default the caller's directory, in a mount namespace of its own that
        namespace's root.  The streams are the caller's own by default, a descriptor, a file, or
        ``subprocess.PIPE``, ``DEVNULL``, ``STDOUT``.  The command ends with the calling process at
        the latest.

        Namespaces that the caller is in already are left out.  Raises :class:`CommandNotFound`,
        :class:`CommandNotExecutable`, :class:`InvalidArgument` and :class:`KernelError`.
        """
        self._check_open("run a command")
        words, variables = _words(argv), dict(os.environ if env is None else env)
        joined = [ns for kind in KINDS if (ns := self._namespaces.get(kind)) and not _is_own(ns)]
        clock = next((ns for ns in joined if ns.kind == "time"), None)
        joined = [ns for ns in joined if ns is not clock]
        enters_user = any(ns.kind == "user" for ns in joined)
        with Pipes.create(stdin=stdin, stdout=stdout, stderr=stderr) as pipes:
            request = Spawn(
                argv=words,
                env=tuple(os.fsencode(f"{name}={value}") for name, value in variables.items()),
                candidates=_candidates(words[0], variables),
                fds=(*pipes.child, *(ns.fileno() for ns in joined)),
                stdio=((0, 0), (1, 1), (2, 2)),
                joins=tuple((3 + place, KINDS[ns.kind].flag) for place, ns in enumerate(joined)),
                ns_root=enters_user and self._ids.become_root,
                groups=() if enters_user and self._ids.drop_groups else None,
                workdir=None if cwd is None else os.fsencode(cwd),
                session=False,
            )
            try:
                started = spawn_leashed(request) if clock is None else timens.spawn_inside(request, clock.fileno())
            except KernelError as error:
                raise _explained_entry(error, self) from None
            return pipes.adopt(*started)

    def _check_open(self, verb: str) -> None:
        if not self._open:
            raise StateError("the set of namespaces", "closed", verb)

    def close(self) -> None:
        """End the PID 1 that the set keeps, with all processes of its namespace, and close the fds. Idempotent.

        Commands that run in a set without a pid namespace go on.
        """
        self._open = False
        try:
            self._end_holder()
        finally:
            while self._namespaces:
                self._namespaces.popitem()[1].close()
            lease, self._lease = self._lease, None
            if lease is not None:
                lease.discard()

    def _end_holder(self) -> None:
        holder, self._holder = self._holder, None
        if holder is not None:
            with holder:
                holder.kill()

    def __enter__(self) -> NamespaceSet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<NamespaceSet {', '.join(self._namespaces) if self._open else 'closed'}>"


def _preparation(kinds: set[str], *, proc: bool) -> list[Operation]:
    """What the holder does in its new namespaces; slot 2 is free for it."""
    ops: list[Operation] = []
    if "mount" in kinds:
        ops.append(op.open_path("/", out=2, flags=os.O_PATH | os.O_DIRECTORY))
        ops.append(op.set_attributes(2, propagation=lib.MS_PRIVATE, recursive=True, purpose="the host's mounts"))
        ops.append(op.close(2))
    if proc and {"mount", "pid"} <= kinds:
        ops += op.new_mount("proc", out=2, attributes=_PROC_ATTRIBUTES, purpose=_PROC)
        ops.append(op.move_mount(2, at=op.HERE, path=_PROC))
    if "net" in kinds:
        ops.append(op.loopback())
    return ops
