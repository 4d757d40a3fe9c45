"""A detached container that does not run as one archive, for another engine: of another user, on another machine.

The archive is an OCI image layout (image-spec 1.1) with the container's images, which every program that knows those
finds in it, and an artifact beside them::

    index.json -> manifest of each image
               -> manifest  artifactType application/vnd.pycontainer.container.v1
                    config  application/vnd.pycontainer.container.config.v1+json:
                            {"version": 1, "name", "id", "image": {"name", "digest"}, "arguments", "diff_id"}
                    layers  application/vnd.oci.image.layer.v1.tar+gzip   the writable layer, if there is one
                            application/vnd.pycontainer.volume.v1.tar     each own volume; its annotation "target"

``arguments`` are those of ``create``: what comes out is made and checked as any other container is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

import attrs

from pycontainer.container.arguments import container_name
from pycontainer.container.detached.demands import demands
from pycontainer.container.detached.making import make
from pycontainer.container.detached.options import NAMES, Keeping
from pycontainer.container.detached.portable import arguments_from, arguments_of
from pycontainer.container.found import Tree
from pycontainer.container.mounts import ImageMount, VolumeMount
from pycontainer.container.options import CONTAINER
from pycontainer.container.spec import Spec, spec_of
from pycontainer.container.volumes import Mounts
from pycontainer.errors import ImageError, InvalidArgument, NotSupported, VolumeNotFound
from pycontainer.image.archive.artifact import (
    Artifact,
    described,
    find_artifact,
    nameless,
    read_document,
    take_out,
)
from pycontainer.image.archive.contents import Contents, opened
from pycontainer.image.archive.reader import name_images, scratch, take_images
from pycontainer.image.archive.writer import save as write_archive
from pycontainer.image.carried import pack_upper, unpack_upper
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.digest import check_digest
from pycontainer.image.image import Image, image_in_no_store
from pycontainer.image.jsontext import write_object
from pycontainer.image.manifest import Manifest, make_manifest
from pycontainer.image.progress import Listener
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.layers import Namespace
from pycontainer.kernel.rooted import OPEN_DIRECTORY
from pycontainer.state.records import Record, Records

if TYPE_CHECKING:
    from pycontainer.container.workspace import Workspace

ARTIFACT = "application/vnd.pycontainer.container.v1"
_CONFIG = "application/vnd.pycontainer.container.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_VOLUME = "application/vnd.pycontainer.volume.v1.tar"
_VERSION = 1
_WHAT = "container"


@attrs.frozen(kw_only=True)
class Moved:
    """What is to be written of a container."""

    id: str
    name: str
    spec: Spec
    keeping: Keeping
    mounts: Mounts
    folder: str
    marks: Namespace


# -- out ---------------------------------------------------------------------------------------


def save(
    workspace: Workspace,
    moved: Moved,
    target: str | os.PathLike[str] | IO[bytes],
    *,
    progress: Listener | None = None,
) -> None:
    """Write the archive of a container that does not run, and is not started meanwhile.

    It has its name when all of it is on disk.  Raises :class:`PyContainerError` with nothing left behind.
    """
    spec = _with_images(workspace, moved.spec)
    image = spec.image
    if image.layers and image.stored is None:
        raise NotSupported(
            f"moving a container of {image.name}, which is in no store",
            f"make its image one of a store: tar -c -C {image.layers[0]} . | pycontainer import - NAME",
        )
    with ExitStack() as stack:
        layers, files = [], {}
        document: dict[str, Any] = {
            "version": _VERSION,
            "name": moved.name,
            "id": moved.id,
            "image": {"name": image.name, "digest": image.digest},
            "arguments": arguments_of(spec, moved.keeping),
        }
        upper = f"{moved.folder}/files/upper"
        if os.path.isdir(upper):
            file = stack.enter_context(nameless(moved.folder))
            document["diff_id"] = pack_upper(upper, file.fileno(), moved.marks, workspace.reach).diff_id
            layers.append(described(file, _LAYER))
            files[layers[-1].digest] = file
        for target_, path in _own_volumes(spec, moved.mounts):
            file = stack.enter_context(nameless(moved.folder))
            _pack_volume(path, file)
            layers.append(described(file, _VOLUME, target=target_))
            files[layers[-1].digest] = file
        raw = write_object(document)
        manifest = make_manifest(_config_of(raw), layers, artifact_type=ARTIFACT)
        artifact = Artifact(manifest=manifest, document=raw, files=files)
        write_archive(workspace.images(), _images_of(spec), target, progress=progress, artifact=artifact)


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


def _own_volumes(spec: Spec, mounts: Mounts) -> Iterator[tuple[str, str]]:
    """The places of volumes that are the container's own, and their directories."""
    own = {
        mount.target for mount, _ in spec.mounts if isinstance(mount, VolumeMount) and mount.source is None
    }
    for mount, _ in mounts:
        if isinstance(mount, Tree) and mount.target in own:
            yield mount.target, mount.source


def _pack_volume(path: str, file: Fd) -> None:
    from pycontainer.volume import content

    with Fd(os.open(path, OPEN_DIRECTORY)) as data:
        content.backup(data.fileno(), file.fileno())


def _config_of(raw: bytes) -> Descriptor:
    from pycontainer.image.digest import digest_of

    return Descriptor(media_type=_CONFIG, digest=digest_of(raw), size=len(raw))


# -- in ----------------------------------------------------------------------------------------


