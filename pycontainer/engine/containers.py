"""The containers of an engine that this process made."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pycontainer.container import container
from pycontainer.container.arguments import text
from pycontainer.container.options import refuse_unknown
from pycontainer.container.spec import spec_of
from pycontainer.errors import InvalidArgument
from pycontainer.image.image import Image

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import CreateOptions
    from pycontainer.engine.engine import Engine


class Container(container.Container):
    """A container of this process; ``with`` removes it at the end.

    Its writable layer is on disk, and lives until it is removed; when this process ends, however it
    ends, the container is ended and removed.  All methods may be called from several threads.

    >>> with Container.create("host:", ["sleep", "60"]) as c:   # doctest: +SKIP
    ...     c.start()
    ...     c.exec(["hostname"]).stdout
    """

    @classmethod
    def create(
        cls,
        image: str | Image,
        command: Sequence[str] | str | None = None,
        *,
        engine: Engine | None = None,
        **options: Unpack[CreateOptions],
    ) -> Container:
        """Make a container, not yet started; it belongs to ``engine``, or to the default one.

        ``name`` is one of letters, digits, ``_``, ``.`` and ``-``, two at least, and its own among the engine's
        containers (``docker create --name``).  All other arguments that describe a container are those of
        :func:`pycontainer.run`; what goes in and out of its program is said when it starts.
        Raises :class:`InvalidArgument`, and :class:`TypeError` for an unknown argument.
        """
        if engine is None:
            from pycontainer.engine.default import default_engine

            engine = default_engine()
        return engine.containers.create(image, command, **options)


class Containers:
    """The containers of an engine that this process made."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, Container] = {}
        self._lock = threading.Lock()

    def create(
        self,
        image: str | Image,
        command: Sequence[str] | str | None = None,
        **options: Unpack[CreateOptions],
    ) -> Container:
        """Make a container, not yet started; see :meth:`Container.create`."""
        given: dict[str, Any] = {**options}
        refuse_unknown("create", given)
        name = given.pop("name", None)
        if name is not None:
            check_name(name)
        spec = spec_of(self._engine.resolve(image), command, given)
        with self._lock:
            self._forget_removed()
            if name is not None and any(each.name == name for each in self._known.values()):
                raise InvalidArgument("name", name, "a container has this name: remove it, or choose another")
            made = Container(self._engine.workspace, spec, name, self._note)
            self._known[made.id] = made
        return made

    def _note(self, made: Container) -> None:
        """A container that was made from one of these."""
        with self._lock:
            self._known[made.id] = made

    def get(self, name: str) -> Container:
        """The container of that name, id or unique start of an id. Raises :class:`InvalidArgument`."""
        found = [each for each in self.list() if each.name == name or (name and each.id.startswith(name))]
        exact = [each for each in found if name in (each.name, each.id)]
        if len(exact) == 1:
            return exact[0]
        if len(found) != 1:
            raise InvalidArgument("name", name, "several containers match" if found else "no such container")
        return found[0]

    def list(self) -> list[Container]:
        """Those that are not removed, oldest first."""
        with self._lock:
            self._forget_removed()
            return list(self._known.values())

    def _forget_removed(self) -> None:
        for key in [key for key, each in self._known.items() if each.status == "removed"]:
            del self._known[key]


def check_name(name: str) -> None:
    """Refuse what is no name of a container by Docker's rule."""
    import re

    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", text("name", name)):
        raise InvalidArgument("name", name, "letters, digits, '_', '.' and '-' are needed, two at least")
