"""What the probes of one examination share: the engine root, a user namespace made once, programs and settings."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable
from contextlib import ExitStack, suppress

from pycontainer.checkup.feature import Lacking
from pycontainer.errors import PyContainerError
from pycontainer.kernel import operation as op
from pycontainer.kernel import userns
from pycontainer.kernel.idmap import IdMap, rules_host
from pycontainer.kernel.native import lib, wait_usage
from pycontainer.kernel.script import Operation, Script
from pycontainer.kernel.spawn import Spawn, spawn

#: A block of host ids that no container is ever given (idmap.LAST).
_BLOCK = 0x7FFF_0000


def scratch() -> list[Operation]:
    """An empty tmpfs as slot 1 and current directory of a process in mount namespaces of its own; uses slot 2.

    Attached, since before Linux 6.15 nothing can be bound from a detached mount.
    """
    return [
        op.open_path("/", out=2, flags=os.O_PATH | os.O_DIRECTORY),
        op.set_attributes(2, propagation=lib.MS_PRIVATE, recursive=True),
        *op.new_mount("tmpfs", out=1),
        op.move_mount(1, at=2, path="proc"),
        op.close(2),
        op.enter_directory(1),
    ]


class Host:
    """The shared things of one examination, each made when first asked for; ``close`` lets go of them."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._userns: int | PyContainerError | None = None

    @property
    def place(self) -> str:
        """The engine root, or the nearest directory above that exists: on the same file system."""
        path = self.root
        while not os.path.isdir(path):
            path = os.path.dirname(path)
        return path

    def userns(self) -> int:
        """The fd of a user namespace with ids mapped; it stays owned here. Raises as making it did."""
        if self._userns is None:
            map_ = IdMap.block(_BLOCK) if rules_host() else IdMap.single(os.geteuid(), os.getegid())
            try:
                self._userns = userns.create(map_, leashed=False)
            except PyContainerError as error:
                self._userns = error
        if isinstance(self._userns, PyContainerError):
            raise self._userns
        return self._userns

    def inside(
        self,
        operations: Iterable[Operation] = (),
        *,
        namespaces: int = 0,
        slots: int = 0,
        as_root: bool = False,
    ) -> None:
        """Make a process in the user namespace and in new ``namespaces``, execute there, and end it.

        Operations may fill the slots 1 to ``slots``.  ``as_root``: of the host, without the user namespace.
        Raises :class:`KernelError`.
        """
        script = Script.of(inner=operations)
        if as_root:
            held = userns.hold(namespaces, script=script, fds=(-1,), slots=1 + slots)
        else:
            held = userns.hold(
                namespaces,
                script=script,
                fds=(self.userns(),),
                slots=1 + slots,
                joins=((0, lib.CLONE_NEWUSER),),
                ns_root=True,
            )
        userns.release(held[1])

    def close(self) -> None:
        """Close the user namespace; idempotent."""
        if isinstance(self._userns, int):
            os.close(self._userns)
        self._userns = None


def setting(name: str) -> str | None:
    """The content of a file below /proc/sys; ``None`` where there is none to be read."""
    with suppress(OSError), open(f"/proc/sys/{name}") as file:
        return file.read().strip()
    return None


def ended_within(pidfd: int, seconds: float) -> bool:
    """Has a process ended, or does it within so many seconds?"""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


#: How long a program may take, in seconds.
_PATIENCE = 0.5
#: Where programs lie that an ordinary user's PATH leaves out.
_MORE_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


def find(name: str) -> str | None:
    """The path of a program, or ``None``."""
    for folder in f"{os.environ.get('PATH', '')}:{_MORE_FOLDERS}".split(":"):
        if folder.startswith("/") and os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return None


def run(name: str, *args: str, ids: tuple[int, int] | None = None) -> str:
    """Run a program that has to succeed at once, as the user ``ids`` if given; the first line that it writes.

    Raises :class:`Lacking` with what it said.
    """
    path = find(name)
    if path is None:
        raise Lacking(f"there is no program {name}")
    with ExitStack() as stack:
        null = _owned(stack, os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
        output = _owned(stack, os.memfd_create("output", os.MFD_CLOEXEC))
        request = Spawn(
            argv=tuple(os.fsencode(word) for word in (name, *args)),
            env=(b"LC_ALL=C",),
            candidates=(os.fsencode(path),),
            fds=(null, output),
            stdio=((0, 0), (1, 1), (1, 2)),
            workdir=b"/",
            ids=ids,
            groups=None if ids is None else (),
        )
        _, pidfd = spawn(request)
        if not ended_within(pidfd, _PATIENCE):
            userns.release(pidfd)
            raise Lacking(f"{path} {' '.join(args)}: did not end within {_PATIENCE:g} s")
        ended = wait_usage(pidfd, os.WEXITED)
        os.close(pidfd)
        lines = os.pread(output, 4096, 0).decode(errors="replace").splitlines() or [""]
    if ended is None or ended.status != 0:
        raise Lacking(f"{path} {' '.join(args)}: {lines[-1] or 'failed without a word'}")
    return lines[0]


def _owned(stack: ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd
