"""Child processes for tests of what holds and pumps them: real ones, without a container."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator

from pycontainer.container.stdio import Stdio
from pycontainer.kernel.process import Process
from pycontainer.kernel.spawn import Spawn, spawn


def launch(stdio: Stdio, *argv: str) -> tuple[int, int]:
    """Start a program on ``stdio``; its pid and pidfd. The host's copies of the program's ends are closed."""
    path = shutil.which(argv[0])
    assert path is not None, argv[0]
    words = tuple(os.fsencode(word) for word in argv)
    env = tuple(f"{name}={value}".encode() for name, value in os.environ.items())
    try:
        return spawn(
            Spawn(
                argv=words,
                env=env,
                candidates=(os.fsencode(path),),
                fds=stdio.child,
                stdio=((0, 0), (1, 1), (2, 2)),
            )
        )
    finally:
        stdio.close_child()


def start(*argv: str, stdio: Stdio | None = None) -> Process:
    """Start a program, by default with nothing for its streams."""
    if stdio is None:
        stdio = Stdio.create(stdout=None, stderr=None)
    return Process.adopt(*launch(stdio, *argv))


def sh(script: str) -> tuple[str, ...]:
    """Return the command that runs a shell script."""
    return ("sh", "-c", script)


def python(script: str) -> tuple[str, ...]:
    """Return the command that runs a Python script; ``-S -E`` starts quickly."""
    return (sys.executable, "-S", "-E", "-c", script)


@contextlib.contextmanager
def interrupt_main(after: float) -> Iterator[None]:
    """Press Ctrl-C after some seconds, also where this process was started with SIGINT ignored."""
    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(after, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
