"""The reaper: what it ends when its host dies, and what it leaves alone."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leash import LOCK, PROCESS, TREE, Leash, Sleepers, sleeper
from tests.support.native import until

# A host: starts the reaper and two children, one deaf to SIGTERM, registers them and a tree, and hangs.
HOST = """
import os, signal, socket, struct, sys, time
sys.path.insert(0, ".")
from tests.support.native import Program
from subprocess import Popen
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
reaper = Program([sys.argv[1]], {3: theirs.fileno(), 4: os.pidfd_open(os.getpid())})
theirs.close()
children = [Popen(["sleep", "1000"]), Popen(["sh", "-c", "trap '' TERM HUP INT; exec sleep 1000"], start_new_session=True)]
for child in children:
    socket.send_fds(ours, [struct.pack("=IIQ256s", 1, 0, 0, b"")], [os.pidfd_open(child.pid)])
socket.send_fds(ours, [struct.pack("=IIQ256s", 2, 0, 1, b"tree")], [os.open(sys.argv[2], os.O_RDONLY)])
if sys.argv[3] == "fork" and os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(1000)
if sys.argv[3] == "fork":
    time.sleep(0.2)
print(reaper.pid, *(child.pid for child in children), flush=True)
if sys.argv[3] == "exit":
    os._exit(0)
