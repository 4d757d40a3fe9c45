"""A child held by its pidfd: children of the real spawn, and other code that reaches for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import pty
import re
import resource
import select
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pycontainer.container.stdio import PIPE, Stdio
from pycontainer.errors import InvalidArgument, KernelError, StateError, WaitTimeout
from pycontainer.kernel import orphans
from pycontainer.kernel.ended import Ended
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.process import Process
from pycontainer.kernel.terminal import Terminal
from tests.support.children import interrupt_main, launch, python, sh, start

WALL = 0x40000000
ENDLESS = ("sleep", "60")


def piped(*argv: str, **options: Any) -> Process:
    stdio = Stdio.create(stdin=PIPE)
    pid, pidfd = launch(stdio, *argv)
    return Process.adopt(pid, pidfd, stdin=stdio.stdin, stdout=stdio.stdout, stderr=stdio.stderr, **options)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# -- how it ended -----------------------------------------------------------------------------


def test_the_exit_code_is_known_after_waiting() -> None:
    with start(*sh("exit 3")) as process:
        assert (process.exit_code, process.signal, process.ended) == (None, None, None)
        assert process.wait() == 3
        assert (process.exit_code, process.signal) == (3, None)
        assert (process.poll(), process.wait(timeout=0)) == (3, 3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGRTMIN])
def test_a_signal_is_128_and_its_number(number: int) -> None:
    with start(*ENDLESS) as process:
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(timeout=20) == 128 + number
        assert process.signal == number


def test_an_exit_code_above_128_is_no_signal() -> None:
    with start(*sh("exit 137")) as process:
        assert (process.wait(), process.signal) == (137, None)


def test_the_times_of_the_process_and_of_those_it_waited_for() -> None:
    busy = python("import time\nwhile time.process_time() < 0.3: pass")
    with start(*busy) as process:
        process.wait()
    assert process.ended is not None
    assert 0.25 < process.ended.cpu_user + process.ended.cpu_system < 2
    with start(
        *sh("\"$0\" -S -E -c 'import time\nwhile time.process_time() < 0.3: pass'; exit 0"), busy[0]
    ) as process:
        process.wait()
    assert process.ended is not None
    assert 0.25 < process.ended.cpu_user + process.ended.cpu_system < 2


def test_memory_is_the_programs_own_or_unknown() -> None:
    # More than this process ever had: less could be its own.
    mine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    with start(*python(f"x = bytearray(b'x') * ({mine + 200} << 20)")) as process:
        process.wait()
    assert process.ended is not None
    assert process.ended.max_rss is not None
    assert mine + 200 < process.ended.max_rss >> 20 < mine + 300


def test_the_hosts_own_memory_is_not_taken_for_the_programs() -> None:
    # The kernel reports the peak of the memory that the child shared with us until exec.
    with start("true") as process:
        process.wait()
    assert process.ended is not None
    assert process.ended.max_rss is None


def test_the_end_is_a_value() -> None:
    ended = Ended(exit_code=137, signal=9, cpu_user=0.5, cpu_system=0.25, max_rss=None)
    assert pickle.loads(pickle.dumps(ended)) == ended


# -- waiting ----------------------------------------------------------------------------------


def test_a_timeout_leaves_the_process_running() -> None:
    with start(*ENDLESS) as process:
        started = time.monotonic()
        with pytest.raises(WaitTimeout, match=f"process {process.pid} did not end within 0.2 s"):
            process.wait(timeout=0.2)
        assert 0.2 <= time.monotonic() - started < 10
        assert process.poll() is None
        process.kill()


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_timeout_of_nothing_asks_once(timeout: float) -> None:
    with start(*ENDLESS) as process:
        with pytest.raises(WaitTimeout):
            process.wait(timeout)
        process.kill()
        wait_until(lambda: bool(select.select([process], [], [], 1)[0]))
        assert process.wait(timeout) == 137


def test_a_timeout_beyond_what_poll_takes() -> None:
    with start("true") as process:
        assert process.wait(timeout=1e12) == 0


def all_wait(process: Process) -> list[int]:
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(process.wait(timeout=20))) for _ in range(8)]
    threads += [
        threading.Thread(target=lambda: wait_until(lambda: process.poll() is not None)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes


def test_all_waiting_threads_get_the_status() -> None:
    for _ in range(20):
        with start(*sh("sleep 0.02; exit 3")) as process:
            assert all_wait(process) == [3] * 8


def test_the_thread_that_started_it_may_be_gone() -> None:
    started: list[Process] = []
    thread = threading.Thread(target=lambda: started.append(start(*sh("sleep 0.1; exit 4"))))
    thread.start()
    thread.join()
    with started[0] as process:
        assert process.wait(timeout=20) == 4


def test_an_interrupt_while_waiting_loses_nothing() -> None:
    with start(*sh("sleep 1; exit 5")) as process:
        with interrupt_main(0.1), pytest.raises(KeyboardInterrupt):
            process.wait()
        assert process.wait(timeout=20) == 5


def test_an_interrupt_at_any_moment_of_reaping_loses_nothing() -> None:
    class Storm(Exception):
        pass

    def raise_storm(*_: object) -> None:
        raise Storm

    before = signal.signal(signal.SIGALRM, raise_storm)
    hit = 0
    try:
        for number in range(150):
            process = start(*sh(f"exit {number}"))
            select.select([process], [], [])
            try:
                # From a fraction of a poll to beyond it, so that every instruction gets its turn.
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + number * 3e-7)
                process.poll()
                wait_until(lambda: False)
            except Storm:
                hit += 1
            assert process.poll() == number
            process.close()
            assert process.closed
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hit == 150


def test_other_children_of_the_host_are_left_alone() -> None:
    foreign = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 2"], {})
    with start(*sh("exit 6")) as process:
        assert process.wait() == 6
    del process
    start("true").__exit__(None, None, None)
    assert os.waitstatus_to_exitcode(os.waitpid(foreign, 0)[1]) == 2


def recalled(ask: Callable[[], int | None], message: str) -> int | None:
    """What a pidfd still tells of a process that is reaped (Linux 6.15); before, the error that says so."""
    try:
        return ask()
    except KernelError as error:
        if not re.search(message, str(error)):
            raise
        return None


def test_a_status_that_other_code_took_is_recalled_or_an_error_and_no_hang() -> None:
    process = start(*sh("exit 6"))
    select.select([process], [], [])
    assert os.waitpid(-1, WALL)[0] == process.pid
    message = f"wait for process {process.pid}: .*its exit status is lost"
    found = {recalled(ask, message) for ask in (process.poll, process.wait, lambda: process.wait(timeout=5))}
    assert found in ({6}, {None})
    process.kill()
    process.close()
    assert process.closed


def test_a_status_that_the_kernel_dropped_is_recalled_or_an_error_and_no_hang() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        process = start("sleep", "0.1")
        assert recalled(lambda: process.wait(timeout=20), "SIGCHLD is ignored") in {0, None}
        process.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_race_for_the_status_has_one_winner_and_no_hang() -> None:
    for _ in range(30):
        process = start("sleep", "0.01")
        stolen: list[int] = []

        def steal(pid: int = process.pid, stolen: list[int] = stolen) -> None:
            with contextlib.suppress(ChildProcessError):
                stolen.append(os.waitpid(pid, WALL)[1])

        thief = threading.Thread(target=steal)
        thief.start()
        started = time.monotonic()
        # Where it was looked at before it was stolen, both know it.
        with contextlib.suppress(KernelError):
            process.wait(timeout=20)
        assert time.monotonic() - started < 10
        thief.join()
        assert process.exit_code == 0 or stolen == [0]
        process.close()
        assert process.closed


def test_it_works_in_an_event_loop() -> None:
    async def wait(process: Process) -> int | None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(process, ended.set)
        await ended.wait()
        loop.remove_reader(process)
        return process.poll()

    with start(*sh("sleep 0.1; exit 7")) as process:
        assert asyncio.run(wait(process)) == 7


# -- signals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["TERM", "SIGTERM", 15, signal.SIGTERM])
def test_signals_by_name_and_number(spelling: int | str) -> None:
    with start(*ENDLESS) as process:
        process.send_signal(spelling)
        assert process.wait(timeout=20) == 143


def test_a_wrong_signal_is_refused() -> None:
    with start(*ENDLESS) as process:
        with pytest.raises(InvalidArgument):
            process.send_signal("NOPE")
        assert process.poll() is None
        process.kill()


def test_a_signal_to_an_ended_process_does_nothing() -> None:
    with start("true") as process:
        select.select([process], [], [])
        process.terminate()
        assert process.wait() == 0
        process.kill()
        assert process.exit_code == 0


@pytest.mark.needs("user")
def test_a_signal_that_the_kernel_refuses_is_an_error() -> None:
    with Fd(os.pidfd_open(1)) as pidfd:
        init = Process.adopt(1, pidfd.dup())
        with pytest.raises(KernelError, match="send SIGTERM to process 1: Operation not permitted"):
            init.terminate()
        init.close()
        assert init.closed


# -- streams ----------------------------------------------------------------------------------


def test_streams_are_binary_files() -> None:
    with piped(*sh("read line; echo got $line; echo err >&2")) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        assert process.stdout.read() == b"got hello\n"
        assert process.stderr.read() == b"err\n"
    assert process.exit_code == 0
    assert process.stdin.closed
    assert process.stdout.closed
    assert process.stderr.closed


def test_streams_are_text_when_an_encoding_is_given() -> None:
    with piped("cat", encoding="latin-1", bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("ä\n")  # line buffered: no flush
        assert process.stdout.readline() == "ä\n"
        process.stdin.close()
        assert process.stdout.read() == ""


def test_unbuffered_streams() -> None:
    with piped("cat", bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdin.write(b"x") == 1
        assert process.stdout.read(100) == b"x"
        process.stdin.close()


def test_without_streams_there_are_none() -> None:
    with start("true") as process:
        assert (process.stdin, process.stdout, process.stderr, process.terminal) == (None, None, None, None)


def test_what_nobody_reads_any_more_is_dropped() -> None:
    with piped("true") as process:
        assert process.stdin is not None
        process.wait()
        process.stdin.write(b"too late")


def test_a_terminal_is_both_streams() -> None:
    master, slave = pty.openpty()
    stdio = Stdio.create(stdin=slave, stdout=slave, stderr=slave)
    pid, pidfd = launch(stdio, *sh("read line; echo got $line; stty size"))
    os.close(slave)
    with Process.adopt(pid, pidfd, terminal=Terminal.adopt(master), encoding="utf-8") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is None
        process.resize(24, 80)
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert process.stdout.read() == "hello\ngot hello\n24 80\n"
    assert process.exit_code == 0
    assert process.terminal is not None
    assert process.terminal.closed


def test_there_is_nothing_to_resize_without_a_terminal() -> None:
    with start("true") as process, pytest.raises(StateError, match="without a terminal: cannot resize"):
        process.resize(24, 80)


# -- life cycle -------------------------------------------------------------------------------


def test_the_block_waits() -> None:
    with start(*sh("sleep 0.1; exit 8")) as process:
        pass
    assert (process.exit_code, process.closed) == (8, True)


def test_a_block_that_fails_does_not_wait_for_what_never_ends() -> None:
    started = time.monotonic()
    with pytest.raises(LookupError):
        with start(*ENDLESS) as process:
            raise LookupError
    assert time.monotonic() - started < 20
    assert (process.signal, process.closed) == (9, True)


def test_closing_is_idempotent_and_keeps_what_is_known() -> None:
    process = piped(*sh("exit 9"))
    process.wait()
    process.close()
    process.close()
    assert (process.exit_code, process.poll(), process.wait(), process.closed) == (9, 9, 9, True)


def test_a_process_that_was_closed_while_it_ran_can_still_be_ended() -> None:
    process = piped(*ENDLESS)
    process.close()
    assert process.stdin is not None
    assert process.stdin.closed
    assert process.closed is False
    process.kill()
    assert process.wait(timeout=20) == 137
    assert process.closed is True


def test_one_that_is_lost_warns_and_is_reaped_later() -> None:
    process = start(*sh("sleep 0.2"))
    pid = process.pid
    with pytest.warns(ResourceWarning, match=f"unclosed <Process {pid} not ended>"):
        del process
    with Fd(os.pidfd_open(pid)) as watch:
        select.select([watch.fileno()], [], [])
    start("true").__exit__(None, None, None)
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | WALL)
    assert orphans._pidfds == []


def test_adopting_takes_over_a_bare_number_and_an_owner() -> None:
    for wrap in (Fd, int):
        pid, pidfd = launch(Stdio.create(stdout=None, stderr=None), "true")
        with Process.adopt(pid, wrap(pidfd)) as process:
            assert process.wait() == 0
            assert process.fileno() == pidfd
