"""PID 1 of a container: what it runs, how it ends, and what it lets others see."""

from __future__ import annotations

import errno
import os
import select
import signal
import struct
import time
from pathlib import Path

import pytest

from tests.support.native import Program, until
from tests.support.started import NOBODY, PYTHON, UNSHARE, Started, everywhere, shell


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
            (["n" * 300], 127, errno.ENOENT),
            (["n" * 300, "good"], 7, None),
        ],
    )
    @pytest.mark.parametrize("become", [False, True])
    def test_the_first_that_can_be_executed(
        self, init: Path, places: Path, names: list[str], status: int, error: int | None, become: bool
    ) -> None:
        paths = [str(places / name) for name in names]
        with Started(init, ["sh", "-c", "exit 7"], paths=paths, become=become) as started:
            assert started.report() == error
            assert started.wait() == status

    @pytest.mark.parametrize("become", [False, True])
    def test_argv_and_environment_arrive(self, init: Path, become: bool) -> None:
        argv = ["name", "", "-x", "--", "a b", "\n"]
        script = "import os; print(open('/proc/self/cmdline').read().split('\\0')[2:], os.environ['PATH'])"
        with Started(init, ["name", "-c", script, *argv], paths=[PYTHON], become=become) as started:
            assert started.line() == f"{[script, *argv, '']} {os.environ['PATH']}"

    @pytest.mark.parametrize(
        "argv",
        [["3"], ["3", "1"], ["3", "1", "/bin/true"], ["3", "0", "--"], ["3", "2", "/bin/true", "--", "true"],
         ["3", "1", "/bin/true", "-", "true"], ["3", "-1", "--", "true"], ["3", "", "--", "true"]],
    )  # fmt: skip
    @pytest.mark.parametrize("words", [[], ["become"]])
    def test_refuses_what_it_does_not_understand(self, init: Path, words: list[str], argv: list[str]) -> None:
        reading, writing = os.pipe()
        with Program([init, *words, *argv], {3: writing}) as program:
            os.close(writing)
            assert program.wait() == 125
            assert os.read(reading, 4) == struct.pack("i", errno.EINVAL)
        os.close(reading)

    @pytest.mark.parametrize("report", ["", "x", "-1", "0", "2", "99999999999999999999"])
    def test_needs_a_report_that_is_no_standard_stream(self, init: Path, report: str) -> None:
        with Program([init, report, "1", "/bin/true", "--", "true"], {}) as program:
            assert program.wait() == 125

    def test_one_that_is_to_become_nothing(self, init: Path) -> None:
        with Program([init, "become"], {}) as program:
            assert program.wait() == 125

    def test_what_it_becomes_is_the_same_process_with_nothing_of_it(self, init: Path) -> None:
        script = "echo $$; exec 9<&0; ls -m /proc/$$/fd; readlink /proc/$$/exe"
        with Started(init, ["sh", "-c", script], become=True, fds={5: 0}, report=7) as started:
            assert int(started.line()) == started.init.pid
            numbers = started.line().split(", ")
            assert "7" not in numbers  # the report
            assert {"0", "1", "2", "5", "9"} <= set(numbers)
            assert started.line() == os.path.realpath("/bin/sh")
            assert started.report() is None

    def test_report_must_be_open(self, init: Path) -> None:
        with Program([init, "77", "1", "/bin/true", "--", "true"], {}) as program:
            assert program.wait() == 126


class TestIsolation:
    def test_program_gets_what_is_below_the_report_alone(self, init: Path) -> None:
        null = os.open("/dev/null", os.O_RDONLY)
        more = {2: null, 3: null, 8: null, 300: null}
        started = Started(init, ["sh", "-c", "ls -C /proc/$$/fd"], fds=more, report=7)
        os.close(null)
        with started:
            assert started.line().split() == ["0", "1", "2", "3"]
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
            pid = started.pid
            until(lambda: os.listdir(f"/proc/{pid}/fd") == [])
            until(lambda: os.readlink(f"/proc/{pid}/cwd") == "/")

    @everywhere
    def test_init_cannot_be_inspected(self, init: Path, prefix: list[str]) -> None:
        """By a program of the same user, without capabilities."""
        bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        if os.geteuid() == 0:
            bare += [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        # An ordinary user outside of a namespace of its own has no capability, nor the one to drop them.
        prefix = [*prefix, *bare] if prefix or os.geteuid() == 0 else []
        script = """
            for file in environ maps status; do head -c1 /proc/$PPID/$file >/dev/null 2>&1 && echo $file; done
            for link in exe cwd root; do readlink /proc/$PPID/$link >/dev/null && echo $link; done
            echo end
            exec sleep 1000
        """
        with shell(init, script, prefix=prefix) as started:
            assert started.line() == "status"
            assert started.line() == "end"

    def test_init_has_a_name(self, init: Path) -> None:
        with shell(init, "cat /proc/$PPID/comm") as started:
            assert started.line() == "init"


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

    def test_ends_as_pid_1(self, init: Path) -> None:
        with Program([*UNSHARE, init], {}) as unshare:
            children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
            until(children.read_text)
            pidfd = os.pidfd_open(int(children.read_text()))
            try:
                # One that comes before init blocks signals is lost: PID 1 has no default actions.
                while not select.select([pidfd], [], [], 0.1)[0]:
                    signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            finally:
                os.close(pidfd)
            assert unshare.wait() == 0

    def test_its_user_may_write_its_id_maps(self, init: Path) -> None:
        """Unlike that of PID 1: the files in /proc of a process that is not "dumpable" belong to root."""
        user = NOBODY if os.geteuid() == 0 else os.geteuid()
        prefix = (
            ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if os.geteuid() == 0 else []
        )
        with Program([*prefix, init], {}) as program:
            until(lambda: program.status("Name") == "init")
            assert os.stat(f"/proc/{program.pid}/uid_map").st_uid == user
