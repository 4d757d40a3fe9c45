"""Where cgroups can be made: in the caller's own place, or in a cgroup that was made there.

A place is a directory in the tree of version 2, and one in each hierarchy of version 1 in which something
is limited.  The latter are made when first needed: each costs as much as the cgroup itself.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Hashable

from pycontainer.errors import KernelError, NotSupported
from pycontainer.kernel.cgroup import v2
from pycontainer.kernel.cgroup.directory import Directory
from pycontainer.kernel.cgroup.layout import Layout
from pycontainer.kernel.cgroup.pattern import TREE, Pattern
from pycontainer.kernel.fd import Fd

_DELEGATE = "systemd-run --user --scope -p Delegate=yes COMMAND"
NO_PLACE = f"run as root, or in a cgroup that is delegated to you ({_DELEGATE})"
_FULL_DELEGATION = (
    "have it delegated: systemctl edit user@.service, [Service] Delegate=cpu cpuset io memory pids, "
    f"then log in again and use {_DELEGATE}"
)
#: Of how many kinds of cgroups a place knows how they are made.
_MOST_PATTERNS = 64


class Place:
    """A directory for each tree. ``tree`` is that of version 2; ``layout`` says what there is on this host."""

    layout: Layout
    tree: Directory | None

    def __init__(self) -> None:
        #: The kinds of cgroups that were made in it, by what was asked for.
        self.patterns: dict[Hashable, Pattern] = {}
        self._kept: dict[str, Fd] = {}

    def explained(self, error: NotSupported) -> NotSupported:
        """The error with what the place knows of its cause."""
        return error

    def hierarchy(self, name: str) -> Directory:
        """The directory in the hierarchy of version 1 that has the caller at ``name``. Raises ``OSError``."""
        raise NotImplementedError

    def keep(self, place: str) -> Fd:
        """The directory in a hierarchy of version 1, or in version 2's ``TREE``, to be held beyond our own end."""
        found = self._kept.get(place)
        if found is None:
            directory = self.tree if place == TREE else self.hierarchy(place)
            if directory is None:
                raise NotSupported("the tree of version 2 is not mounted", NO_PLACE)
            found = self._kept.setdefault(place, directory.keep())
        return found

    def keep_pattern(self, kind: Hashable, pattern: Pattern) -> None:
        """How cgroups of this kind are made."""
        if len(self.patterns) >= _MOST_PATTERNS:
            self.patterns.clear()
        self.patterns[kind] = pattern

    def forget_patterns(self) -> None:
        """At our own end; who was made by one goes on with it."""
        self.patterns.clear()
        self._kept.clear()

    def enable(self, controllers: Collection[str]) -> dict[str, NotSupported]:
        """Have version 2 controllers for what is made in here; those that cannot be had, with the reason."""
        if not controllers:
            return {}
        tree = self.tree  # looked at once: another thread may close it meanwhile
        if tree is None:
            fix = "mount it, or boot without cgroup_disable="
            return {
                name: NotSupported(f"the controller {name} is mounted nowhere", fix) for name in controllers
            }
        try:
            enabled = tree.read("cgroup.subtree_control").decode().split()
            lacking = [name for name in controllers if name not in enabled]
            if not lacking:
                return {}
            there = tree.read("cgroup.controllers").decode().split()
            above = [name for name in lacking if name not in there]
            if above:
                self._enable_above(above)
                there = tree.read("cgroup.controllers").decode().split()
        except OSError as error:
            raise KernelError(error.errno or 0, f"enable controllers in the cgroup {tree.path}") from None
        absent = [name for name in lacking if name not in there]
        refused: dict[str, int] = {}
        if len(absent) < len(lacking):
            refused = self._enable_here(tree, [name for name in lacking if name in there])
        reasons = {name: self._absence(tree, name) for name in absent}
        reasons.update((name, self._refusal(tree, name, number)) for name, number in refused.items())
        return reasons

    def _enable_above(self, controllers: Collection[str]) -> None:
        """Ask the place above for controllers that are not here."""

    def _enable_here(self, tree: Directory, controllers: Collection[str]) -> dict[str, int]:
        return v2.enable(tree, controllers)

    @staticmethod
    def _absence(tree: Directory, controller: str) -> NotSupported:
        if tree.has("cgroup.type"):
            return NotSupported(f"the cgroup {tree.path} has no {controller} controller", _FULL_DELEGATION)
        return NotSupported(
            f"the kernel has no {controller} controller",
            "use a kernel built with it, without cgroup_disable=",
        )

    @staticmethod
    def _refusal(tree: Directory, controller: str, number: int) -> NotSupported:
        what = (
            f"the controller {controller} cannot be enabled in the cgroup {tree.path}: {os.strerror(number)}"
        )
        if number == errno.EBUSY:
            # cgroups(7), "no internal processes".
            return NotSupported(what, "move the processes that are in it to a cgroup below")
        return NotSupported(what, NO_PLACE)


def cannot_make(error: OSError, path: str) -> NotSupported | KernelError:
    """The error for a directory that cannot be made."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotSupported(f"no cgroup can be made in {os.path.dirname(path)}", NO_PLACE)
    return KernelError(error.errno or 0, f"make the cgroup {path}")
