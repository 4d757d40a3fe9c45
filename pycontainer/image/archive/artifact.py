"""What is in an archive beside images, for who knows its type: a manifest with another configuration than an image's.

As the OCI lays artifacts out (image-spec 1.1, manifest.md, "Guidelines for Artifact Usage").
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

import attrs

from pycontainer.errors import ImageError, ImageNotFound
from pycontainer.image.archive import layout
from pycontainer.image.archive.contents import Contents
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.jsontext import read_object
from pycontainer.image.manifest import Index, Manifest, parse_manifest
from pycontainer.kernel.fd import Fd, write_all

_CHUNK = 1 << 20


@attrs.frozen(kw_only=True)
class Artifact:
    """One to be written: its configuration's bytes, and the open files of its layers by digest, borrowed."""

    manifest: Manifest
    document: bytes
    files: Mapping[str, Fd]

    @property
    def entry(self) -> Descriptor:
        """How the index tells of it."""
        manifest = self.manifest
        return Descriptor(
            media_type=manifest.media_type,
            digest=manifest.digest,
            size=len(manifest.raw),
            artifact_type=manifest.artifact_type,
        )


def find_artifact(contents: Contents, artifact_type: str, what: str) -> Manifest:
    """The manifest of the only artifact of this type, verified; ``what`` it is, for messages.

    Raises :class:`ImageError`, and :class:`ImageNotFound` where there is none.
    """
    if not layout.is_layout(contents):
        raise ImageNotFound(f"there is no {what} in it: it has no {layout.LAYOUT} and {layout.INDEX}")
    with contents.open(layout.INDEX) as piece:
        index = parse_manifest(piece.content(), None, layout.INDEX)
    found = (
        [each for each in index.manifests if each.artifact_type == artifact_type]
        if isinstance(index, Index)
        else []
    )
    if not found:
        raise ImageNotFound(f"there is no {what} in it")
    if len(found) > 1:
        raise ImageError(f"there are {len(found)} of them in it, and one {what} is needed")
    with layout.open_blob(contents, found[0]) as piece:
        raw = piece.content(found[0].digest)
    manifest = parse_manifest(raw, found[0].media_type, f"the manifest {found[0].digest}")
    if not isinstance(manifest, Manifest) or manifest.artifact_type != artifact_type:
        raise ImageError(f"the manifest {found[0].digest} is that of no {what}")
    return manifest


def read_document(contents: Contents, manifest: Manifest, what: str) -> dict[str, object]:
    """The configuration of an artifact, a JSON object; verified. Raises :class:`ImageError`."""
    with layout.open_blob(contents, manifest.config) as piece:
        return read_object(piece.content(manifest.config.digest), what)


def take_out(contents: Contents, blob: Descriptor, directory: str) -> Fd:
    """A blob as a nameless file in ``directory``, at its beginning, all of it verified; the caller closes it.

    Raises :class:`ImageError`, :class:`KernelError`.
    """
    found = hashlib.sha256()
    file = nameless(directory)
    try:
        with layout.open_blob(contents, blob) as piece:
            while part := piece.read(_CHUNK):
                found.update(part)
                write_all(file.fileno(), part)
        if f"sha256:{found.hexdigest()}" != blob.digest:
            raise ImageError(
                f"the blob {blob.digest} is damaged: its content has the digest sha256:{found.hexdigest()}"
            )
        os.lseek(file.fileno(), 0, os.SEEK_SET)
    except BaseException:
        file.close()
        raise
    return file


def described(file: Fd, media_type: str, **notes: str) -> Descriptor:
    """What the content of an open file is as a blob."""
    found, size = hashlib.sha256(), 0
    while part := os.pread(file.fileno(), _CHUNK, size):
        found.update(part)
        size += len(part)
    return Descriptor(
        media_type=media_type,
        digest=f"sha256:{found.hexdigest()}",
        size=size,
        annotations=tuple(sorted(notes.items())),
    )


def nameless(directory: str) -> Fd:
    """A new file on the disk of a directory, that nobody else sees."""
    return Fd(os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600))
