"""Probe of checkpoints: CRIU, on this kernel and for this user."""

from __future__ import annotations

from pycontainer.checkup.feature import Probes
from pycontainer.checkup.host import Host
from pycontainer.kernel import criu

PROBES = Probes()


@PROBES.add(
    "checkpoints",
    tries="looked for the program criu, and had it check this kernel (criu check)",
    needed_for="checkpoint() and restore() of detached containers",
    fix="root, and a CRIU that knows this kernel: apt install criu",
)
def _checkpoints(_: Host) -> str:
    criu.able()
    return f"CRIU {criu.version()}"