def load(
    workspace: Workspace,
    records: Records,
    source: str | os.PathLike[str] | IO[bytes],
    *,
    name: str | None = None,
    trusted: bool = False,
    progress: Listener | None = None,
) -> Record:
    """Make the container of an archive; it is not started.  All or nothing, but for layers of images.

    Raises what making a container does, :class:`ImageNotFound` for an archive without one, :class:`ImageError` for one
    that is damaged or wrong, :class:`UnsafeArchive`.
    """
    images = workspace.images()
    with images.store.lease(), opened(source, scratch(images.store)) as contents, ExitStack() as stack:
        manifest = find_artifact(contents, ARTIFACT, _WHAT)
        told = _Told.read(contents, manifest)
        digests = told.digests()
        taken = take_images(images, contents, digests, progress)

        def find(digest: str) -> Image:
            if digest not in digests:
                raise ImageError(f"the container names the image {digest}, which is not in the archive")
            return images.get(digest)

        image = attrs.evolve(find(told.digest), name=told.image) if told.digest else _hosts(told.image)
        spec, keeping = _spec(image, told, find)
        _check(workspace, spec, trusted=trusted)
        layer, volumes = _parts(contents, manifest, images.store.path, stack)
        targets = {
            mount.target
            for mount, _ in spec.mounts
            if isinstance(mount, VolumeMount) and mount.source is None
        }
        if not volumes.keys() <= targets or (layer is None) != (told.diff_id is None):
            raise ImageError("the archive has parts that its container does not name")

        def fill(folder: str, mounts: Mounts) -> None:
            if layer is not None and told.diff_id is not None:
                unpack_upper(layer.fileno(), f"{folder}/files/upper", told.diff_id, workspace.reach)
            for target, path in _own_volumes(spec, mounts):
                if target in volumes:
                    _unpack_volume(path, volumes[target])

        record = make(workspace, records, spec, keeping, told.name if name is None else name, fill)
        name_images(images, taken)
        return record


@attrs.frozen(kw_only=True)
class _Told:
    """The configuration of an archive, of the right types."""

    name: str
    image: str
    digest: str
    arguments: Mapping[str, Any]
    diff_id: str | None

    @classmethod
    def read(cls, contents: Contents, manifest: Manifest) -> _Told:
        where = "the container's configuration"
        found = read_document(contents, manifest, where)
        image, arguments, diff_id = found.get("image"), found.get("arguments"), found.get("diff_id")
        if found.get("version") != _VERSION or manifest.config.media_type != _CONFIG:
            raise ImageError(f"{where} is of another version: {_VERSION} is known here")
        if not isinstance(image, dict) or not isinstance(arguments, dict):
            raise ImageError(f"{where} has no image and no arguments")
        name, digest = image.get("name"), image.get("digest")
        if not isinstance(name, str) or not isinstance(digest, str):
            raise ImageError(f"{where} has no name and no digest of an image")
        return cls(
            name=container_name(found.get("name")),
            image=name,
            digest=check_digest(digest, where) if digest else "",
            arguments=arguments,
            diff_id=None if diff_id is None else check_digest(diff_id, where),
        )

    def digests(self) -> set[str]:
        """Those of all images that it needs."""
        found = {self.digest} if self.digest else set()
        mounts = self.arguments.get("mounts")
        for mount in mounts if isinstance(mounts, list) else []:
            image = mount.get("image") if isinstance(mount, dict) else None
            digest = image.get("digest") if isinstance(image, dict) else None
            if isinstance(digest, str) and digest:
                found.add(check_digest(digest, "the image of a mount"))
        return found


def _hosts(name: str) -> Image:
    if name != "host:":
        raise ImageError("the container's image has no digest")
    return Image.from_host()


def _spec(image: Image, told: _Told, find: Callable[[str], Image]) -> tuple[Spec, dict[str, Any]]:
    given = arguments_from(told.arguments, find)
    unknown = given.keys() - CONTAINER - NAMES | given.keys() & {"extra_fds"}
    if unknown:
        raise ImageError(f"the container has the argument {sorted(unknown)[0]!r}, which is not known here")
    keeping = {each: given.pop(each) for each in NAMES & given.keys()}
    try:
        return spec_of(image, None, given), keeping
    except (TypeError, AttributeError) as error:
        raise ImageError(f"the container's arguments are not of their form: {error}") from None


def _check(workspace: Workspace, spec: Spec, *, trusted: bool) -> None:
    from pycontainer.volume import volumes_at

    asked = list(demands(spec))
    if asked and not trusted:
        raise InvalidArgument(
            "trusted",
            trusted,
            f"the container wants {', '.join(asked)}: say trusted=True if you know who made the archive",
        )
    for mount, _ in spec.mounts:
        if isinstance(mount, VolumeMount) and mount.source is not None:
            try:
                volumes_at(workspace.root).get(mount.source)
            except VolumeNotFound:
                raise InvalidArgument(
                    "mounts",
                    mount.source,
                    "a volume with a name does not move along: make it first, and restore it",
                ) from None


def _parts(
    contents: Contents, manifest: Manifest, directory: str, stack: ExitStack
) -> tuple[Fd | None, dict[str, Fd]]:
    """The writable layer, and volumes by their places, as open files."""
    layer, volumes = None, {}
    for part in manifest.layers:
        target = dict(part.annotations).get("target", "")
        if part.media_type == _LAYER and layer is None:
            layer = stack.enter_context(take_out(contents, part, directory))
        elif part.media_type == _VOLUME and target and target not in volumes:
            volumes[target] = stack.enter_context(take_out(contents, part, directory))
        else:
            raise ImageError(
                f"the container has a part of the type {part.media_type!r}, which is not known here"
            )
    return layer, volumes


def _unpack_volume(path: str, file: Fd) -> None:
    from pycontainer.volume import content

    with Fd(os.open(os.path.dirname(path), OPEN_DIRECTORY)) as tree:
        content.restore(tree.fileno(), file.fileno())
