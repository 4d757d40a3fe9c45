"""A seeded leak of every kind is found: the leak hunter works."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainer.home import make_private
from tests.support import leaks, needs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def watch() -> leaks.Watch:
    return leaks.Watch(exemptions=[])


def kinds(watch: leaks.Watch) -> set[str]:
    return {line.split(":")[0] for line in watch.leaks(timeout=0)}


def test_nothing_leaks_when_nothing_happens(watch: leaks.Watch) -> None:
    assert watch.leaks(timeout=0) == []


def test_cwd(watch: leaks.Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert kinds(watch) == {"cwd"}


def test_environment(watch: leaks.Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "1")
    assert watch.leaks(timeout=0) == ["environment: left behind: LEAK=1"]


def test_umask(watch: leaks.Watch) -> None:
    before = os.umask(0o031)
    try:
        assert "status: left behind: Umask:0031" in watch.leaks(timeout=0)
    finally:
        os.umask(before)


def test_signal_mask(watch: leaks.Watch) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        assert kinds(watch) == {"status"}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_signal_handler(watch: leaks.Watch) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        assert "handlers" in kinds(watch)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_limit(watch: leaks.Watch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        assert kinds(watch) == {"limits"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_fd(watch: leaks.Watch) -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    try:
        assert watch.leaks(timeout=0) == [f"fds: left behind: {fd} -> /dev/null"]
    finally:
        os.close(fd)
    assert watch.leaks(timeout=0) == []


def test_fd_that_was_closed_for_somebody_else() -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    watch = leaks.Watch(exemptions=[])
    os.close(fd)
    assert watch.leaks(timeout=0) == [f"fds: gone: {fd} -> /dev/null"]


def test_child_and_zombie(watch: leaks.Watch) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        # What it is called depends on how far its execve is.
        assert watch.leaks(timeout=0)[0].startswith(f"children: left behind: {child.pid} ")
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert kinds(watch) == {"children"}
    finally:
        child.kill()
        child.wait()
    assert watch.leaks(timeout=0) == []


def test_thread(watch: leaks.Watch) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert "threads" in kinds(watch)
    finally:
        end.set()
        thread.join()
    assert watch.leaks() == []


def test_container_directory(watch: leaks.Watch) -> None:
    left = Path(os.environ["PYCONTAINER_ROOT"], "run", "host", "container")
    make_private(str(left.parents[2]))
    make_private(str(left.parents[1]))
    left.mkdir(parents=True)
    try:
        assert watch.leaks(timeout=0) == [f"containers: left behind: {left}"]
    finally:
        left.rmdir()
        left.parent.rmdir()


def _in_new_namespaces(statement: str, kind: str) -> None:
    """Watch, run ``statement`` and compare, as root of namespaces that end with it."""
    script = f"import os, subprocess\nfrom tests.support import leaks\nwatch = leaks.Watch()\n{statement}\nprint(*watch.leaks(0), sep='\\n')"
    # Root of a user namespace could not read a checkout that belongs to somebody else.
    become_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *become_root, "--mount", "--net", sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert kind in {line.split(":")[0] for line in done.stdout.splitlines()}, done.stdout


@pytest.mark.needs("userns")
def test_mount() -> None:
    _in_new_namespaces("subprocess.run(['mount', '-t', 'tmpfs', 'leak', '/tmp'], check=True)", "mounts")


@pytest.mark.needs("userns", "netns")
def test_link() -> None:
    statement = (
        "subprocess.run(['mount', '-t', 'sysfs', 'sysfs', '/sys'], check=True)\n"
        "watch = leaks.Watch()\n"
        "subprocess.run(['ip', 'link', 'add', 'leak0', 'type', 'veth', 'peer', 'name', 'leak1'], check=True)"
    )
    _in_new_namespaces(statement, "links")


@pytest.mark.needs("userns")
def test_namespace() -> None:
    # os.unshare came with Python 3.12.
    _in_new_namespaces("import ctypes; assert ctypes.CDLL(None).unshare(0x04000000) == 0", "namespaces")


@pytest.fixture
def cgroup(watch: leaks.Watch) -> Iterator[Path]:
    version = 2 if needs.lacking("cgroup2") is None else 1
    for place in needs.cgroup_places(version):
        path = Path(place, f"pycontainer-leak-{os.getpid()}")
        try:
            path.mkdir()
        except PermissionError:
            continue
        yield path
        path.rmdir()
        return
    pytest.fail("no place for a cgroup")


@pytest.mark.needs("cgroup")
def test_cgroup(watch: leaks.Watch, cgroup: Path) -> None:
    assert watch.leaks(timeout=0) == [f"cgroups: left behind: {cgroup}"]


@pytest.mark.needs("cgroup")
def test_a_cgroup_of_another_process_is_not_ours(watch: leaks.Watch, cgroup: Path) -> None:
    """Whether that process lives or not: other sessions end on this machine, too."""
    others = [
        cgroup.with_name(f"pycontainer-{pid}-{word}")
        for pid, word in ((1, "0123abcd"), (f"{os.getpid()}0", "0123abcd"), ("test", "4194305"))
    ]
    for path in others:
        path.mkdir()
    try:
        assert watch.leaks(timeout=0) == [f"cgroups: left behind: {cgroup}"]
    finally:
        for path in others:
            path.rmdir()


def test_what_goes_away_by_itself_in_time_is_no_leak(watch: leaks.Watch) -> None:
    ours, theirs = socket.socketpair()
    timer = threading.Timer(0.1, lambda: (ours.close(), theirs.close()))
    timer.start()
    assert watch.leaks(timeout=20) == []
    timer.join()


def test_an_exemption_covers_its_number_and_no_more() -> None:
    rule = leaks.Exemption(kind="fds", pattern="-> /dev/zero$", limit=1, reason="this test")
    watch = leaks.Watch(exemptions=[rule])
    fds = [os.open("/dev/zero", os.O_RDONLY)]
    try:
        assert watch.leaks(timeout=0) == []
        fds.append(os.open("/dev/zero", os.O_RDONLY))
        assert len(watch.leaks(timeout=0)) == 2
    finally:
        for fd in fds:
            os.close(fd)


def test_a_look_is_cheap_enough_to_take_around_every_test() -> None:
    """Bounded by the work, not the clock: one file per thread, child, fd; no walk over all processes."""
    watch = leaks.Watch()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(10):
        watch.leaks(timeout=0)
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent / 10 < 0.25
