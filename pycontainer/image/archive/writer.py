"""Images out of the store into archives.

What is written depends on the images alone, byte for byte: no times, no owners, everything in order.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from typing import IO, TYPE_CHECKING, Literal, get_args

from pycontainer.errors import ImageError, InvalidArgument
from pycontainer.image.archive import dockersave, layout
from pycontainer.image.archive.artifact import Artifact
from pycontainer.image.archive.output import Folder, Output
from pycontainer.image.archive.tape import Stream, Tar
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.jsontext import write_list, write_object
from pycontainer.image.manifest import Manifest, make_index
from pycontainer.image.progress import Listener, Teller
from pycontainer.image.reference import Reference
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import named

if TYPE_CHECKING:
    from pycontainer.image.image import Image, Stored
    from pycontainer.image.images import Images

Format = Literal["oci", "docker", "oci-dir"]
_CHUNK = 1 << 20


def save(
    images: Images,
    found: Sequence[Image],
    path: str | os.PathLike[str] | IO[bytes],
    format: Format = "oci",  # noqa: A002  (as other programs call it)
    *,
    progress: Listener | None = None,
    artifact: Artifact | None = None,
) -> None:
    """Write images with their names to an archive: an OCI layout in a tar archive.

    ``"docker"``: one that ``docker load`` of any age takes, too, with a manifest.json.  ``"oci-dir"``: a directory,
    which must not exist or be empty.  A file that is there is replaced; ``path`` may also be a file open for writing
    bytes, such as ``sys.stdout.buffer``, which stays open.  Layers are written as they are stored,
    compressed or not; their digests are verified on the way.  Equal images make equal bytes.

    An ``artifact`` beside the images is for who knows its type; others see the images alone.
    The archive has its name when all of it is on disk; after a failure nothing is left.  Raises
    :class:`InvalidArgument`, :class:`ImageError` for a damaged blob, :class:`KernelError`.

    >>> save(images, [images.get("debian:12")], "debian.tar")     # doctest: +SKIP
    """
    if format not in get_args(Format):
        raise InvalidArgument("format", format, f"one of {', '.join(get_args(Format))} is needed")
    if not found and artifact is None:
        raise InvalidArgument("images", found, "at least one is needed")
    tell = Teller(progress)
    with ExitStack() as stack:
        for image in found:
            if image.stored is None or image.stored.images is not images:
                raise InvalidArgument(
                    "image", image.name, "an image of this engine's store is needed: load or pull it"
                )
            hold = image.hold()
            if hold is not None:
                stack.enter_context(closing(hold))
        output: Output = stack.enter_context(_output(path, format))
        for name, document in _documents(found, artifact, docker=format == "docker"):
            output.add(name, document)
        files = {} if artifact is None else artifact.files
        for name, content in sorted({**_blobs(found), **_blobs_beside(artifact)}.items()):
            if isinstance(content, bytes):
                output.add(name, content)
            elif content.digest in files:
                _copy(files[content.digest].dup(), name, content, output, tell)
            else:
                _copy(images.store.open_blob(content.digest), name, content, output, tell)
        output.commit()


def _output(path: str | os.PathLike[str] | IO[bytes], kind: Format) -> Output:
    if isinstance(path, str | os.PathLike):
        return Folder(path) if kind == "oci-dir" else Tar(path)
    if kind == "oci-dir":
        raise InvalidArgument("path", path, "a directory has a path")
    return Stream(path)


def _documents(
    found: Sequence[Image], artifact: Artifact | None, *, docker: bool
) -> Iterable[tuple[str, bytes]]:
    yield layout.LAYOUT, write_object({"imageLayoutVersion": layout.VERSION})
    entries: dict[Descriptor, None] = {}
    tags: dict[str, tuple[Manifest, dict[str, None]]] = {}
    for image in found:
        stored, name = _stored(image), name_of(image)
        manifest = stored.manifest
        notes = () if name is None else ((layout.NAME, str(name)), (layout.TAG, str(name)))
        entry = Descriptor(
            media_type=manifest.media_type,
            digest=manifest.digest,
            size=len(manifest.raw),
            platform=stored.document.platform if stored.document.platform.architecture else None,
            annotations=notes,
        )
        entries[entry] = None
        names = tags.setdefault(manifest.digest, (manifest, {}))[1]
        # In full: podman takes what has no registry for one of "localhost".
        names.update({} if name is None else {str(name): None})
    yield layout.INDEX, make_index([*entries, *([] if artifact is None else [artifact.entry])]).raw
    if docker:
        yield dockersave.MANIFEST, write_list([
            {
                "Config": layout.blob_name(manifest.config),
                "RepoTags": list(names),
                "Layers": [layout.blob_name(layer) for layer in manifest.layers],
            }
            for manifest, names in tags.values()
        ])  # fmt: skip


def _blobs(found: Iterable[Image]) -> dict[str, bytes | Descriptor]:
    """What is in blobs/: the content of the small ones."""
    blobs: dict[str, bytes | Descriptor] = {}
    for image in found:
        stored = _stored(image)
        for layer in stored.manifest.layers:
            blobs[layout.blob_name(layer)] = layer
        blobs[layout.blob_name(stored.manifest.config)] = stored.document.raw
        blobs[f"{layout.BLOBS}/{stored.manifest.digest[7:]}"] = stored.manifest.raw
    return blobs


def _blobs_beside(artifact: Artifact | None) -> dict[str, bytes | Descriptor]:
    if artifact is None:
        return {}
    manifest = artifact.manifest
    blobs: dict[str, bytes | Descriptor] = {layout.blob_name(each): each for each in manifest.layers}
    blobs[layout.blob_name(manifest.config)] = artifact.document
    blobs[layout.blob_name(artifact.entry)] = manifest.raw
    return blobs


def _copy(source: Fd, name: str, blob: Descriptor, output: Output, tell: Teller) -> None:
    found, done = hashlib.sha256(), 0
    with source as file:
        output.begin(name, blob.size)
        while done <= blob.size:
            with named(f"read the blob {blob.digest}"):
                part = os.pread(file.fileno(), _CHUNK, done)
            if not part:
                break
            found.update(part)
            done += len(part)
            if done <= blob.size:
                output.write(part)
                tell("upload", blob.digest, done, blob.size)
    if done != blob.size or f"sha256:{found.hexdigest()}" != blob.digest:
        raise ImageError(f"the blob {blob.digest} is damaged: pull or load its image again")
    output.end()
    tell("done", blob.digest, done, blob.size)


def _stored(image: Image) -> Stored:
    if image.stored is None:
        raise AssertionError(f"{image.name} was looked at before")
    return image.stored


def name_of(image: Image) -> Reference | None:
    """The name that an image is to have elsewhere, too; ``None`` for one that has only a digest or a transport."""
    if image.name == image.digest:
        return None
    try:
        reference = Reference.parse(image.name)
    except InvalidArgument:
        return None
    return reference if reference.tag and not reference.digest else None
