"""The reaper: what it ends when its host dies, and what it leaves alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.native import Program, until

PROCESS, TREE, CGROUP, FORGET = 1, 2, 3, 4
LOCK, USERNS = 1, 2


class Leash:
    """A reaper, the process it takes for its host, and the host's end of the socket."""

    def __init__(self, reaper: Path, prefix: tuple[str, ...] = (), more: dict[int, int] | None = None) -> None:
        self.host = subprocess.Popen(["sleep", "1000"])
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        host = os.pidfd_open(self.host.pid)
        try:
            self.reaper = Program([*prefix, reaper], {3: theirs.fileno(), 4: host, **(more or {})})
        finally:
            theirs.close()
            os.close(host)

    def tell(self, kind: int, name: str | bytes = b"", *fds: int, id: int = 0, flags: int = 0) -> None:
        message = struct.pack("=IIQ256s", kind, flags, id, os.fsencode(name))
        socket.send_fds(self.socket, [message], list(fds), socket.MSG_NOSIGNAL)

    def process(self, pid: int, id: int = 0) -> None:
        fd = os.pidfd_open(pid)
        self.tell(PROCESS, b"", fd, id=id)
        os.close(fd)

    def tree(self, path: Path, id: int = 1, *more: int, flags: int = 0) -> None:
        parent = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.tell(TREE, path.name, parent, *more, id=id, flags=flags)
        finally:
            os.close(parent)

    def cgroup(self, *paths: Path, id: int = 1) -> None:
        parents = [os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY) for path in paths]
        self.tell(CGROUP, paths[0].name, *parents, id=id)
        for parent in parents:
            os.close(parent)

    def forget(self, id: int) -> None:
        self.tell(FORGET, id=id)

    def kill_host(self) -> None:
        """As any user of kill -9; who sent what before has sent it."""
        self.host.kill()
        self.host.wait()

    def end(self) -> int:
        """The host dies, and so does every copy of its socket; the reaper's exit status."""
        self.kill_host()
        self.socket.close()
        return self.reaper.wait()

    def settled(self) -> bool:
        """Whether it has handled all that was sent: nothing of it takes space in the socket any more."""
        queued = fcntl.ioctl(self.socket, 0x5411, b"\0" * 4)  # SIOCOUTQ, unix(7)
        return struct.unpack("i", queued) == (0,)

    def shut(self) -> bool:
        """Whether the reaper takes no more."""
        poller = select.poll()
        poller.register(self.socket, 0)
        return bool(poller.poll(0))

    def close(self) -> None:
        self.host.kill()
        self.host.wait()
        self.socket.close()
        with contextlib.suppress(TimeoutError):
            self.reaper.wait(20)
        self.reaper.__exit__()


