"""The containers of an engine: those of this process, and the detached ones."""

from __future__ import annotations

import builtins
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from pycontainer.container import container
from pycontainer.container.arguments import container_name, flag, text
from pycontainer.container.options import CONTAINER, refuse_unknown
from pycontainer.container.spec import spec_of
from pycontainer.errors import InvalidArgument
from pycontainer.image.image import Image

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import CreateOptions
    from pycontainer.engine.detached import DetachedContainer, DetachedContainers
    from pycontainer.engine.engine import Engine
    from pycontainer.image.progress import Listener
    from pycontainer.state.events import Event


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
        containers (``docker create --name``).  With ``detach`` it outlives this process, and takes what is told
        there: see docs/guide/detached.md.  All other arguments that describe a container are those of
        :func:`pycontainer.run`; what goes in and out of its program is said when it starts.
        Raises :class:`InvalidArgument`, and :class:`TypeError` for an unknown argument.
        """
        if engine is None:
            from pycontainer.engine.default import default_engine

            engine = default_engine()
        return engine.containers.create(image, command, **options)


class _Own:
    """A container of this process as a filter looks at it."""

    digest: str | None
    health: str | None = None

    def __init__(self, container: Container) -> None:
        self.container = container
        self.id, self.name = container.id, container.name
        self.labels = dict(container.spec.labels)
        self.image, self.digest = container.spec.image.name, container.spec.image.digest

    @property
    def mounts(self) -> Sequence[str]:
        every = (mount for mount, _ in self.container.spec.mounts)
        return [str(getattr(mount, "source", None) or mount.target) for mount in every]

    @property
    def networks(self) -> Sequence[str]:
        wish = self.container.spec.network
        return [each.network for each in wish.places] or [wish.mode]

    @property
    def status(self) -> str:
        return self.container.status

    @property
    def exit_code(self) -> int | None:
        return self.container.exit_code


class Containers:
    """The containers of an engine: those that this process made, and the detached ones of all processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, Container] = {}
        self._lock = threading.Lock()

    @property
    def _detached(self) -> DetachedContainers:
        from pycontainer.engine.detached import DetachedContainers

        return DetachedContainers(self._engine)

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
            container_name(name)
        if flag("detach", given.pop("detach", False)):
            return self._detached.create(self._engine.resolve(image), command, given, name)
        for each in given.keys() - CONTAINER:
            raise InvalidArgument(
                each, given[each], "only a container that outlives this process has that: say detach=True"
            )
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
        found = [each for each in self.own() if each.name == name or (name and each.id.startswith(name))]
        exact = [each for each in found if name in (each.name, each.id)]
        if len(exact) == 1:
            return exact[0]
        detached = self._detached.get(text("name", name))
        if detached is not None:
            found.append(detached)
        if len(found) != 1:
            raise InvalidArgument("name", name, "several containers match" if found else "no such container")
        return found[0]

    def list(
        self,
        *,
        all: bool = False,  # noqa: A002  (as Docker calls it)
        filters: Mapping[str, Any] | None = None,
    ) -> builtins.list[Container]:
        """The containers that run, or with ``all`` those that are there; oldest first (``docker ps``).

        ``filters``: ``id`` (its beginning), ``name`` (a part, or a regular expression), ``label`` ("name" or "name=text"), ``status``, ``ancestor``
        (an image), ``exited`` (an exit code), ``network``, ``volume``, ``health``; each with a value, or several.  A filter by status looks at
        all.  Raises :class:`InvalidArgument`.
        """
        from pycontainer.state.filters import chosen

        flag("all", all)
        detached = self._detached
        found: builtins.list[Container] = [
            detached.open(each) for each in chosen(detached.shown(), all_=all, filters=filters)
        ]
        own = chosen([_Own(each) for each in self.own()], all_=all, filters=filters)
        return [*found, *(each.container for each in own)]

    def own(self) -> builtins.list[Container]:
        """Those of this process, which end with it, that are not removed; oldest first."""
        with self._lock:
            self._forget_removed()
            return builtins.list(self._known.values())

    def load(
        self,
        source: str | os.PathLike[str] | IO[bytes],
        *,
        name: str | None = None,
        trusted: bool = False,
        progress: Listener | None = None,
    ) -> DetachedContainer:
        """Make the detached container that an archive of its ``save`` has; it is not started.

        It is a new one, by ``name``, or the name that it had, with an id of its own; its images come with it, and have
        their names where no other image has.  What it binds of the host and volumes with names must be there.
        ``source`` is a path, or a file open for reading bytes, a pipe as well.

        An archive is a stranger's word: one whose container has more of the host than a plain one (paths, devices,
        its network, capabilities) is refused unless it is ``trusted``; the message tells what it wants.

        All is verified, and all is there or nothing (layers of images stay for the next attempt).  Raises
        :class:`ImageNotFound` for an archive without a container, :class:`ImageError`, :class:`UnsafeArchive`,
        :class:`InvalidArgument`, :class:`NotSupported`, :class:`KernelError`.

        >>> engine.containers.load("db.tar", name="db2").start()            # doctest: +SKIP
        """
        if name is not None:
            container_name(name)
        flag("trusted", trusted)
        return self._detached.load(source, name, trusted=trusted, progress=progress)

    def prune(
        self, *, until: Any = None, where: Callable[[DetachedContainer], bool] | None = None
    ) -> builtins.list[str]:
        """Remove the detached containers that do not run; their ids. ``until``: only those made before; see ``logs``.

        ``where`` is asked for each: only those for which it says true.
        """
        from pycontainer.container.logreader import moment

        return self._detached.prune(moment("until", until), where)

    def events(self, *, since: Any = None, until: Any = None, follow: bool = True) -> Iterator[Event]:
        """What happens to detached containers, in whatever process, as it happens: create, start, die, restart, checkpoint, restore,
        oom, health_status, pause, unpause, rename, dead, destroy.

        From ``since`` (``None``: from the first reading on) to ``until``: seconds since 1970, a ``datetime``, or a
        ``timedelta`` before now, as for ``logs``; without ``follow`` only what has happened.
        """
        from pycontainer.container.logreader import moment

        flag("follow", follow)
        return self._detached.events(moment("since", since), moment("until", until), follow=follow)

    def revive(self) -> builtins.list[str]:
        """Start the detached containers again that ran when the machine went down, as their restart policies say; their ids.

        For a unit that is started at boot: nothing of this library runs by itself then.
        """
        return self._detached.revive()

    def _forget_removed(self) -> None:
        for key in [key for key, each in self._known.items() if each.status == "removed"]:
            del self._known[key]
