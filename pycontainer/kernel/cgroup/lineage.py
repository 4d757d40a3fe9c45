"""A cgroup as one below another: what it takes from those above, and hands up to them."""

from __future__ import annotations

from collections.abc import Collection

from pycontainer.errors import NotSupported
from pycontainer.kernel.cgroup import making, v1
from pycontainer.kernel.cgroup.devices import DeviceLimit
from pycontainer.kernel.cgroup.directory import Directory
from pycontainer.kernel.cgroup.layout import Layout
from pycontainer.kernel.cgroup.limits import NO_LIMITS
from pycontainer.kernel.cgroup.members import Members
from pycontainer.kernel.cgroup.parts import Parts
from pycontainer.kernel.cgroup.place import Place
from pycontainer.kernel.reaper import reaper


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
                try:
                    found = making.add_hierarchy(self._parts, self._above, self.name, name)
                except BaseException:
                    made = self._parts.v1.pop(name, None)
                    if made is not None:
                        made.remove_tree()
                    raise
                if self._leashed is not None:
                    self._leashed.append(
                        reaper().register_cgroup(self._above.hierarchy(name).fileno(), self.name)
                    )
            return found

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

    def leash(self) -> None:
        """Have the reaper kill and remove it when this process dies, however that happens. Idempotent."""
        self._check()
        if self._leashed is None and self._above is not None:
            above = self._above
            uppers = [above.hierarchy(place) for place in self._parts.v1]
            if above.tree is not None:
                uppers.append(above.tree)
            self._leashed = [reaper().register_cgroup(upper.fileno(), self.name) for upper in uppers]

    @property
    def places(self) -> list[str]:
        """Every directory that it is, or may become when something else is limited in it or below."""
        if self._above is None:
            return [each.path for each in (self._parts.tree, *self._parts.v1.values()) if each is not None]
        if isinstance(self._above, Lineage):
            uppers = self._above.places
        else:
            tree = self._above.tree
            # First those by which all can be killed.
            freezer = self.layout.v1.get("freezer")
            known = [None if tree is None else tree.path, freezer, *self.layout.v1.values()]
            uppers = [upper for upper in dict.fromkeys(known) if upper is not None]
        return [f"{upper.rstrip('/')}/{self.name}" for upper in uppers]

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
