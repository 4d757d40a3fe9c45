"""Starting a detached container: everything is prepared here, and done by the monitor.

All that has to last as long as the container runs is an fd that the monitor holds: the user namespace, the claim of
its ids, the cgroup, the network.  So it is given back by the kernel, however the monitor ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack

from pycontainer.container.accounting import COUNTED
from pycontainer.container.bounds import Bounds
from pycontainer.container.detached.joining import join
from pycontainer.container.detached.preparation import Order, Preparation, cgroup_name
from pycontainer.container.start import Seat
from pycontainer.errors import CommandNotExecutable, CommandNotFound, KernelError, NotSupported
from pycontainer.kernel import monitor
from pycontainer.kernel.cgroup import Cgroup, home, places_below
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.monitorclient import listen
from pycontainer.kernel.native import lib
from pycontainer.kernel.rooted import OPEN_DIRECTORY
from pycontainer.kernel.spawn import exec_failure, failure
from pycontainer.state.notes import remove_cgroups


def start(order: Order, prepare: Callable[..., Preparation] = Preparation) -> None:
    """Start the container; when this returns its program runs.  ``prepare`` makes what its monitor is given.

    Raises :class:`CommandNotFound`, :class:`CommandNotExecutable`, :class:`NotSupported`, :class:`KernelError`, with
    nothing left behind.
    """
    with ExitStack() as ours, ExitStack() as failed:
        cgroup = seat_group = _make_cgroup(order)
        if cgroup is not None:
            # The monitor may not have come into being; else it has done it.
            failed.callback(remove_cgroups, order.home.folder)
            ours.callback(cgroup.leave)
            if cgroup.layout.is_pure:
                # Version 2 counts and limits only those that are in a leaf (cgroups(7)).
                seat_group = cgroup.child("main")
                ours.callback(seat_group.leave)
        joined = join(order, ours, failed)
        _run(order, prepare(order, joined, cgroup, Seat.of(seat_group)))
        failed.pop_all()
        joined.over_to_keeper()


def _make_cgroup(order: Order) -> Cgroup | None:
    bounds: Bounds = order.spec.bounds
    name = cgroup_name(order.workspace.root, order.id)
    remove_cgroups(order.home.folder)  # of a former start, that nobody could remove
    try:
        # First: who is killed in the midst of it leaves nothing that nobody knows of.
        _note_cgroups(order, places_below(home(move=bounds.required), name))
        group = Cgroup.make(
            name, bounds.limits, accounting=COUNTED, optional=bounds.optional, move=bounds.required
        )
        _note_cgroups(order, group.places)
    except NotSupported:
        if bounds.required:
            raise
        return None
    return group


def _note_cgroups(order: Order, places: list[str]) -> None:
    path = f"{order.home.folder}/cgroups"
    try:
        with open(path, "w") as file:
            file.write("\n".join(places))
    except OSError as error:
        raise KernelError(error.errno or 0, f"write {path}") from None


def _run(order: Order, prepared: Preparation) -> None:
    folder = order.home.folder
    program, request = prepared.main()
    prepared.joined.note(folder, prepared.fds)
    with ExitStack() as stack:
        plan = stack.enter_context(prepared.plan(program))
        _write(f"{folder}/run", json.dumps(prepared.run_file()).encode()).close()
        file = stack.enter_context(_write(f"{folder}/plan", plan.encode()))
        directory = stack.enter_context(Fd(os.open(folder, OPEN_DIRECTORY)))
        above = stack.enter_context(Fd(os.open(os.path.dirname(folder), OPEN_DIRECTORY)))
        listener = stack.enter_context(listen(folder, "monitor"))
        ready = monitor.start(
            plan=file.fileno(),
            folder=directory.fileno(),
            alive=order.alive,
            listener=listener.fileno(),
            above=above.fileno(),
            verb=order.verb,
            fds=prepared.fds.fds,
        )
    if ready.error == 0 and ready.step == lib.PC_STEP_NONE:
        return
    if ready.step == lib.PC_MONITOR_NO_ROOM:
        raise KernelError(ready.error, f"write what is to be known of the container in {folder}")
    name = order.spec.argv[0]
    if ready.step == lib.PC_STEP_NONE:
        raise exec_failure(ready.error, name)
    error = failure(request, ready.step, ready.error, ready.op)
    if isinstance(error, (CommandNotFound, CommandNotExecutable)):
        raise exec_failure(ready.error, name)
    raise error


def _write(path: str, data: bytes) -> Fd:
    """Write a file anew, and open it for reading."""
    partial = f"{path}.{os.urandom(4).hex()}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    file = Fd(os.open(partial, flags, 0o600))
    try:
        with open(file.fileno(), "wb", closefd=False) as stream:
            stream.write(data)
        os.rename(partial, path)
    except BaseException as error:
        file.close()
        os.unlink(partial)
        if isinstance(error, OSError):
            raise KernelError(error.errno or 0, f"write {path}") from None
        raise
    return file
