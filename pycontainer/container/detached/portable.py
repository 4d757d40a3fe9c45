"""What a container was made from, for another engine: the arguments that would make it there.

They are looked at there as those of any caller are, by the same code: sources of mounts must exist, sizes and names be
well-formed, and what that host cannot do is refused.  What the host of its making has decided (paths that it masks,
numbers of its devices) is decided anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any

import attrs

from pycontainer.container.attributes import ULIMITS
from pycontainer.container.bounds import DEFAULT_PIDS, Bounds
from pycontainer.container.detached import codec
from pycontainer.container.detached.options import Keeping
from pycontainer.container.detached.typed import fits
from pycontainer.container.mounts import Bind, Mount, VolumeMount, is_name_service
from pycontainer.container.security import Security
from pycontainer.container.spec import Spec
from pycontainer.errors import ImageError, NotSupported
from pycontainer.image.image import Image
from pycontainer.kernel.seccomp import Profile
from pycontainer.network.egress import Egress
from pycontainer.network.wish import Wish

if TYPE_CHECKING:
    from pycontainer.image.images import Images

_SECURITY: dict[str, Callable[[], Security]] = {
    "default": Security.default, "strict": Security.strict, "privileged": Security.privileged,
}  # fmt: skip
#: Limits whose value is that of the argument.
_PLAIN_LIMITS = {
    "memory_max": "memory", "memory_high": "memory_high", "memory_low": "memory_low", "cpu_max": "cpus",
    "cpu_weight": "cpu_weight", "cpuset_cpus": "cpuset_cpus", "cpuset_mems": "cpuset_mems", "pids_max": "pids",
    "io_weight": "io_weight",
}  # fmt: skip
_RATES = ("rbps", "wbps", "riops", "wiops")


def arguments_of(spec: Spec, keeping: Keeping) -> dict[str, Any]:
    """The arguments of ``create`` that make such a container, as JSON can say them."""
    health = keeping.health
    given: dict[str, Any] = {
        "entrypoint": list(spec.argv),
        "env": dict(spec.env),
        "workdir": spec.workdir,
        "hostname": spec.hostname,
        "mounts": [codec.encode(mount) for mount in _mounts(spec)],
        "read_only": spec.read_only,
        "tty": spec.tty,
        "init": spec.init,
        "security": _security(spec.security),
        "ulimits": _ulimits(spec),
        "shm_size": spec.shm_size,
        "stop_signal": spec.stop_signal,
        "labels": dict(spec.labels),
        "umask": spec.umask,
        "group_add": list(spec.groups),
        "devices": [f"{each.source}:/dev/{each.name}:{each.access}" for each in spec.devices],
        "sysctls": {name.replace("/", "."): value for name, value in spec.sysctls},
        "restart": str(keeping.restart),
        "healthcheck": False if health is None else codec.encode(health),
        "auto_remove": keeping.auto_remove,
        "stdin_open": keeping.stdin_open,
        "log_size": keeping.log_size,
        "log_files": keeping.log_files,
        **_limits(spec.bounds),
        **_network(spec.network),
    }
    caller = f"{os.geteuid()}:{os.getegid()}"
    if spec.user and not (spec.security.userns == "keep-id" and spec.user == caller):
        given["user"] = spec.user
    return given


def arguments_from(given: Mapping[str, Any], image: Callable[[str], Image]) -> dict[str, Any]:
    """The arguments that :func:`arguments_of` gave, from a stranger; ``image`` finds those of its mounts.

    Raises :class:`ImageError` for what is not of its form; whoever takes the arguments checks the rest.
    """
    found = dict(given)
    found["mounts"] = [_decoded(each, "a mount", image) for each in _listed(given.get("mounts", []))]
    if found.get("healthcheck", False) is not False:
        found["healthcheck"] = _decoded(found["healthcheck"], "the health check")
    if "security" in found:
        found["security"] = _security_from(found["security"])
    if found.get("bandwidth") is not None:
        found["bandwidth"] = _decoded(found["bandwidth"], "the bandwidth")
    if isinstance(found.get("network"), Mapping) and "allow" in found["network"]:
        from pycontainer.network.egress import parse_egress

        found["network"] = parse_egress(found["network"]["allow"])
    if "ports" in found:
        found["ports"] = {
            str(key): [tuple(pair) for pair in _listed(pairs)]
            for key, pairs in _mapping(found["ports"]).items()
        }
    return found


def _mounts(spec: Spec) -> Iterator[Mount]:
    for mount, _ in spec.mounts:
        # These come from the image, and from the host.
        if isinstance(mount, VolumeMount) and mount.declared:
            continue
        if isinstance(mount, Bind) and spec.network.mode == "host" and is_name_service(mount):
            continue
        yield mount


def _ulimits(spec: Spec) -> dict[str, list[int]]:
    names = {number: name for name, number in ULIMITS.items()}
    return {names[number]: [soft, hard] for number, soft, hard in spec.ulimits}


def _limits(bounds: Bounds) -> dict[str, Any]:
    limits, defaults = bounds.limits, set()
    if "pids_max" in bounds.optional and limits.pids_max == DEFAULT_PIDS:
        defaults.add("pids_max")
    if "memory_swap_max" in bounds.optional and limits.memory_swap_max == 0:
        defaults.add("memory_swap_max")
    names = [name for name in limits.names if name not in defaults and name != "devices"]
    found: dict[str, Any] = {
        argument: getattr(limits, name) for name, argument in _PLAIN_LIMITS.items() if name in names
    }
    if limits.memory_max is not None and limits.memory_swap_max is None:
        found["memory_swap"] = -1
    elif limits.memory_max is not None and "memory_swap_max" in names:
        found["memory_swap"] = limits.memory_max + (limits.memory_swap_max or 0)
    if limits.io_max:
        found["io_max"] = {
            each.device: {rate: getattr(each, rate) for rate in _RATES if getattr(each, rate) is not None}
            for each in limits.io_max
        }
    if limits.hugetlb_max:
        found["hugetlb"] = dict(limits.hugetlb_max)
    if bounds.optional - defaults:
        found["best_effort"] = True
    return found


def _network(wish: Wish) -> dict[str, Any]:
    if wish.mode == "container":
        raise NotSupported(
            f"moving a container that is on the network of {wish.target}", "make it on a network of its own"
        )
    if wish.mode != "networks":
        return {"network": wish.mode}
    found: dict[str, Any] = {"network": {each.network: _place(each) for each in wish.places}}
    if isinstance(wish.egress, Egress):
        found["network"] = {"allow": _allowed(wish.egress)}
    ports: dict[str, list[list[Any]]] = {}
    for port in wish.ports:
        ports.setdefault(port.key, []).append([port.host, port.host_port])
    told = {
        "ports": ports, "dns": list(wish.dns), "dns_search": list(wish.dns_search), "dns_options": list(wish.dns_options),
        "extra_hosts": dict(wish.hosts), "bandwidth": None if wish.bandwidth is None else codec.encode(wish.bandwidth),
    }  # fmt: skip
    return {**found, **{name: value for name, value in told.items() if value}}


def _place(place: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"aliases": list(place.aliases)} if place.aliases else {}
    for address in place.addresses:
        found["ip6" if ":" in address else "ip"] = address
    return found


def _allowed(egress: Egress) -> list[str]:
    found = [f"{name}:{port}" if port else name for name, port in egress.names]
    for subnet, port in egress.subnets:
        place = f"[{subnet}]" if port and ":" in subnet else subnet
        found.append(f"{place}:{port}" if port else place)
    return found


def _security(security: Security) -> dict[str, Any]:
    """The nearest of the three, and what differs."""
    changed = {name: _differences(security, make()) for name, make in _SECURITY.items()}
    nearest = min(changed, key=lambda name: len(changed[name]))
    return {"of": nearest, "changed": changed[nearest]}


def _differences(security: Security, base: Security) -> dict[str, Any]:
    return {
        each.name: codec.encode(getattr(security, each.name))
        for each in attrs.fields(Security)
        if getattr(security, each.name) != getattr(base, each.name)
    }


def _security_from(told: Any) -> Security:
    told = _mapping(told)
    if told.keys() != {"of", "changed"} or told["of"] not in _SECURITY:
        raise ImageError(f"the container's security is none of {', '.join(_SECURITY)}, changed")
    changed = {
        name: _decoded(value, f"the security's {name}") for name, value in _mapping(told["changed"]).items()
    }
    unknown = changed.keys() - {each.name for each in attrs.fields(Security)}
    if unknown:
        raise ImageError(f"the container's security has {sorted(unknown)[0]!r}, which is not known here")
    if not isinstance(changed.get("seccomp"), (Profile, NoneType)):
        raise ImageError("the container's filter of system calls is not of its form")
    try:
        found = _SECURITY[told["of"]]().evolve(**changed)
    except (TypeError, AttributeError) as error:
        raise ImageError(f"the container's security is not of its form: {error}") from None
    if not fits(found, Security):
        raise ImageError("the container's security is not of its form")
    return found


def _decoded(value: Any, what: str, image: Callable[[str], Image] | None = None) -> Any:
    images: Images | None = None if image is None else _ByDigest(image)  # type: ignore[assignment]
    try:
        return codec.decode(value, images)
    except (TypeError, KeyError, AttributeError, ValueError, RecursionError) as error:
        raise ImageError(f"{what} of the container is not of its form: {str(error)[:200]}") from None


class _ByDigest:
    """Finds images as a store does."""

    def __init__(self, find: Callable[[str], Image]) -> None:
        self.get = find


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ImageError("the container's arguments have something that is no list where one is needed")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ImageError("the container's arguments have something that is no object where one is needed")
    return value
