"""What a container has written, from the event loop: listed, kept, and shared with further containers."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import IO, TYPE_CHECKING, Generic, TypeVar

from pycontainer import engine as sync
from pycontainer.aio.access import Access
from pycontainer.aio.loop import in_thread, make, to_the_end
from pycontainer.container import snapshot
from pycontainer.image.image import Image
from pycontainer.kernel.changes import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pycontainer.image.config import ImageConfig

_Self = TypeVar("_Self", bound="FileSystem")
_Face = TypeVar("_Face", bound="FileSystem")


class FileSystem(Access):
    """A container's layers; base of :class:`pycontainer.aio.Container`."""

    def __init__(self, container: sync.Container) -> None:
        self._container = container

    def _held(self) -> AbstractContextManager[None]:
        """Around what holds the container's lock for long."""
        raise NotImplementedError

    async def changes(self) -> list[Change]:
        """What differs from the image, in the order of paths (``docker diff``)."""
        with self._held():
            return await in_thread(self._container.changes)

    async def commit(
        self,
        name: str | None = None,
        *,
        config: ImageConfig | None = None,
        changes: str | Iterable[str] = (),
        author: str = "",
        message: str = "",
    ) -> Image:
        """An image of the files as they are now; see :meth:`pycontainer.Container.commit`."""
        call = partial(
            self._container.commit, name, config=config, changes=changes, author=author, message=message
        )
        with self._held():
            return await in_thread(call)

    async def export(self, target: str | os.PathLike[str] | IO[bytes]) -> None:
        """Write all files as one tar archive; see :meth:`pycontainer.Container.export`."""
        with self._held():
            await in_thread(partial(self._container.export, target))

    async def snapshot(self: _Self) -> Snapshot[_Self]:
        """The files as they are now, for :meth:`Snapshot.fork`; see :meth:`pycontainer.Container.snapshot`."""
        with self._held():
            made = await make(self._container.snapshot, snapshot.Snapshot.close)
        return Snapshot(made, type(self))

    async def fork(self: _Self, count: int = 1) -> list[_Self]:
        """That many containers with the files that this one has now; see :meth:`pycontainer.Container.fork`."""
        with self._held():
            made = await make(partial(self._container.fork, count), _remove)
        return [type(self)(each) for each in made]


class Snapshot(Generic[_Face]):
    """As :class:`pycontainer.Snapshot`; ``async with`` or :meth:`close` lets go of it."""

    def __init__(
        self, made: snapshot.Snapshot[sync.Container], face: Callable[[sync.Container], _Face]
    ) -> None:
        self._made = made
        self._face = face

    @property
    def image(self) -> Image:
        """What containers made from it start from."""
        return self._made.image

    async def fork(self, count: int = 1) -> list[_Face]:
        """That many containers with these files, not yet started."""
        return [self._face(each) for each in await make(partial(self._made.fork, count), _remove)]

    async def close(self) -> None:
        """Let go of it; idempotent. What was forked goes on."""
        await in_thread(self._made.close)

    async def __aenter__(self) -> Snapshot[_Face]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await to_the_end(self._made.close)


def _remove(made: list[sync.Container]) -> None:
    for each in made:
        each.remove()
