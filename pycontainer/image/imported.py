"""An image of one layer, from an archive of a root file system (``docker import``)."""

from __future__ import annotations

import hashlib
import os
import time
from typing import IO

from pycontainer.image.compression import Read, decompressed
from pycontainer.image.compressor import compressed
from pycontainer.image.config import ImageConfig
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.document import Document, History
from pycontainer.image.image import Image
from pycontainer.image.images import Images
from pycontainer.image.intake import nowhere, take_in
from pycontainer.image.limits import Limits
from pycontainer.image.platform import Platform
from pycontainer.image.progress import Teller
from pycontainer.image.reference import Reference
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import named

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_PIECE = 1 << 20


def import_archive(
    images: Images,
    source: str | os.PathLike[str] | IO[bytes],
    name: str | None,
    *,
    config: ImageConfig | None,
    message: str,
    platform: str | None,
) -> Image:
    """See :meth:`Images.import_rootfs`."""
    wanted = Platform.host() if platform is None else Platform.parse(platform)
    reference = None if name is None else Reference.parse(name)
    if isinstance(source, (str, os.PathLike)):
        with named(f"open {os.fspath(source)}"), Fd(os.open(source, os.O_RDONLY | os.O_CLOEXEC)) as file:
            return _imported(
                images, lambda count: os.read(file.fileno(), count), reference, config, message, wanted
            )
    return _imported(images, source.read, reference, config, message, wanted)


def _imported(
    images: Images,
    read: Read,
    name: Reference | None,
    config: ImageConfig | None,
    message: str,
    platform: Platform,
) -> Image:
    store = images.store
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with store.lease():
        with store.ingest(None, None) as blob:
            seen = hashlib.sha256()
            plain = decompressed(read, Limits())
            with compressed(blob.write, "gzip") as writer:
                while piece := plain(_PIECE):
                    seen.update(piece)
                    writer.write(piece)
            size = blob.offset
            layer = Descriptor(media_type=_LAYER, digest=blob.commit(), size=size)
        diff_id = f"sha256:{seen.hexdigest()}"
        # Only now is it seen whether it is an archive at all; what is none is collected with the lease.
        take_in(store, layer, diff_id, nowhere, Teller(None))
        document = Document.make(
            platform=platform,
            config=config or ImageConfig(),
            diff_ids=[diff_id],
            history=[History(created=created, comment=message)],
            created=created,
        )
        return images.add(document, [layer], name)
