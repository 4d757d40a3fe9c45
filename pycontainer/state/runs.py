"""How a container is: what its monitor has written, and whether there is one."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Literal, cast

import attrs

from pycontainer.errors import KernelError
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.identity import boot_id
from pycontainer.kernel.native import lib, renameat2
from pycontainer.kernel.rooted import OPEN_DIRECTORY
from pycontainer.state.places import Places, is_locked

Health = Literal["starting", "healthy", "unhealthy"]
_READ = 4096
#: The size of the file, as csrc/monitor_record.c has it.
_WRITTEN = 1024
_RUNNING = frozenset({"running", "restarting"})
_PHASES = _RUNNING | {"starting", "exited", "dead"}


@attrs.frozen(kw_only=True)
class Run:
    """The last start of a container; times in nanoseconds since 1970, 0: not yet.

    ``phase`` is ``created``, ``running``, ``restarting``, ``exited`` or ``dead``.
    """

    phase: str = "created"
    pid: int = 0
    ticks: int = 0
    monitor: int = 0
    boot: str = ""
    started: int = 0
    finished: int = 0
    #: The exit code (128 + n for signal n); ``None``: it has not ended, or nobody saw how.
    code: int | None = None
    signal: int | None = None
    oom_killed: bool = False
    restarts: int = 0
    #: Bytes of output that could not be logged: the disk was full.
    lost: int = 0
    #: Why the last start failed: the step of the native core, errno, and the operation's number.
    failure: tuple[int, int, int] | None = None
    health: Health | None = None
    streak: int = 0

    @property
    def is_lost(self) -> bool:
        """Does it look alive, and was its monitor's end seen by nobody?"""
        return self.phase == "lost"


def read_run(folder: str) -> Run:
    """What a container's folder tells. One whose monitor is gone unseen has the phase ``lost``."""
    status = f"{folder}/status"
    run = _parse(status)
    if run.phase not in _RUNNING:
        return run
    if run.boot == boot_id() and is_locked(f"{folder}/alive"):
        return run
    # It may have written something else before it went.
    run = _parse(status)
    return attrs.evolve(run, phase="lost") if run.phase in _RUNNING else run


def _parse(path: str) -> Run:
    try:
        return _read(path)
    except (KeyError, ValueError):
        # Somebody else has written it. Its monitor, if there is one, can be told to end it.
        return Run(phase="running", boot=boot_id())


def _read(path: str) -> Run:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return Run()
    except OSError as error:
        raise KernelError(error.errno or 0, f"read {path}") from None
    try:
        lines = os.read(fd, _READ).decode("ascii", "replace").splitlines()
    finally:
        os.close(fd)
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    if "end" not in lines:
        return Run()

    if found["phase"] not in _PHASES:
        raise ValueError

    def number(name: str) -> int:
        return int(found.get(name, "0"))

    ended = number("finished") != 0
    return Run(
        phase=found["phase"],
        pid=number("pid"),
        ticks=number("ticks"),
        monitor=number("monitor"),
        boot=found["boot"],
        started=number("started"),
        finished=number("finished"),
        code=int(found["code"]) if ended and "code" in found else None,
        signal=int(found["signal"]) or None if ended and "signal" in found else None,
        oom_killed=found.get("oom") == "1",
        restarts=number("restarts"),
        lost=number("lost"),
        failure=(number("step"), number("errno"), number("op") - 1) if "errno" in found else None,
        health=cast("Health | None", found.get("health")),
        streak=number("streak"),
    )


def is_paused(places: Places, id_: str) -> bool:
    """Is the container paused, as the kernel tells? One whose committer was killed goes on now."""
    folder = places.folder(id_)
    frozen = _frozen(folder)
    if frozen is None or not places.end_still(id_):
        return frozen is not None
    path, text = frozen
    with contextlib.suppress(OSError), open(path, "w") as file:  # it is removed in this moment
        file.write(text)
    return False


def _frozen(folder: str) -> tuple[str, str] | None:
    """The file that tells that the cgroup is frozen, and what makes it go on; ``None``: it is not."""
    try:
        with open(f"{folder}/run", "rb") as file:
            paths = json.load(file)["cgroup"]
    except (FileNotFoundError, ValueError):
        return None
    if not paths:
        return None
    # As the cgroup is frozen: version 2 by its own file, else version 1's hierarchy (see kernel.cgroup).
    for path, name, frozen, thawed in (
        (paths.get(""), "cgroup.freeze", b"1", "0"),
        (paths.get("freezer"), "freezer.state", b"FR", "THAWED"),
    ):
        if path:
            # OSError: it is removed in this moment.
            with contextlib.suppress(OSError), open(f"{path}/{name}", "rb") as told:
                if told.read(8).startswith(frozen):
                    return f"{path}/{name}", thawed
    return None


def write_dead(folder: str, run: Run, when: int) -> None:
    """Note that a container has ended and nobody saw how, durably."""
    text = (
        f"phase=dead\nboot={run.boot}\nstarted={run.started}\nfinished={when}\nrestarts={run.restarts}\nend\n"
    )
    with Fd(os.open(folder, OPEN_DIRECTORY)) as directory:
        # Over what the monitor has reserved, which needs no room: the disk may be full.
        opener = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with Fd(os.open("status.new", opener, 0o600, dir_fd=directory.fileno())) as file:
            write_all(file.fileno(), text.encode().ljust(_WRITTEN, b"\n"))
            os.ftruncate(file.fileno(), _WRITTEN)
            os.fsync(file.fileno())
        number = directory.fileno()
        renameat2(number, b"status.new", number, b"status", lib.RENAME_EXCHANGE)
        os.fsync(number)


@attrs.frozen(kw_only=True)
class HealthResult:
    """One health check: when it began and ended (nanoseconds since 1970), its exit code, what it wrote.

    The exit code -1 is that of one that was not over in time, or could not be started.
    """

    began: int
    ended: int
    exit_code: int
    output: bytes


def read_health(folder: str) -> list[HealthResult]:
    """The last results, oldest first; at most five."""
    found = []
    for number in range(5):
        # ValueError: it is being written, or the machine went down meanwhile.
        with (
            contextlib.suppress(FileNotFoundError, ValueError),
            open(f"{folder}/health.{number}", "rb") as file,
        ):
            head, _, output = file.read().partition(b"\n")
            began, ended, code = map(int, head.split())
            found.append(HealthResult(began=began, ended=ended, exit_code=code, output=output))
    return sorted(found, key=lambda each: each.began)
