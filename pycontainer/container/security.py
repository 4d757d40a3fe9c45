"""How a container is confined, as a frozen value."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import attrs

from pycontainer.errors import InvalidArgument
from pycontainer.kernel import capabilities, seccomp
from pycontainer.kernel.idmap import IdMap
from pycontainer.size import parse_size


def _thermal_throttle() -> tuple[str, ...]:
    """How often each processor was too hot, where the machine tells: a way to learn what others compute."""
    place = "/sys/devices/system/cpu"
    if not os.path.isdir(f"{place}/cpu0/thermal_throttle"):
        return ()
    processors = sorted(name for name in os.listdir(place) if name[:3] == "cpu" and name[3:].isdigit())
    return tuple(f"{place}/{name}/thermal_throttle" for name in processors)


#: Docker's masked paths, those under /sys that it added later, and what else tells of the whole host.
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
    *_thermal_throttle(),
)
#: Docker's read-only paths.
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
#: The devices that every container may have, and those without the terminal.
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_PLAIN_DEVICES = DEVICES[:-1]

USERNS = ("auto", "host", "keep-id")


def _userns(_: object, __: object, value: object) -> None:
    if not isinstance(value, IdMap) and value not in USERNS:
        raise InvalidArgument("userns", value, f"one of {', '.join(USERNS)}, or an IdMap, is needed")


def _names(_: object, attribute: Any, value: Iterable[str]) -> None:
    unknown = sorted(set(value) - capabilities.all_names())
    if unknown:
        raise InvalidArgument(attribute.name, unknown[0], "no capability of this kernel: see capabilities(7)")


def _devices(_: object, __: object, value: Iterable[str]) -> None:
    for name in value:
        if name not in DEVICES:
            raise InvalidArgument("devices", name, f"some of {', '.join(DEVICES)} are needed")


def _size(value: int | str | None) -> int | None:
    return None if value is None else parse_size("tmp", value)


# Named functions: a type checker cannot see what attrs makes of ``converter=frozenset``.
def _set(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


def _listed(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


@attrs.frozen(kw_only=True)
class Security:
    """The confinement of a container's programs: :meth:`default`, :meth:`strict` or :meth:`privileged`, and changed.

    ``capabilities`` are those of a program that runs as root of the container, and the bound for all;
    ``ambient`` those that a program keeps that is not root, ``inheritable`` those that it hands to files that
    have them (capabilities(7)).  ``seccomp`` is a filter profile or ``None``.  ``landlock`` repeats in a second
    wall what the mounts say, where the kernel has it.  ``no_new_privs``: set-user-id files give nothing.
    ``keyring``: an empty one of its own.

    ``userns`` is ``"auto"`` (a user namespace of its own: for a root caller over host ids that nobody else
    uses), ``"keep-id"`` (an ordinary caller's id is the same inside), an :class:`IdMap`, or ``"host"``.
    ``user_namespaces``: programs may make further ones, as far as the filter lets them.

    ``masked`` and ``read_only`` are paths that are hidden, or bound read-only, where they exist.  With
    ``minimal_proc`` there is no ``/sys``, and ``/proc`` has nothing but the processes that a program may trace.
    ``devices`` are the names in ``/dev``.  ``read_only_root``, ``tmp`` (bytes of a memory file system on ``/tmp``),
    ``memory``, ``cpus`` and ``pids`` hold unless the call says otherwise; see :func:`pycontainer.run`.

    >>> sorted(Security.default().evolve(cap_add=["NET_ADMIN"]).capabilities)[:3]
    ['CAP_AUDIT_WRITE', 'CAP_CHOWN', 'CAP_DAC_OVERRIDE']
    >>> Security.strict().evolve(memory="2G", landlock=False).memory
    '2G'
    """

    capabilities: frozenset[str] = attrs.field(converter=_set, validator=_names)
    inheritable: frozenset[str] = attrs.field(default=frozenset(), converter=_set, validator=_names)
    ambient: frozenset[str] = attrs.field(default=frozenset(), converter=_set, validator=_names)
    seccomp: seccomp.Profile | None
    landlock: bool = False
    no_new_privs: bool = True
    keyring: bool = True
    userns: str | IdMap = attrs.field(default="auto", validator=_userns)
    user_namespaces: bool = True
    masked: tuple[str, ...] = attrs.field(default=MASKED, converter=_listed)
    read_only: tuple[str, ...] = attrs.field(default=READ_ONLY, converter=_listed)
    minimal_proc: bool = False
    devices: tuple[str, ...] = attrs.field(default=DEVICES, converter=_listed, validator=_devices)
    read_only_root: bool = False
    tmp: int | None = attrs.field(default=None, converter=_size)
    memory: int | str | None = None
    cpus: float | None = None
    pids: int | str | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("ambient", "inheritable"):
            beyond = sorted(getattr(self, name) - self.capabilities)
            if beyond:
                raise InvalidArgument(name, beyond[0], "it must be among 'capabilities', too")

    @classmethod
    def default(cls) -> Security:
        """Images from the world run unchanged: Docker's capabilities and call filter, in an own user namespace."""
        return _default()

    @classmethod
    def strict(cls) -> Security:
        """For programs that nobody trusts: agents, submissions, plugins.

        No capabilities, the short list of system calls, Landlock, no further user namespaces, no other processes
        in /proc, no /sys, five devices, a read-only root with 64 MiB on /tmp, and limits: 512 MiB of memory, one
        core, 256 processes.  The limits are asked for, so a host that cannot hold them refuses
        (:class:`NotSupported`), unless ``best_effort``.
        """
        return _strict()

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
        **fields: Any,
    ) -> Security:
        """A copy with other fields, and with Docker's ``--cap-add`` and ``--cap-drop`` applied (``ALL`` allowed).

        ``seccomp`` may also be given as Docker's or OCI's JSON: a path, or the mapping that it holds.
        """
        unknown = fields.keys() - _FIELDS
        if unknown:
            raise TypeError(
                f"{min(unknown)!r} is no field of Security; there are {', '.join(sorted(_FIELDS))}"
            )
        if isinstance(fields.get("seccomp"), (str, os.PathLike, Mapping)):
            fields["seccomp"] = seccomp.Profile.from_json(fields["seccomp"])
        changed = attrs.evolve(self, **fields)
        if not cap_add and not cap_drop:
            return changed
        held = capabilities.resolve(add=cap_add, drop=cap_drop, default=changed.capabilities)
        return attrs.evolve(
            changed,
            capabilities=held,
            ambient=changed.ambient & held,
            inheritable=changed.inheritable & held,
        )

    @property
    def is_private(self) -> bool:
        """Can nothing outlive a container in its user namespace? Then the next one may have it.

        True under our own filters, which keep keys, mounts and further namespaces out of reach.
        """
        ours = self.seccomp is seccomp.default_profile() or self.seccomp is seccomp.strict_profile()
        return ours and "CAP_SYS_ADMIN" not in self.capabilities

    @property
    def own_users(self) -> bool:
        """Whether a container has a user namespace of its own."""
        return self.userns != "host"


_FIELDS = frozenset(attribute.name for attribute in attrs.fields(Security))


@lru_cache(maxsize=1)
def _default() -> Security:
    return Security(capabilities=capabilities.DOCKER_DEFAULT, seccomp=seccomp.default_profile())


@lru_cache(maxsize=1)
def _strict() -> Security:
    return Security(
        capabilities=frozenset(),
        seccomp=seccomp.strict_profile(),
        landlock=True,
        user_namespaces=False,
        minimal_proc=True,
        devices=_PLAIN_DEVICES,
        read_only_root=True,
        tmp=64 << 20,
        memory=512 << 20,
        cpus=1.0,
        pids=256,
    )
