"""What is left of detached containers whose monitor and guard were both killed, or with which the machine went down."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import suppress

from pycontainer.kernel.fd import Fd
from pycontainer.kernel.identity import boot_id, started_at
from pycontainer.kernel.reach import Reach
from pycontainer.kernel.rooted import OPEN_DIRECTORY
from pycontainer.state import events
from pycontainer.state.notes import remove_cgroups
from pycontainer.state.places import Places
from pycontainer.state.records import Records
from pycontainer.state.runs import Run, read_run, write_dead

_PATIENCE = 10.0
_PAUSE = 0.005


def settle(places: Places, id_: str, run: Run) -> Run:
    """End what is left of a container whose monitor is gone, and note that; how it is then.

    One process at a time does it; the others see it as ``dead`` meanwhile.
    """
    folder = places.folder(id_)
    try:
        lock = Fd(os.open(f"{folder}/alive", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
    except FileNotFoundError:
        return Run(phase="dead")
    with lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _dead(run)
        now = read_run(folder)
        if now.phase in {"running", "restarting"}:
            now = _as_lost(now)
        if not now.is_lost:
            return now
        if now.boot == boot_id():
            _end_process(now)
            remove_cgroups(folder)
        write_dead(folder, now, time.time_ns())
        events.append(places.path, id_, "dead")
        return read_run(folder)


def _as_lost(run: Run) -> Run:
    """We have the lock of the monitor ourselves, so it does not have it."""
    import attrs

    return attrs.evolve(run, phase="lost")


def _dead(run: Run) -> Run:
    import attrs

    return attrs.evolve(run, phase="dead", code=None, pid=0)


def _end_process(run: Run) -> None:
    if run.pid <= 0:
        return
    with suppress(FileNotFoundError, ProcessLookupError), Fd(os.pidfd_open(run.pid)) as pidfd:
        # Opened first, compared second: the pid cannot go to another in between.
        if int(started_at(run.pid)) == run.ticks:
            signal.pidfd_send_signal(pidfd.fileno(), signal.SIGKILL)


def sweep(records: Records, reach: Reach) -> None:
    """Remove the folders of containers that were not completely made, or not completely removed."""
    places = records.places
    for name in places.abandoned(records.ids, records.has):
        remove_cgroups(places.folder(name))
        with Fd(os.open(places.path, OPEN_DIRECTORY)) as above, suppress(FileNotFoundError):
            reach.remove(above.fileno(), name)
