"""Making processes beside a busy host: its state, its threads, its forks."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainer.errors import KernelError
from pycontainer.kernel import operation as op
from pycontainer.kernel import userns
from pycontainer.kernel.idmap import IdMap, user_map
from pycontainer.kernel.native import lib, wait_usage
from pycontainer.kernel.script import Script
from pycontainer.kernel.spawn import Spawn, spawn
from tests.support.refuse import in_thread
from tests.support.spawning import run

_libc = ctypes.CDLL(None, use_errno=True)
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4

#: A virtual machine without hardware support starts processes ten times slower.
STARTS = 20 if "CGROUP2_VM" in os.environ else 200
THREADS = 8

TRUE = Spawn(argv=(b"true",), candidates=(b"/bin/true",))
#: The same through an outer stage.
STAGED = Spawn(
    argv=(b"true",), candidates=(b"/bin/true",), fds=(-1,), script=Script.of(outer=[op.open_path("/", out=0)])
)
FAILING = Spawn(argv=(b"x",), candidates=(b"/nonexistent",))


def dumpable() -> int:
    return int(_libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))


@pytest.fixture
def inside() -> Iterator[int]:
    fd = userns.create(user_map() if os.geteuid() else IdMap.block(0x7FF0_0000))
    yield fd
    os.close(fd)


@pytest.mark.needs("userns")
@pytest.mark.parametrize("before", [0, 1])
def test_the_dumpable_flag_is_what_it_was(before: int, inside: int) -> None:
    # Becoming another user clears it for all that share the memory (prctl(2)).
    changing = Spawn(
        argv=(b"true",),
        candidates=(b"/bin/true",),
        fds=(inside,),
        joins=((0, lib.CLONE_NEWUSER),),
        ns_root=True,
    )
    was = dumpable()
    assert _libc.prctl(PR_SET_DUMPABLE, before, 0, 0, 0) == 0
    try:
        for request in (TRUE, STAGED, changing):
            assert run(request) == 0
            assert dumpable() == before
        with pytest.raises(KernelError):
            spawn(FAILING)
        assert dumpable() == before
    finally:
        assert _libc.prctl(PR_SET_DUMPABLE, was, 0, 0, 0) == 0


def test_mask_directory_and_umask_of_the_host_stay(tmp_path: Path) -> None:
    def state() -> tuple[object, ...]:
        fields = Path("/proc/thread-self/status").read_text(encoding="ascii").splitlines()
        kept = [line for line in fields if line.startswith(("Umask", "Sig", "Shd", "Cap", "Uid", "Gid"))]
        return signal.pthread_sigmask(signal.SIG_BLOCK, []), os.getcwd(), kept, os.getsid(0), os.getpgid(0)

    request = Spawn(
        argv=(b"true",), candidates=(b"/bin/true",), workdir=os.fsencode(tmp_path), umask=0o777, fds=(-1,),
        script=Script.of(
            outer=[op.open_path(str(tmp_path), out=0)],
            inner=[op.open_path("/", out=0, flags=os.O_RDONLY), op.enter_directory(0)],
        ),
    )  # fmt: skip
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        before = state()
        assert run(request) == 0
        with pytest.raises(KernelError):
            spawn(FAILING)
        assert state() == before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def test_a_signal_of_the_host_waits_until_the_start_is_over() -> None:
    """A handler must never run in a child that shares the host's memory."""
    seen: list[int] = []
    old = signal.signal(signal.SIGALRM, lambda *_: seen.append(os.getpid()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for _ in range(STARTS):
            run(STAGED)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert seen
    assert set(seen) == {os.getpid()}


def test_a_process_outlives_the_thread_that_started_it() -> None:
    read, write = os.pipe2(os.O_CLOEXEC)
    request = Spawn(
        argv=(b"sh", b"-c", b"read x; exit 3"), candidates=(b"/bin/sh",), fds=(read,), stdio=((0, 0),)
    )
    _, pidfd = in_thread(lambda: spawn(request))
    os.close(read)
    time.sleep(0.05)
    assert wait_usage(pidfd, os.WEXITED | os.WNOHANG) is None
    os.close(write)
    ended = wait_usage(pidfd, os.WEXITED)
    os.close(pidfd)
    assert ended is not None
    assert (ended.code, ended.status) == (os.CLD_EXITED, 3)


class Bustle:
    """Threads that allocate, take locks and change the table of descriptors all the time."""

    def __init__(self, count: int) -> None:
        self.rounds = 0
        self._stop = False
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work) for _ in range(count)]

    def _work(self) -> None:
        while not self._stop:
            blocks = [bytearray(size) for size in (100, 10_000, 300_000)]
            with self._lock:
                self.rounds += 1
            os.close(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
            del blocks

    def __enter__(self) -> Bustle:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop = True
        for thread in self._threads:
            thread.join()


def start_many(failures: list[BaseException], counts: list[int]) -> None:
    try:
        for number in range(STARTS):
            request = (TRUE, STAGED, FAILING)[number % 3]
            if request is FAILING:
                with contextlib.suppress(KernelError):
                    run(request)
                    raise AssertionError("a program that does not exist ran")
            else:
                assert run(request) == 0
            counts.append(number)
    except BaseException as error:  # noqa: BLE001  (the test raises it)
        failures.append(error)


@pytest.mark.slow
def test_many_threads_start_processes_beside_others_that_allocate_and_lock() -> None:
    failures: list[BaseException] = []
    counts: list[int] = []
    starters = [threading.Thread(target=start_many, args=(failures, counts)) for _ in range(THREADS)]
    before = dumpable()
    with Bustle(2) as bustle:
        for thread in starters:
            thread.start()
        for thread in starters:
            thread.join()
    if failures:
        raise failures[0]
    assert len(counts) == THREADS * STARTS
    assert bustle.rounds > 0
    assert dumpable() == before


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_host_that_forks_in_between() -> None:
    """The child of a fork starts processes of its own, and its memory is as open as the host's was."""
    failures: list[BaseException] = []
    starters = [threading.Thread(target=start_many, args=(failures, [])) for _ in range(3)]
    before = dumpable()
    codes: list[int] = []
    for thread in starters:
        thread.start()
    try:
        while any(thread.is_alive() for thread in starters) and len(codes) < STARTS:
            pid = os.fork()
            if pid == 0:
                code = 99
                with contextlib.suppress(BaseException):
                    code = 10 * (dumpable() != before) + run(STAGED) + 20 * (dumpable() != before)
                os._exit(code)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    finally:
        for thread in starters:
            thread.join()
    if failures:
        raise failures[0]
    assert codes
    assert set(codes) == {0}
    assert dumpable() == before
