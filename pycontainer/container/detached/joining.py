"""The network of a detached container that is about to start: a new one, or another container's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import attrs

from pycontainer.container import networked
from pycontainer.kernel.userns import Lease, Wanted
from pycontainer.network.wish import Wish

if TYPE_CHECKING:
    from pycontainer.container.detached.preparation import Order
    from pycontainer.kernel.monitor import FdList
    from pycontainer.network.lasting import LastingStack


@attrs.frozen(kw_only=True)
class Joined:
    """What the container is to enter: its user namespace, and a network namespace with the folder of its name files."""

    lease: Lease | None
    netns: int | None = None
    folder: str | None = None
    stack: LastingStack | None = None
    target: str = ""

    def note(self, folder: str, fds: FdList) -> None:
        """Have the monitor keep what the network needs, and note it for all others."""
        from pycontainer.network import kept

        if self.target:
            kept.Kept(start="", host=kept.host(), target=self.target).write(folder)
        if self.stack is not None:
            numbers = {name: fds.add(fd) for name, fd in self.stack.lasting.items()}
            held = [fds.add(each.held.fileno()) for each in self.stack.published]
            self.stack.note(numbers, held).write(folder)

    def over_to_keeper(self) -> None:
        """The monitor is there: what it keeps is the keeper's to work with, where that is needed."""
        if self.stack is not None and self.stack.is_kept:
            self.stack.hand_over()


def join(order: Order, ours: ExitStack, failed: ExitStack) -> Joined:
    """Make or find it.  ``ours`` lets go of it, ``failed`` gives it back.

    Raises :class:`InvalidArgument`, :class:`NotSupported`, :class:`KernelError`, with nothing left behind once both have
    been called.
    """
    spec, workspace = order.spec, order.workspace
    wish: Wish = spec.network
    if wish.mode == "container":
        netns, stack, shared = ours.enter_context(networked.opened(workspace, spec, lasting=True))
        lease = shared or _lease(order)
        _give_back(order, lease, ours.callback)
        return Joined(
            lease=lease,
            netns=netns,
            folder=None if stack is None else stack.folder,
            target=getattr(stack, "container", ""),
        )
    lease = _lease(order)
    _give_back(order, lease, ours.callback)
    if wish.mode != "networks":
        return Joined(lease=lease)
    from pycontainer.network.lasting import Lasting
    from pycontainer.network.networks import networks_at

    means = ours.enter_context(Lasting(networks_at(workspace.root), order.id, order.home.folder))
    made = means.open(wish, networked.who(spec, lease, order.id[:12], order.name))
    ours.callback(made.let_go)
    failed.callback(made.close)
    if made.is_kept:
        means.keeper()  # where it cannot be started nothing starts
    return Joined(lease=lease, netns=made.namespace.fd, folder=made.folder, stack=made)


def _lease(order: Order) -> Lease | None:
    security = order.spec.security
    if not security.own_users:
        return None
    return order.workspace.leases.take(Wanted.of(security.userns, security.user_namespaces))


def _give_back(order: Order, lease: Lease | None, later: Callable[..., object]) -> None:
    if lease is not None:
        # The monitor has fds of its own.
        later(order.workspace.leases.give_back, lease, reusable=False)
