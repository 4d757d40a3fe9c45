"""The directory of an engine's volumes: what is in it, and how a volume comes to be there and goes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pycontainer.errors import InvalidArgument, KernelError, VolumeNotFound
from pycontainer.image.locked import make_locked, sweep
from pycontainer.kernel import native, quota
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.native import lib
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named
from pycontainer.volume import content
from pycontainer.volume.places import NEW, RECORD, TRASH, TREE, USERS, Places, Section
from pycontainer.volume.record import Record, check_name

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RECORD_LIMIT = 1 << 20

#: Gives a new volume its first content; called with the directory that holds it.
Fill = Callable[[int], None]


class Catalog:
    """The volumes below an engine's root, by name."""

    def __init__(self, root: str) -> None:
        self.places = Places(root)

    def names(self) -> list[str]:
        """All names, sorted."""
        with self.places.top() as top:
            return sorted(name for name in os.listdir(top) if not name.startswith("."))

    def record(self, name: str) -> Record:
        """What a volume is. Raises :class:`VolumeNotFound`."""
        check_name(name)
        with self.places.top() as top:
            try:
                with Fd(
                    os.open(f"{name}/{RECORD}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
                ) as file:
                    return Record.from_bytes(name, os.read(file.fileno(), _RECORD_LIMIT))
            except FileNotFoundError:
                raise VolumeNotFound(f"{name}: no such volume") from None

    @contextmanager
    def found(self, name: str) -> Iterator[Section]:
        """A volume with its lock. Raises :class:`VolumeNotFound`."""
        with self.places.section(check_name(name)) as section:
            if section is None:
                raise VolumeNotFound(f"{name}: no such volume")
            yield section

    def same(self, record: Record, *, any_labels: bool = False) -> Record | None:
        """The volume of that name, if there is one. Raises :class:`InvalidArgument` when it is something else."""
        try:
            there = self.record(record.name)
        except VolumeNotFound:
            return None
        labels_fit = any_labels or there.labels == record.labels
        if (there.size, there.device) != (record.size, record.device) or not labels_fit:
            raise InvalidArgument("name", record.name, "a volume has this name, and other options or labels")
        return there

    def make(self, record: Record, fill: Fill | None = None) -> bool:
        """Make a volume beside the others, then give it its name; ``False`` if there is one of that name."""
        self.sweep()
        with self.places.top() as top, named(f"make the volume {record.name}"):
            name, lock = make_locked(top, NEW)
            with lock:
                try:
                    _build(lock.fileno(), record, fill)
                    native.renameat2(top, name.encode(), top, record.name.encode(), lib.RENAME_NOREPLACE)
                except BaseException as error:
                    content.remove(top, name)
                    if isinstance(error, KernelError) and error.errno == errno.EEXIST:
                        return False
                    raise
                os.fsync(top)
        return True

    def discard(self, section: Section, name: str) -> None:
        """Remove a volume whose lock is held, and that nobody uses."""
        trash = TRASH + os.urandom(8).hex()
        with self.places.top() as top, named(f"remove the volume {name}"):
            if self.record(name).size is not None:
                with section.tree() as tree:
                    quota.lift(tree.fileno())
            os.rename(name, trash, src_dir_fd=top, dst_dir_fd=top)
            content.remove(top, trash)

    def sweep(self) -> None:
        """Remove what processes left that ended while they made or removed a volume."""
        with self.places.top() as top, named("sweep the volumes"):
            for prefix in (NEW, TRASH):
                sweep(top, prefix, content.remove)


def _build(place: int, record: Record, fill: Callable[[int], None] | None) -> None:
    os.mkdir(USERS, 0o700, dir_fd=place)
    os.mkdir(TREE, 0o700, dir_fd=place)
    with Fd(os.open(TREE, OPEN_DIRECTORY, dir_fd=place)) as tree:
        if record.size is not None:
            quota.Project.create(tree.fileno(), record.size).leave()
        content.make_data(tree.fileno())
        if fill is not None:
            fill(tree.fileno())
        os.fsync(tree.fileno())
    with Fd(os.open(RECORD, _NEW_FILE, 0o600, dir_fd=place)) as file:
        write_all(file.fileno(), record.to_bytes())
        os.fsync(file.fileno())
    os.fsync(place)
