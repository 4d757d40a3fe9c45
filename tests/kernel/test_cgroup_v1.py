"""Cgroups where version 1 is all there is: tried with a layout that leaves the tree of version 2 out."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import pycontainer as pc
from pycontainer.kernel.cgroup import sweep
from pycontainer.kernel.cgroup.home import Home
from pycontainer.kernel.cgroup.layout import read_layout
from tests.support.native import until

pytestmark = pytest.mark.needs("root", "cgroup1")

NAME = f"pycontainer-test-{os.getpid()}"

#: Forks for ever, once it has been moved and told so.
BOMB = "read line; while :; do sleep 0.2 & sleep 0.005; done"


@pytest.fixture
def v1() -> Iterator[Home]:
    place = Home(attrs.evolve(read_layout(), unified=None, mount=None))
    yield place
    place.close()


def test_has_a_directory_for_each_controller_and_the_freezer(v1: Home) -> None:
    with pc.Cgroup.create(NAME, parent=v1, memory_max="64M", pids_max=5, accounting=("cpu",)) as group:
        assert group.path == ""
        assert group.directory == -1
        assert {"memory", "pids", "freezer", "cpuacct"} <= set(group.paths)
        assert len(group.tasks) >= 4
        found = set(group.paths.values())
    assert not any(os.path.exists(path) for path in found)


def test_counts(v1: Home) -> None:
    code = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass\nb = bytearray(20 << 20)"
    with pc.Cgroup.create(NAME, parent=v1, accounting=("cpu", "memory", "pids", "io")) as group:
        with subprocess.Popen([sys.executable, "-c", f"input()\n{code}"], stdin=subprocess.PIPE) as child:
            group.add(child.pid)
            child.communicate(b"\n")
        stat = group.stat()
        assert stat.cpu_user is not None
        assert stat.cpu_system is not None
        assert 0.45 < stat.cpu_user + stat.cpu_system < 1
        assert stat.memory_peak is not None
        assert stat.memory_peak > 20 << 20
        assert stat.pids_current == 0
        assert stat.io_read is not None
        assert stat.pressure == {}


def test_freeze_and_thaw(v1: Home) -> None:
    with pc.Cgroup.create(NAME, parent=v1) as group, subprocess.Popen(["sleep", "1000"]) as child:
        group.add(child.pid)
        group.freeze()
        child.terminate()
        with pytest.raises(pc.WaitTimeout):
            group.wait_empty(0.1)
        group.thaw()
        assert child.wait(10) == -signal.SIGTERM
        group.wait_empty()


def test_kill_ends_who_forks_without_end(v1: Home) -> None:
    with pc.Cgroup.create(NAME, parent=v1, pids_max=200) as group:
        bomb = subprocess.Popen(["sh", "-c", BOMB], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with bomb:
            assert bomb.stdin is not None
            group.add(bomb.pid)
            bomb.stdin.write(b"\n")
            bomb.stdin.flush()
            until(lambda: len(group.processes()) > 5)
            group.kill()
            assert bomb.wait(10) == -signal.SIGKILL
        group.wait_empty()
        assert group.processes() == []


def test_kill_ends_who_is_frozen_below(v1: Home) -> None:
    with pc.Cgroup.create(NAME, parent=v1) as group:
        child = group.child("x")
        process = subprocess.Popen(["sleep", "1000"])
        child.add(process.pid)
        child.freeze()
        group.kill()
        assert process.wait(10) == -signal.SIGKILL
        child.close()


def test_who_is_in_a_cgroup_below_is_limited_by_those_above(v1: Home) -> None:
    """The one below has no directory in the hierarchy of pids: a start there must enter the one above."""
    with pc.Cgroup.create(NAME, parent=v1, pids_max=3) as group, group.child("x") as child:
        assert "pids" not in child.paths
        code = f"import os; [os.write(fd, b'0') for fd in {child.tasks}]; print(open('/proc/self/cgroup').read())"
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, pass_fds=child.tasks, check=True
        )
        assert f"{NAME}\n" in "".join(line for line in done.stdout.splitlines(True) if ":pids:" in line)
        assert f"{NAME}/x\n" in "".join(line for line in done.stdout.splitlines(True) if ":freezer:" in line)
        process = subprocess.Popen(["sleep", "1000"])
        child.add(process.pid)
        assert group.stat().pids_current == 1
        with child.child("y") as lowest:
            assert lowest.joined()[v1.layout.v1["pids"]].path == group.paths["pids"]
            child.update(memory_max="64M")
            assert lowest.joined()[v1.layout.v1["memory"]].path == child.paths["memory"]
        child.kill()
        process.wait()
        child.wait_empty()


def test_oom_kills_below_are_counted_above() -> None:
    code = "input(); b = bytearray(200 << 20)"
    with pc.Cgroup.create(NAME, accounting=("memory",)) as group:
        for _ in range(2):
            with group.child("x", memory_max="30M", memory_swap_max=0) as child:
                with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as hog:
                    child.add(hog.pid)
                    hog.communicate(b"\n")
                assert hog.returncode == -signal.SIGKILL
                assert child.stat().oom_kills == 1
                child.wait_empty()
        assert group.stat().oom_kills == 2


def test_memory_and_swap_are_changed_in_the_order_that_goes(v1: Home) -> None:
    with pc.Cgroup.create(NAME, parent=v1, memory_max="32M", memory_swap_max="32M") as group:
        both = Path(group.paths["memory"], "memory.memsw.limit_in_bytes")
        assert int(both.read_text()) == 64 << 20
        group.update(memory_max="256M")
        assert int(both.read_text()) == 288 << 20
        group.update(memory_max="16M", memory_swap_max=0)
        assert int(both.read_text()) == 16 << 20
        group.update(memory_swap_max=None)
        assert int(both.read_text()) > 1 << 60
        group.update(memory_max=None)
        with pytest.raises(pc.NotSupported, match="memory_swap_max"):
            group.update(memory_swap_max="1M")


def test_a_new_cpuset_has_what_the_one_above_has(v1: Home) -> None:
    with (
        pc.Cgroup.create(NAME, parent=v1, cpuset_cpus="0") as group,
        group.child("x", cpuset_mems="0") as child,
    ):
        place = Path(child.paths["cpuset"])
        assert (place / "cpuset.cpus").read_text() == "0\n"
        assert subprocess.run(
            ["sh", "-c", f"echo $$ >{place}/cgroup.procs && grep Cpus_allowed_list /proc/self/status"],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout.split() == [b"Cpus_allowed_list:", b"0"]
        group.update(cpuset_cpus=None)
        above = Path(v1.layout.v1["cpuset"], "cpuset.cpus").read_text()
        assert Path(group.paths["cpuset"], "cpuset.cpus").read_text() == above


def test_what_is_limited_later_holds_for_those_inside(v1: Home) -> None:
    with pc.Cgroup.create(NAME, parent=v1) as group, group.child("x") as child:
        process = subprocess.Popen(["sleep", "1000"])
        child.add(process.pid)
        group.update(pids_max=4)
        assert group.stat().pids_current == 1
        group.kill()
        process.wait()
        group.wait_empty()


def test_nothing_is_left_where_the_name_is_taken_in_one_hierarchy() -> None:
    taken = Path(read_layout().v1["pids"], NAME)
    taken.mkdir()
    try:
        with pytest.raises(pc.KernelError) as caught:
            pc.Cgroup.create(NAME, memory_max="64M", pids_max=5)
        assert caught.value.errno == errno.EEXIST
        assert taken.is_dir()
    finally:
        taken.rmdir()
    pc.Cgroup.create(NAME, memory_max="64M", pids_max=5).close()


def test_adopt_by_controllers() -> None:
    with pc.Cgroup.create(NAME, pids_max=5, memory_max="64M") as group:
        wanted = {name: group.paths[name] for name in ("pids", "memory")}
        with pc.Cgroup.adopt(wanted) as same:
            assert same.paths == wanted
            same.update(pids_max=6)
            assert Path(wanted["pids"], "pids.max").read_text() == "6\n"
            with same.child("x", pids_max=2) as child:
                assert child.paths == {"pids": f"{wanted['pids']}/x"}
        assert all(os.path.isdir(path) for path in wanted.values())
    with pytest.raises(pc.KernelError):
        pc.Cgroup.adopt(wanted)


def test_what_is_left_is_swept(v1: Home) -> None:
    """Frozen processes too, first where they can be thawed."""
    group = pc.Cgroup.create(NAME, parent=v1, pids_max=5, memory_max="64M")
    child = group.child("x")
    process = subprocess.Popen(["sleep", "1000"])
    child.add(process.pid)
    child.freeze()
    places = group.places
    begin = time.monotonic()
    for path in places:
        sweep(path)
    assert time.monotonic() - begin < 5
    assert process.wait(1) == -signal.SIGKILL
    assert not any(os.path.exists(path) for path in places)
    child.close()
    group.close()