time.sleep(1000)
"""


@pytest.mark.parametrize("end", ["kill", "exit", "fork"])
def test_a_host_that_dies(reaper: Path, tmp_path: Path, end: str) -> None:
    """Killed; ended without a word; killed while a forked child of it holds all its fds."""
    (tmp_path / "tree" / "below").mkdir(parents=True)
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(reaper), str(tmp_path), end], stdout=subprocess.PIPE
    )
    with host:
        assert host.stdout is not None
        forked = int(host.stdout.readline()) if end == "fork" else None
        pids = [int(word) for word in host.stdout.readline().split()]
        pidfds = [os.pidfd_open(pid) for pid in pids if end != "exit" or Path(f"/proc/{pid}").exists()]
        if end != "exit":
            assert not select.select(pidfds, [], [], 0.1)[0]
        if end == "fork":
            os.kill(host.pid, signal.SIGKILL)
        else:
            host.kill()
        try:
            for pidfd in pidfds:
                assert select.select([pidfd], [], [], 30)[0]
            assert not (tmp_path / "tree").exists()
        finally:
            if forked is not None:
                os.kill(forked, signal.SIGKILL)
            for pidfd in pidfds:
                os.close(pidfd)


class TestProcesses:
    def test_are_killed(self, leash: Leash, sleepers: Sleepers) -> None:
        leash.process(sleeper(sleepers).pid)
        leash.process(sleeper(sleepers).pid, number=7)
        other = sleeper(sleepers)
        until(leash.settled)
        assert sleepers[0].poll() is None
        assert leash.end() == 0
        assert sleepers[0].wait() == sleepers[1].wait() == -signal.SIGKILL
        assert other.poll() is None

    def test_that_are_stopped_are_killed(self, leash: Leash, sleepers: Sleepers) -> None:
        process = sleeper(sleepers)
        process.send_signal(signal.SIGSTOP)
        leash.process(process.pid)
        assert leash.end() == 0
        assert process.wait() == -signal.SIGKILL

    def test_registered_after_the_death_are_killed(self, leash: Leash, sleepers: Sleepers) -> None:
        """By a container's first process, which holds a copy of the socket until it executes its program."""
        leash.process(sleeper(sleepers).pid)
        leash.kill_host()
        sleepers[0].wait()
        time.sleep(0.5)
        leash.process(sleeper(sleepers).pid)
        assert sleepers[1].wait(1) == -signal.SIGKILL
        leash.socket.close()
        assert leash.reaper.wait() == 0

    @pytest.mark.needs("root")  # its fds are hidden from others
    def test_that_end_are_forgotten(self, leash: Leash) -> None:
        """Ten thousand, and it holds no more fds and no more memory than before."""
        with subprocess.Popen(["true"], stdin=subprocess.DEVNULL) as ended:
            until(lambda: Path(f"/proc/{ended.pid}/stat").read_text().split()[2] == "Z")
            pidfd = os.pidfd_open(ended.pid)
            for number in range(100):
                leash.tell(PROCESS, b"", pidfd, number=number)
            until(lambda: leash.settled() and len(leash.reaper.fds()) == 3)
            before = leash.reaper.kilobytes()
            for number in range(10_000):
                leash.tell(PROCESS, b"", pidfd, number=number)
            until(lambda: leash.settled() and len(leash.reaper.fds()) == 3)
            # How many are registered at one moment is up to the scheduler.
            assert leash.reaper.kilobytes() - before < 200
            os.close(pidfd)

    @pytest.mark.needs("root")  # its fds are hidden from others
    def test_many_at_once(self, leash: Leash, sleepers: Sleepers) -> None:
        most = min(5_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2)
        pidfd = os.pidfd_open(sleeper(sleepers).pid)
        before = leash.reaper.kilobytes()
        for number in range(most):
            leash.tell(PROCESS, b"", pidfd, number=number // 2)
        os.close(pidfd)
        until(lambda: len(leash.reaper.fds()) == 3 + most)
        assert leash.reaper.kilobytes() - before < 100 + most * 0.4
        for number in range(1, most // 4):
            leash.forget(number)
        until(lambda: leash.settled() and len(leash.reaper.fds()) == 3 + most - 2 * (most // 4 - 1))
        sleepers[0].kill()
        until(lambda: len(leash.reaper.fds()) == 3)
        assert leash.end() == 0


class TestTrees:
    def test_are_removed_and_others_left(self, leash: Leash, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "canary").write_text("alive")
        for name in ("a", "b", "c"):
            (tmp_path / name / "below").mkdir(parents=True)
            (tmp_path / name / "link").symlink_to(outside)
            (tmp_path / name / "below" / "up").symlink_to("../../outside/canary")
        (tmp_path / "file").touch()
        for number, name in enumerate(("a", "b", "file", "absent")):
            leash.tree(tmp_path / name, number)
        assert leash.end() == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "outside"]
        assert (outside / "canary").read_text() == "alive"

    @pytest.fixture
    def memory(self) -> Iterator[Path]:
        """A directory on tmpfs, where a great many files are made in a second."""
        path = Path("/dev/shm", f"pycontainer-test-{os.getpid()}")
        path.mkdir()
        yield path
        path.rmdir()

    @pytest.mark.slow
    def test_of_any_shape(self, leash: Leash, memory: Path) -> None:
        """50,000 levels; 20,000 files; directories without permissions."""
        deep, wide, denied = (memory / name for name in ("deep", "wide", "denied"))
        deep.mkdir()
        here = os.open(deep, os.O_RDONLY)
        for _ in range(50_000):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
        wide.mkdir()
        for number in range(20_000):
            (wide / f"{number}").touch()
        (denied / "a" / "b").mkdir(parents=True)
        (denied / "a" / "b").chmod(0)
        (denied / "a").chmod(0)
        for number, path in enumerate((deep, wide, denied)):
            leash.tree(path, number)
        assert leash.end() == 0
        assert not list(memory.iterdir())

    def test_are_registered_after_the_death(self, leash: Leash, tmp_path: Path) -> None:
        (tmp_path / "tree").mkdir()
        leash.kill_host()
        time.sleep(0.2)
        leash.tree(tmp_path / "tree")
        leash.socket.close()
        assert leash.reaper.wait() == 0
        assert not (tmp_path / "tree").exists()

    def test_are_removed_after_the_processes_are_gone(self, leash: Leash, tmp_path: Path) -> None:
        tree = tmp_path / "tree"
        tree.mkdir()
        writer = subprocess.Popen(["sh", "-c", f"cd {tree}; while :; do : >f$((i=i+1)); done 2>/dev/null"])
        with writer:
            leash.process(writer.pid)
            leash.tree(tree)
            until(lambda: (tree / "f100").exists())
            assert leash.end() == 0
            assert not tree.exists()
            assert writer.wait() == -signal.SIGKILL

    def test_lock_says_when_it_is_done(self, leash: Leash, tmp_path: Path) -> None:
        tree, lock = tmp_path / "tree", tmp_path / "lock"
        tree.mkdir()
        for number in range(5_000):
            (tree / f"{number}").touch()
        held = os.open(lock, os.O_RDWR | os.O_CREAT)
        fcntl.flock(held, fcntl.LOCK_EX)
        leash.tree(tree, 1, held, flags=LOCK)
        os.close(held)
        with lock.open() as mine:
            with pytest.raises(BlockingIOError):
                fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leash.kill_host()
            leash.socket.close()
            fcntl.flock(mine, fcntl.LOCK_EX)
            assert not tree.exists()
        assert leash.reaper.wait() == 0

    def test_that_cannot_be_removed_show_in_the_status(self, leash: Leash, tmp_path: Path) -> None:
        parent = os.open("/proc", os.O_RDONLY)
        leash.tell(TREE, "self", parent, number=1)
        os.close(parent)
        (tmp_path / "tree").mkdir()
        leash.tree(tmp_path / "tree")
        assert leash.end() == 1
        assert not (tmp_path / "tree").exists()


class TestForget:
    def test_leaves_a_tree_to_the_host(self, leash: Leash, tmp_path: Path) -> None:
        (tmp_path / "kept").mkdir()
        (tmp_path / "gone").mkdir()
        leash.tree(tmp_path / "kept", 1)
        leash.tree(tmp_path / "gone", 2)
        leash.forget(1)
        assert leash.end() == 0
        assert (tmp_path / "kept").exists()
        assert not (tmp_path / "gone").exists()

    @pytest.mark.needs("root")  # its fds are hidden from others
    def test_drops_all_of_an_id_and_its_fds(self, leash: Leash, sleepers: Sleepers, tmp_path: Path) -> None:
        lock = os.open(tmp_path, os.O_RDONLY)
        (tmp_path / "tree").mkdir()
        leash.process(sleeper(sleepers).pid, 65)
        leash.tree(tmp_path / "tree", 65, lock, flags=LOCK)
        leash.tree(tmp_path / "other", 1)  # in the same bucket
        os.close(lock)
        until(lambda: len(leash.reaper.fds()) == 3 + 4)
        leash.forget(65)
        until(lambda: len(leash.reaper.fds()) == 3 + 1)
        leash.forget(65)
        leash.forget(9999)
        assert leash.end() == 0
        assert sleepers[0].poll() is None
        assert (tmp_path / "tree").exists()
