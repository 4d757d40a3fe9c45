"""New images from what containers have written: one layer more, at the cost of that layer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from pycontainer.errors import InvalidArgument
from pycontainer.image.archive.artifact import nameless
from pycontainer.image.compressor import compressed
from pycontainer.image.config import ImageConfig
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.document import Document, History
from pycontainer.image.duplicate import duplicate, duplicate_file, duplicate_tree
from pycontainer.image.image import Image
from pycontainer.image.images import Images
from pycontainer.image.platform import Platform
from pycontainer.image.reference import Reference
from pycontainer.image.store import BlobWriter, Store
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.idmap import IdMap, has_range, rules_host, user_map
from pycontainer.kernel.layers import Marks, Namespace
from pycontainer.kernel.reach import Reach

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_PIECE = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def commit(
    images: Images,
    base: Image,
    uppers: Sequence[str],
    *,
    marks: Namespace,
    name: str | None = None,
    config: ImageConfig | None = None,
    author: str = "",
    message: str = "",
    created_by: str = "",
) -> Image:
    """An image of ``base`` and the writable layers ``uppers``, lowest first; nobody may write to them meanwhile.

    ``base`` may be in the store, whose layers are shared, or a directory, which is packed.  With
    ``$SOURCE_DATE_EPOCH`` set, the same content comes to the same digest.  Raises :class:`InvalidArgument`.
    """
    if base.binds:
        raise InvalidArgument(
            "image", base.name, "programs of the host belong to no image: start from another one"
        )
    created = _now()
    with images.store.lease(), ExitStack() as stack:
        document, layers = _beginning(base)
        written = []
        known = () if base.stored is None else base.stored.trees
        for path in (*(layer for layer in base.layers if layer not in known), *uppers):
            blob = stack.enter_context(images.store.ingest())
            diff_id = _pack(images.store, path, blob, marks)
            written.append(blob)
            layers.append(Descriptor(media_type=_LAYER, digest=blob.digest, size=blob.offset))
            history = History(created=created, created_by=created_by, author=author, comment=message)
            document = document.extended(diff_id, history, config)
        if not written and (config not in {None, base.config} or author or message):
            # Nothing was written: what is said of the image is all that is new.
            step = History(
                created=created, created_by=created_by, author=author, comment=message, empty_layer=True
            )
            document = document.extended(None, step, config)
        return images.add(document, layers, None if name is None else Reference.parse(name), written)


def _pack(store: Store, path: str, blob: BlobWriter, marks: Namespace) -> str:
    """Pack a directory for a blob, and have it in the store unpacked; its diff_id."""
    epoch = _epoch()
    with Fd(os.open(path, _DIRECTORY)) as upper, store.new_layer(settled=False) as tree:
        if has_range():
            with nameless(store.path) as file:
                fds = (upper.fileno(), tree.fd, file.fileno())
                made = store.steward().call(duplicate_file, fds, namespace=marks, epoch=epoch)
                for piece in _content(file.fileno()):
                    blob.write(piece)
        else:
            with compressed(blob.write, "gzip") as out:
                made = duplicate(
                    upper.fileno(), tree.fd, out.write, marks=Marks(marks), ids=_ids(), epoch=epoch
                )
        tree.commit(made.room, diff_id=made.packed.diff_id)
    return made.packed.diff_id


def copy_layer(source: str, target: str, marks: Namespace, reach: Reach) -> None:
    """Copy an upper directory, with its marks, into the new directory ``target``."""
    os.mkdir(target, 0o755)
    with Fd(os.open(source, _DIRECTORY)) as upper, Fd(os.open(target, _DIRECTORY)) as tree:
        if has_range():
            reach.steward().call(duplicate_tree, (upper.fileno(), tree.fileno()), namespace=marks)
        else:
            duplicate(upper.fileno(), tree.fileno(), marks=Marks(marks), ids=_ids())


def _ids() -> IdMap | None:
    """Whose numbers an upper directory has: root's the container's own already."""
    return None if rules_host() else user_map()


def _content(file: int) -> Iterator[bytes]:
    os.lseek(file, 0, os.SEEK_SET)
    while piece := os.read(file, _PIECE):
        yield piece


def _beginning(base: Image) -> tuple[Document, list[Descriptor]]:
    if base.stored is not None:
        return base.stored.document, list(base.stored.manifest.layers)
    return Document.make(platform=Platform.host(), config=base.config, diff_ids=()), []


def _epoch() -> int | None:
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return None
    if not text.isdecimal():
        raise InvalidArgument("SOURCE_DATE_EPOCH", text, "a number of seconds since 1970 is needed")
    return int(text)


def _now() -> str:
    epoch = _epoch()
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
