"""Bounds of a container's traffic, and faults for tests, by the kernel's queueing (tc(8)): tbf and netem.

What goes to the container waits at the host's end of its link, what comes from it at its own end, where a container
with CAP_NET_ADMIN, which none has by default, could change it.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

from pycontainer.errors import KernelError, NotSupported
from pycontainer.network.bandwidth import Bandwidth
from pycontainer.network.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Message,
    Netlink,
    attribute,
    nested,
    text,
    u32,
)

_NEWQDISC = 36
_TCMSG = struct.Struct("=BxxxiIII")
_ROOT = 0xFFFFFFFF
_KIND, _OPTIONS = 1, 2
_TBF_PARMS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_RATE = struct.Struct("=BBHhHI")
_ETHERNET = 1
_NETEM = struct.Struct("=IIIIII")
_NETEM_LATENCY64, _NETEM_JITTER64 = 10, 11
_NETEM_QUEUE = 1000
_FIRST, _SECOND = 1 << 16, 2 << 16
_MOST32 = (1 << 32) - 1
#: How long a packet may wait for its turn, in seconds, before the queue is full.
_PATIENCE = 0.4
_LEAST_QUEUE = 1 << 16


def shape(route: Netlink, index: int, *, rate: int | None, bandwidth: Bandwidth) -> None:
    """Bound what leaves by a link to ``rate`` bytes a second, and do to it what else ``bandwidth`` says."""
    try:
        route.send(_disciplines(index, rate, bandwidth))
    except KernelError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOENT):
            raise
        name = error.step.rpartition(" ")[2]
        raise NotSupported(f"this kernel has no queueing discipline {name}", f"modprobe sch_{name}") from None


def _disciplines(index: int, rate: int | None, bandwidth: Bandwidth) -> Iterator[Message]:
    parent, handle = _ROOT, _FIRST
    if bandwidth.delay or bandwidth.loss or bandwidth.jitter:
        chance = round(bandwidth.loss * _MOST32)
        options = _NETEM.pack(0, _NETEM_QUEUE, chance, 0, 0, 0)
        options += attribute(_NETEM_LATENCY64, struct.pack("=q", round(bandwidth.delay * 1e9)))
        options += attribute(_NETEM_JITTER64, struct.pack("=q", round(bandwidth.jitter * 1e9)))
        yield _add(index, parent, handle, "netem", attribute(_OPTIONS, options))
        parent, handle = _FIRST | 1, _SECOND
    if rate is not None:
        burst = bandwidth.burst_of(rate)
        spec = _RATE.pack(0, _ETHERNET, 0, 0, 0, min(rate, _MOST32))
        queue = max(_LEAST_QUEUE, round(rate * _PATIENCE)) + burst
        parameters = spec + _RATE.pack(0, 0, 0, 0, 0, 0) + struct.pack("=III", min(queue, _MOST32), 0, 0)
        parts = [attribute(_TBF_PARMS, parameters), u32(_TBF_BURST, burst)]
        if rate > _MOST32:
            parts.append(attribute(_TBF_RATE64, struct.pack("=Q", rate)))
        yield _add(index, parent, handle, "tbf", nested(_OPTIONS, *parts))


def _add(index: int, parent: int, handle: int, kind: str, options: bytes) -> Message:
    body = _TCMSG.pack(0, index, handle, parent, 0) + text(_KIND, kind) + options
    return Message(_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body, f"queue by {kind}")
