"""Snapshots: what a container has written so far, sealed and shared by the containers made from it.

A container that does not run gives its writable layer away, which is a rename, and gets a new one above it: that
takes as long whatever is in there.  One that runs goes on writing to its own, so it is copied while every process
stands still.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from pycontainer.container.workspace import Workspace
from pycontainer.errors import InvalidArgument, StateError
from pycontainer.image.image import Image
from pycontainer.kernel.changes import Change, Kind
from pycontainer.kernel.layers import Namespace

if TYPE_CHECKING:
    from pycontainer.container.life import Life

_Kept = TypeVar("_Kept", bound="Life")

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


def above(image: Image, seal: Seal, layers: tuple[str, ...], marks: Namespace) -> Image:
    """The image with a sealed layer on top of ``layers``, which are its own."""

    def hold() -> Held:
        below = image.hold()
        return Held([seal.hold().close, *([] if below is None else [below.close])])

    return attrs.evolve(image, layers=(*layers, seal.path), marks=marks, holder=hold)


class Snapshot(Generic[_Kept]):
    """What a container had written when it was made; ``with`` or :meth:`close` lets go of it.

    Containers made from it have a writable layer of their own each, and share what is below. They keep it as long
    as they are there; it goes with this process at the latest.

    >>> with db.snapshot() as snapshot:                     # doctest: +SKIP
    ...     first, second = snapshot.fork(2)
    """

    def __init__(self, image: Image, make: Callable[[Image], _Kept]) -> None:
        self.image = image
        self._make = make
        self._hold = image.hold()

    def fork(self, count: int = 1) -> list[_Kept]:
        """That many containers with these files and the same settings, not yet started.

        Raises :class:`StateError` when it is closed; on a failure none is left.
        """
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST:
            raise InvalidArgument("count", count, f"a number from 1 to {_MOST} is needed")
        if self._hold is None:
            raise StateError("the snapshot", "closed", "fork")
        made: list[_Kept] = []
        try:
            for _ in range(count):
                made.append(self._make(self.image))  # noqa: PERF401  (those made are removed on a failure)
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
