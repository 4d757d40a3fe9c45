"""What a container has in its file system: its files, reached from outside, and what differs from its image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import attrs

from pycontainer.container.networking import Networking
from pycontainer.container.running import Running
from pycontainer.container.snapshot import Seal, Snapshot, above, folded
from pycontainer.errors import InvalidArgument
from pycontainer.image.image import Image
from pycontainer.kernel import idmap
from pycontainer.kernel.changes import Change
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import READ_LIMIT, Rooted
from pycontainer.kernel.transfer import COPY_LIMIT
from pycontainer.size import parse_size

_Self = TypeVar("_Self", bound="FileSystem")

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FileSystem(Networking):
    """The files of a container; base of ``Container``."""

    @contextmanager
    def _files(self) -> Iterator[tuple[Running, Rooted]]:
        """The last start, and its files on an fd of their own: another thread may remove the container meanwhile."""
        with self._lock:
            running = self.alive("reach files")
            root = Fd(os.dup(running.root))
        with root:
            yield running, Rooted(root.fileno(), ids=running.launched.map)

    def read_bytes(self, path: str, *, limit: int | str = READ_LIMIT) -> bytes:
        """The content of a file of the container, of ``limit`` at most (bytes, or text like "1G"; 64 MiB).

        A link does not lead to the kernel's own files: those of /proc and /sys are read only by their own path.
        Raises :class:`KernelError`, ``EFBIG`` for one that is larger.
        """
        most = parse_size("limit", limit)
        with self._files() as (_, root):
            return self._workspace.reach.read(root, path, most)

    def write_bytes(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a file of the container, atomically; it belongs to the container's root."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise InvalidArgument("data", data, "bytes are needed: encode the text")
        with self._files() as (_, root):
            self._workspace.reach.write(root, path, data, mode)

    def put(self, source: str | os.PathLike[str], target: str) -> None:
        """Copy a file or tree of the host into the container, as ``docker cp`` does."""
        with self._files() as (_, root):
            self._workspace.reach.copy_in(root, source, target)

    def get(self, source: str, target: str | os.PathLike[str], *, limit: int | str = COPY_LIMIT) -> None:
        """Copy a file or tree of the container to the host, as ``docker cp`` does; never outside of ``target``.

        ``limit`` bounds its size, holes in files included (bytes, or text like "1G"; 16 GiB); there may be a
        million entries.  Raises :class:`KernelError`: ``EFBIG`` beyond that, ``EINVAL`` for what is no file,
        directory or link.
        """
        most = parse_size("limit", limit)
        with self._files() as (_, root):
            self._workspace.reach.copy_out(root, source, target, most)

    # -- layers ----------------------------------------------------------------------------

    def changes(self) -> list[Change]:
        """What differs from the image, in the order of paths (``docker diff``)."""
        with self._lock:
            self.allow("list changes")
            running = self._running
            if running is None and not self._sealed:
                return []
            reach, marks = self._workspace.reach, self._marks()
            lowers = self.spec.image.layers[: -len(self._sealed) or None]
            shift = 0
            if running is not None:
                lowers, shift = running.launched.lowers, running.launched.upper_shift
                lowers = tuple(layer for layer in lowers if layer not in self._sealed)
            found: list[Change] = []
            for path in (*self._sealed, f"{self._folder}/upper"):
                try:
                    upper = Fd(os.open(path, _DIRECTORY))
                except FileNotFoundError:  # nothing was started since the last one was sealed
                    continue
                with upper:
                    found = folded(found, reach.changes(upper.fileno(), lowers[::-1], shift, marks))
                lowers += (path,)
            return found

    def snapshot(self: _Self) -> Snapshot[_Self]:
        """The files as they are now, for :meth:`Snapshot.fork`; the container goes on as before.

        Of one that does not run that is a rename: milliseconds, whatever the size.  One that runs is paused
        while what it has written is copied, which takes as long as there is to copy, and the room for it.  Raises
        :class:`StateError`, and :class:`NotSupported` for one that runs and cannot be paused.
        """
        with self._lock:
            self.allow("list changes")
            seal = Seal(self._workspace)
            with_new_layer = seal.hold()
            try:
                image = above(self.spec.image, seal, self._lowers(), self._marks())
                self._fill(seal, image)
                snapshot = Snapshot(image, self._another)
            finally:
                with_new_layer.close()
        return snapshot

    def fork(self: _Self, count: int = 1) -> list[_Self]:
        """That many containers with the files that this one has now, not yet started: see :meth:`snapshot`."""
        with self.snapshot() as snapshot:
            return snapshot.fork(count)

    def _fill(self, seal: Seal, image: Image) -> None:
        """Have the writable layer in the seal: itself, with ``image`` below a new one, or a copy of it."""
        upper = f"{self._folder}/upper"
        if self.status in {"running", "paused"} or self.spec.size is not None:
            raise NotImplementedError
        if not os.path.exists(upper):
            os.mkdir(seal.path, 0o755)
            return
        os.rename(upper, seal.path)
        hold, self._hold = self._hold, image.hold()
        if hold is not None:
            hold.close()
        self.spec = attrs.evolve(self.spec, image=image)
        self._sealed += (seal.path,)

    def _lowers(self) -> tuple[str, ...]:
        """The layers of the image; of the host's own a tree that every user namespace can be shown."""
        layers = self.spec.image.layers
        if layers:
            return layers
        owner = (0, 0) if idmap.rules_host() else (os.geteuid(), os.getegid())
        return (self._workspace.skeleton(owner),)

    def _marks(self) -> str:
        return "user" if self.spec.security.own_users else "trusted"

    def _another(self: _Self, image: Image) -> _Self:
        made = type(self)(self._workspace, attrs.evolve(self.spec, image=image), None, self._known)
        self._known(made)
        return made
