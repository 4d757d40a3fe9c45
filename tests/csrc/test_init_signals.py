"""PID 1 of a container: signals, zombies and the terminal."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.native import until
from tests.support.started import PYTHON, UNSHARE, Started, everywhere, python, shell

FORWARDED = sorted(
    signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU}
)

# Waits for any signal and exits with its number. "ready" comes when all are blocked, so none is lost.
WAITER = """
import signal, sys, ctypes
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
print("ready", flush=True)
sys.exit(signal.sigwait(signal.valid_signals()))
"""


class TestSignals:
    @pytest.mark.parametrize("number", FORWARDED)
    def test_are_forwarded(self, init: Path, number: int) -> None:
        with python(init, WAITER) as started:
            assert started.line() == "ready"
            started.init.send(number)
            assert started.wait() == number

    @pytest.mark.needs("userns")
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGUSR1])
    def test_are_forwarded_by_pid_1(self, init: Path, number: int) -> None:
        with python(init, WAITER, prefix=UNSHARE) as started:
            assert started.line() == "ready"
            os.kill(started.pid, number)
            assert started.wait() == number

    @pytest.mark.parametrize("number", [signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU])
    def test_that_are_inits_own_are_not(self, init: Path, number: int) -> None:
        with python(init, WAITER) as started:
            assert started.line() == "ready"
            started.init.send(number)
            time.sleep(0.05)
            started.init.send(signal.SIGUSR2)
            assert started.wait() == signal.SIGUSR2

    def test_go_to_the_program_alone(self, init: Path) -> None:
        """A shell with a child: the child is not signalled, as with a program that init did not start."""
        with shell(init, "trap 'echo got; exit 5' USR1; sh -c 'echo $$; exec sleep 1000' & wait") as started:
            child = os.pidfd_open(int(started.line()))
            started.init.send(signal.SIGUSR1)
            assert started.line() == "got"
            assert started.wait() == 5
            assert not select.select([child], [], [], 0)[0]
            signal.pidfd_send_signal(child, signal.SIGKILL)
            os.close(child)

    def test_stop_and_continue(self, init: Path) -> None:
        with shell(init, "trap 'exit 6' TERM; echo $$; while :; do sleep 0.01; done") as started:
            pid = int(started.line())
            started.init.send(signal.SIGTSTP)
            until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")
            started.init.send(signal.SIGCONT)
            started.init.send(signal.SIGTERM)
            assert started.wait() == 6

    def test_start_as_at_boot(self, init: Path) -> None:
        """Nothing blocked and nothing ignored, whatever init inherited."""
        launcher = (
            "import os, signal, sys\n"
            "for number in range(1, 65):\n"
            "    if number not in (9, 19, 32, 33): signal.signal(number, signal.SIG_IGN)\n"
            "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        prefix = [PYTHON, "-c", launcher]
        with Started(
            init, ["grep", "^Sig[BI]", "/proc/self/status"], paths=["/bin/grep"], prefix=prefix
        ) as started:
            assert started.wait() == 0
            zero = "0" * 16
            assert [started.line(), started.line()] == [f"SigBlk:\t{zero}", f"SigIgn:\t{zero}"]


# Makes orphans that end at once, waits until init has nothing but this program, and no zombie is left.
ORPHANS = """
import os, sys, time
def states():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == os.getppid() and int(pid) != os.getpid():
            found.append(fields[0])
    return found
for _ in range(200):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
for _ in range(200):
    os.wait()
deadline = time.monotonic() + 10
while states() and time.monotonic() < deadline:
    time.sleep(0.01)
sys.exit(len(states()))
"""


# The child of a child that ends: whose is it then?
ADOPTED = """
import os, time
init = os.getppid()
if os.fork() == 0:
    child = os.getpid()
    if os.fork() == 0:
        while os.getppid() == child:
            time.sleep(0.001)
        print(os.getppid() == init, flush=True)
        os._exit(0)
    os._exit(0)
os.wait()
time.sleep(0.1)
"""


class TestReaping:
    @everywhere
    def test_orphans_leave_no_zombie(self, init: Path, prefix: list[str]) -> None:
        with python(init, ORPHANS, prefix=prefix) as started:
            assert started.wait() == 0

    @everywhere
    def test_orphans_become_its_children(self, init: Path, prefix: list[str]) -> None:
        with python(init, ADOPTED, prefix=prefix) as started:
            assert started.line() == "True"
            assert started.wait() == 0

    def test_children_from_before(self, init: Path) -> None:
        """Of the program that executed init."""
        prefix = ["sh", "-c", 'sleep 0.05 & echo $!; exec "$@"', "sh"]
        with shell(init, "echo runs; exec sleep 1000", prefix=prefix) as started:
            child = Path("/proc", started.line())
            assert started.line() == "runs"
            until(lambda: not child.exists())
            assert started.init.runs()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = os.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


class TestTerminal:
    def test_program_is_in_the_foreground(self, init: Path, terminal: tuple[int, int]) -> None:
        _, theirs = terminal
        script = "import os; print(os.tcgetpgrp(0) == os.getpgrp() == os.getpid() != os.getpgid(os.getppid()), os.getsid(0) == os.getppid())"
        fds = {0: theirs}
        with Started(
            init, ["python", "-c", script], paths=[PYTHON], prefix=["setsid", "--ctty"], fds=fds
        ) as started:
            assert started.line() == "True True"
            assert started.wait() == 0

    def test_interrupt_key_reaches_the_program_alone(self, init: Path, terminal: tuple[int, int]) -> None:
        ours, theirs = terminal
        script = "trap 'echo interrupted; exit 8' INT; echo ready; while :; do sleep 0.01; done"
        fds = {0: theirs}
        with Started(init, ["sh", "-c", script], prefix=["setsid", "--ctty"], fds=fds) as started:
            assert started.line() == "ready"
            os.write(ours, b"\x03")
            assert started.line() == "interrupted"
            assert started.wait() == 8

    def test_that_is_not_the_controlling_one_is_no_failure(
        self, init: Path, terminal: tuple[int, int]
    ) -> None:
        _, theirs = terminal
        with Started(
            init, ["sh", "-c", "test -t 0 && exit 9"], prefix=["setsid"], fds={0: theirs}
        ) as started:
            assert started.report() is None
            assert started.wait() == 9

    def test_without_a_standard_input(self, init: Path) -> None:
        with Started(init, ["sh", "-c", "exit 9"], prefix=["sh", "-c", 'exec "$@" <&-', "sh"]) as started:
            assert started.wait() == 9
