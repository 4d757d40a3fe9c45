"""The way to the keeper of an engine root, which is started when first needed (see :mod:`.keeper`).

Its socket is ``<root>/keeper/<network namespace>``; it removes that when it ends because nobody needs it any more.
So one that is there and that nobody listens at is that of a keeper that was killed.  Who looks for it, and it when it
ends, has the lock ``<root>/keeper/lock``.  One that ends by an error of its own leaves ``<root>/keeper/failed``, which tells it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pycontainer.errors import NotSupported, StateError, WaitTimeout
from pycontainer.home import make_private
from pycontainer.kernel.monitorclient import connect, listen
from pycontainer.kernel.native import wait_usage
from pycontainer.kernel.spawn import spawn
from pycontainer.network.companion import LIMIT, interpreter

_FOLDER = "keeper"
#: How long one waits for another's start of it, and for an answer, in seconds.
_PATIENCE = 30.0
_PAUSE = 0.002
#: How often it is started: each may be killed before anybody has spoken to it.
_STARTS = 3
# It is nobody's child: it outlives who started it, and nobody else has to reap it.
_PROGRAM = """import os
if os.fork(): os._exit(0)
import sys; path = sys.argv.pop(); sys.path[:] = sys.argv[1:]; from pycontainer.network.keeper import serve; serve(path)
"""


class Keeper:
    """A conversation with the keeper, which stays for as long; ``with`` ends it. Got from :meth:`reach`."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    @classmethod
    def reach(cls, root: str) -> Keeper:
        """Speak to the keeper, which is started if there is none. Raises :class:`NotSupported` where it cannot be."""
        make_private(f"{root}/{_FOLDER}")
        path = path_of(root)
        with locked(root):
            found = _connected(path)
            for _ in range(_STARTS):
                if found is None:
                    with listen(*os.path.split(path)) as listener:
                        _start(root, listener)
                    found = _connected(path)
        if found is None:
            raise NotSupported(
                "the keeper of the networks is gone as soon as it has been started", "try again"
            )
        return cls(found)

    def tell(self, **told: Any) -> None:
        """Say something; what it makes of it is not waited for."""
        # One that was killed meanwhile is started anew by the next one, and finds all by itself.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.send(json.dumps(told).encode())

    def ask(self, **told: Any) -> None:
        """Say something, and wait until it is done. Raises :class:`NotSupported` with the keeper's reason."""
        self.tell(**told)
        self._socket.settimeout(_PATIENCE)
        try:
            answer = self._socket.recv(LIMIT)
        except (TimeoutError, ConnectionResetError):
            answer = b""
        if not answer:
            raise NotSupported("the keeper of the networks does not answer", "try again")
        failed = json.loads(answer)["failed"]
        if failed is not None:
            raise NotSupported(*failed)

    def close(self) -> None:
        """End the conversation."""
        self._socket.close()

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def revive(root: str) -> None:
    """Start the keeper again if it was killed; it finds those who need it by itself."""
    path = path_of(root)
    if os.path.exists(path):
        found = _connected(path)
        if found is None:
            Keeper.reach(root).close()
        else:
            found.close()


def path_of(root: str) -> str:
    """The keeper's socket, for the network namespace of this thread."""
    return f"{root}/{_FOLDER}/{os.stat('/proc/thread-self/ns/net').st_ino}"


@contextmanager
def locked(root: str, *, patience: float = _PATIENCE) -> Iterator[None]:
    """The lock of those who look for the keeper, and of one that ends. Raises :class:`WaitTimeout`."""
    fd = os.open(f"{root}/{_FOLDER}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise WaitTimeout(f"{root}/{_FOLDER}/lock is locked for {patience:g} s") from None
                time.sleep(_PAUSE)
        yield
    finally:
        os.close(fd)


def _connected(path: str) -> socket.socket | None:
    try:
        return connect(path)
    except StateError:
        return None


def _start(root: str, listener: socket.socket) -> None:
    with interpreter(_PROGRAM, root, listener.fileno()) as request:
        _, pidfd = spawn(request)
    try:
        wait_usage(pidfd, os.WEXITED)
    finally:
        os.close(pidfd)
