"""The folder of one detached container, for those parts that otherwise are given a process's workspace."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from pycontainer.image.host import build_host_skeleton
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import OPEN_DIRECTORY

if TYPE_CHECKING:
    from pycontainer.container.workspace import Workspace
    from pycontainer.image.image import Image
    from pycontainer.image.images import Images


class Home:
    """What the volumes and the image of a detached container are prepared with; see :class:`Workspace`."""

    def __init__(self, workspace: Workspace, folder: str) -> None:
        self.root = workspace.root
        self.images: Callable[[], Images] = workspace.images
        self.reach = workspace.reach
        self.folder = folder
        #: Below the root: as long as this directory is there, so is the container.
        self.alive = f"containers/{os.path.basename(folder)}"

    def make_folder(self, name: str, *, other_users: bool, size: int | None = None) -> str:
        """A new folder of the container's own, gone with the container."""
        del name, other_users, size
        path = f"{self.folder}/volumes"
        os.mkdir(path, 0o755)
        return path

    def remove_folder(self, name: str) -> None:
        """Remove it again; idempotent."""
        del name
        with Fd(os.open(self.folder, OPEN_DIRECTORY)) as folder:
            self.reach.remove(folder.fileno(), "volumes")

    def hold_image(self, image: Image) -> None:
        """Keep an image for as long as the container is there, whoever made it."""
        if image.stored is not None:
            image.stored.images.store.pin(image.digest, self.alive)

    def skeleton(self, owner: tuple[int, int]) -> str:
        """The directory of the host image's own tree for this owner."""
        path = f"{self.folder}/skeleton-{owner[0]}"
        if not os.path.isdir(path):
            partial = f"{path}.{os.urandom(4).hex()}"
            os.mkdir(partial, 0o755)
            with Fd(os.open(partial, OPEN_DIRECTORY)) as fd:
                build_host_skeleton(fd.fileno(), *owner)
            os.rename(partial, path)
        return path

    def forget_skeletons(self, keep: str | None) -> None:
        """Remove those of former starts."""
        for name in os.listdir(self.folder):
            if name.startswith("skeleton-") and f"{self.folder}/{name}" != keep:
                with Fd(os.open(self.folder, OPEN_DIRECTORY)) as folder:
                    self.reach.remove(folder.fileno(), name)
