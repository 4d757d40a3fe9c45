"""Namespaces that are made together, and commands that run in them.

::

    create    a holder process in the new namespaces -> an fd of each -> the holder ends,
              but for a pid namespace: there it is the PID 1, without which nothing can start in it
    popen     fds -> setns, user namespace first, pid namespace last -> clone -> execve
    close     ends PID 1, and with it every process of the pid namespace; closes the fds
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from weakref import WeakSet

import attrs

from pycontainer.errors import InvalidArgument, KernelError, NotSupported, StateError
from pycontainer.kernel import command, holder, timens, userns
from pycontainer.kernel.command import Entry, Stream, Word
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.nsfs import KINDS, Namespace, open_checked, parse_kind
from pycontainer.kernel.process import Process
from pycontainer.kernel.userns import Lease, Leases, Wanted

__all__ = ["Namespace", "NamespaceSet"]


@attrs.frozen
class _Ids:
    """What a process does about its ids when it enters the set's user namespace."""

    become_root: bool = False
    drop_groups: bool = False

    @classmethod
    def of(cls, map_: IdMap) -> _Ids:
        has_root = map_.host_uid(0) is not None and map_.host_gid(0) is not None
        return cls(has_root, has_root and not map_.is_single)

    @classmethod
    def of_process(cls, process: int) -> _Ids:
        """The same, from the maps that ``/proc/PID`` shows."""
        texts = [_read(name, process) for name in ("uid_map", "gid_map", "setgroups")]
        has_root = all(any(line.split()[0] == "0" for line in text.splitlines()) for text in texts[:2])
        return cls(has_root, has_root and texts[2].strip() == "allow")