@pytest.fixture
def leash(reaper: Path) -> Iterator[Leash]:
    leash = Leash(reaper)
    yield leash
    leash.close()


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def sleeper(sleepers: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    sleepers.append(subprocess.Popen(["sleep", "1000"]))
    return sleepers[-1]


Sleepers = list[subprocess.Popen[bytes]]

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
    host = subprocess.Popen([sys.executable, "-c", HOST, str(reaper), str(tmp_path), end], stdout=subprocess.PIPE)
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
        leash.process(sleeper(sleepers).pid, id=7)
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

    def test_that_end_are_forgotten(self, leash: Leash) -> None:
        """Ten thousand, and it holds no more fds and no more memory than before."""
        with subprocess.Popen(["true"], stdin=subprocess.DEVNULL) as ended:
            until(lambda: Path(f"/proc/{ended.pid}/stat").read_text().split()[2] == "Z")
            pidfd = os.pidfd_open(ended.pid)
            for number in range(100):
                leash.tell(PROCESS, b"", pidfd, id=number)
            until(lambda: leash.settled() and len(leash.reaper.fds()) == 3)
            before = leash.reaper.kilobytes()
            for number in range(10_000):
                leash.tell(PROCESS, b"", pidfd, id=number)
            until(lambda: leash.settled() and len(leash.reaper.fds()) == 3)
            print(f"resident after 10,000 processes: {leash.reaper.kilobytes()} KiB")
            # How many are registered at one moment is up to the scheduler.
            assert leash.reaper.kilobytes() - before < 200
            os.close(pidfd)

    def test_many_at_once(self, leash: Leash, sleepers: Sleepers) -> None:
        most = min(5_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2)
        pidfd = os.pidfd_open(sleeper(sleepers).pid)
        print(f"resident at the start: {leash.reaper.kilobytes()} KiB")
        for number in range(most):
            leash.tell(PROCESS, b"", pidfd, id=number // 2)
        os.close(pidfd)
        until(lambda: len(leash.reaper.fds()) == 3 + most)
        print(f"resident with {most} registrations: {leash.reaper.kilobytes()} KiB")
        assert leash.reaper.kilobytes() < 400 + most * 0.4
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
        leash.tell(TREE, "self", parent, id=1)
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
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            leash.forget(1)

    @pytest.mark.slow
    def test_that_never_falls_silent_is_closed(self, leash: Leash, sleepers: Sleepers) -> None:
        leash.kill_host()
        begin = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() < begin + 30:
                leash.forget(1)
                time.sleep(0.1)
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
        self, leash: Leash, sleepers: Sleepers, tmp_path: Path, kind: int | None, flags: int, name: bytes, count: int
    ) -> None:
        """What it took before stays guarded; the host can tell, and closing the socket means nothing then."""
        (tmp_path / "name").mkdir()
        leash.process(sleeper(sleepers).pid)
        here = os.open(tmp_path, os.O_RDONLY)
        message = name if kind is None else struct.pack("=IIQ256s", kind, flags, 1, name)
        socket.send_fds(leash.socket, [message], [here] * count)
        os.close(here)
        until(leash.shut)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            leash.forget(1)
        leash.socket.close()
        time.sleep(0.05)
        assert sleepers[0].poll() is None
        assert len(leash.reaper.fds()) == 3 + 1
        assert leash.end() == 0
        assert sleepers[0].wait() == -signal.SIGKILL
        assert (tmp_path / "name").exists()

    def test_is_shut_before_fds_run_out(self, reaper: Path, tmp_path: Path) -> None:
        """What was sent until then is guarded, all of it."""
        leash = Leash(reaper, ("prlimit", "--nofile=4096:4096"))
        sent = 0
        try:
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                for number in range(1, 5_000):
                    (tmp_path / f"{number}").mkdir()
                    leash.tree(tmp_path / f"{number}", number)
                    sent = number
            assert 4096 - 1024 <= sent < 4096
            until(lambda: len(leash.reaper.fds()) == 3 + sent)
            assert leash.end() == 0
            assert [path.name for path in tmp_path.iterdir()] == [f"{sent + 1}"]
        finally:
            leash.close()

    def test_that_is_shut_ends_the_reaper_with_its_last_registration(self, leash: Leash, sleepers: Sleepers) -> None:
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
        assert os.stat(f"/proc/{leash.reaper.pid}").st_uid == 0

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


def _hierarchy(wanted: str) -> Path:
    """The place for a test's cgroups: below the present one, in v2 (""), or in the v1 hierarchy of a controller."""
    kind = "cgroup" if wanted else "cgroup2"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        separator = fields.index("-")
        if fields[separator + 1] == kind and (not wanted or wanted in fields[separator + 3].split(",")):
            return Path(fields[4])
    pytest.fail(f"no hierarchy of {wanted or 'cgroup2'} is mounted", pytrace=False)


class Group:
    """A cgroup with a name of the tests'."""

    def __init__(self, hierarchy: str) -> None:
        self.path = _hierarchy(hierarchy) / f"pycontainer-test-{os.getpid()}"
        self.path.mkdir()

    def below(self, *names: str) -> Path:
        path = self.path
        for name in names:
            path /= name
            path.mkdir(exist_ok=True)
        return path

    def close(self) -> None:
        """Remove what the reaper has not."""
        for _ in range(100):
            for directory, _names, _files in os.walk(self.path, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
            if not self.path.exists():
                return
            time.sleep(0.05)
        raise AssertionError(f"{self.path} is still there")


@pytest.fixture
def group2() -> Iterator[Group]:
    group = Group("")
    yield group
    group.close()


@pytest.fixture(params=["pids", "freezer"])
def group1(request: pytest.FixtureRequest) -> Iterator[Group]:
    group = Group(request.param)
    yield group
    group.close()


def enter(path: Path, process: subprocess.Popen[bytes]) -> None:
    (path / "cgroup.procs").write_text(f"{process.pid}")


@pytest.mark.needs("root")
class TestCgroup2:
    def test_is_killed_and_removed(self, leash: Leash, sleepers: Sleepers, group2: Group) -> None:
        for names in ((), ("a",), ("a", "b", "c"), ("d",)):
            enter(group2.below(*names), sleeper(sleepers))
        leash.cgroup(group2.path)
        until(leash.settled)
        assert sleepers[0].poll() is None
        assert leash.end() == 0
        assert not group2.path.exists()
        assert {process.wait() for process in sleepers} == {-signal.SIGKILL}

    def test_that_is_frozen(self, leash: Leash, sleepers: Sleepers, group2: Group) -> None:
        enter(group2.path, sleeper(sleepers))
        leash.process(sleepers[0].pid)
        (group2.path / "cgroup.freeze").write_text("1")
        leash.cgroup(group2.path)
        begin = time.monotonic()
        assert leash.end() == 0
        assert time.monotonic() - begin < 2
        assert not group2.path.exists()

    def test_of_many_levels(self, leash: Leash, sleepers: Sleepers, group2: Group) -> None:
        enter(group2.below(*"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"), sleeper(sleepers))
        leash.cgroup(group2.path)
        assert leash.end() == 0
        assert not group2.path.exists()

    def test_is_left_when_forgotten(self, leash: Leash, sleepers: Sleepers, group2: Group) -> None:
        enter(group2.path, sleeper(sleepers))
        leash.cgroup(group2.path, id=3)
        leash.forget(3)
        assert leash.end() == 0
        assert sleepers[0].poll() is None
        assert group2.path.exists()
        sleepers[0].kill()

    def test_registered_after_the_death(self, leash: Leash, sleepers: Sleepers, group2: Group) -> None:
        leash.kill_host()
        enter(group2.path, sleeper(sleepers))
        leash.cgroup(group2.path)
        assert sleepers[0].wait(5) == -signal.SIGKILL
        leash.socket.close()
        assert leash.reaper.wait() == 0
        assert not group2.path.exists()

    def test_that_forks_without_end(self, leash: Leash, group2: Group) -> None:
        """Half of the members of a group that leaves one only by cgroup.kill."""
        bomb = subprocess.Popen(
            ["sh", "-c", 'echo $$ >"$1/cgroup.procs"; while :; do sleep 0.01 & sleep 0.005; done', "sh", group2.path]
        )
        with bomb:
            leash.cgroup(group2.path)
            until(lambda: len((group2.path / "cgroup.procs").read_text().split()) > 2)
            assert leash.end() == 0
            assert not group2.path.exists()
            assert bomb.wait() == -signal.SIGKILL


@pytest.mark.needs("root", "cgroup1")
class TestCgroup1:
    def test_is_killed_and_removed(self, leash: Leash, sleepers: Sleepers, group1: Group) -> None:
        for names in ((), ("a",), ("a", "b", "c"), ("d",)):
            for _ in range(3):
                enter(group1.below(*names), sleeper(sleepers))
        leash.cgroup(group1.path)
        until(leash.settled)
        assert sleepers[0].poll() is None
        assert leash.end() == 0
        assert not group1.path.exists()
        assert {process.wait() for process in sleepers} == {-signal.SIGKILL}

    def test_of_more_members_than_are_killed_at_a_time(
        self, leash: Leash, sleepers: Sleepers, group1: Group
    ) -> None:
        for _ in range(150):
            enter(group1.path, sleeper(sleepers))
        leash.cgroup(group1.path)
        assert leash.end() == 0
        assert not group1.path.exists()
        assert {process.wait() for process in sleepers} == {-signal.SIGKILL}

    def test_that_forks_without_end(self, leash: Leash, group1: Group) -> None:
        bomb = subprocess.Popen(
            ["sh", "-c", 'echo $$ >"$1/cgroup.procs"; while :; do sleep 0.01 & sleep 0.005; done', "sh", group1.path]
        )
        with bomb:
            leash.cgroup(group1.path)
            until(lambda: len((group1.path / "cgroup.procs").read_text().split()) > 2)
            assert leash.end() == 0
            assert not group1.path.exists()
            assert bomb.wait() == -signal.SIGKILL


@pytest.mark.needs("root", "cgroup1")
class TestFreezer:
    @pytest.fixture
    def freezer(self) -> Iterator[Group]:
        group = Group("freezer")
        yield group
        group.close()

    def test_that_is_frozen(self, leash: Leash, sleepers: Sleepers, freezer: Group) -> None:
        """A killed process that is frozen dies when it is thawed, and only then."""
        enter(freezer.path, sleeper(sleepers))
        enter(freezer.below("a", "b"), sleeper(sleepers))
        leash.process(sleepers[0].pid)
        (freezer.path / "freezer.state").write_text("FROZEN")
        until(lambda: (freezer.path / "freezer.state").read_text() == "FROZEN\n")
        leash.cgroup(freezer.path)
        begin = time.monotonic()
        assert leash.end() == 0
        assert time.monotonic() - begin < 2
        assert not freezer.path.exists()

    def test_several_hierarchies_in_one_message(self, leash: Leash, sleepers: Sleepers, freezer: Group) -> None:
        groups = [freezer.path, *(Group(name).path for name in ("", "pids", "devices"))]
        process = sleeper(sleepers)
        for path in groups:
            enter(path, process)
        leash.cgroup(*groups)
        assert leash.end() == 0
        assert process.wait() == -signal.SIGKILL
        assert not any(path.exists() for path in groups)


def test_sizes(reaper: Path, init: Path) -> None:
    """Small, static, and no page that is writable and executable."""
    for program, most in ((init, 12 << 10), (reaper, 20 << 10)):
        print(f"{program.name}: {program.stat().st_size} bytes")
        assert program.stat().st_size <= most
        assert stat.S_IMODE(program.stat().st_mode) & 0o111
        headers = subprocess.run(
            ["readelf", "--wide", "--segments", program], capture_output=True, text=True, check=True
        ).stdout
        assert "INTERP" not in headers
        assert "DYNAMIC" not in headers
        assert "RWE" not in headers
