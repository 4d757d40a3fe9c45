"""What a container of a stranger asks for beyond its own walls."""

from __future__ import annotations

from collections.abc import Iterator

from pycontainer.container.mounts import Bind, VolumeMount, is_name_service
from pycontainer.container.security import MASKED, READ_ONLY, Security
from pycontainer.container.spec import Spec


def demands(spec: Spec) -> Iterator[str]:
    """What of the host, or of other containers, it would have, in words; one that has the defaults has none.

    >>> list(demands(make_spec(Image.from_host(), network="host")))         # doctest: +SKIP
    ["the host's network"]
    """
    for mount, _ in spec.mounts:
        if isinstance(mount, Bind) and not (spec.network.mode == "host" and is_name_service(mount)):
            yield f"the host's {mount.source}"
        if isinstance(mount, VolumeMount) and mount.source is not None:
            yield f"the volume {mount.source}"
    for device in spec.devices:
        yield f"the device {device.source}"
    if spec.network.mode == "host":
        yield "the host's network"
    for port in spec.network.ports:
        yield f"a port of the host for its {port.key}"
    yield from _of_security(spec.security)


def _of_security(security: Security) -> Iterator[str]:
    usual = Security.default()
    if security.userns == "host":
        yield "the users of the host"
    elif not isinstance(security.userns, str):
        yield "users of the host by their numbers"
    for name in sorted(security.capabilities - usual.capabilities):
        yield f"the capability {name}"
    if security.seccomp not in (usual.seccomp, Security.strict().seccomp):
        yield "another filter of system calls"
    if not security.no_new_privs:
        yield "set-user-id programs"
    if not security.keyring:
        yield "the keys of the caller"
    if not {*MASKED, *READ_ONLY} <= {*security.masked, *security.read_only} and not security.minimal_proc:
        yield "paths of /proc and /sys that are hidden or read-only otherwise"
