"""Archives in the place of an image's name: ``oci:/path[:tag]``, ``oci-archive:/x.tar``, ``docker-archive:/x.tar``."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

import attrs

from pycontainer.errors import ImageError, ImageNotFound
from pycontainer.image.archive import layout
from pycontainer.image.archive.contents import about, held
from pycontainer.image.archive.reader import Kind, load_one
from pycontainer.kernel.kinds import status_of

if TYPE_CHECKING:
    from pycontainer.image.image import Image
    from pycontainer.image.images import Images

_KINDS: dict[str, Kind] = {"oci": "oci", "oci-archive": "oci", "docker-archive": "docker"}
#: In nanoseconds: coarser than the clock of any file system but FAT.
_SETTLED = 2 * 10**9
_REMEMBERED = 256
#: What an archive was when it was read, and what came of it.
_digests: dict[tuple[object, ...], str] = {}


def of_transport(images: Images, transport: str, rest: str) -> Image:
    """The image that ``transport:rest`` names, taken into the store if it is not there; it gets no name there.

    ``rest`` is a path and, behind a colon, an image's name or tag; without one there may be only one image in it.  An
    archive that this process has read and that has not changed since, by its inode, size and times, is not read again.
    Raises what :func:`~pycontainer.image.archive.reader.load_one` does.
    """
    path, label = _split(rest)
    name = f"{transport}:{rest}"
    with about(path):
        identity, settled = _identity(path, directory=transport == "oci")
    key = (images.store.path, transport, label, identity)
    known = _digests.get(key)
    if known is not None:
        try:
            return attrs.evolve(images.get(known), name=name)
        except ImageNotFound:
            del _digests[key]
    with images.store.lease():
        digest = load_one(images, path, label, kind=_KINDS[transport])
        image = images.get(digest)
    if settled:
        if len(_digests) >= _REMEMBERED:
            _digests.clear()
        _digests[key] = digest
    return attrs.evolve(image, name=name)


def _split(rest: str) -> tuple[str, str | None]:
    """Path and label: behind the first colon, as in skopeo, unless the path has one itself."""
    path, colon, label = rest.partition(":")
    if colon and not os.path.lexists(path) and os.path.lexists(rest):
        return rest, None
    return path, label or None


def _identity(path: str, *, directory: bool) -> tuple[tuple[int, ...], bool]:
    """What changes when the archive does, and whether it has been as it is for longer than a tick of its clock."""
    with held(path) as place:
        status = os.fstat(place.fileno())
        if stat.S_ISDIR(status.st_mode) != directory:
            raise ImageError(
                "it is a directory: write 'oci:'"
                if not directory
                else "it is no directory: write 'oci-archive:'"
            )
        found = [status]
        if directory:
            # The blobs have their digests as names.
            index = status_of(place.fileno(), layout.INDEX)
            found += [index] if index is not None else []
    identity = tuple(
        number
        for each in found
        for number in (each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns)
    )
    return identity, all(time.time_ns() - each.st_ctime_ns > _SETTLED for each in found)
