"""The store of images: the one object that others use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import attrs

from pycontainer.image.store import holds
from pycontainer.image.store.blobs import LARGEST, Blobs, blob_name
from pycontainer.image.store.catalogue import Catalogue, Noted
from pycontainer.image.store.collect import Collected, Collector
from pycontainer.image.store.holds import Hold
from pycontainer.image.store.index import Index
from pycontainer.image.store.layers import Layers, LayerWriter
from pycontainer.image.store.leases import Lease, Leases
from pycontainer.image.store.pins import pin
from pycontainer.image.store.places import Places
from pycontainer.image.store.trash import sweep
from pycontainer.image.store.usage import Usage, total, usage
from pycontainer.image.store.verify import Repair, Report, verify
from pycontainer.image.store.writer import BlobWriter
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.kinds import status_of
from pycontainer.kernel.reach import Reach

if TYPE_CHECKING:
    from pycontainer.kernel.steward import Steward


class Store:
    """Content by digest, unpacked layers, and the names of images, in ``<root>/images``.

    The constructor touches nothing; the directory is made when first used, for the caller alone.  Several
    threads and processes may use one store at once, and each may be killed at any instruction: what a method
    has returned of is there, also after a loss of power, and what it has not is not there or whole.  A forked
    child may use the object; leases, holds and writers stay its parent's.

    Every method raises :class:`KernelError` for what the host refuses (``ENOSPC`` when the disk is full: nothing
    is lost, and removing goes on), :class:`NotSupported` for a store that others can get at, or of a newer
    version, and :class:`ImageError` for a damaged database or something that is no digest.

    >>> with Store("/srv/pc") as store:                     # doctest: +SKIP
    ...     with store.lease():
    ...         layer = store.add_blob(content)
    ...         store.note_image(manifest, {config, layer}, {diff_id})
    ...         store.tag("docker.io/library/debian:12", manifest)
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._places = Places(os.fspath(root))
        self._index = Index(self._places)
        self._reach = Reach()
        self._leases = Leases(self._places, self._index)
        self._catalogue = Catalogue(self._places, self._index, self._leases)
        self._blobs = Blobs(self._places, self._leases, self._catalogue)
        self._layers = Layers(self._places, self._leases, self._reach)
        self._collector = Collector(self._places, self._index)

    @property
    def path(self) -> str:
        """The store's directory."""
        return self._places.path

    # -- blobs

    def has_blob(self, digest: str) -> bool:
        """Whether a blob is there: a regular file, of the size that was noted. Its content is not read."""
        return self._blobs.size(digest) is not None

    def blob_size(self, digest: str) -> int | None:
        """A blob's bytes; ``None`` where :meth:`has_blob` says no."""
        return self._blobs.size(digest)

    def open_blob(self, digest: str) -> Fd:
        """Open a blob for reading; the caller closes it. Raises :class:`ImageNotFound`, :class:`ImageError`."""
        return self._blobs.open(digest)

    def read_blob(self, digest: str, largest: int = LARGEST) -> bytes:
        """The content of a blob of at most ``largest`` bytes, its digest verified.

        Raises :class:`ImageNotFound`, and :class:`ImageError` for a damaged or larger one.
        """
        return self._blobs.read(digest, largest)

    def ingest(self, digest: str | None = None, size: int | None = None) -> BlobWriter:
        """Write a blob, for ``with``; of a known digest and size if they are told. See :class:`BlobWriter`."""
        return self._blobs.ingest(digest, size)

    def add_blob(self, content: bytes) -> str:
        """Put some bytes into the store and return their digest; nothing is written if they are there."""
        return self.add_blobs([content])[0]

    def add_blobs(self, contents: Sequence[bytes], written: Sequence[BlobWriter] = ()) -> list[str]:
        """As :meth:`add_blob` of each, and :meth:`BlobWriter.commit` of what is ``written``; return all digests.

        All are on disk when this returns, which takes hardly longer than with one.
        """
        return self._blobs.add(contents, written)

    # -- layers

    def layer(self, diff_id: str) -> str | None:
        """The path of an unpacked layer's tree, or ``None``."""
        return self._layers.paths([diff_id])[0]

    def layers(self, diff_ids: Sequence[str]) -> list[str | None]:
        """As :meth:`layer` of each, at the cost of one."""
        return self._layers.paths(diff_ids)

    def new_layer(self, diff_id: str | None = None, *, settled: bool = True) -> LayerWriter:
        """Make a layer, for ``with``; of a known diff_id if it is told. See :class:`LayerWriter`.

        Not ``settled``: :meth:`LayerWriter.commit` does not wait until all is on disk.  The layer is then there
        until the machine is started again, or for good after :meth:`settle`.
        """
        return self._layers.make(diff_id, settled=settled)

    def settle(self) -> None:
        """Have all layers on disk that were made not ``settled``."""
        self._layers.settle()

    def steward(self) -> Steward:
        """Who makes and reads files of other users, for an ordinary user with subordinate ids."""
        return self._reach.steward()

    # -- names and images

    def names(self) -> dict[str, str]:
        """Every name with the digest that it stands for, in order."""
        return self._catalogue.names()

    def resolve(self, name: str) -> str | None:
        """The digest that a name stands for, or ``None``."""
        return self._catalogue.resolve(name)

    def tag(self, name: str, digest: str) -> None:
        """Have a name stand for a noted image's manifest, or for an index among its blobs; for nothing else now.

        Raises :class:`ImageNotFound` where no image has this digest, :class:`InvalidArgument`.
        """
        self._catalogue.tag(name, digest)

    def untag(self, name: str) -> None:
        """Remove a name; its image stays. Raises :class:`ImageNotFound`."""
        self._catalogue.untag(name)

    def note_image(
        self,
        manifest_digest: str,
        blobs: Iterable[str],
        diff_ids: Iterable[str] = (),
        sources: Iterable[tuple[str, str]] = (),
        *,
        name: str | None = None,
    ) -> None:
        """Note what an image needs: none of it is collected before :meth:`remove`. With a ``name``, :meth:`tag` it.

        ``blobs`` are all that belong to it, with an index that led to it; the manifest itself need not be among
        them.  The layers need not be unpacked.  ``sources`` are (registry, repository) that have them.
        Raises :class:`ImageNotFound` if one of the blobs is not in the store, and notes nothing then.
        """
        self._catalogue.note(manifest_digest, blobs, diff_ids, sources, name)

    def stamp(self) -> object:
        """A value that differs from an earlier one when anything was noted, named or removed since; cheap."""
        return self._index.stamp()

    def images(self) -> list[Noted]:
        """All noted images, the oldest first."""
        return self._catalogue.images()

    def sources(self, digest: str) -> set[tuple[str, str]]:
        """The (registry, repository) pairs that have had a blob, as far as they were noted."""
        return self._catalogue.sources(digest)

    def usage(self) -> dict[str, Usage]:
        """What each image takes, by its digest."""
        return usage(self.images(), self._blob_bytes, self._layers.size)

    def total(self) -> int:
        """What all images take together, in bytes."""
        return total(self.images(), self._blob_bytes, self._layers.size)

    def _blob_bytes(self, digest: str) -> int:
        status = status_of(self._places.fd, blob_name(digest))
        return status.st_size if status is not None else 0

    # -- protecting and removing

    def lease(self) -> Lease:
        """Protect what this process puts into the store, or finds in it, until the lease is closed."""
        return self._leases.make()

    def pin(self, digest: str, path: str) -> None:
        """Have an image stay for as long as there is something at ``path``, relative to the engine root."""
        with self.hold(digest):
            pin(self._places, digest, path)

    def hold(self, manifest_digest: str) -> Hold:
        """Have an image not removed until the hold is closed; cheap. Raises :class:`ImageNotFound`."""
        return holds.hold(self._places, self._catalogue, manifest_digest)

    def holders(self, manifest_digest: str) -> list[int]:
        """The processes that hold an image, as far as can be told."""
        return holds.holders(self._places, manifest_digest)

    def remove(self, manifest_digest: str) -> Collected:
        """Remove an image with its names, and what no other needs; it goes to the trash, for :meth:`sweep`.

        Raises :class:`ImageNotFound`, and :class:`StateError` naming the processes while it is held.
        """
        self._collector.with_room(lambda: self._collector.remove(manifest_digest))
        return self._collector.with_room(self._collector.collect)

    def collect(self, *, unnamed: bool = False, sweeping: bool = True) -> Collected:
        """Remove what no image and no open lease needs, and what broken attempts left.

        ``unnamed``: images without a name go as well, unless they are held or a lease's.  Not ``sweeping``:
        what is removed is left in the trash.
        """
        parts = self._collector.with_room(self._collector.collect_parts)
        if unnamed:
            self._collector.with_room(self._collector.remove_unnamed)
        found = self._collector.with_room(self._collector.collect)
        if sweeping:
            self.sweep()
        return attrs.evolve(found, bytes=found.bytes + parts)

    def sweep(self) -> None:
        """Delete what is in the trash, that of killed processes as well; it may take as long as unpacking."""
        sweep(self._places, self._reach)
        self._places.set_aside()

    def verify(self, repair: Repair | None = None) -> Report:
        """Hash every blob again, and look at everything else. No blob is touched without ``repair``.

        ``repair`` is called with the digest of each damaged or missing blob, the damaged one taken away, and is
        to put it into the store again; a :class:`PyContainerError` of it is noted in the report.  In the end all
        layers are on disk, as after :meth:`settle`.
        """
        report = verify(self._places, self._index, repair)
        self.settle()
        return report

    def rebuild(self) -> list[str]:
        """Put a damaged database away, and note again the images whose blobs are all there; return their digests.

        The names are lost, and leases and holds of others with them: nobody else may use the store meanwhile.
        With a database that is not damaged only those are noted that it does not know.
        """
        from pycontainer.image.store.rebuild import rebuild

        return rebuild(self._index, self._blobs, self._catalogue, self._places)

    def close(self) -> None:
        """Close what is open; idempotent. Leases end. The store can be used again."""
        self._leases.close()
        self._index.close()
        self._reach.close()
        self._places.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
