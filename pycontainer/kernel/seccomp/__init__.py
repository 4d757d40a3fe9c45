"""System call filters: profiles as values, compiled to BPF without a library.

::

    profile = seccomp.default_profile()                      # images from the world run unchanged
    program = seccomp.compile(profile, granted_capabilities) # bytes for seccomp(2); cached

``default_profile()`` and ``strict_profile()`` are ours; ``Profile.from_json`` reads Docker's and OCI's files;
``Profile(default=..., rules=[Rule(names=[...]), ...])`` is one's own.
"""

from __future__ import annotations

from pycontainer.kernel.seccomp.bpf import compile  # noqa: A004 (the package qualifies it)
from pycontainer.kernel.seccomp.default import default_profile, strict_profile
from pycontainer.kernel.seccomp.profile import (
    ALLOW,
    ENOSYS,
    EPERM,
    KILL_PROCESS,
    KILL_THREAD,
    LOG,
    TRAP,
    Action,
    Condition,
    Profile,
    Rule,
)

__all__ = [
    "compile",
    "default_profile",
    "strict_profile",
    "Action",
    "Condition",
    "Profile",
    "Rule",
    "ALLOW",
    "ENOSYS",
    "EPERM",
    "KILL_PROCESS",
    "KILL_THREAD",
    "LOG",
    "TRAP",
]
