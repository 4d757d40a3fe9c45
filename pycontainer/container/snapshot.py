"""Snapshots: what a container has written so far, sealed and shared by the containers made from it.

A container that does not run gives its writable layer away, which is a rename, and gets a new one above it: that
takes as long whatever is in there.  One that runs goes on writing to its own, so it is copied while every process
stands still.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from pycontainer.container.workspace import Workspace
from pycontainer.errors import InvalidArgument, StateError
from pycontainer.image.image import Image
from pycontainer.kernel.changes import Change, Kind
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.layers import Namespace
from pycontainer.kernel.rooted import OPEN_DIRECTORY

if TYPE_CHECKING:
    from pycontainer.container.life import Life

_Kept = TypeVar("_Kept", bound="Life")

#: So many sealed layers are made into one: each costs a start some system calls.
_DEEP = 32
#: How many containers are made at once; each has a folder and a user namespace.
_MOST = 10_000


class Seal:
    """A writable layer that nobody writes to any more, in a folder of its own; removed with its last holder."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._name = f"sealed-{os.urandom(6).hex()}"
        self._holders = 0
        self._lock = threading.Lock()
        self.folder = workspace.make_folder(self._name, other_users=True)
        self.path = f"{self.folder}/upper"

    def hold(self) -> Held:
        """Keep it until the hold is closed."""
        with self._lock:
            self._holders += 1
        return Held([self._let_go])

    def _let_go(self) -> None:
        with self._lock:
            self._holders -= 1
            last = self._holders == 0
        if last and self._workspace.pid == os.getpid():
            self._workspace.remove_folder(self._name)


class Held:
    """Something kept until :meth:`close`; idempotent."""

    def __init__(self, closers: Iterable[Callable[[], object]]) -> None:
        self._closers = list(closers)

    def close(self) -> None:
        """Let go of it."""
        while self._closers:
            self._closers.pop()()


@attrs.frozen(kw_only=True)
class Stack:
    """The layers of a container: those of an image, and on top of them sealed ones, lowest first.

    ``inherited`` were sealed before the container was made, ``own`` since.
    """

    origin: Image
    layers: tuple[str, ...]
    inherited: tuple[Seal, ...] = ()
    own: tuple[Seal, ...] = ()

    @property
    def seals(self) -> tuple[Seal, ...]:
        """All that were sealed."""
        return self.inherited + self.own

    def image(self, marks: Namespace) -> Image:
        """All of it as an image, which holds what it needs."""
        if not self.seals:
            return self.origin

        def hold() -> Held:
            below = self.origin.hold()
            closers = [] if below is None else [below.close]
            return Held([*closers, *(seal.hold().close for seal in self.seals)])

        paths = tuple(seal.path for seal in self.seals)
        return attrs.evolve(self.origin, layers=self.layers + paths, marks=marks, holder=hold)

    def above(self, seal: Seal) -> Stack:
        """With one more on top."""
        return attrs.evolve(self, own=(*self.own, seal))

    def inheriting(self) -> Stack:
        """That of a container which is made from it."""
        return attrs.evolve(self, inherited=self.seals, own=())

    def shallow(self, workspace: Workspace, marks: Namespace, holding: ExitStack) -> Stack:
        """The same, with the sealed ones squashed when there are many: an overlay has at most 500 layers.

        New ones are held by ``holding``.
        """
        if len(self.seals) < _DEEP:
            return self
        return attrs.evolve(
            self,
            inherited=_squashed(self.inherited, workspace, marks, holding),
            own=_squashed(self.own, workspace, marks, holding),
        )


def _squashed(
    seals: tuple[Seal, ...], workspace: Workspace, marks: Namespace, holding: ExitStack
) -> tuple[Seal, ...]:
    if len(seals) < 2:
        return seals
    one = Seal(workspace)
    holding.callback(one.hold().close)
    os.mkdir(one.path, 0o755)
    with Fd(os.open(one.path, OPEN_DIRECTORY)) as target:
        workspace.reach.squash([seal.path for seal in seals], target.fileno(), marks)
    return (one,)


class Snapshot(Generic[_Kept]):
    """What a container had written when it was made; ``with`` or :meth:`close` lets go of it.

    Containers made from it have a writable layer of their own each, and share what is below. They keep it as long
    as they are there; it goes with this process at the latest.

    >>> with db.snapshot() as snapshot:                     # doctest: +SKIP
    ...     first, second = snapshot.fork(2)
    """

    def __init__(self, image: Image, make: Callable[[], _Kept]) -> None:
        self.image = image
        self._make = make
        self._hold = image.hold()

    def fork(self, count: int = 1) -> list[_Kept]:
        """That many containers with these files and the same settings, not yet started; a list, also of one.

        Their names are the beginnings of their ids, and free ports of the host are theirs alone; a port that was told is
        refused by the second one that starts.
        Raises :class:`StateError` when it is closed; on a failure none is left.
        """
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST:
            raise InvalidArgument("count", count, f"a number from 1 to {_MOST} is needed")
        if self._hold is None:
            raise StateError("the snapshot", "closed", "fork")
        made: list[_Kept] = []
        try:
            for _ in range(count):
                made.append(self._make())  # noqa: PERF401  (those made are removed on a failure)
        except BaseException:
            for each in made:
                each.remove()
            raise
        return made

    def close(self) -> None:
        """Let go of it; idempotent. What was forked goes on."""
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.close()

    def __repr__(self) -> str:
        return f"<Snapshot of {self.image.name}{' closed' if self._hold is None else ''}>"

    def __enter__(self) -> Snapshot[_Kept]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def folded(earlier: Sequence[Change], later: Sequence[Change]) -> list[Change]:
    """Both lists as one: ``later`` tells how things differ from what ``earlier`` had made of them."""
    gone = {change.path for change in later if change.kind == "deleted"}
    kinds = {change.path: change.kind for change in earlier if not _below(change.path, gone)}
    for change in later:
        before = kinds.get(change.path)
        if (before, change.kind) == ("added", "deleted"):
            del kinds[change.path]
        else:
            kinds[change.path] = _KINDS.get((before, change.kind), change.kind)
    return [Change(kind=kind, path=path) for path, kind in sorted(kinds.items())]


def _below(path: str, directories: set[str]) -> bool:
    while (path := path.rpartition("/")[0]) and directories:
        if path in directories:
            return True
    return False


#: What comes of two changes, where it is not the later one.
_KINDS: dict[tuple[Kind | None, Kind], Kind] = {
    ("added", "modified"): "added",
    ("added", "metadata"): "added",
    ("modified", "metadata"): "modified",
    ("deleted", "added"): "modified",
}
