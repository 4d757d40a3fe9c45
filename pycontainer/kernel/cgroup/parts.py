"""The directories that one cgroup consists of."""

from __future__ import annotations

import attrs

from pycontainer.kernel.cgroup.directory import Directory


@attrs.define
class Parts:
    """The directories of one cgroup: in version 2's tree, and in hierarchies of version 1 by their name."""

    tree: Directory | None = None
    v1: dict[str, Directory] = attrs.field(factory=dict)
    #: What was written to files in them when they were made, by hierarchy; ``""`` is version 2's tree.
    written: dict[str, list[tuple[str, bytes]]] = attrs.field(factory=dict)

    def remove(self) -> None:
        """Remove them and those below. Raises :class:`KernelError` at the first that is busy; those after it stay."""
        if self.tree is not None:
            self.tree.remove_tree()
            self.tree = None
        while self.v1:
            place = next(iter(self.v1))
            self.v1[place].remove_tree()
            del self.v1[place]

    def close(self) -> None:
        """Let go of them, without removing any."""
        for directory in (*self.v1.values(), self.tree):
            if directory is not None:
                directory.close()

    def forget(self) -> None:
        """They have been removed."""
        self.close()
        self.tree = None
        self.v1.clear()
