"""A cgroup that this process made, in every tree that it needs: version 2, version 1, or both.

Source: cgroups(7), the kernel's admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from pycontainer.errors import KernelError, NotSupported
from pycontainer.kernel.cgroup import making
from pycontainer.kernel.cgroup.devices import DeviceLimit
from pycontainer.kernel.cgroup.emptying import empty
from pycontainer.kernel.cgroup.home import forget_home, home
from pycontainer.kernel.cgroup.layout import Layout
from pycontainer.kernel.cgroup.limits import NO_LIMITS, Limits
from pycontainer.kernel.cgroup.lineage import Lineage
from pycontainer.kernel.cgroup.making import Kind
from pycontainer.kernel.cgroup.parts import Parts
from pycontainer.kernel.cgroup.pattern import TREE, Pattern
from pycontainer.kernel.cgroup.place import Place

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.kernel.cgroup.limits import LimitOptions


class Cgroup(Lineage):
    """A group of processes that is limited, measured, frozen and killed together.

    Made by :meth:`create`, :meth:`child` or :meth:`adopt`. ``close`` removes it with those below, which must
    be empty of processes; idempotent.  Where version 1 has the controllers it is a directory in each hierarchy
    that it needs, else one in the tree of version 2.

    >>> with Cgroup.create("job-7", memory_max="64M", pids_max=32, cpu_max=0.5) as group:  # doctest: +SKIP
    ...     group.add(pid)
    ...     group.stat().memory_peak
    ...     group.kill()
    ...     group.wait_empty()
    """

    @classmethod
    def create(
        cls,
        name: str,
        *,
        parent: Place | None = None,
        best_effort: bool = False,
        accounting: Collection[str] = (),
        leashed: bool = False,
        **limits: Unpack[LimitOptions],
    ) -> Cgroup:
        """Make the cgroup ``name`` below ``parent``, another :class:`Cgroup`, or in the caller's own place.

        ``limits`` are those of :class:`Limits`. ``accounting`` names what :meth:`stat` should tell as far as the
        host can count it, of "cpu", "memory", "pids" and "io"; what is limited is counted anyway.  One that is
        ``leashed`` is killed and removed when this process dies, however and whenever that happens.

        Raises :class:`InvalidArgument` for nonsense; :class:`NotSupported` naming the limit that cannot be had
        and the fix, unless ``best_effort``: then :attr:`missing` names those that were not set, and where no cgroup
        can be made at all the object has no directory: it counts nothing, and refuses to hold processes;
        :class:`KernelError` (``EEXIST``) where there is one of that name. Nothing is left on failure.  Without
        ``best_effort`` an ordinary user's process may move to a scope of the user's systemd, once.
        """
        parsed = Limits.of(**limits)
        optional = parsed.names if best_effort else ()
        try:
            return cls.make(
                name,
                parsed,
                parent=parent,
                accounting=accounting,
                optional=optional,
                move=not best_effort,
                leashed=leashed,
            )
        except NotSupported as reason:
            if not best_effort:
                raise
            return cls._without_any(name, parsed, reason)

    @classmethod
    def make(
        cls,
        name: str,
        limits: Limits,
        *,
        parent: Place | None = None,
        accounting: Collection[str] = (),
        optional: Collection[str] = (),
        move: bool = True,
        leashed: bool = False,
    ) -> Cgroup:
        """The same for values; ``optional`` ones may be :attr:`missing`, the process may ``move`` for the others."""
        making.check_name(name)
        kind = Kind(limits, tuple(accounting), frozenset(optional), leashed)
        above = home(move=move) if parent is None else parent
        try:
            return cls._make(name, above, kind)
        except NotSupported as error:
            raise above.explained(error) from None
        except KernelError as error:
            if parent is not None or error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
            # The process was moved, and its former place was removed.
            forget_home()
            return cls._make(name, home(move=move), kind)

    @classmethod
    def _make(cls, name: str, above: Place, kind: Kind) -> Cgroup:
        pattern = above.patterns.get(kind)
        if pattern is not None:
            try:
                parts, tasks = pattern.make(name)
            except OSError:
                above.patterns.pop(kind, None)
            else:
                group = cls(name, above.layout, parts, above)
                group._become(pattern, kind)
                group._tasks.update(tasks)
                return group
        group = cls._make_first(name, above, kind)
        if making.can_be_repeated(group._parts, above.layout, kind):
            pattern = Pattern(above, group._parts, group._missing)
            above.keep_pattern(kind, pattern)
            group._become(pattern, kind)
        return group

    def _become(self, pattern: Pattern, kind: Kind) -> None:
        self._pattern = pattern
        self._limits = kind.limits
        self._missing = dict(pattern.missing)
        self._is_used = kind.is_used

    @classmethod
    def _make_first(cls, name: str, above: Place, kind: Kind) -> Cgroup:
        """Find out where its limits are to be had, and how; :class:`Pattern` does it again."""
        limits = kind.limits
        needs = making.find_needs(above, limits, kind.accounting)
        making.check_missing(needs.missing, kind.optional)
        group = cls(name, above.layout, Parts(), above)
        group._limits = limits
        group._is_used = kind.is_used
        try:
            if kind.leashed:
                group._leash([TREE, *needs.hierarchies])
            refused = making.make_parts(group._parts, above, name, needs.hierarchies)
            group._missing = {**needs.missing, **making.find_refused(above.layout, limits, refused)}
            making.check_missing(group._missing, kind.optional)
            names = [each for each in limits.names if each not in group._missing]
            group._set(names, limits, NO_LIMITS, kind.optional)
        except BaseException:
            group.close()
            raise
        return group

    @classmethod
    def _without_any(cls, name: str, limits: Limits, reason: NotSupported) -> Cgroup:
        """What a best effort comes to where no cgroup can be made: no directory, nothing limited."""
        group = cls(name, Layout(), Parts(), None)
        group._limits = limits
        group._missing = dict.fromkeys(limits.names, reason)
        return group

    @classmethod
    def adopt(cls, path: str | Mapping[str, str]) -> Cgroup:
        """A cgroup that exists: by its directory in version 2's tree, or by one for each controller (version 1).

        ``close`` leaves it where it is.  Raises :class:`KernelError` if there is none.
        """
        layout, parts = making.open_parts(path)
        some = next(iter(path.values())) if not isinstance(path, str) else path
        return cls(os.path.basename(some.rstrip("/")), layout, parts, None)

    def child(
        self,
        name: str,
        *,
        best_effort: bool = False,
        accounting: Collection[str] = (),
        **limits: Unpack[LimitOptions],
    ) -> Cgroup:
        """Make a cgroup below this one, as :meth:`create` does.

        Version 2 has limits only below a cgroup that holds no processes itself (cgroups(7)).
        """
        return Cgroup.create(name, parent=self, best_effort=best_effort, accounting=accounting, **limits)

    @property
    def limits(self) -> Limits:
        """The limits as they were asked for."""
        return self._limits

    @property
    def missing(self) -> frozenset[str]:
        """The limits that were asked for with ``best_effort`` and are not set."""
        return frozenset(self._missing)

    def update(self, **limits: Unpack[LimitOptions]) -> None:
        """Change the limits that are named; ``None`` takes one away. On failure those before hold again.

        Raises as :meth:`create` does.
        """
        parsed = Limits.of(**limits)
        before, after = self._limits, self._limits.replaced(parsed, limits)
        if self._above is not None:
            needs = making.find_needs(self._above, parsed, ())
            making.check_missing(needs.missing, ())
            self._is_used |= bool(after.names)
            for place in needs.hierarchies:
                self._join_hierarchy(place)
        changed = [name for name in limits if name in before.names or name in after.names]
        try:
            self._set(changed, after, before, ())
        except BaseException:
            with suppress(KernelError, NotSupported):
                making.set_limits(self._parts, self.layout.v1, self._above, before, changed, after)
            raise
        finally:
            self._parts.written.clear()
        self._limits = after
        for name in limits:
            self._missing.pop(name, None)

    def _set(self, names: Collection[str], limits: Limits, before: Limits, optional: Collection[str]) -> None:
        missing = making.set_limits(self._parts, self.layout.v1, self._above, limits, names, before)
        making.check_missing(missing, optional)
        if "devices" in names:
            # The last: with the others it would have to be taken back.
            if self._devices is None:
                self._devices = DeviceLimit()
            missing.update(self._devices.set(self._v1().get("devices"), self._parts.tree, limits.devices))
            making.check_missing(missing, optional)
        self._missing.update(missing)

    def dissolve(self, into: Cgroup | None = None) -> None:
        """Remove it and those below; what still runs goes ``into`` that cgroup, or to the one above. Idempotent.

        Version 2 takes no process into a cgroup that has controllers for those below it.
        """
        if self._closed:
            return
        if self._remove_at_once():
            self.close()
            return
        self._hand_kills_up()
        for place, directory in ((TREE, self._parts.tree), *self._parts.v1.items()):
            if directory is not None and not directory.remove():
                empty(directory, os.path.dirname(directory.path) if into is None else into.path_in(place))
        self.close()

    def close(self) -> None:
        """Remove it and those below, which must be empty of processes; one that was adopted stays. Idempotent.

        Raises :class:`KernelError` (``EBUSY``) with processes left in it; it can be repeated.
        """
        if self._closed:
            return
        self._close_tasks()
        if self._devices is not None:
            self._devices.close()
        if self._above is None or (isinstance(self._above, Cgroup) and self._above._closed):
            self._parts.close()  # not ours, or gone with the one above
        elif not self._remove_at_once():
            self._hand_kills_up()
            self._parts.remove()
        self._closed = True
        if self.patterns:
            self.forget_patterns()
        self._let_go()

    def _remove_at_once(self) -> bool:
        """Remove it if it is of a kind that is known, and nothing is in it."""
        pattern, self._pattern = self._pattern, None
        if pattern is None:
            return False
        # The account's number is the last one: who could be killed after it keeps the cgroup busy.
        kills = self._kills_told
        if kills is None:
            self._hand_kills_up()
        if not pattern.remove(self.name):
            return False
        self._hand_kills_up(kills)
        self._parts.forget()
        return True

    def __enter__(self) -> Cgroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
