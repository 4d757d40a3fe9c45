"""Starting a process on the leash: it ends when this host process ends, however that ends."""

from __future__ import annotations

import attrs

from pycontainer.errors import KernelError
from pycontainer.kernel.native import lib
from pycontainer.kernel.reaper import reaper
from pycontainer.kernel.spawn import STEPS, Spawn, spawn


def spawn_leashed(request: Spawn) -> tuple[int, int]:
    """Start a process that the reaper knows before it runs anything; its pid and a pidfd.

    As :func:`pycontainer.kernel.spawn.spawn`; ``leash`` and a slot for it are filled in here.  A reaper that
    was killed is started anew, with all that it knew.
    """
    try:
        return spawn(_with_leash(request))
    except KernelError as error:
        if error.step != STEPS[lib.PC_STEP_LEASH]:
            raise
    # Nothing has run yet: with a new reaper the start is as good as the first.
    reaper().revive()
    return spawn(_with_leash(request))


def _with_leash(request: Spawn) -> Spawn:
    return attrs.evolve(request, fds=(*request.fds, reaper().fileno()), leash=len(request.fds))
