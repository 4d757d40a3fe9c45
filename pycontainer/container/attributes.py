"""Attributes of a container's processes that are given as plain values: checked, and in the kernel's terms."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from pycontainer.container.arguments import account, mapping, several, text
from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig
from pycontainer.kernel.signals import signal_number

_HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?")
#: What is the container's own: its network namespace's, its IPC namespace's (sysctl(7), ipc_namespaces(7)).
_SYSCTLS = re.compile(
    r"net(\.[\w-]+)+|kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)|fs\.mqueue\.\w+"
)

#: ulimits by Docker's names.
ULIMITS = {
    name: getattr(resource, f"RLIMIT_{name.upper()}")
    for name in ("as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc",
                 "rss", "rtprio", "rttime", "sigpending", "stack")
    if hasattr(resource, f"RLIMIT_{name.upper()}")
}  # fmt: skip


def parse_attributes(
    config: ImageConfig,
    *,
    hostname: str | None = None,
    ulimits: Mapping[str, int | tuple[int, int]] | None = None,
    stop_signal: int | str | None = None,
    labels: Mapping[str, str] | None = None,
    extra_fds: Mapping[int, int] | Sequence[int] = (),
    umask: int = 0o022,
    group_add: Iterable[str | int] = (),
    oom_score_adj: int | None = None,
) -> dict[str, Any]:
    """The fields of a :class:`Spec` that these arguments make. Raises :class:`InvalidArgument`."""
    groups = several("group_add", group_add, "names or numbers of groups")
    return {
        "hostname": _hostname(hostname),
        "ulimits": _ulimits(ulimits),
        "stop_signal": _stop_signal(stop_signal, config),
        "labels": _labels(config, labels),
        "extra_fds": _extra_fds(extra_fds),
        "umask": _umask(umask),
        "groups": tuple(str(account(each)) for each in groups),
        "oom_score_adj": _oom_score(oom_score_adj),
    }


#: The arguments of :func:`parse_attributes`.
NAMES = frozenset("hostname ulimits stop_signal labels extra_fds umask group_add oom_score_adj".split())


def _hostname(name: Any) -> str | None:
    if name is not None and not _HOSTNAME.fullmatch(text("hostname", name)):
        raise InvalidArgument("hostname", name, "up to 64 letters, digits, '-' and '.' are needed")
    return cast("str | None", name)


def _ulimits(ulimits: Mapping[str, int | tuple[int, int]] | None) -> tuple[tuple[int, int, int], ...]:
    """Core dumps off unless asked for; the rest is inherited.

    Off is 1 byte: with 0 the kernel still starts a program of the host's that collects them (core(5)).  Where the
    caller may have none at all, it cannot be raised to that.
    """
    core = ULIMITS["core"]
    found = {core: (0, 0)}
    for name, value in mapping("ulimits", ulimits, "{'nofile': 64}").items():
        if name not in ULIMITS:
            raise InvalidArgument("ulimits", name, f"one of {', '.join(sorted(ULIMITS))} is needed")
        pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
        if len(pair) != 2 or any(isinstance(each, bool) or not isinstance(each, int) for each in pair):
            raise InvalidArgument(
                "ulimits", {name: value}, "a number, or the two numbers (soft, hard), are needed"
            )
        soft, hard = ((1 << 64) - 1 if each == -1 else each for each in pair)
        if soft > hard or soft < 0 or hard >= 1 << 64:
            raise InvalidArgument("ulimits", {name: value}, "0 <= soft <= hard is needed; -1 is unlimited")
        found[ULIMITS[name]] = (soft, hard)
    if resource.getrlimit(core)[1] != 0:
        found[core] = max(found[core][0], 1), max(found[core][1], 1)
    return tuple((kind, soft, hard) for kind, (soft, hard) in found.items())


def _stop_signal(signal: Any, config: ImageConfig) -> int:
    if signal is None:
        return signal_number(config.stop_signal or "TERM")
    if isinstance(signal, bool) or not isinstance(signal, (int, str)):
        raise InvalidArgument(
            "stop_signal", signal, "a number or name of a signal is needed, such as 15 or 'TERM'"
        )
    try:
        return signal_number(signal)
    except InvalidArgument as error:
        raise InvalidArgument("stop_signal", signal, error.reason) from None


def _labels(config: ImageConfig, labels: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    given = mapping("labels", labels, "{'name': 'text'}")
    for name, value in given.items():
        text("labels", name)
        text(f"labels[{name!r}]", value)
    return tuple(sorted({**dict(config.labels), **given}.items()))


def _extra_fds(fds: Mapping[int, int] | Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Pairs of a host fd and the number that the program sees it as; a sequence keeps the numbers."""
    if isinstance(fds, Mapping):
        pairs = list(fds.items())
    else:
        pairs = [(fd, fd) for fd in several("extra_fds", fds, "descriptors")]
    for host, target in pairs:
        if any(isinstance(fd, bool) or not isinstance(fd, int) for fd in (host, target)):
            raise InvalidArgument("extra_fds", (host, target), "numbers of descriptors are needed")
        if target < 3 or target > 1 << 20 or host < 0:
            raise InvalidArgument("extra_fds", (host, target), "an open fd and a number from 3 are needed")
        try:
            os.fstat(host)
        except (OSError, OverflowError):
            raise InvalidArgument("extra_fds", host, "no such fd is open") from None
    targets = [target for _, target in pairs]
    for target in targets:
        if targets.count(target) > 1:
            raise InvalidArgument("extra_fds", target, "two descriptors have this number inside")
    return tuple(pairs)


def _umask(umask: Any) -> int:
    if isinstance(umask, bool) or not isinstance(umask, int) or not 0 <= umask <= 0o777:
        raise InvalidArgument("umask", umask, "a number from 0 to 0o777 is needed, such as 0o022")
    return umask


def _oom_score(value: Any) -> int | None:
    """How much sooner than others its processes are killed when the host's memory runs out (proc(5))."""
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int) or not -1000 <= value <= 1000
    ):
        raise InvalidArgument("oom_score_adj", value, "a number from -1000 to 1000 is needed")
    return value


def kernel_settings(values: Any, *, own_network: bool) -> tuple[tuple[str, str], ...]:
    """Sysctls of the container's own namespaces, as file below /proc/sys and content (CVE-2022-0811)."""
    found = []
    for name, value in mapping("sysctls", values, "{'net.ipv4.ip_forward': '1'}").items():
        if not isinstance(name, str) or not _SYSCTLS.fullmatch(name) or ".." in name:
            raise InvalidArgument(
                "sysctls",
                name,
                "only those of a container's own namespaces can be set: net.*, fs.mqueue.*, kernel.shm* and the like",
            )
        if name.startswith("net.") and not own_network:
            raise InvalidArgument(
                "sysctls", name, "the network is the host's or another container's: it needs one of its own"
            )
        is_number = type(value) is int and abs(value) < 1 << 64
        content = str(value) if is_number or isinstance(value, str) else ""
        if not content or not content.isprintable():
            raise InvalidArgument("sysctls", {name: value}, "a number or a line of text is needed")
        found.append((name.replace(".", "/"), content))
    return tuple(found)
