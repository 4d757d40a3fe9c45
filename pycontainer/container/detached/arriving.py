"""A detached container out of an archive of another engine; see :mod:`.moving` for its form.

An archive is a stranger's word.  All of it is verified before anything is made; what its container was made from is
checked as a caller's arguments are; and more of the host than a plain container has is for those whom the caller trusts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

import attrs

from pycontainer.container.arguments import container_name
from pycontainer.container.detached.checkpoints import Told
from pycontainer.container.detached.demands import demands
from pycontainer.container.detached.making import make
from pycontainer.container.detached.moving import (
    ARTIFACT,
    CHECKPOINT,
    CONFIG,
    LAYER,
    VERSION,
    VOLUME,
    own_volumes,
)
from pycontainer.container.detached.options import NAMES
from pycontainer.container.detached.portable import arguments_from
from pycontainer.container.mounts import VolumeMount
from pycontainer.container.options import CONTAINER
from pycontainer.container.spec import Spec, spec_of
from pycontainer.container.volumes import Mounts
from pycontainer.errors import ImageError, InvalidArgument, VolumeNotFound
from pycontainer.image.archive.artifact import (
    find_artifact,
    read_document,
    take_out,
)
from pycontainer.image.archive.contents import Contents, opened
from pycontainer.image.archive.reader import name_images, scratch, take_images
from pycontainer.image.carried import unpack_upper
from pycontainer.image.digest import check_digest
from pycontainer.image.image import Image
from pycontainer.image.manifest import Manifest
from pycontainer.image.progress import Listener
from pycontainer.image.unpack import unpack
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import OPEN_DIRECTORY
from pycontainer.state.records import Record, Records

if TYPE_CHECKING:
    from pycontainer.container.workspace import Workspace


_WHAT = "container"


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
        _check(workspace, spec, told, trusted=trusted)
        parts = _Parts.read(contents, manifest, images.store.path, stack)
        targets = {
            mount.target
            for mount, _ in spec.mounts
            if isinstance(mount, VolumeMount) and mount.source is None
        }
        parts.check(told, targets)

        def fill(folder: str, mounts: Mounts) -> None:
            if parts.layer is not None and told.diff_id is not None:
                unpack_upper(parts.layer.fileno(), f"{folder}/files/upper", told.diff_id, workspace.reach)
            for target, path in own_volumes(spec, mounts):
                if target in parts.volumes:
                    _unpack_volume(path, parts.volumes[target])
            if parts.checkpoint is not None and told.checkpoint is not None:
                _unpack_checkpoint(
                    f"{folder}/checkpoints/{told.checkpoint[0]}", parts.checkpoint, told.checkpoint[1]
                )

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
    checkpoint: tuple[str, Told] | None

    @classmethod
    def read(cls, contents: Contents, manifest: Manifest) -> _Told:
        where = "the container's configuration"
        found = read_document(contents, manifest, where)
        image, arguments, diff_id = found.get("image"), found.get("arguments"), found.get("diff_id")
        if found.get("version") != VERSION or manifest.config.media_type != CONFIG:
            raise ImageError(f"{where} is of another version: {VERSION} is known here")
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
            checkpoint=_checkpoint_of(found.get("checkpoint")),
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


def _checkpoint_of(value: Any) -> tuple[str, Told] | None:
    if value is None:
        return None
    try:
        return container_name(value["name"]), Told.from_json(value["told"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ImageError(f"the container's checkpoint is not of its form: {error}") from None


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


def _check(workspace: Workspace, spec: Spec, told: _Told, *, trusted: bool) -> None:
    from pycontainer.volume import volumes_at

    asked = list(demands(spec))
    if told.checkpoint is not None:
        asked.append("processes that CRIU makes as root of the host")
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


@attrs.frozen(kw_only=True)
class _Parts:
    """The parts of a container, verified, as open files; volumes by their places."""

    layer: Fd | None
    volumes: Mapping[str, Fd]
    checkpoint: Fd | None

    @classmethod
    def read(cls, contents: Contents, manifest: Manifest, directory: str, stack: ExitStack) -> _Parts:
        found: dict[str, Fd] = {}
        for part in manifest.layers:
            target = dict(part.annotations).get("target", "")
            # A place is an absolute path: it is none of the other two.
            key = f"/{target}" if part.media_type == VOLUME and target else part.media_type
            if key in found or (key == part.media_type and key not in {LAYER, CHECKPOINT}):
                raise ImageError(
                    f"the container has a part of the type {part.media_type!r} that is not expected"
                )
            found[key] = stack.enter_context(take_out(contents, part, directory))
        layer, checkpoint = found.pop(LAYER, None), found.pop(CHECKPOINT, None)
        return cls(layer=layer, checkpoint=checkpoint, volumes={key[1:]: file for key, file in found.items()})

    def check(self, told: _Told, targets: set[str]) -> None:
        """Raise :class:`ImageError` unless they are those that the configuration tells of."""
        fits = (self.layer is None) == (told.diff_id is None) and self.volumes.keys() <= targets
        if not fits or (self.checkpoint is None) != (told.checkpoint is None):
            raise ImageError("the archive has other parts than its container names")


def _unpack_volume(path: str, file: Fd) -> None:
    from pycontainer.volume import content

    with Fd(os.open(os.path.dirname(path), OPEN_DIRECTORY)) as tree:
        content.restore(tree.fileno(), file.fileno())


def _unpack_checkpoint(place: str, file: Fd, told: Told) -> None:
    os.makedirs(f"{place}/images", 0o700)
    with Fd(os.open(f"{place}/images", OPEN_DIRECTORY)) as tree:
        unpack(lambda count: os.read(file.fileno(), count), tree.fileno(), keep_owners=False)
    # Its files are those that the container begins with here.
    attrs.evolve(told, started=0).write(f"{place}/told")
