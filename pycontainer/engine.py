"""An engine: one store root, and the containers of this process in it.

The module-level calls (``pycontainer.run`` and others) use the default engine, whose root is
``$PYCONTAINER_ROOT``, else /var/lib/pycontainer for root and ``$XDG_DATA_HOME/pycontainer`` for others.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import attrs

from pycontainer.container import container
from pycontainer.container.command import Exchange, complete
from pycontainer.container.oneshot import OneShot
from pycontainer.container.result import Result
from pycontainer.container.spec import make_spec
from pycontainer.container.workspace import Workspace
from pycontainer.errors import InvalidArgument
from pycontainer.home import default_root
from pycontainer.image.image import Image, parse_image

#: The arguments that describe the exchange with a command; all others describe its container.
_EXCHANGE = {field.name for field in attrs.fields(Exchange)} | {"encoding", "errors"}


class Engine:
    """A store root and the containers that this process has in it. Thread-safe; ``close`` removes them.

    The constructor touches nothing; the root is made (mode 0700) by the first container.

    >>> with Engine(root="/srv/pc") as engine:    # doctest: +SKIP
    ...     engine.run("host:", ["true"]).exit_code
    0
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = os.path.abspath(os.fspath(root)) if root is not None else default_root()
        self.containers = Containers(self)
        self._workspace: Workspace | None = None
        self._lock = threading.Lock()

    @property
    def workspace(self) -> Workspace:
        """This process's part of the root, made when first asked for."""
        if self._workspace is None:
            with self._lock:
                if self._workspace is None:
                    self._workspace = Workspace(self.root)
        return self._workspace

    def run(
        self,
        image: str | Image,
        command: Sequence[str] | str | None = None,
        *,
        check: bool = False,
        changes: bool = True,
        **options: Any,
    ) -> Result[Any]:
        """Run a command in a fresh container and wait for its end; see :func:`pycontainer.run`."""
        result = complete(self.prepare(image, command, changes=changes, **options))
        return result.check() if check else result

    def prepare(
        self,
        image: str | Image,
        command: Sequence[str] | str | None = None,
        *,
        changes: bool = True,
        **options: Any,
    ) -> OneShot:
        """A checked run that is not yet started: what :meth:`run` and its asynchronous twin drive."""
        exchange = Exchange.of(**{name: options.pop(name) for name in _EXCHANGE & options.keys()})
        return OneShot(
            self.workspace, make_spec(parse_image(image), command, **options), exchange, changes=changes
        )

    def close(self) -> None:
        """Remove this process's containers and its part of the root; idempotent. The engine can be used again."""
        for each in self.containers.list():
            each.remove(force=True)
        with self._lock:
            workspace, self._workspace = self._workspace, None
        if workspace is not None:
            workspace.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
        **options: Any,
    ) -> Container:
        """Make a container, not yet started; the options are those of :func:`pycontainer.run`, and ``name``.

        It belongs to ``engine``, or to the default one.  Raises :class:`InvalidArgument`.
        """
        return (engine or default_engine()).containers.create(image, command, **options)


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
        *,
        name: str | None = None,
        **options: Any,
    ) -> Container:
        """Make a container, not yet started; its name is its own among those that are not removed."""
        spec = make_spec(parse_image(image), command, **options)
        with self._lock:
            self._forget_removed()
            if name is not None and any(each.name == name for each in self._known.values()):
                raise InvalidArgument("name", name, "a container has this name: remove it, or choose another")
            made = Container(self._engine.workspace, spec, check_name(name))
            self._known[made.id] = made
        return made

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


def check_name(name: str | None) -> str | None:
    """A container's name, checked by Docker's rule."""
    import re

    if name is not None and not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", name):
        raise InvalidArgument("name", name, "letters, digits, '_', '.' and '-' are needed, two at least")
    return name


_default: Engine | None = None
_making = threading.Lock()


def default_engine() -> Engine:
    """The engine that the module-level calls use."""
    global _default
    if _default is None:
        with _making:
            if _default is None:
                _default = Engine()
    return _default


def run(image: str | Image, command: Sequence[str] | str | None = None, **options: Any) -> Result[Any]:
    """Run a command in a fresh container of the default engine and wait for its end."""
    return default_engine().run(image, command, **options)


def _forget_in_fork() -> None:
    global _default, _making
    _making = threading.Lock()
    _default = None


# A forked child shares the parent's leases and folders, which are the parent's: it starts anew.
os.register_at_fork(after_in_child=_forget_in_fork)
