"""Starting a process on the leash: it ends when this host process ends, however that ends."""

from __future__ import annotations

import attrs

from pycontainer.errors import KernelError
from pycontainer.kernel.native import lib
from pycontainer.kernel.reaper import reaper
from pycontainer.kernel.spawn import STEPS, Spawn, Template


def spawn_leashed(request: Spawn) -> tuple[int, int]:
    """Start a process that the reaper knows before it runs anything; its pid and a pidfd.

    As :func:`pycontainer.kernel.spawn.spawn`; ``leash`` and a slot for it are filled in here.
    """
    with_leash = attrs.evolve(request, fds=(*request.fds, -1), leash=len(request.fds))
    return start_leashed(Template(with_leash), list(with_leash.fds))


def start_leashed(
    template: Template, fds: list[int], *, hostname: bytes | None = None, env: tuple[bytes, ...] = ()
) -> tuple[int, int]:
    """Start a template whose specification has a slot for the leash, which is filled in here.

    A reaper that was killed is started anew, with all that it knew.  One without such a slot ends with
    something else that the reaper knows.  Otherwise as :meth:`Template.start`.
    """
    leash = template.request.leash
    if leash < 0:
        reaper().revive()
        return template.start(fds, hostname=hostname, env=env)
    fds[leash] = reaper().fileno()
    try:
        return template.start(fds, hostname=hostname, env=env)
    except KernelError as error:
        if error.step != STEPS[lib.PC_STEP_LEASH]:
            raise
    # Nothing has run yet: with a new reaper the start is as good as the first.
    reaper().revive()
    fds[leash] = reaper().fileno()
    return template.start(fds, hostname=hostname, env=env)
