"""What the start of a container does about its network, which was made before it or is another container's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycontainer.container import slots
from pycontainer.container.found import Found
from pycontainer.container.mounts import Bind
from pycontainer.container.spec import Spec
from pycontainer.errors import InvalidArgument, NotSupported
from pycontainer.kernel.idmap import rules_host
from pycontainer.kernel.native import lib
from pycontainer.kernel.userns import Lease

if TYPE_CHECKING:
    from pycontainer.container.workspace import Workspace
    from pycontainer.network.stack import Stack, Who

_ENDED = "the container has ended: start it first"


@contextmanager
def opened(workspace: Workspace, name: str) -> Iterator[tuple[int, Stack | None]]:
    """The network namespace of a running container, as an fd, and its stack: a share, which is the caller's to close.

    Raises :class:`InvalidArgument` when no such container runs in this process, and :class:`NotSupported` for
    ordinary users.
    """
    word = f"container:{name}"
    found = workspace.find_running(name)
    if found is None:
        raise InvalidArgument("network", word, "no container of this name runs here: start it first")
    if not rules_host():
        # Each has a user namespace of its own, and only their common ruler may lead one into the other's.
        raise NotSupported("an ordinary user's containers cannot share a network namespace", "run as root")
    try:
        fd = os.open(f"/proc/{found.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise InvalidArgument("network", word, _ENDED) from None
    try:
        # Opened first: now it is known that the pid has not gone to another before.
        signal.pidfd_send_signal(found.pidfd, 0)
        yield fd, None if found.stack is None else found.stack.share()
    except ProcessLookupError:
        raise InvalidArgument("network", word, _ENDED) from None
    finally:
        os.close(fd)


def who(spec: Spec, lease: Lease | None, name: str, called: str | None) -> Who:
    """A container as its networks know it."""
    from pycontainer.network.stack import Who

    return Who(
        id=name,
        name=called or name,
        hostname=spec.hostname or name,
        userns=None if lease is None else lease.fd,
        ids=(0, 0) if lease is None else lease.map.first,
    )


def joins(spec: Spec, *, in_userns: bool) -> tuple[tuple[int, int], ...]:
    """The namespaces to enter.  Another container's network is entered with the host's rights, its own as its root."""
    user = ((slots.USERNS, lib.CLONE_NEWUSER),) if in_userns else ()
    net = ((slots.NETNS, lib.CLONE_NEWNET),) if spec.network.mode in {"networks", "container"} else ()
    return net + user if spec.network.mode == "container" else user + net


def with_names(mounts: tuple[tuple[Found, bool], ...], folder: str | None) -> tuple[tuple[Found, bool], ...]:
    """The mounts with the files by which names are found, where the caller mounts nothing."""
    if folder is None:
        return mounts
    from pycontainer.network.names import FILES

    taken = {os.path.normpath(mount.target) for mount, _ in mounts}
    if "/etc" in taken:
        return mounts
    found = [
        (Bind(f"{folder}/{name}", target), False) for name, target in FILES.items() if target not in taken
    ]
    return (*mounts, *found)
