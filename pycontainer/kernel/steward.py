"""Reaching the files of a container's other users, for a caller who may not: as root of the user namespace.

An ordinary user's container has users that stand for subordinate ids.  To the caller, their files are those
of strangers; and even of its own it cannot enter a directory without permissions.  Root of a user namespace
with the same map may (capabilities(7), ``CAP_DAC_OVERRIDE``).  A process with threads cannot enter one
(setns(2)), so an interpreter of its own does: it is started for one function of this package, in the host's
mount namespace, and ends with it.  That takes tens of milliseconds: try directly first.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pycontainer.errors import KernelError, NotSupported, PyContainerError
from pycontainer.kernel import capabilities
from pycontainer.kernel.changes import Change, Kind, overlay_changes
from pycontainer.kernel.encoding import encode
from pycontainer.kernel.fd import write_all
from pycontainer.kernel.layers import Namespace
from pycontainer.kernel.leash import spawn_leashed
from pycontainer.kernel.native import lib, wait_usage
from pycontainer.kernel.rooted import READ_LIMIT, PathLike, Rooted
from pycontainer.kernel.spawn import Capabilities, Spawn
from pycontainer.kernel.squash import squash
from pycontainer.kernel.transfer import COPY_LIMIT, copy_in, copy_out
from pycontainer.kernel.tree import remove_tree
from pycontainer.kernel.userns import release

_T = TypeVar("_T")

#: The largest answer that is taken, in bytes.
ANSWER_LIMIT = 1 << 30

# -I -S: nothing but the given path decides what is imported.
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from pycontainer.kernel.steward import serve; serve()"
_CAPABILITIES = frozenset(
    {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_SETFCAP"}
)
_FIRST_FD = 3
_ERRORS_SHOWN = 2000


class Steward:
    """Does things with files as root of the user namespace ``userns``, an fd that stays the caller's.

    All fds given stay the caller's.  Owners are numbers of that namespace; what is new belongs to its
    root.  Permission bits hold it up nowhere among the ids of the namespace, which are the caller's own and
    its subordinate ones, be it in the container or on the host; of all others it may what the caller may.
    Every method raises what the function does that it stands for, and :class:`NotSupported` where
    ``sys.executable`` is no interpreter that can be started. Thread-safe.
    """

    __slots__ = ("userns",)

    def __init__(self, userns: int) -> None:
        self.userns = userns

    def changes(self, upper: int, lowers: Sequence[str], shift: int, marks: Namespace) -> list[Change]:
        """As :func:`~pycontainer.kernel.changes.overlay_changes`."""
        found = self.call(_changes, (upper,), tuple(lowers), shift, marks)
        return [Change(kind=kind, path=path) for kind, path in found]

    def squash(self, target: int, layers: Sequence[str], marks: Namespace) -> None:
        """As :func:`~pycontainer.kernel.squash.squash`, of what is in ``target`` nothing stays."""
        self.call(_squash, (target,), tuple(layers), marks)

    def remove(self, dir_fd: int, name: str) -> None:
        """As :func:`~pycontainer.kernel.tree.remove_tree`."""
        self.call(remove_tree, (dir_fd,), name)

    def read(self, root: int, path: PathLike, limit: int = READ_LIMIT) -> bytes:
        """As :meth:`~pycontainer.kernel.rooted.Rooted.read_bytes`."""
        return self.call(_read, (root,), encode("path", path), limit)

    def write(self, root: int, path: PathLike, data: bytes, mode: int | None) -> None:
        """As :meth:`~pycontainer.kernel.rooted.Rooted.write_bytes`."""
        self.call(_write, (root,), encode("path", path), bytes(data), mode)

    def copy_in(self, root: int, source: PathLike, target: PathLike) -> None:
        """As :func:`~pycontainer.kernel.transfer.copy_in`."""
        self.call(_copy_in, (root,), _absolute(source), encode("path", target))

    def copy_out(self, root: int, source: PathLike, target: PathLike, limit: int = COPY_LIMIT) -> None:
        """As :func:`~pycontainer.kernel.transfer.copy_out`."""
        self.call(_copy_out, (root,), encode("path", source), _absolute(target), limit)

    def call(self, function: Callable[..., _T], fds: tuple[int, ...], *arguments: Any, **named: Any) -> _T:
        """Call a function of a module of this package, with the fds as its first arguments."""
        import pickle

        # Files in memory and no pipes: nobody has to pump them, and neither end waits for the other.
        streams = [
            os.memfd_create(f"steward-{which}", os.MFD_CLOEXEC) for which in ("ask", "answer", "errors")
        ]
        try:
            numbers = tuple(range(_FIRST_FD, _FIRST_FD + len(fds)))
            write_all(streams[0], pickle.dumps((function, (*numbers, *arguments), named)))
            os.lseek(streams[0], 0, os.SEEK_SET)
            self._run((*streams, *fds))
            answer = _content(streams[1], ANSWER_LIMIT)
            if not answer:
                said = _content(streams[2], 1 << 20).decode(errors="replace").strip()
                raise NotSupported(
                    f"the interpreter {sys.executable!r} failed at the files of other users: "
                    f"{said[-_ERRORS_SHOWN:] or 'it wrote nothing'}",
                    "let sys.executable be the path of this Python",
                )
        finally:
            for fd in streams:
                os.close(fd)
        # Written by our own code below: what the container wrote is in it as bytes and text only.
        failed, value = pickle.loads(answer)  # noqa: S301
        if failed:
            raise value
        found: _T = value
        return found

    def _run(self, fds: tuple[int, ...]) -> None:
        """Run the interpreter to its end; the fds are its own from 0 on."""
        mask = capabilities.mask(_CAPABILITIES)
        pid, pidfd = spawn_leashed(
            Spawn(
                argv=tuple(
                    os.fsencode(word) for word in (sys.executable, "-I", "-S", "-c", _PROGRAM, *module_path())
                ),
                candidates=(os.fsencode(sys.executable),),
                env=_environment(),
                fds=(*fds, self.userns),
                stdio=tuple((number, number) for number in range(len(fds))),
                joins=((len(fds), lib.CLONE_NEWUSER),),
                ns_root=True,
                capabilities=Capabilities(bounding=mask, permitted=mask, last=capabilities.last()),
                no_new_privs=True,
            )
        )
        del pid
        try:
            wait_usage(pidfd, os.WEXITED)
        except BaseException:
            # A signal handler of the host raised.
            release(pidfd)
            raise
        os.close(pidfd)


def _absolute(path: PathLike) -> bytes:
    return os.path.join(os.getcwdb(), encode("path", path))


def module_path() -> list[str]:
    """Where this process finds its modules, and its own package at the latest in the end."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [*(place for place in sys.path if os.path.isabs(place)), package]


