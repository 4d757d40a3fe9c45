"""The reaper: cgroups of both versions."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leash import Leash, Sleepers, sleeper
from tests.support.native import until


def _hierarchy(wanted: str) -> Path:
    """The place for a test's cgroups: the present one, in v2 (""), or in the v1 hierarchy of a controller."""
    kind = "cgroup" if wanted else "cgroup2"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        separator = fields.index("-")
        if fields[separator + 1] == kind and (not wanted or wanted in fields[separator + 3].split(",")):
            inside = Path("/", os.path.relpath(_own(wanted), fields[3]))
            return Path(fields[4], inside.relative_to("/"))
    pytest.fail(f"no hierarchy of {wanted or 'cgroup2'} is mounted", pytrace=False)


def _own(wanted: str) -> str:
    """This process's cgroup in that hierarchy (cgroups(7), /proc/pid/cgroup)."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if wanted in controllers.split(",") if wanted else not controllers:
            return path
    pytest.fail(f"this process is in no hierarchy of {wanted or 'cgroup2'}", pytrace=False)


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


#: Joins the group and forks for ever.
BOMB = 'echo $$ >"$1/cgroup.procs"; while :; do sleep 0.2 & sleep 0.005; done'


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
        leash.cgroup(group2.path, number=3)
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
        bomb = subprocess.Popen(["sh", "-c", BOMB, "sh", group2.path])
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
        bomb = subprocess.Popen(["sh", "-c", BOMB, "sh", group1.path])
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

    def test_that_is_frozen_in_the_middle(self, leash: Leash, sleepers: Sleepers, freezer: Group) -> None:
        """A paused container below the host's group, with the group of one of its programs below it."""
        middle = freezer.below("container")
        enter(freezer.below("container", "exec"), sleeper(sleepers))
        leash.process(sleepers[0].pid)
        (middle / "freezer.state").write_text("FROZEN")
        until(lambda: (middle / "freezer.state").read_text() == "FROZEN\n")
        leash.cgroup(freezer.path)
        begin = time.monotonic()
        assert leash.end() == 0
        assert time.monotonic() - begin < 2
        assert not freezer.path.exists()

    def test_several_hierarchies_in_one_message(
        self, leash: Leash, sleepers: Sleepers, freezer: Group
    ) -> None:
        groups = [freezer.path, *(Group(name).path for name in ("", "pids", "devices"))]
        process = sleeper(sleepers)
        for path in groups:
            enter(path, process)
        leash.cgroup(*groups)
        assert leash.end() == 0
        assert process.wait() == -signal.SIGKILL
        assert not any(path.exists() for path in groups)
