"""What a container has in its file system: its files, reached from outside, and what differs from its image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, TypeVar

import attrs

from pycontainer.container.launch import without_places
from pycontainer.container.networking import Networking
from pycontainer.container.running import Running
from pycontainer.container.snapshot import Seal, Snapshot, Stack, folded
from pycontainer.errors import InvalidArgument
from pycontainer.kernel import idmap
from pycontainer.kernel.changes import Change
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.layers import Namespace
from pycontainer.kernel.rooted import READ_LIMIT, Rooted
from pycontainer.kernel.transfer import COPY_LIMIT
from pycontainer.size import parse_size

if TYPE_CHECKING:
    from pycontainer.image.config import ImageConfig
    from pycontainer.image.image import Image

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
            if running is None and not self._stack.own:
                return []
            reach, marks, stack = self._workspace.reach, self._marks(), self._stack
            lowers, shift = stack.layers, 0
            if running is not None and not lowers:
                lowers, shift = running.launched.lowers, running.launched.upper_shift
            lowers += tuple(seal.path for seal in stack.inherited)
            found: list[Change] = []
            for path in (*(seal.path for seal in stack.own), f"{self._folder}/upper"):
                try:
                    upper = Fd(os.open(path, _DIRECTORY))
                except FileNotFoundError:  # nothing was started since the last one was sealed
                    continue
                with upper:
                    later = reach.changes(upper.fileno(), lowers[::-1], shift, marks)
                    found = folded(found, without_places(later, self.spec))
                lowers += (path,)
            return found

    def snapshot(self: _Self) -> Snapshot[_Self]:
        """The files as they are now, for :meth:`Snapshot.fork`; the container goes on as before.

        Of one that does not run that is a rename: milliseconds, whatever the size.  One that runs is paused
        while what it has written is copied, which takes as long as there is to copy, and the room for it.  Raises
        :class:`StateError`, and :class:`NotSupported` for one that runs and cannot be paused.
        """
        with self._lock, ExitStack() as holding:
            self.allow("list changes")
            seal = Seal(self._workspace)
            holding.callback(seal.hold().close)
            stack = attrs.evolve(self._stack, layers=self._lowers())
            stack = stack.shallow(self._workspace, self._marks(), holding).above(seal)
            if self.status in {"running", "paused"} or self.spec.size is not None:
                self._copy_to(seal)
            else:
                self._give_to(seal, stack)
            return Snapshot(stack.image(self._marks()), partial(self._another, stack.inheriting()))

    def fork(self: _Self, count: int = 1) -> list[_Self]:
        """That many containers with the files that this one has now, not yet started: see :meth:`snapshot`."""
        with self.snapshot() as snapshot:
            return snapshot.fork(count)

    def commit(
        self,
        name: str | None = None,
        *,
        config: ImageConfig | None = None,
        changes: str | Iterable[str] = (),
        author: str = "",
        message: str = "",
    ) -> Image:
        """An image of the files as they are now: the layers of its image, and one more for what was written.

        It is in the store of the container's engine, by ``name`` if one is given, and costs what that layer
        costs.  ``config`` takes the place of the image's, and ``changes`` are instructions of a Dockerfile that
        change it: ``['CMD ["serve"]', "ENV A=1"]``.  What runs is paused meanwhile.  Volumes and other
        mounts are no part of it.  With ``$SOURCE_DATE_EPOCH`` set, the same content has the same digest.

        Raises :class:`InvalidArgument` for a container of the host's programs, :class:`NotSupported` for one that runs
        and cannot be paused, :class:`KernelError`.
        """
        from pycontainer.image.commit import commit
        from pycontainer.image.instructions import changed

        if changes:
            config = changed(config or self._stack.origin.config, changes)
        with self._standing_still() as upper:
            stored = self._stack.origin.stored
            return commit(
                self._workspace.images() if stored is None else stored.images,
                self._stack.origin,
                [*(seal.path for seal in self._stack.seals), *upper],
                marks=self._marks(),
                name=name,
                config=config,
                author=author,
                message=message,
                created_by=" ".join(self.spec.argv),
            )

    def export(self, target: str | os.PathLike[str] | IO[bytes]) -> None:
        """Write all files as one tar archive, as ``docker export`` does; to a path, which is replaced, or an open file.

        What runs is paused meanwhile.  Mounts are no part of it.  Raises as :meth:`commit`.
        """
        from pycontainer.image.export import export

        if self.spec.image.binds:
            raise InvalidArgument("image", self.spec.image.name, "the programs of the host are not exported")
        with self._standing_still() as upper:
            layers = (*self._stack.layers, *(seal.path for seal in self._stack.seals), *upper)
            export(layers, target, marks=self._marks(), reach=self._workspace.reach)

    @contextmanager
    def _standing_still(self) -> Iterator[list[str]]:
        """What was written, as a list of the writable layer if there is one; nobody writes to it meanwhile."""
        with self._lock:
            self.allow("list changes")
            running = self.status == "running"
            if running:
                self.pause()
            try:
                upper = f"{self._folder}/upper"
                yield [upper] if os.path.isdir(upper) else []
            finally:
                if running:
                    self.unpause()

    def _give_to(self, seal: Seal, stack: Stack) -> None:
        """Make the writable layer one below a new one; ``stack`` has it on top."""
        upper = f"{self._folder}/upper"
        if not os.path.exists(upper):
            os.mkdir(seal.path, 0o755)
            return
        image = stack.image(self._marks())
        hold = image.hold()
        os.rename(upper, seal.path)
        self._drop_image()
        self._hold, self._stack = hold, stack
        self.spec = attrs.evolve(self.spec, image=image)

    def _copy_to(self, seal: Seal) -> None:
        from pycontainer.image.commit import copy_layer

        with self._standing_still() as upper:
            for path in upper:
                copy_layer(path, seal.path, self._marks(), self._workspace.reach)

    def _lowers(self) -> tuple[str, ...]:
        """The layers of the image; of the host's own a tree that every user namespace can be shown."""
        if self._stack.layers:
            return self._stack.layers
        owner = (0, 0) if idmap.rules_host() else (os.geteuid(), os.getegid())
        return (self._workspace.skeleton(owner),)

    def _marks(self) -> Namespace:
        return "user" if self.spec.security.own_users else "trusted"

    def _another(self: _Self, stack: Stack) -> _Self:
        spec = attrs.evolve(self.spec, image=stack.image(self._marks()))
        made = type(self)(self._workspace, spec, None, self._known, stack)
        self._known(made)
        return made
