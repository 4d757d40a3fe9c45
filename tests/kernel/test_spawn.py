"""The one way to make a process: each step that fails says so, and nothing of it stays."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest

from pycontainer.errors import CommandNotFound, KernelError
from pycontainer.kernel import operation as op
from pycontainer.kernel import userns
from pycontainer.kernel.idmap import IdMap, user_map
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Script
from pycontainer.kernel.seccomp import Condition
from pycontainer.kernel.spawn import STEPS, Capabilities, Spawn, apply, spawn
from tests.support.refuse import refusing
from tests.support.spawning import command

ALL_CAPS = (1 << 64) - 1
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 24, 38
MISSING = "/nonexistent/thing"


@pytest.fixture
def null() -> Iterator[int]:
    fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    yield fd
    os.close(fd)


@pytest.fixture
def inside() -> Iterator[int]:
    """A user namespace in which the caller can be root."""
    fd = userns.create(user_map() if os.geteuid() else IdMap.block(0x7FF0_0000))
    yield fd
    os.close(fd)


@pytest.fixture
def rootless() -> Iterator[int]:
    """A user namespace without an id 0."""
    fd = userns.create(IdMap.single(os.geteuid(), os.getegid(), inside=(5, 5)))
    yield fd
    os.close(fd)


# -- each step, made to fail -----------------------------------------------------------------------

Call: TypeAlias = Callable[[Spawn], object]


@attrs.frozen
class Failure:
    """How to make a step fail: fields of the request, a system call to refuse, and what must be reported.

    ``fds`` are fixtures, or descriptors as they are.
    """

    errno: int
    fields: dict[str, Any] = attrs.Factory(dict)
    fds: tuple[str | int, ...] = ()
    refuse: str = ""
    when: tuple[Condition, ...] = ()
    op: int | None = None


def refused(name: str, *conditions: Condition, op: int | None = None, **fields: Any) -> Failure:
    return Failure(errno.EIO, fields, refuse=name, when=conditions, op=op)


CAPS = Capabilities(bounding=0, permitted=0, last=0)
SOME = op.open_path("/", out=0)
NOWHERE = op.open_path(MISSING, out=0)
JOIN = {"joins": ((0, lib.CLONE_NEWUSER),)}

FAILURES = {
    "CLONE_OUTER": Failure(errno.EIO, {"script": Script.of(outer=[SOME])}, fds=(-1,), refuse="clone3"),
    "OUTER": Failure(errno.ENOENT, {"script": Script.of(outer=[SOME, NOWHERE])}, fds=(-1,), op=2),
    "JOIN": Failure(errno.EINVAL, {"joins": ((0, lib.CLONE_NEWUSER), (1, 0))}, fds=("inside", "null"), op=2),
    "CLONE": refused("clone3"),
    "LEASH": Failure(errno.ENOTSOCK, {"leash": 0}, fds=("null",)),
    "CGROUP": Failure(errno.EBADF, {"tasks": (0, 1)}, fds=("null", -1), op=2),
    "NS_ROOT": Failure(errno.EINVAL, {"ns_root": True, **JOIN}, fds=("rootless",)),
    "CGROUP_NS": refused("unshare", cgroup_namespace=True),
    "SESSION": refused("setsid", session=True),
    "OPERATION": Failure(errno.ENOENT, {"script": Script.of(inner=[SOME, SOME, NOWHERE])}, fds=(-1,), op=3),
    "HOSTNAME": Failure(
        errno.EINVAL, {"hostname": b"n" * 65, "namespaces": lib.CLONE_NEWUTS, **JOIN}, fds=("inside",)
    ),
    "TERMINAL": Failure(errno.ENOTTY, {"terminal": 0}, fds=("null",)),
    "WORKDIR": Failure(errno.ENOENT, {"workdir": MISSING.encode()}),
    "KEYRING": refused("keyctl", keyring=True),
    "RLIMIT": Failure(
        errno.EINVAL, {"rlimits": ((resource.RLIMIT_CORE, 0, 0), (resource.RLIMIT_NOFILE, 9, 8))}, op=2
    ),
    "BOUNDING": refused("prctl", Condition.low32(0, PR_CAPBSET_DROP), capabilities=CAPS, op=1),
    "GROUPS": refused("setgroups", groups=()),
    "GID": refused("setresgid", ids=(0, 0)),
    "UID": Failure(errno.EINVAL, {"ids": (70000, 0), "ns_root": True, **JOIN}, fds=("inside",)),
    "CAPS": refused("capset", capabilities=attrs.evolve(CAPS, bounding=ALL_CAPS)),
    "AMBIENT": Failure(
        errno.EPERM, {"capabilities": Capabilities(bounding=ALL_CAPS, permitted=0, ambient=4, last=3)}, op=3
    ),
    "NO_NEW_PRIVS": refused("prctl", Condition.low32(0, PR_SET_NO_NEW_PRIVS), no_new_privs=True),
    "LANDLOCK": Failure(
        errno.EIO, {"no_new_privs": True, "landlock": 0}, fds=("null",), refuse="landlock_restrict_self"
    ),
    # What the host ignores is reset; only that call passes no place for the old action (argument 2).
    "SIGNALS": refused("rt_sigaction", Condition.low32(0, signal.SIGPIPE), Condition.low32(2, 0)),
    "FDS": Failure(errno.EBADF, {"stdio": ((0, 0), (1, 7))}, fds=("null", -1), op=2),
    "SECCOMP": Failure(errno.EINVAL, {"no_new_privs": True, "seccomp": b"\xff" * 8}),
    "EXEC": Failure(errno.ENOENT, {"candidates": (MISSING.encode(),)}),
    "PIDFD": refused("pidfd_open"),
    "HIDE": refused("prctl", Condition.low32(0, PR_SET_DUMPABLE)),
    # Only the call before the clone asks for the mask that there was (argument 2).
    "MASK": refused("rt_sigprocmask", Condition(2, "NE", 0)),
}


def start(wanted: Spawn, failure: Failure) -> tuple[int, int]:
    if not failure.refuse:
        return spawn(wanted)
    return refusing(lambda: spawn(wanted), failure.refuse, failure.errno, *failure.when)


def test_the_list_of_failures_is_complete() -> None:
    steps = {name.removeprefix("PC_STEP_") for name in dir(lib) if name.startswith("PC_STEP_")} - {"NONE"}
    assert {*FAILURES, "STACK", "STOPPED"} == steps  # these two are below
    assert {getattr(lib, f"PC_STEP_{name}") for name in steps} == set(STEPS)


@pytest.mark.needs("userns")
@pytest.mark.parametrize("name", FAILURES)
def test_a_step_that_fails_is_named_and_the_program_does_not_run(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    failure = FAILURES[name]
    fds = [each if isinstance(each, int) else request.getfixturevalue(each) for each in failure.fds]
    ran = tmp_path / "ran"
    # A child that ran after all must not be done when pidfd_open fails: that step comes last.
    wanted = command(
        f"{'sleep 60; ' if name == 'PIDFD' else ''}echo >{ran}", *fds, **{"session": False, **failure.fields}
    )
    with pytest.raises(KernelError) as caught:
        start(wanted, failure)
    error = caught.value
    assert (error.errno, error.op) == (failure.errno, failure.op), error
    scripts = {"OUTER": wanted.script.outer, "OPERATION": wanted.script.inner}
    if name in scripts:
        assert (error.step, error.of) == (f"open {MISSING}", len(scripts[name]))
    elif name == "EXEC":
        assert (type(error), error.step) == (CommandNotFound, 'execute "sh"')
    else:
        step = STEPS[getattr(lib, f"PC_STEP_{name}")]
        assert error.step == (f"{step} {MISSING}" if name == "WORKDIR" else step)
    assert not ran.exists()


#: Stacks are kept for the next start: only the first of a process asks for memory.
_NO_STACK = """
import errno
from pycontainer.kernel.seccomp import Condition
from pycontainer.kernel.spawn import spawn
from tests.support.refuse import refusing
from tests.support.spawning import command
try:
    refusing(lambda: spawn(command("true")), "mmap", errno.ENOMEM, Condition.low32(1, 2 * 65536))
