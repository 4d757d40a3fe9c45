"""From a specification to a running container: gathers what it needs, and keeps what must be kept.

A :class:`Launch` owns what belongs to one running container on the host's side: its id lease, and the fds
that it sent back.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import attrs

from pycontainer.container import networked, slots
from pycontainer.container.recipe import owner_of, recipe_of
from pycontainer.container.spec import Spec
from pycontainer.container.start import NOWHERE, Fds, Seat, start_and_receive
from pycontainer.container.volumes import Mounts
from pycontainer.container.workspace import Workspace
from pycontainer.image.accounts import Identity, identify
from pycontainer.kernel.changes import Change
from pycontainer.kernel.idmap import IdMap, rules_host
from pycontainer.kernel.terminal import Terminal
from pycontainer.kernel.userns import Lease, Wanted

if TYPE_CHECKING:
    from pycontainer.network.stack import Stack

_PLACES = frozenset({"/dev", "/proc", "/sys"})
#: The host image's accounts are our own and never change.
_identify_on_host = lru_cache(maxsize=256)(identify)


@attrs.frozen(kw_only=True)
class Layer:
    """Where the writable layer is (a host folder, else memory) and which of its fds are wanted back.

    One to ``throw_away`` is never synced to disk.  ``send_mounts``: the mount namespace itself, so that its end
    is not waited for by who waits for the program's.  ``mounts`` are the container's, with its volumes found.
    """

    upper: str | None = None
    send_upper: bool = False
    send_root: bool = False
    send_mounts: bool = False
    throw_away: bool = False
    mounts: Mounts


@attrs.define(kw_only=True, eq=False)
class Launch:
    """What a started container consists of on the host's side. :meth:`close` lets go of it."""

    pid: int
    pidfd: int
    spec: Spec
    hostname: str
    identity: Identity
    lease: Lease | None
    lowers: tuple[str, ...]
    layer: Layer
    received: dict[int, int]
    workspace: Workspace
    stack: Stack | None = None
    #: Were its processes made by CRIU, from a checkpoint?
    restored: bool = False

    def take(self, tag: int) -> int | None:
        """An fd that the container sent (``plan.SENT_*``), now the caller's to close."""
        return self.received.pop(tag, None)

    def take_terminal(self) -> Terminal | None:
        """The host's side of the container's terminal, if it has one; the caller's to close."""
        master = self.take(slots.SENT_MASTER)
        return None if master is None else Terminal.adopt(master)

    @property
    def map(self) -> IdMap | None:
        """The id map of the container's user namespace, or ``None`` without one."""
        return None if self.lease is None else self.lease.map

    @property
    def marks(self) -> Literal["user", "trusted"]:
        """By which attributes the overlay marks what it hides: those of user namespaces, or the host's."""
        return "trusted" if self.lease is None else "user"

    @property
    def upper_shift(self) -> int:
        """How much larger a user id is in the writable layer than in the layers below."""
        if self.lease is None or not rules_host():
            return 0
        base = self.lease.map.host_uid(0) or 0
        in_upper = base if self.layer.upper is None else 0
        in_lowers = 0 if self.spec.image.layers else base
        return in_upper - in_lowers

    def changes(self, upper: int) -> list[Change]:
        """How the writable layer ``upper`` differs from those below it."""
        reach = self.workspace.reach
        return without_places(
            reach.changes(upper, self.lowers[::-1], self.upper_shift, self.marks), self.spec
        )

    def close(self) -> None:
        """Close what was not taken and give the lease back; every process must be gone. Idempotent."""
        while self.received:
            os.close(self.received.popitem()[1])
        stack, self.stack = self.stack, None
        if stack is not None:
            stack.close()
        lease, self.lease = self.lease, None
        if lease is not None:
            self.workspace.leases.give_back(lease, reusable=self.spec.security.is_private)


def without_places(changes: list[Change], spec: Spec) -> list[Change]:
    """The same without what was made to mount the kernel's file systems and a network's files at."""
    made = _PLACES | networked.mounted_at(spec)
    return [each for each in changes if each.path not in made or each.kind != "added"]


def launch(
    workspace: Workspace,
    spec: Spec,
    stdio: Fds,
    *,
    name: str,
    layer: Layer,
    seat: Seat = NOWHERE,
    called: str | None = None,
    channel: int | None = None,
) -> Launch:
    """Start a container.  When this returns its program runs; or waits at ``channel`` to be told what it is.

    ``name`` is its id, and its host name unless it has another; ``called`` is what its networks know it by.
    Raises :class:`PyContainerError` with nothing left behind.
    """
    lease: Lease | None = None
    stack: Stack | None = None
    netns: int | None = None
    try:
        if spec.network.mode == "container":
            with networked.opened(workspace, spec) as (netns, stack, shared):
                lease = shared or _lease(workspace, spec)
                return _launch(workspace, spec, stdio, lease, name, layer, seat, stack, netns, channel)
        lease = _lease(workspace, spec)
        if spec.network.mode == "networks":
            stack = workspace.stacks.open(spec.network, networked.who(spec, lease, name, called))
        if stack is not None:
            netns = stack.namespace.fd
            if layer.throw_away:  # the next run is likely to get this one's user namespace soon
                seat = seat.meanwhile(stack.prepare)
        return _launch(workspace, spec, stdio, lease, name, layer, seat, stack, netns, channel)
    except BaseException:
        if stack is not None:
            stack.close()
        if lease is not None:
            workspace.leases.give_back(lease, reusable=False)
        raise


def _lease(workspace: Workspace, spec: Spec) -> Lease | None:
    security = spec.security
    wanted = Wanted.of(security.userns, security.user_namespaces)
    return workspace.leases.take(wanted) if security.own_users else None


def _launch(
    workspace: Workspace,
    spec: Spec,
    stdio: Fds,
    lease: Lease | None,
    name: str,
    layer: Layer,
    seat: Seat,
    stack: Stack | None,
    netns: int | None,
    channel: int | None,
) -> Launch:
    lowers = spec.image.layers or (workspace.skeleton(owner_of(lease)),)
    who = spec.user, lowers, spec.groups
    identity = identify(*who) if spec.image.layers else _identify_on_host(*who)
    map_ = None if lease is None else lease.map
    folder = None if stack is None else stack.folder
    key = (id(spec), map_, lowers, layer, identity, seat.shape, folder, channel is None)
    recipe = workspace.recipes.get(key, spec)
    if recipe is None:
        waits = channel is not None
        recipe = recipe_of(spec, map_, identity, lowers, layer, seat=seat.shape, folder=folder, waits=waits)
        workspace.recipes.put(key, spec, recipe)
    hostname = spec.hostname or name
    fds = {} if lease is None else {slots.USERNS: lease.fd}
    if netns is not None:
        fds[slots.NETNS] = netns
    received: dict[int, int] = {}
    if layer.send_upper or layer.send_root or layer.send_mounts or spec.tty:
        pid, pidfd, received = start_and_receive(
            workspace.exports, recipe, stdio, fds, seat=seat, hostname=hostname, channel=channel
        )
    else:
        pid, pidfd = recipe.start(stdio, fds, seat=seat, hostname=hostname, channel=channel)
    return Launch(
        pid=pid,
        pidfd=pidfd,
        spec=spec,
        hostname=hostname,
        identity=identity,
        lease=lease,
        lowers=lowers,
        layer=layer,
        received=received,
        workspace=workspace,
        stack=stack,
    )
