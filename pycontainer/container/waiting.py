"""What can be waited for until a container is ready: ``container.wait_for(pc.wait.port(5432), timeout=30)``.

A condition is any function of a container that says whether it holds.  It is asked again and again; those of this
module look without leaving a trace in the container, but :func:`command` and :func:`http`.
"""

from __future__ import annotations

import errno
import re
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pycontainer.container.arguments import seconds, text, words
from pycontainer.container.exchange import Exchange
from pycontainer.errors import InvalidArgument, KernelError, NotSupported, StateError, WaitTimeout
from pycontainer.kernel.idmap import rules_host

if TYPE_CHECKING:
    from pycontainer.container.container import Container

Condition = Callable[["Container"], Any]

__all__ = ["Condition", "command", "file", "health", "http", "log", "port"]

#: Between two looks, in seconds.
PAUSE = 0.02
_LISTENS = "0A"  # TCP_LISTEN in /proc/net/tcp (proc(5))
_RUNNING = frozenset({"running", "paused", "restarting"})
_LARGEST = 1 << 16


def wait_for(container: Container, conditions: Sequence[Condition], timeout: float | None) -> None:
    """Wait until all conditions have held, each once, in this order. See :meth:`Container.wait_for`."""
    timeout = seconds("timeout", timeout)
    deadline = None if timeout is None else time.monotonic() + timeout
    for condition in checked(conditions):
        while not holds_now(container, condition):
            if deadline is not None and time.monotonic() > deadline:
                raise not_ready(container, condition, timeout)
            time.sleep(PAUSE)


def checked(conditions: Sequence[Condition]) -> Sequence[Condition]:
    """The same. Raises :class:`InvalidArgument` for what is no condition."""
    for each in conditions:
        if not callable(each):
            raise InvalidArgument(
                "condition", each, "a function of the container, such as pc.wait.port(80), is needed"
            )
    return conditions


def holds_now(container: Container, condition: Condition) -> bool:
    """Look once. Raises :class:`StateError` when it does not hold and the container has ended."""
    if condition(container):
        return True
    if container.status in _RUNNING:
        return False
    # What it wrote last may be what was waited for.
    if condition(container):
        return True
    code = container.exit_code
    raise StateError(f"container {container.name}", f"{container.status} (exit code {code})", "become ready")


def not_ready(container: Container, condition: Condition, timeout: float | None) -> WaitTimeout:
    """The error of who waited for so many seconds."""
    return WaitTimeout(f"container {container.name} was not ready within {timeout:g} s: {_name(condition)}")


def _name(condition: Condition) -> str:
    return str(getattr(condition, "told", None) or getattr(condition, "__qualname__", repr(condition)))


class _Told:
    """A condition that says in an error what it is."""

    def __init__(self, told: str, holds: Condition) -> None:
        self.told = told
        self._holds = holds

    def __call__(self, container: Container) -> bool:
        return bool(self._holds(container))


def port(number: int, *, protocol: str = "tcp") -> Condition:
    """A program of the container listens on this port, on whatever address (nothing is connected to)."""
    _check_port(number)
    if protocol not in {"tcp", "udp"}:
        raise InvalidArgument("protocol", protocol, "'tcp' or 'udp' is needed")

    def holds(container: Container) -> bool:
        try:
            pid = container.pid
        except StateError:
            return False
        return any(_listens(f"/proc/{pid}/net/{protocol}{version}", number) for version in ("", "6"))

    return _Told(f"port({number})", holds)


def _check_port(number: Any) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 1 << 16:
        raise InvalidArgument("port", number, "a number from 1 to 65535 is needed")


def _listens(table: str, number: int) -> bool:
    with suppress(OSError), open(table) as lines:
        for line in lines:
            fields = line.split()
            if fields[1].endswith(f":{number:04X}") and (fields[3] == _LISTENS or "udp" in table):
                return True
    return False