except OSError as error:
    print(error.errno == errno.ENOMEM, error.step)
"""


def test_no_memory_for_the_stacks_is_told() -> None:
    done = subprocess.run([sys.executable, "-c", _NO_STACK], capture_output=True, text=True, check=True)
    assert done.stdout == f"True {STEPS[lib.PC_STEP_STACK]}\n", done


@pytest.mark.needs("userns")
def test_a_process_that_is_stopped_before_it_executes_is_ended(inside: int, tmp_path: Path) -> None:
    """From inside a container that it joins it can be seen, and SIGSTOP cannot be blocked."""
    os.mkfifo(tmp_path / "fifo")
    waits = Script.of(inner=[op.open_path(str(tmp_path / "fifo"), out=1, flags=os.O_RDONLY)])
    wanted = command("true", inside, -1, script=waits, namespaces=lib.CLONE_NEWPID, **JOIN)
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(spawn, wanted)
        os.kill(_child_in_a_namespace(), signal.SIGSTOP)
        with pytest.raises(KernelError) as caught:
            started.result(timeout=10)
    assert caught.value.step == STEPS[lib.PC_STEP_STOPPED]


def _child_in_a_namespace() -> int:
    """A child of this process that has a number in two pid namespaces."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for task in os.listdir("/proc/self/task"):
            for pid in _read(f"/proc/self/task/{task}/children").split():
                numbers = re.search(r"^NSpid:(.*)$", _read(f"/proc/{pid}/status"), re.MULTILINE)
                if numbers is not None and len(numbers[1].split()) == 2:
                    return int(pid)
    raise TimeoutError


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_the_steps_are_told_apart() -> None:
    assert len(set(STEPS.values())) == len(STEPS)


