"""Every limit against a program that exceeds it, in whatever trees the host has, for whoever runs the tests.

A limit whose controller the host, or its administrator, does not give must be refused with the fix.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pycontainer as pc
from pycontainer.kernel.cgroup import home
from tests.support.grouped import python, shell
from tests.support.native import until

pytestmark = pytest.mark.needs("cgroup")

NAME = f"pycontainer-test-{os.getpid()}"

#: Touches memory until it is ended.
HOG = "b = []\nfor _ in range(300): b.append(bytearray(1 << 20))"
#: Uses the processor until it is ended.
BURN = "while True: pass"


@contextlib.contextmanager
def group(**limits: Any) -> Iterator[pc.Cgroup]:
    """A cgroup whose processes end with the block."""
    with pc.Cgroup.create(NAME, **limits) as made:
        try:
            yield made
        finally:
            made.kill()
            made.wait_empty()


def is_v1(controller: str) -> bool:
    return controller in home().layout.v1


def is_given(controller: str) -> bool:
    """May the caller have it? Asked of the kernel's own file, next to where the library looks."""
    place = home()
    if controller in place.layout.v1:
        return os.access(place.layout.v1[controller], os.W_OK)
    return place.tree is not None and controller in place.tree.read("cgroup.controllers").decode().split()


def is_refused(limit: str, controller: str, **limits: Any) -> bool:
    """Whether the host does not give the controller; then the limit is refused, with the way out."""
    if is_given(controller):
        return False
    with pytest.raises(pc.NotSupported, match=limit) as caught:
        pc.Cgroup.create(NAME, **limits)
    assert caught.value.fix
    with pc.Cgroup.create(NAME, best_effort=True, **limits) as made:
        assert made.missing == {limit}
    return True


class TestMemory:
    def test_max(self) -> None:
        with group(memory_max="32M", memory_swap_max=0) as made, made.watch("oom") as oom:
            assert not oom.read()
            with python(made, HOG) as hog:
                hog.wait(60)
            assert hog.signal == signal.SIGKILL
            assert select.select([oom], [], [], 10)[0]
            assert oom.read()
            stat = made.stat()
            assert stat.oom_kills == 1
            assert stat.memory_peak is None or (16 << 20) < stat.memory_peak <= (32 << 20)

    def test_below_max(self) -> None:
        with group(memory_max="64M") as made:
            with python(made, "bytearray(16 << 20)") as modest:
                assert modest.wait(60) == 0
            assert made.stat().oom_kills == 0

    def test_swap_is_bounded_alone(self) -> None:
        """What goes beyond memory may be in swap, if there is some, but not beyond both."""
        with group(memory_max="24M", memory_swap_max="8M") as made:
            with python(made, HOG) as hog:
                hog.wait(60)
            assert hog.signal == signal.SIGKILL
            assert made.stat().oom_kills == 1

    def test_oom_group(self) -> None:
        """An innocent process ends with the one that takes the memory."""
        limits = {"memory_max": "32M", "memory_swap_max": 0, "memory_oom_group": True}
        if is_v1("memory"):
            with pytest.raises(pc.NotSupported, match="memory_oom_group"):
                pc.Cgroup.create(NAME, **limits)
            return
        with group(**limits) as made:
            with shell(made, "exec sleep 1000") as innocent, python(made, HOG) as hog:
                assert hog.wait(60) == innocent.wait(60) == 128 + signal.SIGKILL

    def test_high(self, tmp_path: Path) -> None:
        """Slowed down and reclaimed from, but not ended: here the pages of a file that is written."""
        if is_v1("memory"):
            with pytest.raises(pc.NotSupported, match="memory_high"):
                pc.Cgroup.create(NAME, memory_high="16M")
            return
        with group(memory_high="16M") as made:
            with shell(made, f"exec dd if=/dev/zero of={tmp_path}/big bs=1M count=64") as writer:
                assert writer.wait(60) == 0
            stat = made.stat()
            assert stat.oom_kills == 0
            assert stat.memory_current is not None
            assert stat.memory_current < 24 << 20

    def test_low_is_set(self) -> None:
        with group(memory_low="16M") as made:
            files = [
                Path(made.paths["memory"], name) for name in ("memory.low", "memory.soft_limit_in_bytes")
            ]
            assert [int(file.read_text()) for file in files if file.exists()] == [16 << 20]


class TestPids:
    def test_fork_bomb(self) -> None:
        with group(pids_max=10) as made:
            with shell(made, "while :; do sleep 1000 & done") as bomb:
                assert bomb.wait(60) == 2  # "Cannot fork"
            assert len(made.processes()) == 9
            stat = made.stat()
            assert stat.pids_current == 9
            assert stat.pids_peak in (None, 10)

    def test_threads_count(self) -> None:
        code = (
            "import threading, time\n"
            "for n in range(20):\n"
            "    try: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
            "    except RuntimeError: break\n"
            "import os; os.write(1, b'%d' % n); os._exit(0)"
        )
        with group(pids_max=5) as made, python(made, code) as threads:
            assert threads.stdout is not None
            assert threads.stdout.read() == b"4"


