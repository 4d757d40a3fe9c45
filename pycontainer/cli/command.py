"""What a command of the command line is, and one call of it."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, cast

from pycontainer.cli.parser import Parser
from pycontainer.home import default_root

if TYPE_CHECKING:
    from pycontainer.engine import Engine
    from pycontainer.engine.detached import DetachedContainer
    from pycontainer.image.images import Images
    from pycontainer.network.networks import Networks
    from pycontainer.volume import Volumes


class Command(NamedTuple):
    """A command: ``usage`` after its name, its options, what it does, how many other words it takes.

    ``interspersed``: options may come after the first of those words.  ``completes`` says what each of them is, for
    the shell: "image", "volume" or "file"; the last one counts for all that follow.
    """

    usage: str
    run: Callable[[Call], int | None]
    options: Callable[[Parser], None] = lambda _: None
    least: int = 0
    most: int | None = 0
    interspersed: bool = True
    completes: tuple[str, ...] = ()


class Call:
    """One call of a command: what was typed, and the engine that it is about.

    Its images, volumes and networks are had without the rest of the engine, whose code takes longer to load.
    """

    def __init__(self, name: str, given: Namespace, words: list[str], root: str | None) -> None:
        self.name = name
        self.given = given
        self.words = words
        self.root = default_root() if root is None else os.path.abspath(root)
        self._engine: Engine | None = None
        self._images: Images | None = None

    @property
    def engine(self) -> Engine:
        """The engine of ``--root``, else the default one."""
        if self._engine is None:
            from pycontainer.engine import Engine

            self._engine = Engine(self.root)
        return self._engine

    def container(self, name: str) -> DetachedContainer:
        """The container of that name, id or unique start of an id. Raises :class:`InvalidArgument`.

        A slash before the name is Docker's, and ours in ``inspect``: who read it there may give it back.
        """
        return cast("DetachedContainer", self.engine.containers.get(name.removeprefix("/")))

    @property
    def images(self) -> Images:
        """The images of the engine."""
        if self._engine is not None:
            return self._engine.images
        if self._images is None:
            from pycontainer.image.images import Images

            self._images = Images(self.root)
        return self._images

    @property
    def volumes(self) -> Volumes:
        """The volumes of the engine."""
        from pycontainer.volume import volumes_at

        return volumes_at(self.root)

    @property
    def networks(self) -> Networks:
        """The networks of the engine."""
        from pycontainer.network.networks import networks_at

        return networks_at(self.root)

    def close(self) -> None:
        """Close what was opened; idempotent."""
        engine, self._engine = self._engine, None
        images, self._images = self._images, None
        for each in (engine, images):
            if each is not None:
                each.close()
        if engine is not None and os.path.exists(f"{self.root}/network.db"):
            from pycontainer.errors import PyContainerError

            # As a courtesy: where it fails the next one that is told to do something with networks says why.
            with suppress(PyContainerError, OSError):
                self.networks.rest()

    def each(self, names: Iterable[str], verb: Callable[[str], object]) -> int:
        """Do it with each of them; 1 when one failed, which is told, while the others are done all the same."""
        from pycontainer.cli.failure import tell
        from pycontainer.errors import PyContainerError

        status = 0
        for name in names:
            try:
                verb(name)
            except (PyContainerError, OSError) as error:
                sys.stdout.flush()
                tell(error)
                status = 1
        return status
