"""The second wall: Landlock rules that say once more what the mounts of a container say.

They hold where a mount is wrong, and for whatever of the host would ever come within reach: what is not
beneath the container's own root is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from pycontainer.container.found import Found
from pycontainer.container.mounts import Mount, Tmpfs
from pycontainer.kernel import landlock
from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Operation

if TYPE_CHECKING:
    from pycontainer.container.shape import Shape
    from pycontainer.container.spec import Spec

#: Written to by every program: devices, and its own files in /proc.
_ALWAYS = ("/dev", "/proc")


def rules(container: Shape | Spec, ruleset: int, *, slot: Callable[[], int], scoped: bool) -> list[Operation]:
    """Make the ruleset, in a slot, from inside of the container; nothing where the kernel has no Landlock.

    ``slot`` gives free ones.  ``scoped``: abstract sockets of others are refused, too.
    """
    files = landlock.all_rights()
    if not files:
        return []
    ops = [op.ruleset(out=ruleset, files=files, scoped=landlock.scope() if scoped else 0)]
    allowed = [("/", True, not container.read_only)]
    if container.read_only:
        allowed += [(path, True, True) for path in _ALWAYS]
        allowed += [(each.target, directory, _is_written(each)) for each, directory in container.mounts]
    for path, directory, write in allowed:
        flags = os.O_PATH | (os.O_DIRECTORY if directory else os.O_NOFOLLOW)
        access = landlock.rights(directory=directory, write=write)
        place = slot()
        found = op.open_path(path, out=place, flags=flags)
        rule = op.rule(ruleset, beneath=place, access=access, purpose=path)
        # A program of the container may have removed it meanwhile: then there is nothing to allow.
        ops += [attrs.evolve(each, options=lib.PC_OP_MAY_MISS) for each in (found, rule)]
    return ops


def _is_written(mount: Mount | Found) -> bool:
    return isinstance(mount, Tmpfs) or not mount.read_only