@pytest.mark.needs("userns")
def test_a_clone_that_fails_in_the_outer_stage(null: int) -> None:
    with pytest.raises(KernelError, match=r"^clone into new namespaces: Bad file descriptor$"):
        spawn(command("true", null, -1, script=Script.of(outer=[op.open_path("/", out=1)]), cgroup=0))


@pytest.mark.needs("user")
def test_a_namespace_that_an_ordinary_user_may_not_make() -> None:
    with pytest.raises(KernelError) as caught:
        spawn(command("true", namespaces=lib.CLONE_NEWNET))
    assert (caught.value.errno, caught.value.step) == (errno.EPERM, "clone into new namespaces")


@pytest.mark.needs("userns")
def test_a_working_directory_outside_of_the_root_is_none(inside: int, tmp_path: Path) -> None:
    # In the new mount namespace the host's mounts, which the descriptor is open on, are nowhere (getcwd(2)).
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    path = b"/proc/self/fd/%d" % fd
    try:
        with pytest.raises(KernelError) as caught:
            spawn(command("true", inside, namespaces=lib.CLONE_NEWNS, workdir=path, **JOIN))
    finally:
        os.close(fd)
    assert (caught.value.errno, caught.value.step) == (
        errno.ENOENT,
        f"enter the working directory {path.decode()}",
    )


def test_failures_leave_no_memory_behind(null: int) -> None:
    def address_space() -> int:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

    failing = [
        command("true", null, workdir=MISSING.encode()),
        command("true", -1, script=Script.of(outer=[NOWHERE])),
        command("true", null, stdio=((0, 0), (0, 1)), candidates=(MISSING.encode(),)),
    ]

    def fail_all(times: int) -> None:
        for _ in range(times):
            for each in failing:
                with pytest.raises(KernelError):
                    spawn(each)

    fail_all(20)
    before = address_space()
    fail_all(100)
    assert address_space() - before < 100 * 2 * 65536  # a tenth of what 300 pairs of stacks would take


def test_a_failed_apply_leaves_its_descriptors_with_the_caller() -> None:
    slots = [-1, -1]
    with pytest.raises(KernelError, match=rf"^open {MISSING}: .* \(operation 2 of 2\)$"):
        apply(Script.of(outer=[op.open_path("/", out=0), op.open_path(MISSING, out=1)]), slots)
    assert slots[0] >= 0
    assert slots[1] == -1
    assert os.path.samestat(os.fstat(slots[0]), os.stat("/"))
    os.close(slots[0])
