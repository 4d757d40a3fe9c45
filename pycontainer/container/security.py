"""How a container is confined, as a frozen value."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import attrs

from pycontainer.errors import InvalidArgument
from pycontainer.kernel import capabilities, seccomp

#: Docker's masked paths, and those under /sys that it added later.
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
#: Docker's read-only paths.
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

USERNS = ("auto", "host")


def _userns(_: object, __: object, value: str) -> None:
    if value not in USERNS:
        raise InvalidArgument("userns", value, f"one of {', '.join(USERNS)} is needed")


@attrs.frozen(kw_only=True)
class Security:
    """The confinement of a container's programs; make one with :meth:`default` or :meth:`privileged`.

    ``capabilities`` are those of a program that runs as root of the container, and the bound for all;
    ``seccomp`` is a filter profile or ``None``; ``userns`` is ``"auto"`` (a user namespace of its own: for
    a root caller over host ids that nobody else uses) or ``"host"``.  ``masked`` and ``read_only`` are
    paths that are hidden, or bound read-only, where they exist.

    >>> sorted(Security.default().evolve(cap_add=["NET_ADMIN"]).capabilities)[:3]
    ['CAP_AUDIT_WRITE', 'CAP_CHOWN', 'CAP_DAC_OVERRIDE']
    """

    capabilities: frozenset[str]
    seccomp: seccomp.Profile | None
    no_new_privs: bool = True
    masked: tuple[str, ...] = MASKED
    read_only: tuple[str, ...] = READ_ONLY
    userns: str = attrs.field(default="auto", validator=_userns)

    @classmethod
    def default(cls) -> Security:
        """Images from the world run unchanged: Docker's capabilities and call filter, in an own user namespace."""
        return _default()

    @classmethod
    def privileged(cls) -> Security:
        """All capabilities of the user namespace, no filter, nothing masked: as ``docker run --privileged``.

        Still in an own user namespace; with ``userns="host"`` it is root of the host.
        """
        return cls(
            capabilities=capabilities.parse(["ALL"]),
            seccomp=None,
            no_new_privs=False,
            masked=(),
            read_only=(),
        )

    def evolve(
        self,
        *,
        cap_add: Iterable[str] = (),
        cap_drop: Iterable[str] = (),
        userns: str | None = None,
    ) -> Security:
        """A copy with Docker's ``--cap-add`` and ``--cap-drop`` applied (``ALL`` allowed), and the user namespace."""
        return attrs.evolve(
            self,
            capabilities=capabilities.resolve(add=cap_add, drop=cap_drop, default=self.capabilities),
            userns=self.userns if userns is None else userns,
        )

    @property
    def is_private(self) -> bool:
        """Can nothing outlive a container in its user namespace? Then the next one may have it.

        True under our own filter, which keeps keys, mounts and further namespaces out of reach.
        """
        return self.seccomp is seccomp.default_profile() and "CAP_SYS_ADMIN" not in self.capabilities


@lru_cache(maxsize=1)
def _default() -> Security:
    return Security(capabilities=capabilities.DOCKER_DEFAULT, seccomp=seccomp.default_profile())