class TestCpu:
    def test_max(self) -> None:
        with group(cpu_max=0.2) as made:
            with python(made, BURN) as burner:
                begin = time.monotonic()
                until(lambda: (made.stat().cpu_throttled or 0) > 0.5 and time.monotonic() > begin + 2, 60)
                stat = made.stat()
                wall = time.monotonic() - begin
                burner.kill()
            assert stat.cpu_user is not None
            assert stat.cpu_system is not None
            # The kernel takes the quota in slices, and looks at the clock in ticks.
            assert 0 < stat.cpu_user + stat.cpu_system <= 0.2 * wall + 0.2

    def test_more_than_one_core(self) -> None:
        with group(cpu_max=1.5) as made:
            place = Path(made.paths["cpu"])
            files = [place / "cpu.max", place / "cpu.cfs_quota_us"]
            assert [file.read_text().split()[0] for file in files if file.exists()] == ["150000"]

    def test_weight(self) -> None:
        """Two that want the same core get it in the ratio of their weights."""
        core = min(os.sched_getaffinity(0))
        code = f"import os; os.sched_setaffinity(0, [{core}]); os.write(1, b'.')\n{BURN}"
        with pc.Cgroup.create(NAME) as above:
            light = above.child("light", cpu_weight=20)
            heavy = above.child("heavy", cpu_weight=2000)
            try:
                with python(light, code) as one, python(heavy, code) as two:
                    for each in (one, two):
                        assert each.stdout is not None
                        assert each.stdout.read(1) == b"."
                    before = _cpu(heavy), _cpu(light)
                    until(lambda: _cpu(heavy) > before[0] + 2, 120)
                    gained = _cpu(heavy) - before[0], _cpu(light) - before[1]
                    one.kill()
                    two.kill()
                assert gained[0] > 4 * gained[1]
            finally:
                above.kill()
                above.wait_empty()
                light.close()
                heavy.close()

    def test_cpus(self) -> None:
        if is_refused("cpuset_cpus", "cpuset", cpuset_cpus="0"):
            return
        code = "import os\ntry: os.sched_setaffinity(0, range(os.cpu_count()))\nexcept OSError: pass\nprint(os.sched_getaffinity(0))"
        with group(cpuset_cpus="0", cpuset_mems="0") as made, python(made, code) as pinned:
            assert pinned.stdout is not None
            assert pinned.stdout.read() == b"{0}\n"


def _cpu(made: pc.Cgroup) -> float:
    stat = made.stat()
    return (stat.cpu_user or 0) + (stat.cpu_system or 0)


class TestIo:
    #: Writes past the cache, as the limits of version 1 see nothing else.
    WRITE = (
        "import mmap, os\n"
        "fd = os.open({path!r}, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)\n"
        "block = mmap.mmap(-1, 1 << 18)\n"
        "for _ in range({count}): os.write(fd, block)"
    )

    def test_bytes(self, tmp_path: Path) -> None:
        limits = {"io_max": {str(tmp_path): {"wbps": "2M"}}}
        if is_refused("io_max", "io", **limits):
            return
        with group(**limits) as made:
            begin = time.monotonic()
            with python(made, self.WRITE.format(path=f"{tmp_path}/big", count=16)) as writer:
                assert writer.wait(60) == 0
            assert time.monotonic() - begin > 1.5
            stat = made.stat()
            assert stat.io_write is not None
            assert 4 << 20 <= stat.io_write < 5 << 20
            assert stat.io_write_ops is not None
            assert stat.io_write_ops >= 16

    def test_operations(self, tmp_path: Path) -> None:
        limits = {"io_max": {str(tmp_path): {"wiops": 10}}}
        if is_refused("io_max", "io", **limits):
            return
        with group(**limits) as made:
            begin = time.monotonic()
            with python(made, self.WRITE.format(path=f"{tmp_path}/big", count=16)) as writer:
                assert writer.wait(60) == 0
            assert time.monotonic() - begin > 1
            made.update(io_max=None)
            begin = time.monotonic()
            with python(made, self.WRITE.format(path=f"{tmp_path}/big", count=100)) as writer:
                assert writer.wait(60) == 0
            assert time.monotonic() - begin < 9

    def test_weight(self) -> None:
        """Whether it does anything is the disk's scheduler's business; here: it is set, or refused."""
        if is_refused("io_weight", "io", io_weight=200):
            return
        try:
            with group(io_weight=200) as made:
                place = Path(made.paths["io"])
                names = ("io.weight", "io.bfq.weight", "blkio.bfq.weight", "blkio.weight")
                found = [(place / name).read_text().split()[-1] for name in names if (place / name).exists()]
                assert found[0] in ("200", "20")
        except pc.NotSupported as refusal:
            assert "io_weight" in str(refusal)


@pytest.mark.needs("root", "cgroup2")
def test_huge_pages() -> None:
    if not is_given("hugetlb"):
        assert is_refused("hugetlb_max", "hugetlb", hugetlb_max={"2M": "4M"})
        return
    with group(hugetlb_max={"2M": "4M"}) as made:
        assert Path(made.path, "hugetlb.2MB.max").read_text() == f"{4 << 20}\n"
        # Fails by SIGBUS at the third page; without pages in the pool, at once.
        code = "import mmap\nm = mmap.mmap(-1, 8 << 20, flags=0x40022)\nfor n in range(4): m[n << 21] = 1"
        with python(made, code) as user:
            assert user.wait(60) != 0


@pytest.mark.needs("psi")
def test_pressure() -> None:
    # Two for one processor: one always waits, and is runnable, which one held back by a quota need not be (Linux 6.18).
    code = f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}])\n{BURN}"
    with group() as made, python(made, code) as one, python(made, code) as two:
        until(lambda: made.pressure("cpu").some_total > 0.2, 60)
        assert made.stat().pressure["cpu"].some_total > 0.2
        assert made.pressure("memory").full_total == 0
        with pytest.raises(pc.InvalidArgument):
            made.pressure("pids")
        one.kill()
        two.kill()
