"""New images from what containers have written: one layer more, at the cost of that layer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

import attrs

from pycontainer.errors import InvalidArgument
from pycontainer.image.compressor import compressed
from pycontainer.image.config import ImageConfig
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.document import Document, History
from pycontainer.image.image import Image
from pycontainer.image.images import Images
from pycontainer.image.intake import nowhere, take_in
from pycontainer.image.layer import unpack_file, unpack_layer
from pycontainer.image.pack import pack_file, pack_layer
from pycontainer.image.platform import Platform
from pycontainer.image.progress import Teller
from pycontainer.image.reference import Reference
from pycontainer.image.store import Store
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.idmap import has_range, rules_host, user_map
from pycontainer.kernel.layers import Marks, Namespace
from pycontainer.kernel.reach import Reach

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_PIECE = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@attrs.frozen(kw_only=True)
class Packed:
    """A layer in the store: its blob, and the digest of its content."""

    blob: Descriptor
    diff_id: str


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
    store = images.store
    created = _now()
    with store.lease():
        document, blobs = _beginning(base)
        known = () if base.stored is None else base.stored.trees
        for path in (*(layer for layer in base.layers if layer not in known), *uppers):
            packed = pack_into(store, path, marks=marks)
            blobs.append(packed.blob)
            history = History(created=created, created_by=created_by, author=author, comment=message)
            document = document.extended(packed.diff_id, history, config)
        return images.add(document, blobs, name=None if name is None else Reference.parse(name))


def pack_into(store: Store, path: str, *, marks: Namespace) -> Packed:
    """Pack a directory into a layer of the store, and have it there unpacked, too."""
    epoch = _epoch()
    with Fd(os.open(path, _DIRECTORY)) as upper, store.ingest(None, None) as blob:
        if has_range():
            with _nameless(store.path) as file:
                made = store.steward().call(
                    pack_file, (upper.fileno(), file.fileno()), namespace=marks, epoch=epoch
                )
                for piece in _content(file.fileno()):
                    blob.write(piece)
        else:
            with compressed(blob.write, "gzip") as writer:
                ids = None if rules_host() else user_map()  # root's uppers have the container's own numbers
                made = pack_layer(upper.fileno(), writer.write, marks=Marks(marks), ids=ids, epoch=epoch)
        size = blob.offset
        packed = Packed(
            blob=Descriptor(media_type=_LAYER, digest=blob.commit(), size=size), diff_id=made.diff_id
        )
    take_in(store, packed.blob, made.diff_id, nowhere, Teller(None))
    return packed


def copy_layer(source: str, target: str, marks: Namespace, reach: Reach) -> None:
    """Copy an upper directory, with its marks, into the new directory ``target``."""
    os.mkdir(target, 0o755)
    with (
        Fd(os.open(source, _DIRECTORY)) as upper,
        Fd(os.open(target, _DIRECTORY)) as tree,
        _nameless(os.path.dirname(target)) as file,
    ):
        here = (upper.fileno(), file.fileno())
        if has_range():
            steward = reach.steward()
            steward.call(pack_file, here, compression="none", namespace=marks)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            steward.call(unpack_file, (file.fileno(), tree.fileno()))
        else:
            pack_file(*here, compression="none", namespace=marks, ids=None if rules_host() else user_map())
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            unpack_layer(lambda count: os.read(file.fileno(), count), tree.fileno())


def _nameless(directory: str) -> Fd:
    """A new file on the disk of a directory, that nobody else sees."""
    return Fd(os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600))


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
