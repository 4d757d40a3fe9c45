"""The detached containers of an engine: those of all processes that use its root."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from pycontainer.container.detached.container import Detached
from pycontainer.container.detached.making import make
from pycontainer.container.detached.options import NAMES
from pycontainer.container.spec import spec_of
from pycontainer.engine.containers import Container
from pycontainer.errors import InvalidArgument, PyContainerError, StateError
from pycontainer.state import events
from pycontainer.state.places import Places
from pycontainer.state.records import Record, Records
from pycontainer.state.shown import Shown, shown
from pycontainer.state.sweeping import sweep

if TYPE_CHECKING:
    from pycontainer.engine.engine import Engine
    from pycontainer.image.image import Image
    from pycontainer.image.progress import Listener


class DetachedContainer(Detached, Container):
    """A container that outlives the process that made it: :meth:`Containers.create` with ``detach=True``.

    Any process finds it by :meth:`Containers.get`.  ``with`` lets go of it and does not end it.

    >>> db = Container.create("postgres:16", detach=True, name="db", restart="on-failure:3")    # doctest: +SKIP
    >>> db.start()                                                                              # doctest: +SKIP
    """


class DetachedContainers:
    """The detached containers below one root. Every call looks at what there is now."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._places = Places(engine.root)
        self._records = Records(self._places)

    def create(
        self, image: Image, command: Sequence[str] | str | None, given: dict[str, Any], name: str | None
    ) -> DetachedContainer:
        """Make one, not yet started; ``given`` are the checked names of ``create``'s arguments."""
        keeping = {each: given.pop(each) for each in NAMES & given.keys()}
        spec = spec_of(image, command, given)
        self._sweep()
        return self._open(make(self._engine.workspace, self._records, spec, keeping, name))

    def load(
        self,
        source: str | os.PathLike[str] | IO[bytes],
        name: str | None,
        *,
        trusted: bool,
        progress: Listener | None,
    ) -> DetachedContainer:
        """Make the one that an archive has."""
        from pycontainer.container.detached import arriving

        self._sweep()
        workspace = self._engine.workspace
        return self._open(
            arriving.load(workspace, self._records, source, name=name, trusted=trusted, progress=progress)
        )

    def _open(self, record: Record) -> DetachedContainer:
        return DetachedContainer(self._engine.workspace, self._records, record)

    def _sweep(self) -> None:
        sweep(self._records, self._engine.workspace.reach)

    def get(self, name: str) -> DetachedContainer | None:
        """The container of that name, id or unique start of an id; ``None``: there is none.

        Raises :class:`InvalidArgument` when several match.
        """
        try:
            record = self._records.find(name)
        except InvalidArgument as error:
            if "several" in error.reason:
                raise
            return None
        if not self._places.exists(record.id):
            self._records.remove(record.id)  # removed with its end
            return None
        return self._open(record)

    def shown(self) -> list[Shown]:
        """How all of them are, oldest first."""
        if os.path.exists(f"{self._engine.root}/keeper"):
            from pycontainer.network import keeping

            keeping.revive(self._engine.root)
        return shown(self._engine.root)

    def open(self, found: Shown) -> DetachedContainer:
        """The container itself."""
        return self._open(found.record)

    def prune(
        self, until: float | None = None, where: Callable[[DetachedContainer], bool] | None = None
    ) -> list[str]:
        """Remove those that do not run, were made before ``until``, and that ``where`` wants; their ids."""
        self._sweep()
        removed = []
        for each in map(self.open, self.shown()):
            if each.status in {"created", "exited", "dead"} and (until is None or each.created < until):
                if where is not None and not where(each):
                    continue
                try:
                    each.remove()
                except StateError:  # started, or removed, in this moment
                    continue
                removed.append(each.id)
        return removed

    def events(self, since: float | None, until: float | None, *, follow: bool) -> Iterator[events.Event]:
        """What happens to them, in whatever process."""
        return events.read(self._places.path, since=since, until=until, follow=follow)

    def revive(self) -> list[str]:
        """Start those again that ran when the machine went down, as their restart policies say; their ids."""
        started = []
        for each in map(self.open, self.shown()):
            policy = each.keeping.restart.policy
            if each.status == "dead" and policy in {"always", "unless-stopped", "on-failure"}:
                try:
                    each.start()
                except PyContainerError:
                    continue  # its state tells
                started.append(each.id)
        return started
