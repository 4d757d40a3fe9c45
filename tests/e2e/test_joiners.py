"""The moment in which a started process belongs to both sides: a hostile container must not use it.

Until it executes its program, a process that joins a container shares the memory of the host's Python
process, and has its fds.  Programs inside, root and with all the capabilities that a container can have, attack
every such process from its first instant.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.kernel.spawn import Spawn, spawn

#: All that a process with the permission to trace another can take from it.
MEMORY = ["vm", "mem"]
TRACE = ["seize", "attach"]
FILES = ["exe", "cwd", "root", "fd", "fds", "getfd", "environ", "maps"]
ROOT = pytest.mark.needs("root")
CONTAINERS = [
    pytest.param({}, id="default"),
    pytest.param({"cap_add": ["SYS_PTRACE"]}, id="ptrace"),
    pytest.param({"privileged": True}, id="privileged"),
    # Root of the host by its number, so without the capability; with it, it is root of the host by definition.
    pytest.param({"userns": "host"}, id="host", marks=ROOT),
]
FD = 900


class Secret:
    """32 random bytes at a known address of this process, and the same in a file that it has open as FD."""

    def __init__(self, path: str) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        token = os.urandom(32)
        self._page[:32] = token
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        self.token = token.hex()
        with open(path, "w") as file:
            file.write(self.token)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(fd, FD, inheritable=False)
        os.close(fd)

    def close(self) -> None:
        os.close(FD)


@pytest.fixture
def secret(tmp_path) -> Iterator[Secret]:
    made = Secret(str(tmp_path / "secret"))
    yield made
    made.close()


def attacked(probe, secret, ways, rounds, options, *, seconds=30.0, exec_options=None):
    """Execute in a container while a program inside attacks with ``ways``: what it says, and the failures."""
    failures: list[Exception] = []
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts, **options) as container:
        container.start()
        command = ["/probe", "join", hex(secret.address), str(FD), *ways]
        with container.popen(command, stdin=pc.PIPE, stdout=pc.PIPE, text=True) as hunter:
            assert hunter.stdout.readline() == "ready\n"
            deadline = time.monotonic() + seconds
            caught = False
            said_something = select.poll()
            said_something.register(hunter.stdout, select.POLLIN)
            while not caught or (rounds > 0 and time.monotonic() < deadline):
                try:
                    container.exec(["/probe", "idle"], timeout=5, **(exec_options or {}))
                except pc.PyContainerError as error:
                    failures.append(error)
                rounds -= 1
                # A busy machine may not let it run at the right moments for a while.
                caught = caught or bool(said_something.poll(0))
                assert caught or time.monotonic() < deadline + 60
            hunter.stdin.close()
            said = hunter.stdout.read()
    return said, failures


def counts(said: str) -> dict[str, int]:
    lines = [line for line in said.splitlines() if line != "caught"]
    found = {line.partition(" ")[2]: int(line.partition(" ")[0]) for line in lines}
    return found | {"caught": said.splitlines().count("caught")}


#: What was ever taken: a second attempt that finds nothing does not undo it.
taken: list[str] = []


def secret_is_kept(said: str, secret: Secret) -> None:
    taken.extend(line for line in said.splitlines() if secret.token in line)
    assert taken == []


def nothing_was_taken(said: str, secret: Secret) -> None:
    found = counts(said)
    # It did look, and before the program was executed.
    assert found["caught"] == 1
    secret_is_kept(said, secret)
    for line in found:
        way, kind, *rest = line.split(" ", 2) if " " in line else (line, "")
        if kind == "link":
            # Of the program: its file, the container's root, its streams; or of what becomes it.
            assert rest[0] in {"/probe", "/", "/dev/null", "pipe:", "/memfd:init (deleted)"}, said
        if kind == "content" and way == "environ":
            assert "PYCONTAINER_ROOT" not in line, said
        assert not (kind == "content" and way == "maps"), said


@pytest.mark.parametrize("options", CONTAINERS)
@pytest.mark.parametrize("ways", [MEMORY, TRACE, FILES], ids=["memory", "trace", "files"])
def test_nothing_of_the_host_can_be_taken(probe, secret, options, ways):
    if ways is TRACE:
        for way in ways:
            said, _ = attacked(probe, secret, [way], 100, options, seconds=4)
            nothing_was_taken(said, secret)
        return
    said, failures = attacked(probe, secret, ways, 300, options, seconds=12)
    assert failures == []
    nothing_was_taken(said, secret)


@pytest.mark.slow
@pytest.mark.parametrize("options", CONTAINERS)
@pytest.mark.parametrize("ways", [["vm", "mem"], ["getfd"], ["fd", "exe"]], ids=["memory", "getfd", "fd"])
def test_nothing_can_be_taken_in_many_attempts(probe, secret, options, ways):
    # Open files make the last steps of an execve slow, and the moment longer.
    more = [os.dup(FD) for _ in range(2000)]
    try:
        said, failures = attacked(probe, secret, ways, 2000, options, seconds=60)
    finally:
        for fd in more:
            os.close(fd)
    assert failures == []
    nothing_was_taken(said, secret)


SUBUID = (pytest.mark.needs("user"), pytest.mark.needs("subuid"))


@pytest.mark.parametrize("caller", [pytest.param("root", marks=ROOT), pytest.param("user", marks=SUBUID)])
@pytest.mark.parametrize("options", CONTAINERS[:3])
def test_nothing_can_be_taken_from_who_becomes_another_user(probe, secret, caller, options):
    exec_options = {"user": "1000:1000"}
    said, failures = attacked(probe, secret, MEMORY, 150, options, seconds=10, exec_options=exec_options)
    assert failures == []
    assert counts(said)["caught"] == 1
    secret_is_kept(said, secret)


def test_the_attacks_succeed_on_who_can_be_traced(probe, secret):
    """The same program, unconfined, against a process that is not protected."""
    script = f"""
