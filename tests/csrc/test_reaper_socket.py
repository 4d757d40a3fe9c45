"""The reaper: its socket, what it refuses, and what it has of its host."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.leash import CGROUP, FORGET, LOCK, PROCESS, SHUT, TREE, USERNS, Leash, Sleepers, sleeper
from tests.support.native import Program, until


class TestSocket:
    def test_closed_by_the_host_means_the_same_as_its_death(self, leash: Leash, sleepers: Sleepers) -> None:
        leash.process(sleeper(sleepers).pid)
        leash.socket.close()
        assert leash.reaper.wait() == 0
        assert leash.host.poll() is None
        assert sleepers[0].wait() == -signal.SIGKILL

    def test_in_other_hands_delays_and_then_refuses(self, leash: Leash, tmp_path: Path) -> None:
        (tmp_path / "tree").mkdir()
        leash.tree(tmp_path / "tree")
        leash.kill_host()
        begin = time.monotonic()
        assert leash.reaper.wait(20) == 0
        assert 1.5 < time.monotonic() - begin < 15
        assert not (tmp_path / "tree").exists()
        with pytest.raises(SHUT):
            leash.forget(1)

    @pytest.mark.slow
    def test_that_never_falls_silent_is_closed(self, leash: Leash) -> None:
        leash.kill_host()
        begin = time.monotonic()
        with contextlib.suppress(*SHUT):
            while time.monotonic() < begin + 30:
                leash.forget(1)
                time.sleep(0.1)
        assert 5 < time.monotonic() - begin < 20
        assert leash.reaper.wait() == 0

    @pytest.mark.parametrize(
        ("kind", "flags", "name", "count"),
        [
            (0, 0, b"", 0),
            (5, 0, b"", 0),
            (PROCESS, 0, b"", 0),
            (PROCESS, 0, b"", 1),  # an fd, but of a directory
            (PROCESS, 1, b"", 1),
            (TREE, 0, b"name", 0),
            (TREE, 0, b"name", 2),
            (TREE, LOCK, b"name", 1),
            (TREE, LOCK | USERNS, b"name", 4),
            (TREE, 4, b"name", 1),
            (TREE, 0, b"", 1),
            (TREE, 0, b".", 1),
            (TREE, 0, b"..", 1),
            (TREE, 0, b"a/b", 1),
            (TREE, 0, b"/", 1),
            (TREE, 0, b"n" * 256, 1),
            (CGROUP, 0, b"name", 0),
            (CGROUP, 0, b"..", 1),
            (CGROUP, 0, b"name", 17),
            (FORGET, 0, b"", 1),
            (None, 0, b"too short", 1),
        ],
    )
    def test_is_shut_after_a_malformed_message(
        self,
        leash: Leash,
        sleepers: Sleepers,
        tmp_path: Path,
        kind: int | None,
        flags: int,
        name: bytes,
        count: int,
    ) -> None:
        """What it took before stays guarded; the host can tell, and closing the socket means nothing then."""
        (tmp_path / "name").mkdir()
        leash.process(sleeper(sleepers).pid)
        here = os.open(tmp_path, os.O_RDONLY)
        message = name if kind is None else struct.pack("=IIQ256s", kind, flags, 1, name)
        socket.send_fds(leash.socket, [message], [here] * count)
        os.close(here)
        until(leash.shut)
        with pytest.raises(SHUT):
            leash.forget(1)
        leash.socket.close()
        time.sleep(0.05)
        assert sleepers[0].poll() is None
        assert leash.end() == 0
        assert sleepers[0].wait() == -signal.SIGKILL
        assert (tmp_path / "name").exists()

    def test_what_is_sent_before_it_is_shut_is_taken(self, leash: Leash, tmp_path: Path) -> None:
        """Even behind a malformed message, and from a host that is dead when it is read."""
        leash.reaper.send(signal.SIGSTOP)
        leash.tell(99)
        for number in range(100):
            (tmp_path / f"{number}").mkdir()
            leash.tree(tmp_path / f"{number}")
        leash.kill_host()
        leash.socket.close()
        leash.reaper.send(signal.SIGCONT)
        assert leash.reaper.wait() == 0
        assert not list(tmp_path.iterdir())

    @pytest.mark.needs("root")  # its fds are hidden from others
    @pytest.mark.parametrize("count", [1, 5, 16, 17])
    def test_closes_the_fds_of_what_it_refuses(
        self, leash: Leash, sleepers: Sleepers, tmp_path: Path, count: int
    ) -> None:
        leash.process(sleeper(sleepers).pid)
        here = os.open(tmp_path, os.O_RDONLY)
        leash.tell(TREE, "..", *[here] * count)
        os.close(here)
        until(leash.shut)
        until(lambda: len(leash.reaper.fds()) == 3 + 1)

    def test_is_shut_before_fds_run_out(self, reaper: Path, tmp_path: Path) -> None:
        """What was sent until then is guarded, all of it."""
        leash = Leash(reaper, ("prlimit", "--nofile=4096:4096"))
        sent = 0
        try:
            with contextlib.suppress(*SHUT):
                while sent < 5_000:
                    (tmp_path / f"{sent + 1}").mkdir()
                    leash.tree(tmp_path / f"{sent + 1}", sent + 1)
                    sent += 1
            assert 4096 - 1024 <= sent < 4096
            assert leash.end() == 0
            assert [path.name for path in tmp_path.iterdir()] == [f"{sent + 1}"]
        finally:
            leash.close()

    def test_that_is_shut_ends_the_reaper_with_its_last_registration(
        self, leash: Leash, sleepers: Sleepers
    ) -> None:
        leash.process(sleeper(sleepers).pid)
        leash.tell(99)
        until(leash.shut)
        assert leash.reaper.runs()
        sleepers[0].kill()
        assert leash.reaper.wait() == 0


class TestItself:
    def test_holds_nothing_of_its_host(self, reaper: Path) -> None:
        reading, writing = os.pipe()
        leash = Leash(reaper, more={0: writing, 1: writing, 2: writing, 9: writing})
        os.close(writing)
        try:
            assert select.select([reading], [], [], 5)[0]
            assert os.read(reading, 1) == b""
            assert leash.reaper.runs()
            if os.geteuid() == 0:  # hidden from others
                until(lambda: len(leash.reaper.fds()) == 3)
                assert os.readlink(f"/proc/{leash.reaper.pid}/cwd") == "/"
        finally:
            os.close(reading)
            leash.close()

    def test_is_out_of_reach(self, leash: Leash) -> None:
        until(lambda: os.getsid(leash.reaper.pid) == leash.reaper.pid)
        leash.forget(1)
        until(leash.settled)
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            leash.reaper.send(number)
        time.sleep(0.1)
        assert leash.reaper.runs()
        assert leash.reaper.status("Name") == "reaper"
        # The files of a process that is not "dumpable" belong to root, proc(5).
        assert os.stat(f"/proc/{leash.reaper.pid}/environ").st_uid == 0

    def test_raises_its_own_fd_limit(self, reaper: Path) -> None:
        leash = Leash(reaper, ("prlimit", "--nofile=64:2048"))
        try:
            until(lambda: leash.reaper.status("Name") == "reaper")
            until(lambda: resource.prlimit(leash.reaper.pid, resource.RLIMIT_NOFILE) == (2048, 2048))
        finally:
            leash.close()

    def test_does_not_start_without_its_fds(self, reaper: Path) -> None:
        with Program([reaper], {}) as program:
            assert program.wait() == 2
        with Program([reaper, "unknown"], {}) as program:
            assert program.wait() == 2


@pytest.mark.parametrize(("name", "most"), [("init", 12 << 10), ("reaper", 20 << 10)])
def test_programs_are_small_and_static(request: pytest.FixtureRequest, name: str, most: int) -> None:
    program = request.getfixturevalue(name)
    assert program.stat().st_size <= most
    headers = subprocess.run(
        ["readelf", "--wide", "--segments", program], capture_output=True, text=True, check=True
    ).stdout
    assert "LOAD" in headers
    for other in ("INTERP", "DYNAMIC", "RWE"):
        assert other not in headers
