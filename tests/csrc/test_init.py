"""PID 1 of a container: what it runs, forwards, reaps and reports, and what it lets others see."""

from __future__ import annotations

import errno
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.native import Program, until

NOBODY = 65534
PYTHON = sys.executable


class Started:
    """An init and its program; the report is read when it is asked for."""

    def __init__(
        self,
        init: Path,
        argv: list[str],
        *,
        paths: list[str] | None = None,
        prefix: list[str] | None = None,
        fds: dict[int, int] | None = None,
        report: int = 3,
    ) -> None:
        paths = ["/bin/sh"] if paths is None else paths
        self.output, output = os.pipe()
        self._report, theirs = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            self.init = Program(
                [*(prefix or []), init, str(report), str(len(paths)), *paths, "--", *argv],
                {0: null, 1: output, report: theirs, **(fds or {})},
            )
        finally:
            for fd in (null, output, theirs):
                os.close(fd)

    def report(self) -> int | None:
        """The errno of the failure; None when the program was executed."""
        content = os.read(self._report, 100)
        return struct.unpack("i", content)[0] if content else None

    def line(self) -> str:
        """A line of the program's output."""
        line = b""
        while not line.endswith(b"\n"):
            assert select.select([self.output], [], [], 30)[0], f"no line, only {line!r}"
            byte = os.read(self.output, 1)
            if not byte:
                break
            line += byte
        return line.decode().rstrip("\n")

    def wait(self) -> int:
        return self.init.wait()

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *exc: object) -> None:
        self.init.__exit__(*exc)
        os.close(self.output)
        os.close(self._report)


def shell(init: Path, script: str, *args: str, prefix: list[str] | None = None) -> Started:
    return Started(init, ["sh", "-c", script, "sh", *args], prefix=prefix)


def python(init: Path, script: str, prefix: list[str] | None = None) -> Started:
    return Started(init, ["python", "-I", "-c", script], paths=[PYTHON], prefix=prefix)


#: In a pid namespace of its own; unshare(1) ends as its child does.
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
if os.geteuid() != 0:
    UNSHARE += ["--user", "--map-root-user"]

as_pid_1 = pytest.param(UNSHARE, id="pid1", marks=pytest.mark.needs("userns"))
everywhere = pytest.mark.parametrize("prefix", [as_pid_1, pytest.param([], id="subreaper")])


def pid_of(started: Started, prefix: list[str]) -> int:
    """The pid of init as we see it."""
    if not prefix:
        return started.init.pid
    children = Path(f"/proc/{started.init.pid}/task/{started.init.pid}/children")
    until(children.read_text)
    return int(children.read_text())


class TestEnd:
    @everywhere
    @pytest.mark.parametrize("status", [0, 1, 3, 126, 127, 255])
    def test_exit_status_is_the_programs(self, init: Path, prefix: list[str], status: int) -> None:
        with shell(init, f"exit {status}", prefix=prefix) as started:
            assert started.report() is None
            assert started.wait() == status

    @everywhere
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGRTMIN])
    def test_exit_status_tells_the_signal(self, init: Path, prefix: list[str], number: int) -> None:
        with shell(init, f"ulimit -c 0; kill -{int(number)} $$", prefix=prefix) as started:
            assert started.wait() == 128 + number

    def test_other_children_do_not_end_it(self, init: Path) -> None:
        with shell(init, "(exit 9) & (kill -9 $$ 2>/dev/null; exit 8) </dev/null & exec sleep 0.01") as started:
            assert started.wait() in {0, 137}
        with shell(init, "for i in 1 2 3 4 5; do (sleep 0.0$i &); done; sleep 0.1; exit 4") as started:
            assert started.wait() == 4

    @pytest.mark.needs("userns")
    def test_takes_all_of_the_pid_namespace_with_it(self, init: Path) -> None:
        with shell(init, "sleep 1000 & echo started", prefix=UNSHARE) as started:
            assert started.line() == "started"
            assert started.wait() == 0
            assert select.select([started.output], [], [], 10)[0]
            assert os.read(started.output, 1) == b""  # the sleeper has the pipe, too


