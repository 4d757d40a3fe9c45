"""A detached container that does not run as one archive, for another engine: of another user, on another machine.

The archive is an OCI image layout (image-spec 1.1) with the container's images, which every program that knows those
finds in it, and an artifact beside them::

    index.json -> manifest of each image
               -> manifest  artifactType application/vnd.pycontainer.container.v1
                    config  application/vnd.pycontainer.container.config.v1+json:
                            {"version": 1, "name", "id", "image": {"name", "digest"}, "arguments", "diff_id"}
                    layers  application/vnd.oci.image.layer.v1.tar+gzip   the writable layer, if there is one
                            application/vnd.pycontainer.volume.v1.tar     each own volume; its annotation "target"
                            application/vnd.pycontainer.checkpoint.v1.tar CRIU's images, if "checkpoint" tells of them

``arguments`` are those of ``create``: what comes out is made and checked as any other container is (:mod:`.arriving`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

import attrs

from pycontainer.container.detached.checkpoints import Told, check_files, place_of
from pycontainer.container.detached.portable import arguments_of
from pycontainer.container.found import Tree
from pycontainer.container.mounts import ImageMount, VolumeMount
from pycontainer.container.spec import Spec
from pycontainer.container.volumes import Mounts
from pycontainer.errors import NotSupported, StateError
from pycontainer.image.archive.artifact import (
    Artifact,
    described,
    nameless,
)
from pycontainer.image.archive.writer import save as write_archive
from pycontainer.image.carried import pack_upper
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.digest import digest_of
from pycontainer.image.image import Image, image_in_no_store
from pycontainer.image.jsontext import write_object
from pycontainer.image.manifest import make_manifest
from pycontainer.image.progress import Listener
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import OPEN_DIRECTORY

if TYPE_CHECKING:
    from pycontainer.container.detached.container import Detached
    from pycontainer.container.workspace import Workspace

ARTIFACT = "application/vnd.pycontainer.container.v1"
CONFIG = "application/vnd.pycontainer.container.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
VOLUME = "application/vnd.pycontainer.volume.v1.tar"
VERSION = 1
CHECKPOINT = "application/vnd.pycontainer.checkpoint.v1.tar"


def save(
    container: Detached,
    target: str | os.PathLike[str] | IO[bytes],
    checkpoint: str | None = None,
    progress: Listener | None = None,
) -> None:
    """Write the archive of a container that does not run; see :meth:`Detached.save`."""
    with container._places.verb(container.id) as verb, ExitStack() as stack:
        if verb is None:
            raise StateError(f"container {container.name}", "removed", "save")
        container.allow("save")
        spec = _with_images(container._workspace, container.spec)
        image = spec.image
        if image.layers and image.stored is None:
            raise NotSupported(
                f"moving a container of {image.name}, which is in no store",
                f"make its image one of a store: tar -c -C {image.layers[0]} . | pycontainer import - NAME",
            )
        document: dict[str, Any] = {
            "version": VERSION,
            "name": container.name,
            "id": container.id,
            "image": {"name": image.name, "digest": image.digest},
            "arguments": arguments_of(spec, container.keeping),
        }
        packing = _Packing(container, stack)
        packing.container(spec, document, checkpoint)
        raw = write_object(document)
        config = Descriptor(media_type=CONFIG, digest=digest_of(raw), size=len(raw))
        manifest = make_manifest(config, packing.layers, artifact_type=ARTIFACT)
        artifact = Artifact(manifest=manifest, document=raw, files=packing.files)
        images = container._workspace.images()
        write_archive(images, _images_of(spec), target, progress=progress, artifact=artifact)


class _Packing:
    """The parts of a container, each in a nameless file in its folder that is there until the stack is closed."""

    def __init__(self, container: Detached, stack: ExitStack) -> None:
        self._container, self._stack = container, stack
        self._folder = container._home.folder
        self.layers: list[Descriptor] = []
        self.files: dict[str, Fd] = {}

    def container(self, spec: Spec, document: dict[str, Any], checkpoint: str | None) -> None:
        """All of them, which ``document`` is told of."""
        upper, images = f"{self._folder}/files/upper", None
        if checkpoint is not None:
            place = place_of(self._container, checkpoint)
            check_files(self._container, place, "save")
            told = Told.read(f"{place}/told")
            document["checkpoint"] = {"name": checkpoint, "told": told.to_json()}
            images = f"{place}/images"
            upper = f"{place}/upper" if os.path.isdir(f"{place}/upper") else upper
        if os.path.isdir(upper):
            file = self._file()
            marks, reach = self._container._marks(), self._container._workspace.reach
            document["diff_id"] = pack_upper(upper, file.fileno(), marks, reach).diff_id
            self._add(file, LAYER)
        for target, path in own_volumes(spec, self._container._mounts):
            self._tree(path, VOLUME, target=target)
        if images is not None:
            self._tree(images, CHECKPOINT)

    def _tree(self, path: str, kind: str, **notes: str) -> None:
        from pycontainer.volume import content

        file = self._file()
        with Fd(os.open(path, OPEN_DIRECTORY)) as data:
            content.backup(data.fileno(), file.fileno())
        self._add(file, kind, **notes)

    def _file(self) -> Fd:
        return self._stack.enter_context(nameless(self._folder))

    def _add(self, file: Fd, kind: str, **notes: str) -> None:
        self.layers.append(described(file, kind, **notes))
        self.files[self.layers[-1].digest] = file


def _with_images(workspace: Workspace, spec: Spec) -> Spec:
    """The same, with the images of its mounts found: the names are those of this engine."""
    mounts = tuple(
        (attrs.evolve(mount, image=_found(workspace, mount.image)), directory)
        if isinstance(mount, ImageMount)
        else (mount, directory)
        for mount, directory in spec.mounts
    )
    return attrs.evolve(spec, mounts=mounts)


def _found(workspace: Workspace, named: str | Image) -> Image:
    image = image_in_no_store(named) or workspace.images().get(str(named))
    if image.stored is None:
        raise NotSupported(f"moving a container that shows {image.name}", "mount an image of the store")
    return image


def _images_of(spec: Spec) -> list[Image]:
    found = [] if spec.image.stored is None else [spec.image]
    found += [
        mount.image
        for mount, _ in spec.mounts
        if isinstance(mount, ImageMount) and isinstance(mount.image, Image)
    ]
    return list({image.digest: image for image in found}.values())


def own_volumes(spec: Spec, mounts: Mounts) -> Iterator[tuple[str, str]]:
    """The places of volumes that are the container's own, and their directories."""
    own = {
        mount.target for mount, _ in spec.mounts if isinstance(mount, VolumeMount) and mount.source is None
    }
    for mount, _ in mounts:
        if isinstance(mount, Tree) and mount.target in own:
            yield mount.target, mount.source
