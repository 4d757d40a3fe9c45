"""Programs started in a cgroup as the library starts its own: in it before their first instruction."""

from __future__ import annotations

import os
import sys

from pycontainer.kernel.cgroup import Cgroup
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.process import Process
from pycontainer.kernel.spawn import Spawn, spawn


def inside(group: Cgroup, *argv: str) -> Process:
    """Start a program in ``group``, by its path; its stdout is a pipe, its stderr is thrown away."""
    tasks, directory = group.tasks, group.directory
    read, write = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    fds = (write, null, *tasks, *(() if directory < 0 else (directory,)))
    request = Spawn(
        argv=tuple(word.encode() for word in argv),
        candidates=(argv[0].encode(),),
        env=(b"PATH=/usr/bin:/bin", b"PYTHONDONTWRITEBYTECODE=1"),
        fds=fds,
        stdio=((1, 0), (0, 1), (1, 2)),
        tasks=tuple(range(2, 2 + len(tasks))),
        cgroup=-1 if directory < 0 else len(fds) - 1,
    )
    try:
        pid, pidfd = spawn(request)
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
        os.close(null)
    return Process.adopt(pid, pidfd, stdout=Fd(read))


def python(group: Cgroup, code: str) -> Process:
    """Start Python code in ``group``."""
    return inside(group, sys.executable, "-S", "-c", code)


def shell(group: Cgroup, script: str) -> Process:
    """Start a shell in ``group``."""
    return inside(group, "/bin/sh", "-c", script)
