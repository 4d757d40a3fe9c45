"""The life cycle of containers: their states, and the verbs that each allows."""

from __future__ import annotations

from pycontainer.errors import StateError

_ALIVE = frozenset({
    "kill", "stop", "restart", "wait", "reach files", "list changes", "tell its pid", "use its terminal", "update",
    "tell what it uses", "read its log", "attach", "change its networks", "tell of its networks", "share its network",
})  # fmt: skip
_ENDED = frozenset({
    "start", "stop", "restart", "wait", "list changes", "read its log", "remove", "rename", "save", "restore",
})  # fmt: skip

#: The verbs that each state of a container allows; every other one is a StateError.
VERBS = {
    "created": frozenset(
        {
            "start",
            "stop",
            "restart",
            "list changes",
            "read its log",
            "remove",
            "rename",
            "save",
            "restore",
        }
    ),
    "running": _ALIVE | {"exec", "pause", "rename", "checkpoint"},
    "paused": _ALIVE | {"unpause", "rename"},
    # Detached ones only: the monitor starts it again, after a while.
    "restarting": frozenset(
        {"kill", "stop", "restart", "wait", "list changes", "read its log", "update", "rename"}
    ),
    "exited": _ENDED | {"reach files", "use its terminal"},
    # Its end was seen by nobody: its monitor was killed, or the machine went down.
    "dead": _ENDED,
    "removed": frozenset({"remove"}),
    # After a fork of the host: the containers stay the parent's.
    "of another process": frozenset(),
}


def allow(who: str, status: str, verb: str) -> None:
    """Raise :class:`StateError` unless the state allows ``verb``."""
    if verb not in VERBS[status]:
        raise StateError(who, status, verb)
