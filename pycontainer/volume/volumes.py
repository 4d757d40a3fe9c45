"""The volumes of an engine: made, found, held while they are used, removed."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypedDict

from pycontainer.errors import InvalidArgument, StateError, VolumeNotFound
from pycontainer.image.newfile import NewFile
from pycontainer.image.unpack import Unpacked
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.kinds import opened
from pycontainer.kernel.rooted import named
from pycontainer.size import parse_size
from pycontainer.volume import content
from pycontainer.volume.archive import Archived
from pycontainer.volume.catalog import Catalog
from pycontainer.volume.filters import Filters
from pycontainer.volume.places import USERS, Section
from pycontainer.volume.record import Record, check_labels, check_name, parse_options
from pycontainer.volume.volume import Volume

_PATH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class VolumeOptions(TypedDict, total=False):
    """What a volume is to be; see :meth:`Volumes.create`."""

    driver: str
    labels: Mapping[str, str] | None
    size: int | str | None
    device: str | os.PathLike[str] | None
    options: Mapping[str, str] | None


class Held:
    """A volume that is used: it stays until :meth:`close`, or until the user is gone."""

    def __init__(self, record: Record, path: str, note: str, lock: Fd | None) -> None:
        self.record = record
        #: The directory with its content.
        self.path = path
        self._note = note
        self._lock = lock

    def close(self) -> None:
        """Use it no longer; idempotent."""
        with suppress(FileNotFoundError):
            os.unlink(self._note)
        if self._lock is not None:
            self._lock.close()


#: Fills a volume; called with the directory that holds its content, while it is locked.
Filler = Callable[[int], None]


class Volumes:
    """The volumes below an engine's root. Thread-safe; several processes may use one root at once.

    The constructor touches nothing; the directory is made (mode 0700) when first needed.

    >>> volumes = Engine().volumes                              # doctest: +SKIP
    >>> volumes.create("data").name                             # doctest: +SKIP
    'data'
    """

    def __init__(self, root: str) -> None:
        self._catalog = Catalog(root)

    def create(
        self,
        name: str | None = None,
        *,
        driver: str = "local",
        labels: Mapping[str, str] | None = None,
        size: int | str | None = None,
        device: str | os.PathLike[str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make a volume, or find the one of that name if it is the same; it is on disk when this returns.

        Without a ``name`` it gets one of 64 hexadecimal digits.  ``size`` bounds what it holds (bytes, or text
        like "64M") by a project quota, which needs root and a file system that has them.  ``device``: an existing
        directory of the host that it stands for; nothing is ever put there but by containers.  ``options`` are
        those of Docker's local driver: ``{"type": "none", "o": "bind", "device": "/path"}``.

        Raises :class:`InvalidArgument`, also when there is one of that name that is something else;
        :class:`NotSupported`, :class:`KernelError`.
        """
        record = Record(
            name=os.urandom(32).hex() if name is None else check_name(name),
            labels=check_labels(labels),
            size=None if size is None else parse_size("size", size),
            device=_device(parse_options(driver, options, None if device is None else os.fspath(device))),
            anonymous=name is None,
        )
        if record.device is not None and record.size is not None:
            raise InvalidArgument(
                "size", size, "a directory of the host cannot be bounded: leave 'device' or 'size' out"
            )
        while True:
            there = self._catalog.same(record, any_labels=labels is None)
            if there is not None:
                return Volume(there, self)
            if self._catalog.make(record):
                return Volume(record, self)

    def get(self, name: str) -> Volume:
        """The volume of that name. Raises :class:`VolumeNotFound`."""
        return Volume(self._catalog.record(name), self)

    def list(self, filters: Mapping[str, Any] | None = None) -> builtins.list[Volume]:
        """All of them, by name; with ``filters`` those that fit all of it.

        ``name``: a part of it.  ``label``: ``"key"``, ``"key=value"`` or a list of these.  ``driver``: "local".
        ``dangling``: used by nobody, or by somebody.
        """
        wanted = Filters.of(filters)
        found = []
        for name in self._catalog.names():
            with suppress(VolumeNotFound):
                volume = self.get(name)
                if not wanted.fit(name, volume.labels):
                    continue
                if wanted.dangling is None or wanted.dangling == (not volume.users()):
                    found.append(volume)
        return found

    def users(self, name: str) -> builtins.list[str]:
        """Who uses a volume now. Raises :class:`VolumeNotFound`."""
        with self._catalog.found(name) as section:
            return section.users()

    def remove(self, name: str) -> None:
        """Remove a volume; see :meth:`Volume.remove`."""
        self._catalog.sweep()
        with self._catalog.found(name) as section:
            _refuse_used(section, name, "remove it")
            self._catalog.discard(section, name)

    def prune(
        self,
        *,
        all: bool = False,  # noqa: A002  Docker's name
        filters: Mapping[str, Any] | None = None,
        where: Callable[[Volume], bool] = lambda _: True,
    ) -> builtins.list[str]:
        """Remove those that nobody uses and that were made without a name, with ``all`` also the others.

        Their names are returned.  ``filters`` as for :meth:`list`; ``where`` has to say true of each.  What killed processes left half-made or
        half-removed is removed, too.
        """
        self._catalog.sweep()
        removed = []
        for volume in filter(where, self.list(filters)):
            if not all and not volume.anonymous:
                continue
            with self._catalog.places.section(volume.name) as section:
                if section is not None and not section.users():
                    self._catalog.discard(section, volume.name)
                    removed.append(volume.name)
        return removed

    # -- content ---------------------------------------------------------------------------

    def directory(self, record: Record) -> str:
        """Where a volume's content is."""
        return self._catalog.places.data(record.name) if record.device is None else record.device

    def used(self, name: str) -> int:
        """What a volume's files take on disk, in bytes; see :meth:`Volume.inspect`."""
        with self._content(name, "somebody who counts it") as data:
            return content.used(data)

    def backup(self, name: str, path: str | os.PathLike[str]) -> Archived:
        """Write an archive of a volume; see :meth:`Volume.backup`."""
        with self._content(name, "a backup") as data, NewFile(path, mode=0o600) as file:
            with named(f"back the volume {name} up to {os.fspath(path)}"):
                made = content.backup(data, file.fileno())
            file.commit()
            return made

    def restore(self, name: str, path: str | os.PathLike[str]) -> Unpacked:
        """Replace a volume's content by an archive's; see :meth:`Volume.restore`."""
        step = f"open {os.fspath(path)}"
        with named(step), Fd(os.open(path, os.O_PATH | os.O_CLOEXEC)) as there:
            archive = Fd(opened(there.fileno(), os.O_RDONLY, step, kernels=False))
        with archive, self._catalog.found(name) as section:
            _refuse_used(section, name, "restore it")
            if self._catalog.record(name).device is not None:
                raise StateError(f"volume {name}", "a directory of the host", "restore it")
            with section.tree() as tree:
                return content.restore(tree.fileno(), archive.fileno())

    def clone(self, source: str, name: str | None, *, labels: Mapping[str, str] | None = None) -> Volume:
        """Make a copy of a volume; see :meth:`Volume.clone`."""
        record = Record(
            name=os.urandom(32).hex() if name is None else check_name(name),
            labels=self._catalog.record(source).labels if labels is None else check_labels(labels),
            size=self._catalog.record(source).size,
            anonymous=name is None,
        )
        with self._content(source, "a copy that is being made") as data:
            if not self._catalog.make(record, lambda tree: content.copy(data, tree)):
                raise InvalidArgument("name", name, "a volume has this name")
            return Volume(record, self)

    # -- use -------------------------------------------------------------------------------

    def hold(
        self,
        name: str,
        *,
        who: str,
        alive: str | None = None,
        fill: Filler | None = None,
        make: bool = True,
    ) -> Held:
        """Use a volume, which is made if there is none of that name; without ``make`` :class:`VolumeNotFound`.

        ``alive`` is the path below the engine root of a file that is locked (flock(2)) for as long as ``who``
        lives; without one it is used until closed, or until this process ends.  ``fill`` is called for one
        that is empty and that nobody else uses, while all others wait.
        """
        check_name(name)
        while True:
            with self._catalog.places.section(name) as section:
                if section is not None:
                    record = self._catalog.record(name)
                    path = self.directory(record)
                    if record.device is None:
                        if fill is not None and not section.users() and content.is_empty(section):
                            with section.tree() as tree:
                                fill(tree.fileno())
                    elif not os.path.isdir(path):
                        raise InvalidArgument(
                            "device", path, f"the volume {name} stands for this directory, which is gone"
                        )
                    note, lock = section.note(who, alive)
                    return Held(record, path, f"{self._catalog.places.path}/{name}/{USERS}/{note}", lock)
            if not make:
                raise VolumeNotFound(f"{name}: no such volume")
            self._catalog.make(Record(name=name))

    @contextmanager
    def _content(self, name: str, who: str) -> Iterator[int]:
        """The data of a volume, which stays meanwhile."""
        held = self.hold(name, who=who, make=False)
        try:
            with named(f"open the volume {name}"):
                data = Fd(os.open(held.path, _PATH))
            with data:
                yield data.fileno()
        finally:
            held.close()


def _device(device: str | None) -> str | None:
    if device is None:
        return None
    place = os.path.realpath(device)
    if not os.path.isdir(place):
        raise InvalidArgument("device", device, "an existing directory is needed")
    return place


def _refuse_used(section: Section, name: str, verb: str) -> None:
    users = section.users()
    if users:
        raise StateError(f"volume {name}", f"in use by {', '.join(users)}", verb)


_volumes: dict[str, Volumes] = {}


def volumes_at(root: str) -> Volumes:
    """The volumes below an engine's root: one object for a process."""
    return _volumes.setdefault(root, Volumes(root))
