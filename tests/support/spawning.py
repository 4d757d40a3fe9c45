"""Commands started with kernel.spawn alone, for tests of it: no reaper, no file objects."""

from __future__ import annotations

import os
from typing import Any

from pycontainer.kernel.native import Exit, wait_usage
from pycontainer.kernel.spawn import Spawn, spawn


def command(script: str, /, *fds: int, **fields: Any) -> Spawn:
    """`sh -c script`; the first slots are ``fds``, of which 0, 1, 2 become the streams."""
    given: dict[str, Any] = {
        "argv": (b"sh", b"-c", script.encode()),
        "candidates": (b"/bin/sh",),
        "env": (b"PATH=/usr/bin:/bin",),
        "fds": fds,
    }
    return Spawn(**{**given, **fields})


def end(pidfd: int) -> Exit:
    try:
        ended = wait_usage(pidfd, os.WEXITED)
    finally:
        os.close(pidfd)
    assert ended is not None
    return ended


def output(script: str, /, *fds: int, **fields: Any) -> str:
    """What a command writes; ``fds`` are further slots, from 1 on."""
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        _, pidfd = spawn(command(script, write, *fds, stdio=((0, 1), (0, 2)), **fields))
    finally:
        os.close(write)
    with open(read) as file:
        text = file.read()
    ended = end(pidfd)
    assert (ended.code, ended.status) == (os.CLD_EXITED, 0), text
    return text


def run(request: Spawn) -> int:
    """Start it and wait; the exit status or signal."""
    return end(spawn(request)[1]).status
