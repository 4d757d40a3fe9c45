"""The volumes and further images of one container: held from its making to its removal.

Volumes are filled at first use, and those of its own made.

What has no name belongs to the container alone::

    <root>/run/<host>/<container id>-volumes/<number>/data
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, cast

import attrs

from pycontainer.container.found import Found, Stack, Tree
from pycontainer.container.mounts import ImageMount, VolumeMount
from pycontainer.container.spec import Spec
from pycontainer.container.workspace import Workspace
from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.image.image import Image, image_in_no_store
from pycontainer.kernel import idmap
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.layers import Lowers, Marks
from pycontainer.kernel.native import lib, openat2
from pycontainer.kernel.rooted import OPEN_DIRECTORY

if TYPE_CHECKING:
    from pycontainer.volume import Held

#: Mounts as they are made, each with "is a directory".
Mounts = tuple[tuple[Found, bool], ...]

_WITHOUT_LINKS = lib.RESOLVE_BENEATH | lib.RESOLVE_NO_SYMLINKS


@attrs.frozen
class Attached:
    """The mounts of a container with its volumes found; :meth:`close` lets go of these. Idempotent."""

    mounts: Mounts
    _stack: ExitStack | None = None

    def close(self) -> None:
        """Remove the container's own volumes and use the others no longer; it must not run any more."""
        if self._stack is not None:
            self._stack.close()


def attach(workspace: Workspace, spec: Spec, *, name: str, who: str, declared: bool = True) -> Attached:
    """Have the volumes of a container ready, and keep them from being removed.

    ``name`` is the container's in the workspace, ``who`` what others are told of it.  Without ``declared``, what
    only the image asks for is left out.  Raises :class:`PyContainerError` with nothing left behind.
    """
    given = spec.mounts
    if not any(isinstance(mount, (VolumeMount, ImageMount)) for mount, _ in given):
        return Attached(cast("Mounts", given))
    with ExitStack() as stack:
        work = _Attaching(workspace, spec, name, who, stack)
        found: list[tuple[Found, bool]] = []
        for mount, directory in given:
            if isinstance(mount, ImageMount):
                found.append(work.image(mount))
            elif not isinstance(mount, VolumeMount):
                found.append((mount, directory))
            elif declared or not mount.declared:
                found.append(work.tree(mount))
        return Attached(tuple(found), stack.pop_all())


class _Attaching:
    def __init__(self, workspace: Workspace, spec: Spec, name: str, who: str, stack: ExitStack) -> None:
        self._workspace = workspace
        self._spec = spec
        self._name = f"{name}-volumes"
        self._who = who
        self._stack = stack
        self._held: dict[str, Held] = {}
        self._own: str | None = None

    def tree(self, mount: VolumeMount) -> tuple[Tree, bool]:
        """What a volume comes to, and whether that is a directory."""
        path = self._own_volume(mount) if mount.source is None else self._named_volume(mount.source, mount)
        tree = Tree(source=path, target=mount.target, read_only=mount.read_only, subpath=mount.subpath)
        return tree, mount.subpath is None or _is_directory(path, mount.source, mount.subpath)

    def image(self, mount: ImageMount) -> tuple[Found, bool]:
        """What another image comes to, and whether that is a directory."""
        image = image_in_no_store(mount.image) or self._workspace.images().resolve(mount.image)
        if not image.layers:
            raise InvalidArgument(
                "image", image.name, "programs of the host are no layers: Bind what is wanted of them"
            )
        hold = self._workspace.hold_image(image)
        if hold is not None:
            self._stack.callback(hold.close)
        directory = mount.subpath is None or _is_directory_in(image, mount.subpath)
        if len(image.layers) == 1:
            [layer] = image.layers
            return Tree(source=layer, target=mount.target, read_only=True, subpath=mount.subpath), directory
        return Stack(layers=image.layers, target=mount.target, subpath=mount.subpath), directory

    def _named_volume(self, name: str, mount: VolumeMount) -> str:
        from pycontainer.volume import volumes_at

        if name not in self._held:
            held = volumes_at(self._workspace.root).hold(
                name, who=self._who, alive=self._workspace.alive, fill=self._filler(mount)
            )
            self._held[name] = held
            self._stack.callback(held.close)
            if held.record.size is not None and not self._spec.security.own_users:
                raise NotSupported(
                    f"size={held.record.size} of the volume {name} does not bind root of the host, "
                    "which a container with userns='host' has",
                    "leave userns at 'auto', or take another volume",
                )
        return self._held[name].path

    def _own_volume(self, mount: VolumeMount) -> str:
        from pycontainer.volume import content

        if self._own is None:
            other_users = self._spec.security.own_users
            self._own = self._workspace.make_folder(self._name, other_users=other_users)
            self._stack.callback(partial(self._workspace.remove_folder, self._name))
        place = f"{self._own}/{len(os.listdir(self._own))}"
        os.mkdir(place, 0o700)
        with Fd(os.open(place, OPEN_DIRECTORY)) as fd:
            content.make_data(fd.fileno())
            fill = self._filler(mount, lasting=False)
            if fill is not None:
                fill(fd.fileno())
        return f"{os.path.realpath(place)}/data"

    def _filler(self, mount: VolumeMount, *, lasting: bool = True) -> Callable[[int], None] | None:
        if mount.nocopy or mount.subpath is not None:
            return None
        image = self._spec.image

        def fill(tree: int) -> None:
            from pycontainer.volume import content

            layers = image.layers or (self._workspace.skeleton(_plain_owner()),)
            content.fill(tree, layers[::-1], image.marks or "user", mount.target, lasting=lasting)

        return fill


def _plain_owner() -> tuple[int, int]:
    """Whom the host image's files have to belong to, to have a container's ids in a volume."""
    return (0, 0) if idmap.rules_host() else (os.geteuid(), os.getegid())


def _is_directory_in(image: Image, subpath: str) -> bool:
    try:
        with Lowers(image.layers[::-1], Marks(image.marks or "user")) as lowers:
            entry = lowers.find(f"/{subpath}")
    except OSError as error:
        if error.errno == errno.EACCES:  # another user's of the container, which can get there
            return True
        raise
    if entry is None:
        raise InvalidArgument("subpath", subpath, f"it is not there, in the image {image.name}")
    return stat.S_ISDIR(entry.status.st_mode)


def _is_directory(path: str, volume: str | None, subpath: str) -> bool:
    """Is a part of a volume there, and a directory? The start looks again, and follows no link either."""
    with Fd(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as top:
        try:
            with Fd(openat2(top.fileno(), os.fsencode(subpath), os.O_PATH, 0, _WITHOUT_LINKS)) as found:
                return stat.S_ISDIR(os.fstat(found.fileno()).st_mode)
        except KernelError as error:
            if error.errno == errno.EACCES:  # another user's of the container, which can get there
                return True
            if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                raise
            reason = "has links in its path" if error.errno == errno.ELOOP else "is not there"
            raise InvalidArgument("subpath", subpath, f"it {reason}, in the volume {volume}") from None
