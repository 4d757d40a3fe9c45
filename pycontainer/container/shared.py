"""The network of another container, for one that is to be on the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycontainer.errors import InvalidArgument, NotSupported
from pycontainer.kernel.idmap import rules_host

if TYPE_CHECKING:
    from pycontainer.container.workspace import Workspace
    from pycontainer.network.stack import Stack

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
