"""A command of the host, started in other namespaces, with streams as ``subprocess`` has them."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any

import attrs

from pycontainer.errors import InvalidArgument, KernelError
from pycontainer.kernel import timens
from pycontainer.kernel.encoding import encode
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.leash import spawn_leashed
from pycontainer.kernel.native import lib
from pycontainer.kernel.nsfs import Kind
from pycontainer.kernel.process import Process
from pycontainer.kernel.spawn import STEPS, Spawn

# subprocess' own values; importing it costs milliseconds.
PIPE = -1
STDOUT = -2
DEVNULL = -3

_NAMES = ("stdin", "stdout", "stderr")
# As in a container: ids inside do not know the pipe's owner, and programs open /dev/stderr by name.
_PIPE_MODE = 0o666

Word = str | bytes | os.PathLike[str]
Stream = int | IO[Any] | None


@attrs.frozen(kw_only=True)
class Entry:
    """How a command gets where it runs: namespaces by fd, in the order to enter them, and what it becomes there.

    ``clock`` is the fd of a time namespace.  ``become_root`` and ``drop_groups`` are about the user namespace
    among the joins.
    """

    joins: tuple[tuple[int, Kind], ...]
    clock: int | None = None
    become_root: bool = False
    drop_groups: bool = False


def start(
    entry: Entry,
    argv: Sequence[Word],
    *,
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None,
    streams: tuple[Stream, Stream, Stream],
) -> Process:
    """Start a command; it ends with this process at the latest.  ``argv`` to ``streams`` as for ``Popen``.

    Raises :class:`InvalidArgument` and what :func:`pycontainer.kernel.spawn.spawn` raises, with nothing left.
    """
    words = _words(argv)
    variables = dict(os.environ) if env is None else dict(env)
    with ExitStack() as childs, ExitStack() as hosts:
        ends: dict[str, Fd] = {}
        child = [_connect(number, what, childs, hosts, ends) for number, what in enumerate(streams)]
        child[2] = child[1] if streams[2] == STDOUT else child[2]
        request = Spawn(
            argv=words,
            env=tuple(encode("env", f"{name}={value}") for name, value in variables.items()),
            candidates=_candidates(words[0], variables),
            fds=(*child, *(fd for fd, _ in entry.joins)),
            stdio=((0, 0), (1, 1), (2, 2)),
            joins=tuple((3 + place, kind.flag) for place, (_, kind) in enumerate(entry.joins)),
            ns_root=entry.become_root,
            groups=() if entry.drop_groups else None,
            workdir=None if cwd is None else encode("cwd", cwd),
            session=False,
        )
        try:
            if entry.clock is None:
                pid, pidfd = spawn_leashed(request)
            else:
                pid, pidfd = timens.spawn_inside(request, entry.clock)
        except KernelError as error:
            raise _explained(error, [kind.name for _, kind in entry.joins]) from None
        hosts.pop_all()
        return Process.adopt(
            pid, pidfd, stdin=ends.get("stdin"), stdout=ends.get("stdout"), stderr=ends.get("stderr")
        )


def _connect(number: int, what: Stream, childs: ExitStack, hosts: ExitStack, ends: dict[str, Fd]) -> int:
    """The descriptor that becomes the program's ``number``; the host's end of a pipe lands in ``ends``."""
    if what is None or (number == 2 and what == STDOUT):
        return number
    if what == DEVNULL:
        return childs.enter_context(Fd(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))).fileno()
    if what == PIPE:
        read, write = map(Fd, os.pipe2(os.O_CLOEXEC))
        inner, outer = (read, write) if number == 0 else (write, read)
        childs.enter_context(inner)
        ends[_NAMES[number]] = hosts.enter_context(outer)
        os.fchmod(inner.fileno(), _PIPE_MODE)
        return inner.fileno()
    fd = what if isinstance(what, int) else what.fileno()
    if fd < 0:
        accepted = "PIPE, DEVNULL, a descriptor or an open file" + (", STDOUT" if number == 2 else "")
        raise InvalidArgument(_NAMES[number], what, f"{accepted} is accepted")
    return fd


def _explained(error: KernelError, joined: list[str]) -> KernelError:
    """The error with its likely cause; that of an execve is clear already."""
    if error.step == STEPS[lib.PC_STEP_JOIN] and error.op is not None:
        hint = (
            "it needs CAP_SYS_ADMIN in the user namespace that owns it" if error.errno == errno.EPERM else ""
        )
        return KernelError(error.errno or 0, f"enter the {joined[error.op - 1]} namespace", hint=hint)
    if error.step == STEPS[lib.PC_STEP_CLONE] and error.errno == errno.ENOMEM and "pid" in joined:
        return KernelError(errno.ENOMEM, error.step, hint="the PID 1 of the pid namespace has ended")
    return error


def _words(argv: Sequence[Word]) -> tuple[bytes, ...]:
    if isinstance(argv, (str, bytes)) or not argv:
        raise InvalidArgument("argv", argv, "a sequence of the program and its arguments is needed")
    return tuple(encode("argv", word) for word in argv)


def _candidates(name: bytes, env: Mapping[str, str]) -> tuple[bytes, ...]:
    """The paths at which execvp(3) would look for a program, in order."""
    if b"/" in name:
        return (name,)
    folders = os.fsencode(env.get("PATH", os.defpath)).split(b":")
    return tuple((folder or b".") + b"/" + name for folder in folders)