class NamespaceSet:
    """Several namespaces to run commands in. Got from :meth:`create` or :meth:`open`.

    ``set["net"]`` is one of them, ``"net" in set`` tells whether it is there, iteration gives the kinds.
    ``close`` is idempotent, ``with`` closes; the one :class:`Namespace` got from the set closes with it.

    >>> with Namespace.create("mount", "pid", "net", "user") as ns:   # doctest: +SKIP
    ...     ns.run(["ip", "link"])
    0
    """

    __slots__ = ("_holder", "_ids", "_lease", "_namespaces", "_open", "_started")

    def __init__(self) -> None:
        self._namespaces: dict[str, Namespace] = {}
        self._holder: Process | None = None
        self._started: WeakSet[Process] = WeakSet()
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
                raise NotSupported(
                    f"this kernel has no {kind} namespaces", "leave it out, or use a kernel that has"
                )
        self = cls()
        try:
            self._create(wanted, idmap, offsets or {}, proc=proc)
        except KernelError as error:
            self.close()
            raise holder.explained(error, wanted) from None
        except BaseException:
            self.close()
            raise
        return self

    def _create(
        self, kinds: set[str], map_: IdMap | None, offsets: Mapping[str, float], *, proc: bool
    ) -> None:
        if "user" in kinds:
            self._lease = (
                Leases().take() if map_ is None else Lease(userns.create(map_), map_, Wanted(map_), None)
            )
            self._ids = _Ids.of(self._lease.map)
            self._namespaces["user"] = Namespace("user", Fd(os.dup(self._lease.fd)))
        held = kinds - {"user", "time"}
        if held:
            self._holder = holder.hold(held, owner=self._user_fd(), ns_root=self._ids.become_root, proc=proc)
            for kind in held:
                self._namespaces[kind] = Namespace.open(self._holder.pid, kind)
        if "time" in kinds:
            fd = timens.make(offsets, userns=self._user_fd(), ns_root=self._ids.become_root)
            self._namespaces["time"] = Namespace("time", Fd(fd))
        if "pid" not in kinds:
            self._end_holder()

    def _user_fd(self) -> int | None:
        return self._namespaces["user"].fileno() if "user" in self._namespaces else None

    @classmethod
    def open(cls, pid: int, *kinds: str) -> NamespaceSet:
        """Open the namespaces of a running process: those of ``kinds``, or all that the kernel has.

        Nothing is started or ended.  The fds keep the namespaces, not the process: when the PID 1 of a pid
        namespace has ended, no command can be started in it any more.  Raises :class:`InvalidArgument` and
        :class:`KernelError`; the caller must be allowed to inspect the process (ptrace(2)).
        """
        wanted = {parse_kind(kind).name for kind in kinds}
        self = cls()
        try:
            with Fd(_open_process(pid)) as process:
                folder = process.fileno()
                for kind in KINDS.values():
                    if kind.name in wanted or (not wanted and _exists(f"ns/{kind.file}", folder)):
                        self._namespaces[kind.name] = open_checked(f"ns/{kind.file}", kind, dir_fd=folder)
                if "user" in self._namespaces:
                    self._ids = _Ids.of_process(folder)
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
        return (kind for kind in KINDS if kind in self._namespaces)

    def __len__(self) -> int:
        return len(self._namespaces)

    @property
    def init_pid(self) -> int | None:
        """The host's number of the pid namespace's PID 1 that this set keeps, if it keeps one."""
        return None if self._holder is None else self._holder.pid

    def run(
        self,
        argv: Sequence[Word],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
    ) -> int:
        """Run a command to its end and return its exit code (128 + n for signal n); see :meth:`popen`.

        ``subprocess.PIPE`` is refused, as nobody would read it.  A command that an exception in the wait
        leaves behind (``KeyboardInterrupt``) is killed.
        """
        for name, value in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)):
            if value == command.PIPE:
                raise InvalidArgument(name, value, "nobody would be at the other end: use popen")
        with self.popen(argv, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr) as process:
            return process.wait()

    def popen(
        self,
        argv: Sequence[Word],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
    ) -> Process:
        """Start a command in the namespaces; the caller waits for it, as for a ``subprocess.Popen``.

        The program is looked for in the ``PATH`` of ``env``, inside; ``env`` is the caller's environment by
        default, ``cwd`` the caller's directory, in a mount namespace of its own that namespace's root.  The
        streams are the caller's own by default, a descriptor, a file, or ``subprocess.PIPE``, ``DEVNULL``,
        ``STDOUT``.  The command ends with the calling process at the latest.

        Not for files that others control: ``/proc/self/exe`` as a script's interpreter is the caller's own.
        Namespaces that the caller is in already are left out.  Raises :class:`CommandNotFound`,
        :class:`CommandNotExecutable`, :class:`InvalidArgument` and :class:`KernelError`.
        """
        self._check_open("run a command")
        joined = [ns for kind in KINDS if (ns := self._namespaces.get(kind)) is not None and not _is_own(ns)]
        clock = next((ns.fileno() for ns in joined if ns.kind == "time"), None)
        joined = [ns for ns in joined if ns.kind != "time"]
        enters_user = any(ns.kind == "user" for ns in joined)
        entry = Entry(
            joins=tuple((ns.fileno(), KINDS[ns.kind]) for ns in joined),
            clock=clock,
            become_root=enters_user and self._ids.become_root,
            drop_groups=enters_user and self._ids.drop_groups,
        )
        process = command.start(entry, argv, env=env, cwd=cwd, streams=(stdin, stdout, stderr))
        self._started.add(process)
        return process

    def _check_open(self, verb: str) -> None:
        if not self._open:
            raise StateError("the set of namespaces", "closed", verb)

    def close(self) -> None:
        """End the PID 1 that the set keeps, with all processes of its namespace, and close the fds. Idempotent.

        Commands that run in a set without a pid namespace go on.  Raises :class:`WaitTimeout` when a process
        of the namespace is not reaped by its parent outside, if that is another than this process.
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
        process, self._holder = self._holder, None
        if process is not None:
            try:
                holder.end(process, self._started)
            finally:
                process.close()

    def __enter__(self) -> NamespaceSet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<NamespaceSet {', '.join(self) if self._open else 'closed'}>"


def _is_own(namespace: Namespace) -> bool:
    status = os.stat(f"/proc/thread-self/ns/{KINDS[namespace.kind].file}")
    return (status.st_dev, status.st_ino) == namespace.identity


def _open_process(pid: int) -> int:
    try:
        return os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError(error.errno or 0, f"open process {pid}") from None


def _exists(path: str, folder: int) -> bool:
    try:
        os.stat(path, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _read(path: str, folder: int) -> str:
    with open(path, opener=lambda name, flags: os.open(name, flags, dir_fd=folder)) as file:
        return file.read()