def log(pattern: str | bytes | re.Pattern[bytes], *, count: int = 1) -> Condition:
    """The container has written a line with this text, or that the compiled pattern is found in, ``count`` times.

    Only what it wrote since its last start counts.
    """
    if isinstance(pattern, re.Pattern):
        compiled = pattern
        if not isinstance(pattern.pattern, bytes):
            compiled = re.compile(str(pattern.pattern).encode(), pattern.flags & ~re.UNICODE)
    else:
        given = pattern.encode() if isinstance(pattern, str) else pattern
        if not isinstance(given, bytes):
            raise InvalidArgument("pattern", pattern, "text, bytes or a compiled pattern is needed")
        compiled = re.compile(re.escape(given))
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidArgument("count", count, "a number from 1 on is needed")

    def holds(container: Container) -> bool:
        lines = container.logs(since=container.started_at)
        return sum(1 for line in lines if compiled.search(line)) >= count

    return _Told(f"log({pattern!r})", holds)


def health() -> Condition:
    """The health check says ``healthy``."""

    def holds(container: Container) -> bool:
        keeping: Any = getattr(container, "keeping", None)
        if keeping is None or keeping.health is None:
            raise NotSupported(
                "the container has no health check", "create it with detach=True and healthcheck=..."
            )
        return bool(getattr(container, "health") == "healthy")  # noqa: B009  a detached one's

    return _Told("health()", holds)


def file(path: str) -> Condition:
    """The container has a regular file at this path."""
    text("path", path)

    def exists(container: Container) -> bool:
        try:
            container.read_bytes(path, limit=_LARGEST)
        except KernelError as error:
            return error.errno == errno.EFBIG
        except StateError:
            return False
        return True

    return _Told(f"file({path!r})", exists)


def command(argv: Sequence[str] | str, *, timeout: float = 10.0) -> Condition:
    """A program that is run in the container ends with the exit code 0, as ``pg_isready`` does."""
    told = words("command", argv)
    if not told:
        raise InvalidArgument("command", argv, "a program is needed")
    Exchange(timeout=timeout)

    def holds(container: Container) -> bool:
        with suppress(StateError):
            return container.exec(list(told), timeout=timeout).exit_code == 0
        return False

    return _Told(f"command({told[0]!r})", holds)


def http(number: int, path: str = "/", *, host: str | None = None, status: int | None = None) -> Condition:
    """An HTTP server answers: with this ``status``, or any from 200 to 399.

    ``host`` is by default this host, for a container on its network; else where the port is published, or the
    container's address, which root reaches.
    """
    _check_port(number)
    if host is not None:
        text("host", host)
    if status is not None and (isinstance(status, bool) or not isinstance(status, int)):
        raise InvalidArgument("status", status, "a number as 200 is needed")
    text("path", path)
    if not path.startswith("/") or any(each.isspace() for each in path):
        raise InvalidArgument("path", path, "a path as /health is needed")

    def holds(container: Container) -> bool:
        code = _status(*((host, number) if host is not None else _place(container, number)), path)
        return code is not None and (code == status if status is not None else 200 <= code < 400)

    return _Told(f"http({number}, {path!r})", holds)


def _place(container: Container, number: int) -> tuple[str, int]:
    """Where this process reaches a port of the container."""
    mode = container.spec.network.mode
    if mode == "host":
        return "127.0.0.1", number
    if mode != "none":
        for host, published in container.ports.get(f"{number}/tcp", ()):
            return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), published
        if rules_host():
            for addresses in container.addresses.values():
                return addresses[0], number
    raise NotSupported("the container's network cannot be reached from here", "say host=, or use port()")


def _status(host: str, number: int, path: str) -> int | None:
    """What a server answers to one GET; ``None``: nothing that is HTTP."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    with suppress(OSError), socket.create_connection((host, number), timeout=5) as connection:
        connection.sendall(request)
        answer = connection.recv(64)
        found = re.match(rb"HTTP/1\.\d (\d{3})", answer)
        return None if found is None else int(found[1])
    return None