import ctypes, os, sys, time
address, fd = {secret.address:#x}, {FD}
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
page = address & ~4095
assert libc.mmap(page, 4096, 3, 0x32, -1, 0) == page
ctypes.memmove(address, bytes.fromhex({secret.token!r}), 32)
print("ready", flush=True)
time.sleep(60)
"""
    victim = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", script], stdout=subprocess.PIPE, pass_fds=[FD], text=True
    )
    try:
        assert victim.stdout.readline() == "ready\n"
        for way in [*MEMORY, *TRACE, "fd", "getfd"]:
            command = [probe, "join", hex(secret.address), str(FD), way, "--", str(victim.pid)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            assert secret.token in done.stdout, (way, done.stdout)
        for way in ("exe", "cwd", "root", "fds", "environ", "maps", "cmdline"):
            command = [probe, "join", hex(secret.address), str(FD), way, "--", str(victim.pid)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            assert f"{way} link " in done.stdout or f"{way} content " in done.stdout, done.stdout
    finally:
        victim.kill()
        victim.wait()
        victim.stdout.close()


def test_a_container_that_stops_who_joins_does_not_hang_the_host(probe, secret):
    """No process can block SIGSTOP; the caller must not wait for one that was stopped on the way in."""
    started = time.monotonic()
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    outcomes = []
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts) as container:
        container.start()
        with container.popen(
            ["/probe", "join", "0", "0", "stop"], stdin=pc.PIPE, stdout=pc.PIPE, text=True
        ) as hunter:
            assert hunter.stdout.readline() == "ready\n"
            while len(outcomes) < 20 and "refused" not in outcomes:
                try:
                    result = container.exec(["/probe", "idle"], timeout=1)
                except pc.KernelError as error:
                    assert "stopped" in str(error)
                    outcomes.append("refused")
                else:
                    # It was faster than the hunter, or was stopped, or killed, after it had begun.
                    outcomes.append("timed out" if result.timed_out else "ran")
            hunter.stdin.close()
            hunter.stdout.read()
        # The container is as good as before.
        assert container.exec(["/probe", "idle"], timeout=20).exit_code == 0
    assert "refused" in outcomes
    assert time.monotonic() - started < 60


def test_signals_from_inside_end_only_the_process_itself(probe, secret):
    """What is sent meanwhile waits until the last moment before execve; a core of it would be the host's memory."""
    said, failures = attacked(probe, secret, ["quit"], 60, {}, seconds=15)
    assert failures == []
    assert counts(said)["quit sent"] >= 3
    assert dumpable() == 1


# -- the host's own flag -------------------------------------------------------------------

_libc = ctypes.CDLL(None)
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4


def dumpable() -> int:
    return int(_libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))


