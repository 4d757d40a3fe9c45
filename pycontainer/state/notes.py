"""What a host process notes of its containers, for the sweep of another one when it is gone."""

from __future__ import annotations

import contextlib
import os
import signal

from pycontainer.kernel.cgroup import sweep
from pycontainer.kernel.identity import boot_id, started_at


def end_noted(folder: str) -> None:
    """Kill the noted processes that are still the same ones."""
    for name in os.listdir(folder):
        if not name.endswith(".pid"):
            continue
        with open(f"{folder}/{name}") as file:
            words = file.read().split()
        if len(words) != 3 or words[2] != boot_id():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pidfd = os.pidfd_open(int(words[0]))
            try:
                # Opened first, compared second: the pid cannot go to another in between.
                if started_at(int(words[0])) == words[1]:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)


def remove_cgroups(folder: str) -> None:
    """Kill and remove the cgroups that the process of this folder noted."""
    with contextlib.suppress(FileNotFoundError), open(f"{folder}/cgroups") as file:
        for path in file.read().splitlines():
            sweep(path)
