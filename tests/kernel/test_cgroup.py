"""Cgroups as they are made, joined, changed, read, stopped, ended and removed, in whatever trees the host has."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pycontainer as pc
from pycontainer.kernel.cgroup import home
from pycontainer.kernel.cgroup.directory import Directory
from pycontainer.kernel.cgroup.ending import kill_one_by_one
from tests.support.grouped import shell
from tests.support.native import until

pytestmark = pytest.mark.needs("cgroup")

NAME = f"pycontainer-test-{os.getpid()}"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def impossible() -> dict[str, Any]:
    """A limit that cannot be had here: version 1 has no such thing, or no processor has pages of this size."""
    return {"memory_high": "64M"} if "memory" in home().layout.v1 else {"hugetlb_max": {"128K": "1M"}}


def directories(group: pc.Cgroup) -> set[str]:
    return {path for path in (group.path, *group.paths.values()) if path}


class TestCreate:
    def test_is_there_until_closed(self) -> None:
        group = pc.Cgroup.create(NAME, memory_max="64M", pids_max=32, cpu_max=0.5)
        found = directories(group)
        assert found
        assert all(os.path.basename(path) == NAME and os.path.isdir(path) for path in found)
        group.close()
        group.close()
        assert not any(os.path.exists(path) for path in found)

    def test_a_name_that_is_taken(self) -> None:
        with pc.Cgroup.create(NAME, pids_max=5) as group:
            with pytest.raises(pc.KernelError) as caught:
                pc.Cgroup.create(NAME, pids_max=7)
            assert caught.value.errno == errno.EEXIST
            assert all(os.path.isdir(path) for path in directories(group))

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\nb", "memory.max", "cgroup.procs", 5])
    def test_bad_names(self, name: object) -> None:
        with pytest.raises(pc.InvalidArgument, match="name"):
            pc.Cgroup.create(name)  # type: ignore[arg-type]

    def test_nothing_is_made_where_a_limit_is_nonsense(self) -> None:
        with pytest.raises(pc.InvalidArgument, match="memory_max"):
            pc.Cgroup.create(NAME, memory_max="much")
        with pytest.raises(TypeError, match="memroy_max"):
            pc.Cgroup.create(NAME, memroy_max="64M")  # type: ignore[call-arg]
        pc.Cgroup.create(NAME).close()

    def test_nothing_is_left_where_a_limit_cannot_be_had(self) -> None:
        limits = impossible()
        with pytest.raises(pc.NotSupported, match=next(iter(limits))):
            pc.Cgroup.create(NAME, pids_max=5, memory_max="64M", **limits)
        pc.Cgroup.create(NAME, memory_max="64M").close()

    def test_best_effort_tells_what_is_missing(self) -> None:
        limits = impossible()
        with pc.Cgroup.create(NAME, best_effort=True, pids_max=9, **limits) as group:
            assert group.missing == set(limits)
            assert group.limits.pids_max == 9

    def test_the_limits_are_the_kernels(self) -> None:
        with pc.Cgroup.create(NAME, memory_max="64M", pids_max=32) as group:
            memory = Path(group.paths["memory"])
            files = [memory / "memory.max", memory / "memory.limit_in_bytes"]
            assert [int(file.read_text()) for file in files if file.exists()] == [64 << 20]
            assert Path(group.paths["pids"], "pids.max").read_text() == "32\n"


class TestMembers:
    def test_are_added_and_listed(self, sleeper: subprocess.Popen[bytes]) -> None:
        with pc.Cgroup.create(NAME, memory_max="64M", accounting=("pids",)) as group:
            group.add(sleeper.pid)
            assert group.processes() == [sleeper.pid]
            assert group.stat().pids_current == 1
            for path in directories(group):
                assert Path(path, "cgroup.procs").read_text() == f"{sleeper.pid}\n"
            sleeper.kill()
            group.wait_empty()

    def test_one_that_has_ended(self) -> None:
        ended = subprocess.Popen(["true"])
        ended.wait()
        with pc.Cgroup.create(NAME) as group, pytest.raises(pc.KernelError) as caught:
            group.add(ended.pid)
        assert caught.value.errno == errno.ESRCH

    @pytest.mark.needs("cgroup1")
    def test_a_process_that_puts_itself_in(self) -> None:
        """By the open ``tasks`` files of version 1."""
        with pc.Cgroup.create(NAME, memory_max="64M", pids_max=8) as group:
            assert group.tasks
            code = f"import os; [os.write(fd, b'0') for fd in {group.tasks}]; print(open('/proc/self/cgroup').read())"
            with subprocess.Popen(
                [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, pass_fds=group.tasks
            ) as child:
                assert child.stdout is not None
                lines = [line for line in child.stdout if line.rstrip().endswith(NAME)]
            assert len(lines) == len(group.tasks)
            group.wait_empty()

    def test_freeze_and_thaw(self) -> None:
        with pc.Cgroup.create(NAME) as group:
            with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as cat:
                assert cat.stdin is not None
                assert cat.stdout is not None
                group.add(cat.pid)
                group.freeze()
                cat.stdin.write(b"x")
                assert not select.select([cat.stdout], [], [], 0.2)[0]
                group.thaw()
                assert cat.stdout.read(1) == b"x"
            group.wait_empty()

    def test_kill_reaches_those_below_and_the_frozen(self) -> None:
        with pc.Cgroup.create(NAME) as group:
            groups = [group, group.child("a"), group.child("b")]
            children = [subprocess.Popen(["sleep", "1000"]) for _ in groups]
            for each, child in zip(groups, children, strict=True):
                each.add(child.pid)
            assert sorted(group.processes()) == sorted(child.pid for child in children)
            groups[1].freeze()
            group.kill()
            assert {child.wait(10) for child in children} == {-signal.SIGKILL}
            group.wait_empty()
            for each in reversed(groups):
                each.close()

    def test_wait_empty_gives_up(self, sleeper: subprocess.Popen[bytes]) -> None:
        with pc.Cgroup.create(NAME, pids_max=10) as group:
            group.add(sleeper.pid)
            with pytest.raises(pc.WaitTimeout):
                group.wait_empty(0.05)
            with pytest.raises(pc.KernelError) as caught:
                group.close()
            assert caught.value.errno == errno.EBUSY
            assert group.processes() == [sleeper.pid]
            group.add(sleeper.pid)
            sleeper.kill()
            group.wait_empty()

    @pytest.mark.needs("cgroup2")
    def test_kill_before_there_was_one_step_for_it(self) -> None:
        """As on Linux 5.12: what forks is frozen, killed, and thawed."""
        self.kill_bomb()

    @pytest.mark.needs("root", "cgroup1")
    def test_kill_in_the_tree_beside_version_1(self) -> None:
        self.kill_bomb()

    @staticmethod
    def kill_bomb() -> None:
        with pc.Cgroup.create(NAME, pids_max=100) as group, group.child("x") as child:
            with shell(child, "while :; do sleep 0.02 & sleep 0.01; done") as bomb:
                until(lambda: len(group.processes()) > 3)
                directory = Directory.open(group.path)
                kill_one_by_one(directory, unified=True)
                directory.close()
                assert bomb.wait(10) == 128 + signal.SIGKILL
            group.wait_empty()


class TestWatch:
    def test_populated(self) -> None:
        with (
            pc.Cgroup.create(NAME) as group,
            group.watch("populated") as watch,
            group.child("x") as child,
        ):
            assert not select.select([watch], [], [], 0)[0]
            with shell(child, "exec sleep 1000"):
                assert select.select([watch], [], [], 10)[0]
                assert watch.read()
                assert not select.select([watch], [], [], 0)[0]
                group.kill()
            assert select.select([watch], [], [], 10)[0]
            assert not watch.read()

    def test_in_an_event_loop(self) -> None:
        async def wait(group: pc.Cgroup) -> bool:
            loop = asyncio.get_running_loop()
            told: asyncio.Future[bool] = loop.create_future()
            with group.watch("populated") as watch:
                loop.add_reader(watch, lambda: told.done() or told.set_result(watch.read()))
                with shell(group, "exec sleep 1000") as process:
                    found = await asyncio.wait_for(told, 10)
                    loop.remove_reader(watch)
                    process.kill()
            return found

        with pc.Cgroup.create(NAME) as group:
            assert asyncio.run(wait(group))
            group.wait_empty()

    def test_nonsense(self) -> None:
        with pc.Cgroup.create(NAME) as group, pytest.raises(pc.InvalidArgument, match="event"):
            group.watch("full moon")

    @pytest.mark.needs("cgroup1")
    def test_memory_that_is_not_counted(self) -> None:
        with (
            pc.Cgroup.create(NAME) as group,
            pytest.raises(pc.NotSupported, match=r"accounting=\('memory',\)"),
        ):
            group.watch("oom")

    def test_one_that_outlives_its_cgroup(self) -> None:
        group = pc.Cgroup.create(NAME, accounting=("memory",))
        watches = [group.watch("populated"), group.watch("oom")]
        group.close()
        for watch in watches:
            watch.read()
            watch.close()
            watch.close()
            with pytest.raises(ValueError, match="closed"):
                watch.fileno()


class TestStat:
    def test_cpu_and_memory(self) -> None:
        code = "import sys; b = bytearray(30 << 20); print(len(b)); sys.stdout.flush(); sys.stdin.read()"
        with pc.Cgroup.create(NAME, accounting=("cpu", "memory", "pids", "io")) as group:
            with subprocess.Popen(
                [sys.executable, "-c", "input();" + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as child:
                assert child.stdin is not None
                assert child.stdout is not None
                group.add(child.pid)
                child.stdin.write(b"\n")
                child.stdin.flush()
                child.stdout.readline()
                stat = group.stat()
                assert stat.memory_current is not None
                assert stat.memory_current > 30 << 20
                assert stat.pids_current == 1
                assert stat.cpu_user is not None
                assert stat.cpu_system is not None
                assert stat.cpu_user + stat.cpu_system > 0
            group.wait_empty()
            after = group.stat()
            assert after.memory_peak is None or after.memory_peak > 30 << 20
            assert after.pids_current == 0
            assert after.oom_kills == 0


class TestChildren:
    def test_have_limits_of_their_own(self) -> None:
        with pc.Cgroup.create(NAME) as group:
            with group.child("x", pids_max=3) as child, group.child("y", memory_max="32M") as other:
                assert os.path.dirname(child.paths["pids"]).endswith(NAME)
                assert Path(child.paths["pids"], "pids.max").read_text() == "3\n"
                assert other.limits.memory_max == 32 << 20

    def test_go_with_the_one_above(self) -> None:
        group = pc.Cgroup.create(NAME)
        child = group.child("x", pids_max=3)
        below = child.child("y", memory_max="32M")
        found = directories(child) | directories(below)
        group.close()
        assert not any(os.path.exists(path) for path in found)
        below.close()
        child.close()


class TestUpdate:
    def test_changes_what_is_named(self) -> None:
        with pc.Cgroup.create(NAME, memory_max="64M", pids_max=32) as group:
            group.update(memory_max="128M")
            assert group.limits == pc.Limits.of(memory_max="128M", pids_max=32)
            group.update(memory_max="16M", pids_max=None)
            assert group.limits == pc.Limits.of(memory_max="16M")
            assert Path(group.paths["pids"], "pids.max").read_text() == "max\n"

    def test_a_limit_that_was_not_there(self, sleeper: subprocess.Popen[bytes]) -> None:
        with pc.Cgroup.create(NAME) as group:
            group.add(sleeper.pid)
            group.update(pids_max=7)
            place = Path(group.paths["pids"])
            assert (place / "pids.max").read_text() == "7\n"
            assert (place / "cgroup.procs").read_text() == f"{sleeper.pid}\n"
            sleeper.kill()
            group.wait_empty()

    def test_one_that_fails_changes_nothing(self) -> None:
        with pc.Cgroup.create(NAME, pids_max=32) as group:
            with pytest.raises(pc.NotSupported):
                group.update(pids_max=5, **impossible())
            assert Path(group.paths["pids"], "pids.max").read_text() == "32\n"
            assert group.limits.pids_max == 32


def test_what_is_left_moves_up() -> None:
    with pc.Cgroup.create(NAME, pids_max=10) as group:
        child = group.child("x")
        process = subprocess.Popen(["sleep", "1000"])
        child.add(process.pid)
        child.dissolve()
        assert group.processes() == [process.pid]
        group.kill()
        process.wait()
        group.wait_empty()


def test_use_after_close() -> None:
    group = pc.Cgroup.create(NAME)
    group.close()
    for use in (group.kill, group.stat, group.processes, lambda: group.directory, lambda: group.add(1)):
        with pytest.raises(pc.StateError):
            use()


def test_the_home_is_found_once() -> None:
    assert home() is home()
