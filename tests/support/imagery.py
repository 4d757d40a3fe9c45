"""Small images made for a test: layers from lists of entries, with busybox for programs."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pycontainer.image.config import ImageConfig
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.document import Document, History
from pycontainer.image.image import Image
from pycontainer.image.images import Images
from pycontainer.image.intake import nowhere, take_in
from pycontainer.image.platform import Platform
from pycontainer.image.progress import Teller
from pycontainer.image.reference import Reference

#: A path, and what is there: a directory's mode, a file's content, or ("->", target).
Entry = tuple[str, Any]
TYPE = "application/vnd.oci.image.layer.v1.tar"
PROGRAMS = (
    "sh id cat stat ls echo ln rm mv mkdir rmdir chown chmod touch sleep true false test env pwd find mkfifo "
    "readlink sha256sum dd head tail wc grep sort date hostname kill nc"
).split()
PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"
GROUP = "root:x:0:\napp:x:1000:\nextra:x:1001:app\n"


def busybox() -> bytes:
    path = shutil.which("busybox")
    if path is None:
        pytest.fail("these tests need busybox (static), from the package busybox-static")
    return Path(path).read_bytes()


def tar(*entries: Entry, owner: int = 0) -> bytes:
    """A tar archive of these entries."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, what in entries:
            info = tarfile.TarInfo(name)
            info.uid = info.gid = owner
            data = b""
            if isinstance(what, int):
                info.type, info.mode = tarfile.DIRTYPE, what
            elif isinstance(what, tuple):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, what[1], 0o777
            else:
                data = what.encode() if isinstance(what, str) else what
                info.size, info.mode = len(data), 0o755 if data[:4] == b"\x7fELF" else 0o644
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def base() -> bytes:
    """A layer with programs and accounts."""
    links: list[Entry] = [(f"bin/{name}", ("->", "/bin/busybox")) for name in PROGRAMS]
    return tar(
        ("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("srv", 0o755), ("root", 0o700), ("bin/busybox", busybox()),
        *links, ("etc/passwd", PASSWD), ("etc/group", GROUP),
    )  # fmt: skip


def packed(content: bytes, kind: str) -> bytes:
    """A layer's blob."""
    if kind == "gzip":
        return gzip.compress(content, 1, mtime=0)
    return zstandard.ZstdCompressor().compress(content) if kind == "zstd" else content


def add_layer(images: Images, content: bytes, kind: str = "gzip") -> tuple[Descriptor, str]:
    """A layer in the store; call it under a lease."""
    blob = packed(content, kind)
    suffix = "" if kind == "none" else f"+{kind}"
    found = Descriptor(media_type=TYPE + suffix, digest=images.store.add_blob(blob), size=len(blob))
    diff_id = f"sha256:{hashlib.sha256(content).hexdigest()}"
    take_in(images.store, found, diff_id, nowhere, Teller(None))
    return found, diff_id


def make_image(
    images: Images,
    name: str | None,
    *layers: bytes,
    kinds: Sequence[str] = (),
    config: ImageConfig | None = None,
    platform: Platform | None = None,
) -> Image:
    """An image in the store, of these archives."""
    with images.store.lease():
        made = [
            add_layer(images, content, kinds[number] if kinds else "gzip")
            for number, content in enumerate(layers)
        ]
        document = Document.make(
            platform=platform or Platform.host(),
            config=config or ImageConfig(cmd=("/bin/sh",)),
            diff_ids=[diff_id for _, diff_id in made],
            history=[
                History(created="2026-01-01T00:00:00Z", created_by=f"step {number}")
                for number in range(len(made))
            ],
            created="2026-01-01T00:00:00Z",
        )
        return images.add(
            document, [blob for blob, _ in made], None if name is None else Reference.parse(name)
        )
