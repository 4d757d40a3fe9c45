"""The content of a volume as a whole: made beside the old one, written out, exchanged with it.

So whoever looks sees all of the old or all of the new, also after the end of the process or of the power.  An
ordinary user's containers have files of subordinate ids: what cannot be done directly a steward does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from pycontainer.errors import KernelError
from pycontainer.image.limits import Limits
from pycontainer.image.unpack import Unpacked, unpack
from pycontainer.kernel import idmap, native
from pycontainer.kernel.copytree import copy_tree, copy_up
from pycontainer.kernel.denied import DENIED
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.layers import Namespace
from pycontainer.kernel.native import lib
from pycontainer.kernel.reach import Reach
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named
from pycontainer.volume.archive import Archived, write_archive
from pycontainer.volume.places import DATA, Section
from pycontainer.volume.weight import weight

_T = TypeVar("_T")

_NEW = "new"
_PATH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def keeps_owners() -> bool:
    """May this process, or its steward, give files to other users than the caller?"""
    return os.geteuid() == 0 or not idmap.user_map().is_single


def make_data(tree: int, name: str = DATA) -> None:
    """Make an empty directory that all may enter and its owner may write to."""
    os.mkdir(name, 0o755, dir_fd=tree)
    with Fd(os.open(name, OPEN_DIRECTORY, dir_fd=tree)) as made:
        os.fchmod(made.fileno(), 0o755)  # whatever the umask says


def is_empty(section: Section) -> bool:
    """Is there nothing in the volume?"""
    with section.tree() as tree, Fd(os.open(DATA, _PATH, dir_fd=tree.fileno())) as data:
        return native.is_empty(data.fileno())


def fill(tree: int, layers: tuple[str, ...], marks: Namespace, path: str, *, lasting: bool = True) -> None:
    """Give an empty volume what the image has at ``path``; ``tree`` is its directory, and locked.

    What is not ``lasting`` need not be on disk.
    """
    with closing(Reach()) as reach, _exchanged(tree, reach, lasting=lasting) as new:
        owners = keeps_owners()
        try:
            new.complete = copy_up(new.fileno(), layers, marks, path, owners=owners)
        except KernelError as error:
            if error.errno not in DENIED or os.geteuid() == 0:
                raise
            again = new.renewed()
            new.complete = reach.steward().call(copy_up, (again,), layers, marks, path, owners=owners)


def restore(tree: int, archive: int) -> Unpacked:
    """Replace a volume's content by that of an archive, an open file; ``tree`` is locked."""
    with closing(Reach()) as reach, _exchanged(tree, reach) as new:
        return _call(reach, _unpack, (archive, new.fileno()), keep_owners=keeps_owners())


def copy(source: int, tree: int) -> None:
    """Give a new volume the content of another, whose data is ``source``."""
    with closing(Reach()) as reach, _exchanged(tree, reach) as new:
        _call(reach, copy_tree, (source, new.fileno()), owners=keeps_owners())


def backup(source: int, target: int) -> Archived:
    """Write an archive of the data ``source`` into the empty file ``target``."""
    with closing(Reach()) as reach:
        return _call(reach, write_archive, (source, target))


def used(source: int) -> int:
    """What the data takes on disk, in bytes."""
    with closing(Reach()) as reach:
        return _call(reach, _weigh, (source,))


def remove(parent: int, name: str) -> None:
    """Remove a volume's directory, whoever owns what is in it."""
    with closing(Reach()) as reach:
        reach.remove(parent, name)


def _weigh(source: int) -> int:
    with Fd(os.open(".", OPEN_DIRECTORY, dir_fd=source)) as top:
        return weight(top.fileno())


def _unpack(archive: int, target: int, *, keep_owners: bool) -> Unpacked:
    with named("read the archive"):
        return unpack(lambda count: os.read(archive, count), target, limits=Limits(), keep_owners=keep_owners)


def _call(reach: Reach, function: Callable[..., _T], fds: tuple[int, ...], **arguments: Any) -> _T:
    if os.geteuid() == 0:
        return function(*fds, **arguments)
    return reach.steward().call(function, fds, **arguments)


class _New:
    """A directory that is to become the content."""

    def __init__(self, tree: int, reach: Reach) -> None:
        self._tree = tree
        self._reach = reach
        self._fd: Fd | None = None
        #: Is it what the content is to be?
        self.complete = True
        self.renewed()

    def renewed(self) -> int:
        """The same without what was made in it."""
        self.close()
        self._reach.remove(self._tree, _NEW)
        make_data(self._tree, _NEW)
        self._fd = Fd(os.open(_NEW, OPEN_DIRECTORY, dir_fd=self._tree))
        return self._fd.fileno()

    def fileno(self) -> int:
        assert self._fd is not None  # noqa: S101  made by the constructor
        return self._fd.fileno()

    def close(self) -> None:
        if self._fd is not None:
            self._fd.close()


@contextmanager
def _exchanged(tree: int, reach: Reach, *, lasting: bool = True) -> Iterator[_New]:
    """An empty directory, which takes the place of the content when the body succeeds."""
    with named("make the content of a volume"):
        new = _New(tree, reach)
        try:
            yield new
            if new.complete:
                if lasting:
                    native.syncfs(tree)
                native.renameat2(tree, _NEW.encode(), tree, DATA.encode(), lib.RENAME_EXCHANGE)
                if lasting:
                    os.fsync(tree)
        finally:
            new.close()
            reach.remove(tree, _NEW)
