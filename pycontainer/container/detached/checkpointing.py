"""Making checkpoints: a container's processes, written down by CRIU while they stand still."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pycontainer.container.arguments import container_name
from pycontainer.container.detached import hooks
from pycontainer.container.detached.anew import EMPTY, ROOT
from pycontainer.container.detached.checkpoints import PARTIAL, Told, remove_partial, remove_partials
from pycontainer.container.spec import Spec
from pycontainer.errors import InvalidArgument, NotSupported, StateError
from pycontainer.kernel import criu
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.monitorclient import Client
from pycontainer.kernel.mountinfo import read_lines, split_mountinfo
from pycontainer.kernel.native import lib

if TYPE_CHECKING:
    from pycontainer.container.detached.container import Detached

#: What CRIU makes itself, with all that is in it.
_MADE_ANEW = frozenset({"proc", "sysfs", "devpts", "mqueue"})
#: How both calls of it are to go about things.
USUAL = ("--manage-cgroups=ignore", "--file-locks", "-v2")
#: How large a file that was removed and is open may be.
_GHOSTS = "64M"
_DEATH = 30.0
#: How long a health check's end is waited for, in seconds.
_CHECKS = 5.0
_PAUSE = 0.02


def checkpoint(container: Detached, name: str, *, leave_running: bool) -> None:
    """Write the container's processes down; see :meth:`Detached.checkpoint`."""
    container_name(name)
    program = criu.able()
    refuse(container.spec)
    if container.keeping.auto_remove and not leave_running:
        raise InvalidArgument(
            "leave_running",
            leave_running,
            "with its end a container with auto_remove goes, and its checkpoints",
        )
    folder = container._home.folder
    with container._places.verb(container.id) as verb:
        if verb is None:
            raise StateError(f"container {container.name}", "removed", "checkpoint")
        container.allow("checkpoint")
        if os.path.lexists(f"{folder}/checkpoints/{name}"):
            raise InvalidArgument(
                "name", name, "there is a checkpoint of this name: remove it, or choose another"
            )
        main = container.alive("checkpoint").main.pid
        processes = _processes_alone(main, _CHECKS if container.keeping.health is not None else 0.0)
        _check_privileges(container.spec, processes)
        remove_partials(container)
        place = f"{folder}/checkpoints/{PARTIAL}{os.urandom(4).hex()}"
        os.makedirs(f"{place}/images", 0o700)
        try:
            told = _look(container, main, processes)
            told.write(f"{place}/told")
            _dump(container, program, main, place, name, told, verb, leave_running=leave_running)
        finally:
            remove_partial(container, os.path.basename(place))
        if not leave_running:
            container._let_go()
            container.wait(_DEATH)


def refuse(spec: Spec) -> None:
    """Raise :class:`NotSupported` for a container whose processes cannot be made again as they were."""
    if spec.tty:
        raise NotSupported("a checkpoint of a container with a terminal", "make it without tty=True")
    if spec.network.mode not in {"none", "host"}:
        raise NotSupported("a checkpoint of a container that is on networks", "say network='none' or 'host'")
    if spec.security.landlock:
        raise NotSupported(
            "a checkpoint of a container with Landlock: CRIU does not write the rules down, it would go on without",
            "say security=Security.strict().evolve(landlock=False)",
        )


def _processes_alone(main: int, patience: float) -> list[int]:
    """The same as :func:`_processes`, at a moment when nobody else is in it."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return _processes(main)
        except NotSupported:
            if time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


def _processes(main: int) -> list[int]:
    """The processes of the container. Raises :class:`NotSupported` when some came from outside: they are nobody's children."""
    namespace = os.readlink(f"/proc/{main}/ns/pid")
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError, IndexError):
            if os.readlink(f"/proc/{name}/ns/pid") == namespace:
                with open(f"/proc/{name}/stat") as file:
                    parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
    for pid in parents:
        above = pid
        while above != main and above in parents:
            above = parents[above]
        if above != main:
            raise NotSupported(
                f"a checkpoint while a program of exec, or a health check, runs in it (process {pid})",
                "wait for its end, or end it",
            )
    return list(parents)


