"""A cgroup as one below another: what it takes from those above, and hands up to them."""

from __future__ import annotations

from collections.abc import Collection

from pycontainer.errors import NotSupported
from pycontainer.kernel.cgroup import making, v1
from pycontainer.kernel.cgroup.devices import DeviceLimit
from pycontainer.kernel.cgroup.directory import Directory
from pycontainer.kernel.cgroup.emptying import move
from pycontainer.kernel.cgroup.layout import Layout
from pycontainer.kernel.cgroup.limits import NO_LIMITS
from pycontainer.kernel.cgroup.members import Members
from pycontainer.kernel.cgroup.parts import Parts
from pycontainer.kernel.cgroup.pattern import TREE
from pycontainer.kernel.cgroup.place import Place
from pycontainer.kernel.reaper import reaper


def places_below(above: Place, name: str) -> list[str]:
    """Every directory that a cgroup of this name is, or may become when something else is limited in it or below."""
    if isinstance(above, Lineage):
        uppers = above.places
    else:
        # First those by which all can be killed.
        freezer = above.layout.v1.get("freezer")
        known = [None if above.tree is None else above.tree.path, freezer, *above.layout.v1.values()]
        uppers = [upper for upper in dict.fromkeys(known) if upper is not None]
    return [f"{upper.rstrip('/')}/{name}" for upper in uppers]


class Lineage(Members):
    """The directories of a cgroup, made in those of the place above; ``None`` for one that was adopted."""

    def __init__(self, name: str, layout: Layout, parts: Parts, above: Place | None) -> None:
        super().__init__(name, layout, parts)
        self._above = above
        self._limits = NO_LIMITS
        self._missing: dict[str, NotSupported] = {}
        self._leashed: list[int] | None = None
        self._devices: DeviceLimit | None = None
        #: Does it limit or count anything itself?
        self._is_used = True
        self._handed_up = False

    def hierarchy(self, name: str) -> Directory:
        """The directory in a hierarchy of version 1, made now if it was not needed before."""
        with self._lock:
            self._check()
            found = self._parts.v1.get(name)
            if found is None:
                if self._above is None:
                    raise NotSupported(
                        f"the adopted cgroup {self.name} has no directory in {name}", "adopt it, too"
                    )
                self._pattern = None
                if self._leashed is not None:
                    self._leash([name])
                try:
                    found = making.add_hierarchy(self._parts, self._above, self.name, name)
                except BaseException:
                    made = self._parts.v1.pop(name, None)
                    if made is not None:
                        made.remove_tree()
                    raise
            return found

    def _join_hierarchy(self, place: str) -> None:
        """Have a directory there, and our processes in it: those that are inside are not limited otherwise."""
        if place not in self._parts.v1:
            directory = self.hierarchy(place)
            # Until none is found that was forked by one that had not been moved yet.
            while strays := set(self.processes()) - set(directory.all_processes()) - {0}:
                for pid in strays:
                    move(directory, pid)

    def joined(self) -> dict[str, Directory]:
        """The directory in each hierarchy of version 1 that a process in this cgroup belongs to."""
        above, found = self._above, dict(self._parts.v1)
        while isinstance(above, Lineage):
            if above._is_used:
                found = {**above._parts.v1, **found}
            above = above._above
        return found

    def _enable_above(self, controllers: Collection[str]) -> None:
        if self._above is not None:
            self._above.enable(controllers)

    @property
    def places(self) -> list[str]:
        """Every directory that it is, or may become."""
        if self._above is None:
            return [each.path for each in (self._parts.tree, *self._parts.v1.values()) if each is not None]
        return places_below(self._above, self.name)

    def _leash(self, places: Collection[str]) -> None:
        """Have the reaper remove the directories in these hierarchies when this process dies.

        Before they are made: a process that is killed at any moment leaves none that nobody knows of.
        """
        if self._above is None:
            return
        if self._leashed is None:
            self._leashed = []
        for place in places:
            upper = self._above.tree if place == TREE else self._above.hierarchy(place)
            if upper is not None:
                self._leashed.append(reaper().register_cgroup(upper.fileno(), self.name))

    def _let_go(self) -> None:
        for number in self._leashed or ():
            reaper().forget(number)
        self._leashed = None

    def path_in(self, place: str) -> str:
        """The directory for processes in a hierarchy of version 1, or for ``""`` in version 2's tree."""
        directory = self.joined().get(place) if place else self._parts.tree
        if directory is None:
            raise NotSupported(f"the cgroup {self.name} has no directory in {place}", "dissolve it elsewhere")
        return directory.path

    def _hand_kills_up(self, kills: int | None = None) -> None:
        """Once: version 1 does not count in the cgroup above what happened in this one, ``kills`` if that is known."""
        above = self._above
        if not self._handed_up and isinstance(above, Lineage) and above._is_used:
            memory = self._v1().get("memory")
            if memory is not None:
                above._kills_below += (
                    self._kills_below + (v1.oom_kills(memory) or 0) if kills is None else kills
                )
                self._handed_up = True
