"""Cgroups for an ordinary user where nothing is delegated."""

from __future__ import annotations

import os

import pytest

import pycontainer as pc
from pycontainer.kernel.cgroup import home
from pycontainer.kernel.cgroup.home import Home
from pycontainer.kernel.cgroup.layout import Layout

NAME = f"pycontainer-test-{os.getpid()}"


@pytest.mark.needs("user")
def test_without_delegation() -> None:
    """Where an ordinary user stands in a cgroup of root's: refused with the way out, or nothing by best effort."""
    mount = home().layout.mount
    assert mount is not None
    place = Home(Layout(unified=mount, mount=mount))
    with pytest.raises(pc.NotSupported, match=r"systemd-run --user --scope -p Delegate=yes"):
        pc.Cgroup.create(NAME, parent=place)
    with pc.Cgroup.create(NAME, parent=place, pids_max=5, best_effort=True) as group:
        assert (group.path, group.directory, group.tasks, group.paths) == ("", -1, (), {})
        assert group.missing == {"pids_max"}
        assert group.stat() == pc.CgroupStat()
        for use in (group.kill, group.freeze, lambda: group.add(os.getpid()), lambda: group.child("x")):
            with pytest.raises(pc.NotSupported):
                use()
        with group.child("x", best_effort=True, memory_max="1M") as child:
            assert child.missing == {"memory_max"}
    place.close()
