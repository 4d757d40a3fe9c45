"""What this host can do for the library, found out by trying it, and how to mend what it cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pycontainer.checkup.feature import Feature, HostFeatures, Probe
from pycontainer.home import default_root

__all__ = ["Feature", "HostFeatures", "doctor"]


def doctor(root: str | os.PathLike[str] | None = None) -> HostFeatures:
    """Try every feature of the host that the library uses or could use, and say what depends on each.

    ``root`` is the engine root that is looked at, by default that of the default engine; it is not made.
    Features are tried with the rights of this process, in processes, namespaces and directories that are gone
    when this returns: nothing is left behind, nothing is raised for what is missing.  Takes a fraction of a second.

    >>> for feature in doctor().missing:                     # doctest: +SKIP
    ...     print(feature.name, feature.detail, feature.fix, sep="; ")
    pasta; there is no program pasta; apt install passt
    """
    from pycontainer.checkup.host import Host

    host = Host(os.path.abspath(os.fspath(root)) if root is not None else default_root())
    try:
        return HostFeatures(features=(probe.run(host) for probe in probes()))
    finally:
        host.close()


def probes() -> Iterator[Probe]:
    """Every probe, in the order of the report."""
    from pycontainer.checkup import calls, cgroups, checkpoints, namespaces, network, storage

    for module in (namespaces, calls, storage, cgroups, network, checkpoints):
        yield from module.PROBES