class TestCandidates:
    @pytest.fixture
    def places(self, tmp_path: Path) -> Path:
        (tmp_path / "text").write_text("no program")
        (tmp_path / "text").chmod(0o755)
        (tmp_path / "denied").write_text("#!/bin/sh\n")
        (tmp_path / "denied").chmod(0o644)
        (tmp_path / "directory").mkdir()
        (tmp_path / "lost").write_text("#!/no/such/interpreter\n")
        (tmp_path / "lost").chmod(0o755)
        (tmp_path / "good").symlink_to("/bin/sh")
        return tmp_path

    @pytest.mark.parametrize(
        ("names", "status", "error"),
        [
            (["good"], 7, None),
            (["absent", "text/below", "good"], 7, None),
            (["denied", "directory", "good"], 7, None),
            (["lost", "good"], 7, None),
            ([], 127, errno.ENOENT),
            (["absent"], 127, errno.ENOENT),
            (["text/below"], 127, errno.ENOENT),
            (["lost"], 127, errno.ENOENT),
            (["denied"], 126, errno.EACCES),
            (["denied", "absent"], 126, errno.EACCES),
            (["directory"], 126, errno.EACCES),
            (["text"], 126, errno.ENOEXEC),
            (["text", "good"], 126, errno.ENOEXEC),
            (["n" * 300, "good"], 126, errno.ENAMETOOLONG),
        ],
    )
    def test_the_first_that_can_be_executed(
        self, init: Path, places: Path, names: list[str], status: int, error: int | None
    ) -> None:
        paths = [str(places / name) for name in names]
        with Started(init, ["sh", "-c", "exit 7"], paths=paths) as started:
            assert started.report() == error
            assert started.wait() == status

    def test_argv_and_environment_arrive(self, init: Path) -> None:
        argv = ["name", "", "-x", "--", "a b", "\n"]
        script = "import os; print(open('/proc/self/cmdline').read().split('\\0')[2:], os.environ['PATH'])"
        with Started(init, ["name", "-c", script, *argv], paths=[PYTHON]) as started:
            assert started.line() == f"{[script, *argv, '']} {os.environ['PATH']}"

    @pytest.mark.parametrize(
        "argv",
        [["3"], ["3", "1"], ["3", "1", "/bin/true"], ["3", "0", "--"], ["3", "2", "/bin/true", "--", "true"],
         ["3", "1", "/bin/true", "-", "true"], ["3", "-1", "--", "true"], ["3", "", "--", "true"]],
    )  # fmt: skip
    def test_refuses_what_it_does_not_understand(self, init: Path, argv: list[str]) -> None:
        reading, writing = os.pipe()
        with Program([init, *argv], {3: writing}) as program:
            os.close(writing)
            assert program.wait() == 125
            assert os.read(reading, 4) == struct.pack("i", errno.EINVAL)
        os.close(reading)

    @pytest.mark.parametrize("report", ["", "x", "-1", "0", "2", "99999999999999999999"])
    def test_needs_a_report_that_is_no_standard_stream(self, init: Path, report: str) -> None:
        with Program([init, report, "1", "/bin/true", "--", "true"], {}) as program:
            assert program.wait() == 125

    def test_report_must_be_open(self, init: Path) -> None:
        with Program([init, "77", "1", "/bin/true", "--", "true"], {}) as program:
            assert program.wait() == 126


