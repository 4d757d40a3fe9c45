"""The engine itself: where its containers and images are, and one-shot runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload
from weakref import WeakSet

from pycontainer.container.arguments import flag
from pycontainer.container.command import complete
from pycontainer.container.exchange import take_exchange
from pycontainer.container.oneshot import OneShot
from pycontainer.container.result import Result
from pycontainer.container.spec import spec_of
from pycontainer.container.workspace import Workspace
from pycontainer.engine.containers import Container, Containers
from pycontainer.home import default_root
from pycontainer.image.image import Image, image_in_no_store

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import DetachedOptions, PrepareOptions, RunOptions
    from pycontainer.image.images import Images
    from pycontainer.network.networks import Networks
    from pycontainer.volume import Volumes


class Closable(Protocol):
    """What an engine closes before itself."""

    def close(self) -> None:
        """Remove what it holds; idempotent."""
        ...


class Engine:
    """A store root and the containers that this process has in it. Thread-safe; ``close`` removes them.

    The constructor touches nothing; the root is made (mode 0700) by the first container.

    >>> with Engine(root="/srv/pc") as engine:    # doctest: +SKIP
    ...     engine.run("host:", ["true"]).exit_code
    0
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self._is_own = root is not None
        self.root = os.path.abspath(os.fspath(root)) if root is not None else default_root()
        self.containers = Containers(self)
        self._images: Images | None = None
        self._workspace: Workspace | None = None
        self._lock = threading.Lock()
        #: What keeps containers ready, to be closed with this.
        self.pools: WeakSet[Closable] = WeakSet()

    @property
    def workspace(self) -> Workspace:
        """This process's part of the root, made when first asked for."""
        if self._workspace is None:
            with self._lock:
                if self._workspace is None:
                    self._workspace = Workspace(self.root, lambda: self.images)
        return self._workspace

    @property
    def images(self) -> Images:
        """The images in the root's store."""
        if self._images is None:
            from pycontainer.image.images import Images, default_images

            with self._lock:
                if self._images is None:
                    self._images = Images(self.root) if self._is_own else default_images()
        return self._images

    @property
    def networks(self) -> Networks:
        """The networks of this root: ``create``, ``get``, ``list``, ``prune``."""
        from pycontainer.network.networks import networks_at

        return networks_at(self.root)

    @property
    def volumes(self) -> Volumes:
        """The volumes below the root, of all processes."""
        from pycontainer.volume import volumes_at

        return volumes_at(self.root)

    def resolve(self, image: str | Image) -> Image:
        """The image that a string names; see :meth:`Images.resolve`."""
        return image_in_no_store(image) or self.images.resolve(image)

    @overload
    def run(
        self,
        image: str | Image,
        command: Sequence[str] | str | None = None,
        *,
        detach: Literal[True],
        **options: Unpack[DetachedOptions],
    ) -> Container: ...
    @overload
    def run(
        self,
        image: str | Image,
        command: Sequence[str] | str | None = None,
        *,
        detach: Literal[False] = False,
        **options: Unpack[RunOptions],
    ) -> Result[Any]: ...
    def run(
        self,
        image: str | Image,
        command: Sequence[str] | str | None = None,
        *,
        detach: bool = False,
        **given: Any,
    ) -> Any:
        """Run a command in a fresh container and wait for its end; see :func:`pycontainer.run`."""
        if flag("detach", detach):
            made = self.containers.create(image, command, detach=True, **given)
            try:
                made.start()
            except BaseException:
                made.remove(force=True)
                raise
            return made
        check = flag("check", given.pop("check", False))
        result = complete(self.prepare(image, command, **given))
        return result.check() if check else result

    def prepare(
        self,
        image: str | Image,
        command: Sequence[str] | str | None = None,
        **options: Unpack[PrepareOptions],
    ) -> OneShot:
        """A checked run that is not yet started: what :meth:`run` and its asynchronous twin drive."""
        given: dict[str, Any] = {**options}
        exchange, changes = take_exchange("run", given)
        spec = spec_of(self.resolve(image), command, given)
        return OneShot(self.workspace, spec, exchange, changes=changes)

    def close(self) -> None:
        """Remove this process's containers, those that are not detached, and its part of the root; idempotent. The engine can be used again."""
        for pool in list(self.pools):
            pool.close()
        for each in self.containers.own():
            each.remove(force=True)
        with self._lock:
            workspace, self._workspace = self._workspace, None
        if workspace is not None:
            workspace.close()
        if self._images is not None:
            self._images.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
