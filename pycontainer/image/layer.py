"""Unpacking a layer of an image, as overlayfs wants its lower directories.

What a layer hides of those below it is told in its tar archive by names (OCI image specification 1.1, "Image
Layer Filesystem Changeset") and on disk by marks (Documentation/filesystems/overlayfs.rst)::

    .wh.NAME          NAME is a character device 0:0, a whiteout; ordinary users may make it since Linux 5.8; its
                      directory has an empty user.overlay.origin, and trusted.overlay.origin where root may set it
    .wh..wh..opq      its directory has user.overlay.opaque=y, and trusted.overlay.opaque=y likewise

So a layer is right below overlays mounted with ``userxattr`` and below those of the host.  Both hold for the
layers below alone: what has the same name in this layer is there, whichever comes first.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import attrs

from pycontainer.errors import ImageError, NotSupported, UnsafeArchive
from pycontainer.image.attributes import shown
from pycontainer.image.compression import Read, decompressed
from pycontainer.image.digest import check_digest
from pycontainer.image.limits import Limits
from pycontainer.image.parents import parts_of
from pycontainer.image.relay import relayed
from pycontainer.image.tarstream import Entry, TarStream
from pycontainer.image.treemaker import TreeMaker
from pycontainer.image.unpack import Unpacked
from pycontainer.kernel.idmap import rules_host
from pycontainer.kernel.kinds import status_of
from pycontainer.kernel.layers import Namespace, mark_covering
from pycontainer.kernel.tree import remove_tree

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
#: What aufs kept for itself, once in the layers of Docker; the first has the files that hard links lead to.
_LINKED = b".wh..wh.plnk"
_LEFTOVER = b".wh..wh."


@attrs.frozen(kw_only=True)
class UnpackedLayer(Unpacked):
    """As :class:`Unpacked`; ``diff_id`` is the sha256 of the archive as it was decompressed.

    ``opaque``: the layer hides all of those below it.  Overlayfs does not look at the roots of its layers, so
    whoever stacks them must leave out those below; its root directory is marked, too.
    """

    diff_id: str
    opaque: bool = False


def unpack_layer(
    read: Read,
    tree: int,
    *,
    expected: str | None = None,
    limits: Limits | None = None,
    keep_owners: bool | None = None,
) -> UnpackedLayer:
    """Unpack a layer, compressed or not, into the empty directory ``tree`` (a descriptor, borrowed).

    As :func:`~pycontainer.image.unpack.unpack` does it, with whiteouts and opaque directories as overlayfs has
    them.  ``expected`` is the layer's diff_id, ``sha256:...``: every byte counts for it, also behind the end of the
    archive.  Directories that no entry describes are root's, with mode 0755.  ``read`` is called by this thread
    alone.

    Raises :class:`ImageError` for a damaged layer or another than was expected, :class:`UnsafeArchive`,
    :class:`KernelError`, and :class:`NotSupported` where the file system has no ``user.*`` attributes.
    What was made until then stays for the caller to remove.

    >>> with open(blob, "rb", buffering=0) as file:          # doctest: +SKIP
    ...     unpack_layer(file.read, directory, expected=diff_id).entries
    5036
    """
    if expected is not None:
        check_digest(expected, "the image")
    bounds = limits or Limits()
    seen = hashlib.sha256()
    plain = decompressed(read, bounds, holes=True)
    made: list[_LayerMaker] = []

    def hashed(count: int) -> bytes:
        part = plain(count)
        seen.update(part)
        return part

    relayed(hashed, lambda source: made.append(make_tree(source, tree, bounds, keep_owners=keep_owners)))
    [maker] = made
    found = f"sha256:{seen.hexdigest()}"
    if expected is not None and found != expected:
        raise ImageError(f"the layer is {found} when it is decompressed, and {expected} was expected")
    return UnpackedLayer(
        entries=maker.entries,
        size=maker.size,
        room=maker.room,
        skipped=tuple(maker.skipped),
        diff_id=found,
        opaque=maker.opaque,
    )


def unpack_file(
    file: int, tree: int, *, expected: str | None = None, limits: Limits | None = None
) -> UnpackedLayer:
    """As :func:`unpack_layer`, from a file that is open at its beginning, with owners.

    For :meth:`~pycontainer.kernel.steward.Steward.call`: as root of a user namespace it gives files to the
    caller's subordinate ids, and user 999 of the layer is user 999 there.  ``tree`` must be the caller's.  Raises
    :class:`NotSupported` for owners that the namespace has no number for.

    >>> steward.call(unpack_file, (blob, tree), expected=diff_id)   # doctest: +SKIP
    """
    return unpack_layer(
        lambda count: os.read(file, count), tree, expected=expected, limits=limits, keep_owners=True
    )


def make_tree(read: Read, tree: int, limits: Limits, *, keep_owners: bool | None = None) -> _LayerMaker:
    """As :func:`unpack_layer`, from the bytes of an archive that somebody else counts and hashes; its maker."""
    owners = os.geteuid() == 0 if keep_owners is None else keep_owners
    stream = TarStream(read, limits, marked=False)
    maker = _LayerMaker(stream, tree, limits, owners=owners, devices="skip")
    with maker:
        maker.make()
    return maker


class _LayerMaker(TreeMaker):
    """Makes the tree of a layer: with marks in place of the names that stand for them."""

    opaque = False

    def __init__(self, stream: TarStream, root: int, limits: Limits, *, owners: bool, devices: str) -> None:
        super().__init__(stream, root, limits, owners=owners, devices=devices)
        self._top_inode = os.fstat(root).st_ino
        self._opaque: set[int] = set()
        self._covering: set[int] = set()
        # The inode of the directory and the name, where a mark gave way to something else or was never made.
        self._hidden: set[tuple[int, bytes]] = set()
        self._linked = False

    def add(self, entry: Entry, parts: list[bytes]) -> None:
        if _WHITEOUT in entry.name and self._is_mark(entry, parts):
            return
        if entry.kind == "character device" and entry.device == (0, 0) and parts:
            # The mark itself, by who archived an upper directory as it is.
            self._hide(parts)
            return
        super().add(entry, parts)

    def finish(self) -> None:
        if self._linked:
            remove_tree(self._root, _LINKED)
        super().finish()

    def _is_mark(self, entry: Entry, parts: list[bytes]) -> bool:
        """Make the mark that a name stands for, if it does."""
        if parts and parts[0] == _LINKED:
            self._linked = True
            return False
        if not any(part.startswith(_WHITEOUT) for part in parts):
            return False
        *above, name = parts
        if name != _OPAQUE and any(part.startswith(_LEFTOVER) for part in parts):
            return True
        if any(part.startswith(_WHITEOUT) for part in above):
            raise UnsafeArchive(f"{shown(entry.name)} is in a whiteout, which is no directory")
        target = parts_of(entry.link)
        # The whiteouts of aufs had one inode.
        same = entry.kind == "hardlink" and target and target[-1].startswith(_WHITEOUT)
        if entry.size or not (entry.kind == "file" or same):
            raise UnsafeArchive(f"{shown(entry.name)} is a whiteout, and no empty file")
        if name == _OPAQUE:
            self._opaque.add(os.stat(".", dir_fd=self.parents.open(above)).st_ino)
            return True
        hidden = name[len(_WHITEOUT) :]
        if hidden in {b"", b".", b".."}:
            raise UnsafeArchive(f"{shown(entry.name)} is a whiteout of no name")
        self._hide([*above, hidden])
        return True

    def _hide(self, parts: list[bytes]) -> None:
        parent, name = self.parents.open(parts[:-1]), parts[-1]
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
            self.count()
            self._covering.add(os.stat(".", dir_fd=parent).st_ino)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._opaque.add(status.st_ino)
            elif not stat.S_ISCHR(status.st_mode):
                self._hidden.add((os.stat(".", dir_fd=parent).st_ino, name))

    def clear(self, parent: int, name: bytes) -> None:
        status = status_of(parent, name)
        if status is not None and stat.S_ISCHR(status.st_mode):
            self._hidden.add((os.stat(".", dir_fd=parent).st_ino, name))
        super().clear(parent, name)

    def make_directory(self, entry: Entry | None, parent: int, name: bytes) -> int:
        inode = super().make_directory(entry, parent, name)
        if self._hidden and (os.stat(".", dir_fd=parent).st_ino, name) in self._hidden:
            self._opaque.add(inode)
        return inode

    def gives_way(self, parent: int, name: bytes) -> bool:
        status = status_of(parent, name)
        return status is not None and stat.S_ISCHR(status.st_mode)

    def finish_directory(self, inode: int, directory: int) -> None:
        if inode in self._opaque:
            self.opaque = self.opaque or inode == self._top_inode
            _mark_opaque(directory)
        if inode in self._covering:
            with suppress(NotSupported):  # then nothing but ls(1) sees it
                _mark(partial(mark_covering, directory))
        super().finish_directory(inode, directory)


def _mark_opaque(directory: int) -> None:
    def mark(namespace: Namespace) -> None:
        os.setxattr(directory, f"{namespace}.overlay.opaque", b"y")

    _mark(mark)


def _mark(mark: Callable[[Namespace], None]) -> None:
    try:
        mark("user")
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        raise NotSupported(
            "an opaque directory of a layer on a file system without user.* attributes",
            "put the store on ext4, xfs or btrfs (or on tmpfs since Linux 6.6)",
        ) from None
    if rules_host():
        # Without the capability in the host's namespace, nobody mounts overlays that read it either.
        with suppress(PermissionError):
            mark("trusted")
