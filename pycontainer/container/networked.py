"""What the start of a container does about its network, which was made before it or is another container's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pycontainer.container import slots
from pycontainer.container.found import Found
from pycontainer.container.mounts import Bind
from pycontainer.container.spec import Spec
from pycontainer.errors import InvalidArgument
from pycontainer.kernel.idmap import rules_host
from pycontainer.kernel.native import lib
from pycontainer.kernel.userns import Lease, Wanted

if TYPE_CHECKING:
    from pycontainer.container.launch import Launch
    from pycontainer.container.workspace import Workspace
    from pycontainer.network.stack import Stack, Who

_ENDED = "the container has ended: start it first"


@contextmanager
def opened(
    workspace: Workspace, spec: Spec, *, lasting: bool = False
) -> Iterator[tuple[int, Stack | None, Lease | None]]:
    """The network namespace of the running container that ``spec`` names, as an fd, and its stack: a share.

    An ordinary user's containers have user namespaces of their own, and only root could lead one into what belongs to
    another's: so there is a share of its lease, too.  The shares are the caller's to close.  For one that is
    ``lasting`` the other has to outlive this process, too.
    Raises :class:`InvalidArgument` when no such container runs in this process, and no detached one.
    """
    word = f"container:{spec.network.target}"
    with ExitStack() as closing:
        found = workspace.find_running(spec.network.target)
        if found is not None and lasting:
            raise InvalidArgument("network", word, "it ends with this process: make it with detach=True")
        if found is None:
            from pycontainer.container.detached.borrowing import running

            found = closing.enter_context(running(workspace, spec.network.target))
        if found is None:
            raise InvalidArgument("network", word, "no container of this name runs: start it first")
        own = None if rules_host() else found.lease
        wanted = Wanted.of(spec.security.userns, spec.security.user_namespaces)
        if own is not None and (own.wanted != wanted or not spec.security.own_users):
            raise InvalidArgument(
                "userns", spec.security.userns, f"it is to be as that of {spec.network.target}"
            )
        fds = _namespaces(found, ["net"] if own is None else ["net", "user"], word)
        try:
            stack = None if found.stack is None else found.stack.share()
            yield fds[0], stack, None if own is None else own.share(fds.pop())
        finally:
            for fd in fds:
                os.close(fd)


def _namespaces(found: Launch, kinds: Iterable[str], word: str) -> list[int]:
    """Namespaces of a running container, open."""
    fds: list[int] = []
    try:
        fds.extend(os.open(f"/proc/{found.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds)
        # Opened first: now it is known that the pid has not gone to another before.
        signal.pidfd_send_signal(found.pidfd, 0)
    except OSError:
        for fd in fds:
            os.close(fd)
        raise InvalidArgument("network", word, _ENDED) from None
    return fds


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
    """The namespaces to enter.  Another container's network root enters with the host's rights; others as its root."""
    user = ((slots.USERNS, lib.CLONE_NEWUSER),) if in_userns else ()
    net = ((slots.NETNS, lib.CLONE_NEWNET),) if spec.network.mode in {"networks", "container"} else ()
    return net + user if spec.network.mode == "container" and rules_host() else user + net


def mounted_at(spec: Spec) -> frozenset[str]:
    """Where files are mounted by which names are found."""
    if spec.network.mode not in {"networks", "container"}:
        return frozenset()
    from pycontainer.network.names import FILES

    return frozenset(FILES.values())


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
