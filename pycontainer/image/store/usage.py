"""What images take on the disk, and how much of it is their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import attrs

from pycontainer.image.store.catalogue import Noted


@attrs.frozen(kw_only=True)
class Usage:
    """The bytes that an image takes, of its blobs and unpacked layers: its own, and those shared with others."""

    unique: int
    shared: int

    @property
    def size(self) -> int:
        """All of them."""
        return self.unique + self.shared


def usage(
    images: Iterable[Noted], blob_size: Callable[[str], int], layer_size: Callable[[str], int]
) -> dict[str, Usage]:
    """What each image takes, by its digest."""
    noted = list(images)
    users = Counter(part for image in noted for part in _parts(image))
    sizes = {part: (layer_size if part[0] else blob_size)(part[1]) for part in users}
    return {
        image.digest: Usage(
            unique=sum(sizes[part] for part in _parts(image) if users[part] == 1),
            shared=sum(sizes[part] for part in _parts(image) if users[part] > 1),
        )
        for image in noted
    }


def _parts(image: Noted) -> Iterator[tuple[bool, str]]:
    yield from ((False, digest) for digest in image.blobs)
    yield from ((True, diff_id) for diff_id in image.layers)