def _check_privileges(spec: Spec, processes: list[int]) -> None:
    """Raise :class:`NotSupported` for what CRIU 3.17 forgets: that a program has given its further privileges up."""
    if spec.security.no_new_privs:  # then all have, and so has who restores them
        return
    for pid in processes:
        with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/status") as file:
            if "\nNoNewPrivs:\t1\n" in file.read():
                raise NotSupported(
                    f"a checkpoint of a process with no_new_privs ({pid}) in a container without it",
                    "say security=Security.default()",
                )


def _look(container: Detached, main: int, processes: list[int]) -> Told:
    mounts = split_mountinfo(read_lines(f"/proc/{main}/mountinfo"))
    externals = []
    for fields in mounts:
        root, at, kind = fields[3], fields[4], fields[fields.index("-") + 1]
        if at == "/" or kind in _MADE_ANEW or at == "/dev/shm" or _is_own_memory(container.spec, at):
            continue
        if at.startswith(("/proc/", "/sys/")):
            externals.append((at, f"{ROOT}/dev/null" if root == "/null" else EMPTY))
        else:
            externals.append((at, f"{ROOT}{at}"))
    with open(f"{container._home.folder}/run", "rb") as file:
        run = json.load(file)
    return Told(
        externals=tuple(externals),
        files=_opened_for_it(processes, {fields[0] for fields in mounts}),
        streams=_streams(container),
        map=run["map"],
        started=container.run_state.started,
        created=time.time_ns(),
    )


def _is_own_memory(spec: Spec, at: str) -> bool:
    from pycontainer.container.mounts import Tmpfs

    return any(isinstance(mount, Tmpfs) and os.path.normpath(mount.target) == at for mount, _ in spec.mounts)


def _opened_for_it(processes: list[int], own: set[str]) -> tuple[str, ...]:
    """CRIU's names of the ``/dev/null`` of the host that processes have as their input."""
    found: dict[str, None] = {}
    for pid in processes:
        with suppress(FileNotFoundError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") != "/dev/null":
                    continue
                with open(f"/proc/{pid}/fdinfo/{fd}") as file:
                    lines = dict(line.split(":", 1) for line in file.read().splitlines() if ":" in line)
                mount = lines["mnt_id"].strip()
                if mount not in own:
                    found[f"file[{int(mount):x}:{os.stat(f'/proc/{pid}/fd/{fd}').st_ino:x}]"] = None
    return tuple(found)


def _streams(container: Detached) -> tuple[str | None, str | None, str | None]:
    """CRIU's names of the pipes whose other ends the monitor has."""
    found: list[str | None] = []
    with Client(f"{container._home.folder}/monitor") as client:
        for number in range(3):
            answer, fds = client.ask(lib.PC_MONITOR_STREAM, number)
            for fd in fds:
                with Fd(fd):
                    found.append(f"pipe:[{os.fstat(fd).st_ino}]")
            if answer.error:
                found.append(None)
    first, second, third = found
    return first, second, third


def _dump(
    container: Detached,
    program: str,
    main: int,
    place: str,
    name: str,
    told: Told,
    verb: int,
    *,
    leave_running: bool,
) -> None:
    folder, images = container._home.folder, f"{place}/images"
    final = f"{folder}/checkpoints/{name}"
    upper = f"{folder}/files/upper" if leave_running else None
    hook = hooks.Dumped(partial=place, final=final, folder=folder, upper=upper, marks=container._marks())
    words = [
        program,
        "dump",
        "-t",
        str(main),
        "-D",
        images,
        "-o",
        "dump.log",
        "--ghost-limit",
        _GHOSTS,
        *USUAL,
    ]
    words += ["--leave-running"] if leave_running else []
    words += hooks.write(place, hook)
    for number, (at, _) in enumerate(told.externals):
        words += ["--external", f"mnt[{at}]:m{number}"]
    for each in told.files:
        words += ["--external", each]
    status, said = criu.call(words, lock=verb)
    if status != 0:
        reason = hooks.said(place) or criu.errors_in(f"{images}/dump.log", said)
        raise NotSupported(
            f"the checkpoint of this container; CRIU says: {reason}",
            "it goes on as it was; look what its programs have open",
        )
