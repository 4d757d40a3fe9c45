"""Control groups: limits, accounting, freezing and killing, with version 2, version 1 or both.

``group`` is the public part; ``home`` finds where groups can be made; ``limits`` are values, which ``v1`` and
``v2`` translate to files.
"""

from pycontainer.kernel.cgroup.devices import DeviceRule
from pycontainer.kernel.cgroup.emptying import sweep
from pycontainer.kernel.cgroup.events import Watch
from pycontainer.kernel.cgroup.group import Cgroup
from pycontainer.kernel.cgroup.home import home
from pycontainer.kernel.cgroup.limits import NO_LIMITS, IoLimit, Limits
from pycontainer.kernel.cgroup.lineage import places_below
from pycontainer.kernel.cgroup.stat import CgroupStat, Pressure

__all__ = [
    "NO_LIMITS",
    "Cgroup",
    "CgroupStat",
    "DeviceRule",
    "IoLimit",
    "Limits",
    "Pressure",
    "Watch",
    "home",
    "places_below",
    "sweep",
]
