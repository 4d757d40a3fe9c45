"""Copying the bytes of files that somebody else may be changing, within a budget."""

from __future__ import annotations

import errno
import os

import attrs

from pycontainer.errors import KernelError
from pycontainer.kernel.fd import write_all

_CHUNK = 1 << 20


@attrs.define(kw_only=True)
class Budget:
    """How many bytes and entries a copy may still take; ``None`` is without bound.

    >>> budget = Budget(step="copy", size=10, entries=None)
    >>> budget.spend(7)
    >>> budget.size
    3
    """

    step: str
    size: int | None
    entries: int | None

    def spend(self, count: int) -> None:
        """Take bytes. Raises :class:`KernelError`, ``EFBIG``, when there are not so many left."""
        if self.size is not None:
            self.size -= count
            if self.size < 0:
                raise KernelError(errno.EFBIG, self.step, hint="it is more than limit= allows")

    def spend_entry(self) -> None:
        """Take one entry of a directory. Raises :class:`KernelError`, ``EFBIG``."""
        if self.entries is not None:
            self.entries -= 1
            if self.entries < 0:
                raise KernelError(errno.EFBIG, self.step, hint="it has more entries than entries= allows")


def copy_content(source: int, target: int, budget: Budget, *, endless: bool) -> None:
    """Copy an open regular file into an empty one; holes stay holes, and cost as if they were filled.

    As much as it holds now: one that grows meanwhile does not keep the copy going.  ``endless``: a file that
    tells no size, as those of the kernel do, is read to its end.  Raises ``OSError``.
    """
    status = os.fstat(source)
    if not status.st_size and endless:
        while part := os.read(source, _CHUNK):
            budget.spend(len(part))
            write_all(target, part)
        return
    budget.spend(status.st_size)
    if status.st_blocks * 512 >= status.st_size:
        _copy_bytes(source, target, status.st_size)
        return
    position = 0
    while position < status.st_size:
        try:
            position = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                break
            raise
        end = min(os.lseek(source, position, os.SEEK_HOLE), status.st_size)
        os.lseek(source, position, os.SEEK_SET)
        os.lseek(target, position, os.SEEK_SET)
        _copy_bytes(source, target, end - position)
        position = end
    os.ftruncate(target, status.st_size)


def _copy_bytes(source: int, target: int, count: int) -> None:
    while count > 0 and (part := os.read(source, min(count, _CHUNK))):
        count -= len(part)
        write_all(target, part)
