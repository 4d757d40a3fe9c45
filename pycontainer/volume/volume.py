"""A volume: a directory with a name that outlives the containers which use it."""

from __future__ import annotations

import builtins
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from pycontainer.volume.record import Record

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.image.unpack import Unpacked
    from pycontainer.volume.archive import Archived
    from pycontainer.volume.volumes import VolumeOptions, Volumes


@attrs.frozen(kw_only=True)
class VolumeInfo:
    """What a volume is and holds: ``used`` are the bytes that its files take on disk, ``users`` who uses it."""

    name: str
    driver: str
    created: str
    labels: Mapping[str, str]
    mountpoint: str
    size: int | None
    used: int
    users: tuple[str, ...]


@attrs.frozen
class Volume:
    """A named directory of the engine's own, for :class:`VolumeMount`; it stays until :meth:`remove`.

    Files in it have the ids that they have in containers, whatever ids these have on the host: so several
    containers share one.  A value: it may be made anew by :meth:`get` in any process at any time.

    >>> data = Volume.create("data", labels={"team": "a"})                      # doctest: +SKIP
    >>> with Container.create("postgres:16", mounts=["data:/var/lib/postgresql/data"]) as db: ...
    """

    _record: Record = attrs.field(repr=False)
    _volumes: Volumes = attrs.field(repr=False, eq=False)
    name: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "name", self._record.name)

    @classmethod
    def create(cls, name: str | None = None, **options: Unpack[VolumeOptions]) -> Volume:
        """Make a volume of the default engine; see :meth:`Volumes.create`."""
        return _default_volumes().create(name, **options)

    @classmethod
    def get(cls, name: str) -> Volume:
        """The default engine's volume of that name. Raises :class:`VolumeNotFound`."""
        return _default_volumes().get(name)

    @classmethod
    def list(cls, filters: Mapping[str, Any] | None = None) -> builtins.list[Volume]:
        """The default engine's volumes; see :meth:`Volumes.list`."""
        return _default_volumes().list(filters)

    @classmethod
    def prune(
        cls,
        *,
        all: bool = False,  # noqa: A002  Docker's name
        filters: Mapping[str, Any] | None = None,
    ) -> builtins.list[str]:
        """Remove volumes of the default engine that nobody uses; see :meth:`Volumes.prune`."""
        return _default_volumes().prune(all=all, filters=filters)

    # -- what it is ------------------------------------------------------------------------

    @property
    def driver(self) -> str:
        """``"local"``."""
        return "local"

    @property
    def created(self) -> str:
        """When it was made (RFC 3339)."""
        return self._record.created

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return dict(self._record.labels)

    @property
    def size(self) -> int | None:
        """How many bytes it may hold at most; ``None``: as many as there is room for."""
        return self._record.size

    @property
    def device(self) -> str | None:
        """The directory of the host that it stands for; ``None``: it has one of its own."""
        return self._record.device

    @property
    def anonymous(self) -> bool:
        """Was it made without a name?"""
        return self._record.anonymous

    @property
    def mountpoint(self) -> str:
        """The directory with its content, on the host.

        For a root caller the files in it have the containers' ids: what root of a container made there belongs
        to the host's root, and a set-user-id program is one of his.  None but him can get there.
        """
        return self._volumes.directory(self._record)

    def users(self) -> builtins.list[str]:
        """Who uses it now, such as ``"container web"``. Raises :class:`VolumeNotFound`."""
        return self._volumes.users(self.name)

    def inspect(self) -> VolumeInfo:
        """All that there is to know of it; what it uses is counted anew. Raises :class:`VolumeNotFound`."""
        return VolumeInfo(
            name=self.name,
            driver=self.driver,
            created=self.created,
            labels=self.labels,
            mountpoint=self.mountpoint,
            size=self.size,
            used=self._volumes.used(self.name),
            users=tuple(self.users()),
        )

    # -- what is done with it --------------------------------------------------------------

    def remove(self) -> None:
        """Remove it with all that is in it; of one with a ``device`` that stays.

        At once: a crash on the way leaves nothing of that name.  Raises :class:`StateError` while it is used,
        which says by whom, and :class:`VolumeNotFound`.
        """
        self._volumes.remove(self.name)

    def backup(self, path: str | os.PathLike[str]) -> Archived:
        """Write a tar archive of its content to ``path``, which is replaced when it is complete.

        Equal contents give equal archives.  Of a volume that is being written to, each file is as it was when it was
        read: stop who writes to have all of one moment.  Raises :class:`InvalidArgument` for a path that is a directory,
        device or the like, :class:`VolumeNotFound`, :class:`KernelError`.
        """
        return self._volumes.backup(self.name, path)

    def restore(self, path: str | os.PathLike[str]) -> Unpacked:
        """Replace its content by that of a tar archive, plain or compressed (gzip, zstd).

        All or nothing: until all of it is unpacked and on disk, the old content stays, so there must be room for
        both.  Device nodes are left out; their names are in the result.  Raises :class:`StateError` while the volume
        is used, :class:`ImageError` for a damaged archive, :class:`UnsafeArchive` for a hostile one,
        :class:`VolumeNotFound`, :class:`KernelError`.
        """
        return self._volumes.restore(self.name, path)

    def clone(self, name: str | None = None, *, labels: Mapping[str, str] | None = None) -> Volume:
        """Make a further volume with a copy of its content, complete from the moment it is there.

        Raises :class:`InvalidArgument` when there is one of that name, :class:`KernelError`.
        """
        return self._volumes.clone(self.name, name, labels=labels)


def _default_volumes() -> Volumes:
    from pycontainer.home import default_root
    from pycontainer.volume.volumes import volumes_at

    return volumes_at(default_root())