def test_the_host_can_be_traced_again_afterwards():
    assert dumpable() == 1
    pc.run("host:", ["true"])
    assert dumpable() == 1
    assert pc.run("host:", ["no-such-program"]).exit_code == 127
    assert dumpable() == 1
    with pytest.raises(pc.PyContainerError):
        pc.run("host:", ["true"], ulimits={"nofile": 1 << 40})
    assert dumpable() == 1
    with pc.Container.create("host:", ["sleep", "100"]) as container:
        container.start()
        assert container.exec(["no-such-program"]).exit_code == 127
        with pytest.raises(pc.KernelError):
            container.exec(["true"], workdir="/no/such/directory")
        container.write_bytes("/root/x", b"")
        assert dumpable() == 1
    assert dumpable() == 1


def test_eight_threads_leave_the_flag_as_it_was():
    watched: list[int] = []
    wrong: list[object] = []
    stop = threading.Event()

    def work(number: int) -> None:
        for turn in range(6):
            try:
                if turn % 3 == 2:
                    pc.run("host:", ["no-such-program"])
                else:
                    pc.run("host:", ["true"])
                    container.exec(["true"])
            except Exception as error:  # noqa: BLE001  (reported below)
                wrong.append(error)

    def watch() -> None:
        while not stop.is_set():
            watched.append(dumpable())

    with pc.Container.create("host:", ["sleep", "100"], init=True) as container:
        container.start()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        watcher = threading.Thread(target=watch)
        for thread in (watcher, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        watcher.join()
    assert wrong == []
    assert dumpable() == 1
    # It was off while processes were under way: the watcher is able to see that.
    assert set(watched) == {0, 1}


def test_a_host_that_hides_stays_hidden():
    script = """
import ctypes, pycontainer as pc
libc = ctypes.CDLL(None)
libc.prctl(4, 0, 0, 0, 0)
pc.run("host:", ["true"])
assert libc.prctl(3, 0, 0, 0, 0) == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60)


def test_a_fork_in_the_middle_can_be_traced():
    """multiprocessing forks at any time: its children get the flag as it was."""
    seen = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            pidfd = spawn(Spawn(argv=(b"true",), candidates=(b"/bin/true",)))[1]
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
            os.close(pidfd)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(40):
            pid = os.fork()
            if pid == 0:
                os._exit(dumpable())
            seen.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    finally:
        stop.set()
        thread.join()
    assert set(seen) == {1}


def test_memory_stays_hidden_where_nobody_can_tell_that_it_is_alone():
    """A filter of the host that denies the question must not be taken for the answer."""
    script = """
import ctypes, errno, pycontainer as pc
from tests.support.refuse import refusing
libc = ctypes.CDLL(None)
pc.run("host:", ["true"])
assert libc.prctl(3, 0, 0, 0, 0) == 1
assert refusing(lambda: pc.run("host:", ["true"]), "process_vm_readv", errno.EPERM).exit_code == 0
assert libc.prctl(3, 0, 0, 0, 0) == 0
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60, cwd=root)


def test_no_process_is_started_that_cannot_be_hidden():
    script = """
import ctypes, errno, pycontainer as pc
from pycontainer.kernel.seccomp import Condition
from tests.support.refuse import refusing
libc = ctypes.CDLL(None)
pc.run("host:", ["true"])
try:
    refusing(lambda: pc.run("host:", ["true"]), "prctl", errno.EPERM, Condition.low32(0, 4))
except pc.KernelError as error:
    assert error.errno == errno.EPERM and "hide" in str(error), error
else:
    raise AssertionError("it ran")
assert libc.prctl(3, 0, 0, 0, 0) == 1
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60, cwd=root)
