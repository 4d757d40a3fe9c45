"""A writable layer as a layer of an image: its tree is made from the archive while that is packed.

The tree is what unpacking the archive would make, by the same code and from the same bytes, so its diff_id need
not be verified.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from pycontainer.image.compressor import compressed
from pycontainer.image.layer import make_tree
from pycontainer.image.limits import Limits
from pycontainer.image.pack import Packed, pack_layer
from pycontainer.image.relay import relaying
from pycontainer.kernel.fd import write_all
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.layers import Marks, Namespace


@attrs.frozen(kw_only=True)
class Duplicate:
    """What came of it: the archive, and about what the tree takes on the disk, in bytes."""

    packed: Packed
    room: int


def duplicate(
    upper: int,
    tree: int,
    write: Callable[[bytes], object] | None = None,
    *,
    marks: Marks | None = None,
    ids: IdMap | None = None,
    epoch: int | None = None,
) -> Duplicate:
    """Make the layer of an upper directory in the empty directory ``tree``; both are descriptors, and borrowed.

    ``write`` is given the archive that the layer is unpacked from, and the rest is for
    :func:`~pycontainer.image.pack.pack_layer`.  Raises what that does, and what
    :func:`~pycontainer.image.layer.unpack_layer` does; what was made until then stays for the caller to remove.

    >>> with open("layer.tar", "wb") as file:               # doctest: +SKIP
    ...     duplicate(upper, tree, file.write).packed.diff_id
    'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef'
    """
    limits = Limits()
    room: list[int] = []
    with relaying(lambda read: room.append(make_tree(read, tree, limits).room)) as put:

        def both(data: bytes) -> None:
            put(data)
            if write is not None:
                write(data)

        packed = pack_layer(upper, both, marks=marks, ids=ids, epoch=epoch, limits=limits)
    return Duplicate(packed=packed, room=room[0])


def duplicate_file(
    upper: int, tree: int, file: int, *, namespace: Namespace, epoch: int | None = None
) -> Duplicate:
    """As :func:`duplicate`, with the archive in an open file, compressed with gzip.

    For :meth:`~pycontainer.kernel.steward.Steward.call`, which reads and makes what belongs to others.

    >>> steward.call(duplicate_file, (upper, tree, file), namespace="user")  # doctest: +SKIP
    """
    with compressed(lambda data: write_all(file, data), "gzip") as out:
        return duplicate(upper, tree, out.write, marks=Marks(namespace), epoch=epoch)


def duplicate_tree(upper: int, tree: int, *, namespace: Namespace) -> Duplicate:
    """As :func:`duplicate_file`, without the archive."""
    return duplicate(upper, tree, marks=Marks(namespace))
