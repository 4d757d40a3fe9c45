"""How this process reaches the files of its containers: directly, else by a steward.

The steward costs an interpreter's start, so it is asked only after the kernel has refused; its user
namespace is made once, when first needed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from pycontainer.errors import KernelError
from pycontainer.kernel import idmap
from pycontainer.kernel.changes import Change, overlay_changes
from pycontainer.kernel.denied import DENIED, can_read
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.layers import Namespace
from pycontainer.kernel.rooted import READ_LIMIT, PathLike, Rooted
from pycontainer.kernel.squash import squash
from pycontainer.kernel.transfer import copy_in, copy_out
from pycontainer.kernel.tree import remove_tree

if TYPE_CHECKING:
    from pycontainer.kernel.steward import Steward

_T = TypeVar("_T")


class Reach:
    """Does what is to be done with files of containers, whoever of their users owns them. Thread-safe.

    Every method raises what the function does that it is named for.
    """

    def __init__(self) -> None:
        self._steward: Steward | None = None
        self._lock = threading.Lock()

    def steward(self) -> Steward:
        """Who reaches what the caller may not; never needed by one who rules the host."""
        from pycontainer.kernel import userns
        from pycontainer.kernel.steward import Steward

        with self._lock:
            if self._steward is None:
                # A namespace of its own, no container's: nobody else is ever in it.
                self._steward = Steward(userns.create(idmap.user_map()))
            return self._steward

    def close(self) -> None:
        """Let go of the user namespace; idempotent."""
        with self._lock:
            steward, self._steward = self._steward, None
        if steward is not None:
            os.close(steward.userns)

    def changes(self, upper: int, lowers: Sequence[str], shift: int, marks: Namespace) -> list[Change]:
        """How a container's writable layer differs from those below it, topmost first."""
        return self._try(
            lambda: overlay_changes(upper, lowers, upper_base=shift, namespace=marks),
            lambda steward: steward.changes(upper, lowers, shift, marks),
        )

    def squash(self, layers: Sequence[str], target: int, marks: Namespace) -> None:
        """Make layers into one."""
        self._try(
            lambda: squash(layers, target, marks), lambda steward: steward.squash(target, layers, marks)
        )

    def remove(self, dir_fd: int, name: str) -> None:
        """Remove a file or tree of whatever owners."""
        self._try(lambda: remove_tree(dir_fd, name), lambda steward: steward.remove(dir_fd, name))

    def read(self, root: Rooted, path: str, limit: int = READ_LIMIT) -> bytes:
        """The content of a file of the container, of ``limit`` bytes at most."""
        return self._try(
            lambda: root.read_bytes(path, limit=limit),
            lambda steward: steward.read(root.fileno(), path, limit),
        )

    def write(self, root: Rooted, path: str, data: bytes, mode: int) -> None:
        """Write a file of the container."""
        self._try(
            lambda: root.write_bytes(path, data, mode=mode),
            lambda steward: steward.write(root.fileno(), path, data, mode),
        )

    def copy_in(self, root: Rooted, source: PathLike, target: PathLike) -> None:
        """Copy into the container."""
        try:
            copy_in(root, source, target)
            return
        except KernelError as error:
            # Refused at the source, a copy would have left a part of it: the target exists and means another.
            if not _helps(error) or not _can_read_on_host(source):
                raise
        self.steward().copy_in(root.fileno(), source, target)

    def copy_out(self, root: Rooted, source: PathLike, target: PathLike, limit: int) -> None:
        """Copy out of the container, at most ``limit`` bytes."""
        # Asked before, for the same reason: what is refused half-way cannot begin anew.
        if idmap.rules_host() or can_read(root, source):
            copy_out(root, source, target, limit=limit)
        else:
            self.steward().copy_out(root.fileno(), source, target, limit)

    def _try(self, directly: Callable[[], _T], instead: Callable[[Steward], _T]) -> _T:
        try:
            return directly()
        except KernelError as error:
            if not _helps(error):
                raise
        return instead(self.steward())


def _helps(error: KernelError) -> bool:
    return error.errno in DENIED and not idmap.rules_host()


def _can_read_on_host(source: PathLike) -> bool:
    with Fd(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        path = os.path.join(os.getcwdb(), os.fsencode(source))
        return can_read(Rooted(root.fileno(), where="on the host", trusted=True), path)