FORWARDED = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU})

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
            os.kill(pid_of(started, UNSHARE), number)
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
        """Nothing blocked and nothing ignored, whatever init inherited; but libc's own are out of its reach."""
        launcher = (
            "import os, signal, sys\n"
            "for number in range(1, 65):\n"
            "    if number not in (9, 19, 32, 33): signal.signal(number, signal.SIG_IGN)\n"
            "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        prefix = [PYTHON, "-c", launcher]
        with Started(init, ["grep", "^Sig[BIC]", "/proc/self/status"], paths=["/bin/grep"], prefix=prefix) as started:
            assert started.wait() == 0
            zero = "0" * 16
            assert [started.line() for _ in range(3)] == [f"SigBlk:\t{zero}", f"SigIgn:\t{zero}", f"SigCgt:\t{zero}"]


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


class TestReaping:
    @everywhere
    def test_orphans_leave_no_zombie(self, init: Path, prefix: list[str]) -> None:
        with python(init, ORPHANS, prefix=prefix) as started:
            assert started.wait() == 0

    def test_children_from_before(self, init: Path) -> None:
        """Of the program that executed init."""
        prefix = ["sh", "-c", 'sleep 0.01 & exec "$@"', "sh"]
        with shell(init, "read line </proc/$PPID/task/$PPID/children; echo $line; sleep 0.1; "
                         "read line </proc/$PPID/task/$PPID/children; echo $line", prefix=prefix) as started:  # fmt: skip
            assert len(started.line().split()) == 2
            assert len(started.line().split()) == 1


class TestIsolation:
    def test_program_gets_the_standard_streams_alone(self, init: Path) -> None:
        null = os.open("/dev/null", os.O_RDONLY)
        more = {2: null, 3: null, 8: null, 300: null}
        started = Started(init, ["sh", "-c", "ls -C /proc/$$/fd"], fds=more, report=7)
        os.close(null)
        with started:
            assert started.line().split() == ["0", "1", "2"]
            assert started.report() is None

    def test_init_holds_no_stream(self, init: Path) -> None:
        """The reader sees the end of the output when the program has closed it, though it runs on."""
        with shell(init, "exec >&-; exec sleep 1000") as started:
            assert started.report() is None
            assert started.line() == ""
            assert started.init.runs()
            started.init.send(signal.SIGTERM)
            assert started.wait() == 128 + signal.SIGTERM

    @pytest.mark.needs("root")
    def test_init_holds_no_fd_at_all(self, init: Path) -> None:
        """As pid 1, which is what the kernel shows of it as /proc/1."""
        with shell(init, "echo; exec sleep 1000", prefix=UNSHARE) as started:
            started.line()
            pid = pid_of(started, UNSHARE)
            until(lambda: os.listdir(f"/proc/{pid}/fd") == [])
            until(lambda: os.readlink(f"/proc/{pid}/cwd") == "/")

    @everywhere
    def test_init_cannot_be_inspected(self, init: Path, prefix: list[str]) -> None:
        if os.geteuid() == 0:
            prefix = [*prefix, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        script = "for f in environ mem exe fd maps; do ls -l /proc/$PPID/$f/ >/dev/null 2>&1 || head -c1 /proc/$PPID/$f >/dev/null 2>&1 || echo $f; done; echo end; exec sleep 1000"
        bounded = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"] if os.geteuid() == 0 else []
        with shell(init, script, prefix=[*prefix, *bounded]) as started:
            assert [started.line() for _ in range(6)] == ["environ", "mem", "exe", "fd", "maps", "end"]

    def test_init_has_a_name(self, init: Path) -> None:
        with shell(init, "cat /proc/$PPID/comm") as started:
            assert started.line() == "init"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = os.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


class TestTerminal:
    def test_program_is_in_the_foreground(self, init: Path, terminal: tuple[int, int]) -> None:
        ours, theirs = terminal
        script = "import os; print(os.tcgetpgrp(0) == os.getpgrp() == os.getpid() != os.getpgid(os.getppid()), os.getsid(0) == os.getppid())"
        fds = {0: theirs}
        with Started(init, ["python", "-c", script], paths=[PYTHON], prefix=["setsid", "--ctty"], fds=fds) as started:
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

    def test_that_is_not_the_controlling_one_is_no_failure(self, init: Path, terminal: tuple[int, int]) -> None:
        _, theirs = terminal
        with Started(init, ["sh", "-c", "test -t 0 && exit 9"], prefix=["setsid"], fds={0: theirs}) as started:
            assert started.report() is None
            assert started.wait() == 9

    def test_without_a_standard_input(self, init: Path) -> None:
        with Started(init, ["sh", "-c", "exit 9"], prefix=["sh", "-c", 'exec "$@" <&-', "sh"]) as started:
            assert started.wait() == 9


class TestHold:
    def test_stays_until_terminated(self, init: Path) -> None:
        with Program([init], {}) as program:
            until(lambda: program.status("Name") == "init" and program.fds() == [])
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD, signal.SIGALRM):
                program.send(number)
            time.sleep(0.05)
            assert program.runs()
            program.send(signal.SIGTERM)
            assert program.wait() == 0

    def test_can_be_killed(self, init: Path) -> None:
        with Program([init], {}) as program:
            program.send(signal.SIGKILL)
            assert program.wait() == -signal.SIGKILL

    def test_reaps(self, init: Path) -> None:
        with Program(["sh", "-c", 'sleep 0.05 & exec "$1"', "sh", init], {}) as program:
            children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
            until(lambda: program.status("Name") == "init")
            until(lambda: children.read_text() == "")
            assert program.runs()

    def test_holds_namespaces(self, init: Path) -> None:
        with subprocess.Popen([*UNSHARE, init]) as unshare:
            try:
                children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
                until(children.read_text)
                pid = int(children.read_text())
                until(lambda: Path(f"/proc/{pid}/comm").read_text() == "init\n")
                os.kill(pid, signal.SIGTERM)
                assert unshare.wait(10) == 0
            finally:
                unshare.kill()
