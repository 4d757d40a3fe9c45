"""Events of a cgroup, as an fd to wait for."""

from __future__ import annotations

import errno
import os
import select

from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.kernel.cgroup.directory import Directory
from pycontainer.kernel.cgroup.v2 import pairs
from pycontainer.kernel.fd import Fd

#: Event -> the file that changes, and its keys that count.
_FILES = {"oom": ("memory.events", ("oom", "oom_kill")), "populated": ("cgroup.events", ("populated",))}


class Watch:
    """Waits for one kind of event. Made by :meth:`Cgroup.watch <pycontainer.Cgroup.watch>`.

    ``fileno()`` polls readable (POLLIN: ``select``, asyncio's ``add_reader``) when something happened since the
    last :meth:`read`; until then it stays readable.  ``close`` it, or use ``with``; idempotent.
    """

    def __init__(self, poll: Fd, source: Fd, keys: tuple[str, ...]) -> None:
        self._poll = poll
        self._source = source
        self._keys = keys
        self._before = self._count()

    @classmethod
    def unified(cls, group: Directory, event: str) -> Watch:
        """In the tree of version 2, whose event files poll as POLLPRI: an epoll makes that POLLIN."""
        name, keys = _FILES[event]
        source = Fd(_open(group, name, os.O_RDONLY))
        try:
            poll = Fd(_epoll(source.fileno()))
        except BaseException:
            source.close()
            raise
        return cls(poll, source, keys)

    @classmethod
    def v1(cls, memory: Directory) -> Watch:
        """In the memory hierarchy of version 1: an eventfd (cgroup-v1/memory.rst, "OOM Control")."""
        source = Fd(_open(memory, "memory.oom_control", os.O_RDONLY))
        poll = Fd(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        try:
            memory.write("cgroup.event_control", b"%d %d" % (poll.fileno(), source.fileno()))
        except OSError as error:
            poll.close()
            source.close()
            raise KernelError(error.errno or 0, f"watch the cgroup {memory.path}") from None
        return cls(poll, source, ())

    def fileno(self) -> int:
        """The fd, which stays owned here. Raises ``ValueError`` when closed."""
        return self._poll.fileno()

    def read(self) -> bool:
        """What happened, and make the fd wait for the next event; never blocks.

        "oom": whether memory ran out since the last call. "populated": whether there are processes now.
        """
        if not self._keys:
            try:
                return os.eventfd_read(self._poll.fileno()) > 0
            except BlockingIOError:
                return False
        now, before = self._count(), self._before
        self._before = now
        return now > before if self._keys != ("populated",) else now > 0

    def _count(self) -> int:
        if not self._keys:
            return 0
        try:
            told = pairs(os.pread(self._source.fileno(), 4096, 0))
        except OSError as error:
            if error.errno == errno.ENODEV:  # the cgroup is gone
                return 0
            raise
        return sum(told.get(key, 0) for key in self._keys)

    def close(self) -> None:
        """Stop watching. Idempotent."""
        self._poll.close()
        self._source.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def watch(event: str, tree: Directory | None, memory: Directory | None) -> Watch:
    """Watch for ``event`` in the tree of version 2, or in the ``memory`` hierarchy of version 1."""
    if event not in _FILES:
        raise InvalidArgument("event", event, "'oom' or 'populated' is needed")
    if event == "oom" and memory is not None:
        return Watch.v1(memory)
    if tree is not None:
        return Watch.unified(tree, event)
    raise NotSupported(
        "version 1 tells nobody when a cgroup is populated", "mount the tree of version 2, too"
    )


def _epoll(fd: int) -> int:
    epoll = select.epoll()
    try:
        epoll.register(fd, select.EPOLLPRI)
        return os.dup(epoll.fileno())
    finally:
        epoll.close()


def _open(group: Directory, name: str, flags: int) -> int:
    try:
        return group.open_file(name, flags)
    except FileNotFoundError:
        raise NotSupported(
            f"the cgroup {group.path} has no {name}", "give it a limit of memory, or accounting=('memory',)"
        ) from None
    except OSError as error:
        raise KernelError(error.errno or 0, f"open {name} of the cgroup {group.path}") from None