def _environment() -> tuple[bytes, ...]:
    """What an interpreter may need to find its own libraries."""
    found = os.environb.get(b"LD_LIBRARY_PATH")
    return () if found is None else (b"LD_LIBRARY_PATH=" + found,)


def _content(fd: int, limit: int) -> bytes:
    size = os.fstat(fd).st_size
    if size > limit:
        raise KernelError(errno.EFBIG, "take what was found in the container", hint=f"it is {size} bytes")
    parts = []
    position = 0
    while position < size:
        part = os.pread(fd, size - position, position)
        parts.append(part)
        position += len(part)
    return b"".join(parts)


# -- in the process that is started ----------------------------------------------------------------


def _changes(upper: int, lowers: Sequence[str], shift: int, marks: Namespace) -> list[tuple[Kind, str]]:
    found = overlay_changes(upper, lowers, upper_base=shift, namespace=marks)
    return [(change.kind, change.path) for change in found]


def _squash(target: int, layers: Sequence[str], marks: Namespace) -> None:
    for name in os.listdir(target):
        remove_tree(target, name)
    squash(layers, target, marks)


def _read(root: int, path: bytes, limit: int) -> bytes:
    return Rooted(root).read_bytes(path, limit=limit)


def _write(root: int, path: bytes, data: bytes, mode: int | None) -> None:
    Rooted(root).write_bytes(path, data, mode=mode)


def _copy_in(root: int, source: bytes, target: bytes) -> None:
    copy_in(Rooted(root), source, target)


def _copy_out(root: int, source: bytes, target: bytes, limit: int) -> None:
    copy_out(Rooted(root), source, target, limit=limit)


def serve() -> None:
    """Call the function that standard input names, and write to standard output what comes of it."""
    import pickle

    function, arguments, named = pickle.loads(_content(0, ANSWER_LIMIT))  # noqa: S301  from Steward
    try:
        answer = (False, function(*arguments, **named))
    except PyContainerError as error:
        answer = (True, error)
    write_all(1, pickle.dumps(answer))
