"""Unpacked layers: trees named by the digest of their tar archive (diff_id), shared by all that start from them.

::

    ingest/layer-<random>/{tree,size,boot}   rename to layers/<hex>
    ingest/layer-<random>/{tree,size,settled}   all of the file system written out (syncfs)   the same

The tree is in a directory of the store's own, since only the owner of a directory may move it elsewhere, and a
layer's root may be anybody's.

Writing a tree out takes time, and need not be waited for: it can be made from the blob again.  A layer made with
``settled=False`` is believed in the boot that its file ``boot`` tells, and in no other; nothing of it need be on
disk, for what a loss of power may leave of it says nothing else.  :meth:`Layers.settle` writes such trees out and
makes the mark one that holds for good.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from types import TracebackType

from pycontainer.errors import StateError
from pycontainer.image.digest import check_digest
from pycontainer.image.locked import make_locked
from pycontainer.image.store.leases import Leases
from pycontainer.image.store.places import INGEST, LAYERS, Places
from pycontainer.image.store.trash import Batch
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.identity import boot_id
from pycontainer.kernel.kinds import status_of
from pycontainer.kernel.native import syncfs
from pycontainer.kernel.reach import Reach
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named

_TREE, _SIZE, _BOOT, _SETTLED = "tree", "size", "boot", "settled"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Layers:
    """The unpacked layers of one store. Thread-safe."""

    def __init__(self, places: Places, leases: Leases, reach: Reach) -> None:
        self._places = places
        self._leases = leases
        self._reach = reach

    def paths(self, diff_ids: Sequence[str]) -> list[str | None]:
        """Where each layer's tree is, or ``None``."""
        names = [layer_name(diff_id) for diff_id in diff_ids]
        self._leases.protect("layer", *diff_ids)
        with named("look for layers"):
            return [
                f"{self._places.path}/{name}/{_TREE}" if is_complete(self._places, name) else None
                for name in names
            ]

    def make(self, diff_id: str | None, *, settled: bool) -> LayerWriter:
        """A writer of a layer."""
        if diff_id is not None:
            check_digest(diff_id, "the layer")
        return LayerWriter(self._places, self._leases, self._reach, diff_id, settled=settled)

    def size(self, diff_id: str) -> int:
        """The bytes of a layer's tree, 0 where there is none."""
        return noted_size(self._places, layer_name(diff_id))

    def settle(self) -> None:
        """Have all layers on disk. Raises :class:`KernelError`."""
        with named("settle the layers"):
            names = [f"{LAYERS}/{hex_}" for hex_ in self._places.list(LAYERS)]
            marked = [name for name in names if _boot_of(self._places, name) == boot_id()]
            if not marked:
                return
            here = self._places.fd
            syncfs(here)
            for name in marked:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{name}/{_BOOT}", f"{name}/{_SETTLED}", src_dir_fd=here, dst_dir_fd=here)
            syncfs(here)


class LayerWriter:
    """Makes a layer; a context manager, of one thread at a time. Without :meth:`commit` nothing stays.

    ``fd`` is its empty root directory, mode 0755, open until the end.
    """

    def __init__(
        self, places: Places, leases: Leases, reach: Reach, diff_id: str | None, *, settled: bool
    ) -> None:
        self._places = places
        self._leases = leases
        self._reach = reach
        self._diff_id = diff_id
        self._settled = settled
        self._name = ""
        self._lock: Fd | None = None
        self._tree: Fd | None = None

    @property
    def fd(self) -> int:
        """The root directory; it stays owned here."""
        if self._tree is None:
            raise StateError(self._what(), "not open", "fill it")
        return self._tree.fileno()

    def __enter__(self) -> LayerWriter:
        if self._diff_id is not None:
            self._leases.protect("layer", self._diff_id)
        with named(self._step("begin")):
            with self._places.open(INGEST) as ingest:
                self._name, self._lock = make_locked(ingest.fileno(), "layer-")
            try:
                self._prepare(self._lock.fileno())
            except BaseException:
                self.close()
                raise
        return self

    def _prepare(self, place: int) -> None:
        os.mkdir(_TREE, 0o700, dir_fd=place)
        self._tree = Fd(os.open(_TREE, OPEN_DIRECTORY, dir_fd=place))
        os.fchmod(self._tree.fileno(), 0o755)

    def commit(self, size: int, *, diff_id: str | None = None) -> str:
        """Have the tree on disk and give it its name; return its path.

        ``size`` is about what it takes on the disk, in bytes.  ``diff_id`` is to be told of a layer that was begun
        without one.  If somebody else was faster, theirs is the same, and this one is removed at the end of
        ``with``.  Raises :class:`KernelError`.
        """
        tree = self.fd
        place = self._lock
        if place is None or not self._name:
            raise StateError(self._what(), "committed", "commit it")
        known = self._diff_id = check_digest(self._diff_id or diff_id, "the layer")
        final = layer_name(known)
        self._leases.protect("layer", known)
        with named(self._step("commit")):
            _write(place, _SIZE, str(size))
            _write(place, _SETTLED if self._settled else _BOOT, boot_id())
            if self._settled:
                syncfs(tree)
            self._give_name(final)
            if self._settled:
                self._places.write_out(LAYERS)
        return f"{self._places.path}/{final}/{_TREE}"

    def _give_name(self, final: str) -> None:
        while not self._places.name(f"{INGEST}/{self._name}", final):
            if is_complete(self._places, final):
                return
            with Batch(self._places) as batch:
                batch.take(final)
        self._name = ""

    def _what(self) -> str:
        return f"the layer {self._diff_id}" if self._diff_id else "the layer"

    def _step(self, verb: str) -> str:
        return f"{verb} {self._what()} in {self._places.path}"

    def close(self) -> None:
        """End it, and remove what was not committed; idempotent."""
        tree, self._tree = self._tree, None
        if tree is not None:
            tree.close()
        place, self._lock = self._lock, None
        # A forked child has it closed: it is the parent's.
        if place is None or place.closed:
            return
        with place:
            if self._name:
                with named(self._step("remove")), self._places.open(INGEST) as ingest:
                    self._reach.remove(ingest.fileno(), self._name)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def layer_name(diff_id: str) -> str:
    """Where in the store a layer is."""
    return f"{LAYERS}/{check_digest(diff_id, 'the layer')[7:]}"


def is_complete(places: Places, name: str) -> bool:
    """Whether a layer's tree is there, and not one that the last loss of power may have damaged."""
    status = status_of(places.fd, f"{name}/{_TREE}")
    if status is None or not stat.S_ISDIR(status.st_mode):
        return False
    return _boot_of(places, name) == boot_id() or status_of(places.fd, f"{name}/{_SETTLED}") is not None


def noted_size(places: Places, name: str) -> int:
    """The bytes of a layer's tree, 0 where it is not known."""
    told = _content(places, f"{name}/{_SIZE}") or ""
    return int(told) if told.isdecimal() else 0


def _boot_of(places: Places, name: str) -> str | None:
    return _content(places, f"{name}/{_BOOT}")


def _content(places: Places, name: str) -> str | None:
    try:
        with Fd(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=places.fd)) as file:
            return os.read(file.fileno(), 100).decode("ascii", "replace")  # of a loss of power, anything
    except FileNotFoundError:
        return None


def _write(place: Fd, name: str, text: str) -> None:
    with Fd(os.open(name, _NEW, 0o600, dir_fd=place.fileno())) as file:
        write_all(file.fileno(), text.encode())
