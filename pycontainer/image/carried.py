"""A writable layer on its way to another store's container: packed as a layer of an image, and unpacked again."""

from __future__ import annotations

import os

from pycontainer.image.compressor import compressed
from pycontainer.image.layer import unpack_file, unpack_layer
from pycontainer.image.pack import Packed, pack_layer
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.idmap import IdMap, has_range, rules_host, user_map
from pycontainer.kernel.layers import Marks, Namespace
from pycontainer.kernel.reach import Reach
from pycontainer.kernel.rooted import OPEN_DIRECTORY


def pack_upper(path: str, file: int, marks: Namespace, reach: Reach) -> Packed:
    """Pack the upper directory at ``path`` into an open file, compressed with gzip; nobody may write to it meanwhile.

    Raises what :func:`~pycontainer.image.pack.pack_layer` does.
    """
    with Fd(os.open(path, OPEN_DIRECTORY)) as upper:
        if has_range():
            return reach.steward().call(_pack, (upper.fileno(), file), marks)
        return _pack(upper.fileno(), file, marks, ids=None if rules_host() else user_map())


def unpack_upper(file: int, path: str, diff_id: str, reach: Reach) -> None:
    """Make the new directory ``path`` with the content of a packed layer, an open file at its beginning.

    Raises what :func:`~pycontainer.image.layer.unpack_layer` does; what was made until then stays.
    """
    os.mkdir(path, 0o755)
    with Fd(os.open(path, OPEN_DIRECTORY)) as tree:
        if has_range():
            reach.steward().call(unpack_file, (file, tree.fileno()), expected=diff_id)
        else:
            unpack_layer(lambda count: os.read(file, count), tree.fileno(), expected=diff_id)


def _pack(upper: int, file: int, marks: Namespace, *, ids: IdMap | None = None) -> Packed:
    with compressed(lambda data: write_all(file, data), "gzip") as out:
        return pack_layer(upper, out.write, marks=Marks(marks), ids=ids)
