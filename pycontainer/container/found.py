"""What mounts come to when their volumes and images are found: values that a plan is made from."""

from __future__ import annotations

import attrs

from pycontainer.container.mounts import Bind, Tmpfs


@attrs.frozen(kw_only=True)
class Stack:
    """Several layers at ``target``, as an overlay shows them, read-only: what an :class:`ImageMount` comes to."""

    layers: tuple[str, ...]
    target: str
    subpath: str | None = None

    @property
    def read_only(self) -> bool:
        """It is, always."""
        return True


@attrs.frozen(kw_only=True)
class Tree:
    """A directory of this library's own at ``target``: what a :class:`VolumeMount` comes to.

    It is shown with the container's ids, and opened without following links, up to the end of ``subpath``.
    """

    source: str
    target: str
    read_only: bool = False
    subpath: str | None = None


#: What is mounted.
Found = Bind | Tmpfs | Tree | Stack
