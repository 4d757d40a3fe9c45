"""Control groups: so far the version 2 tree, for placing, freezing and killing; limits come with it."""

from pycontainer.kernel.cgroup.group import Cgroup, find_home

__all__ = ["Cgroup", "find_home"]
