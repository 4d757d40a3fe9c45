"""Limits that hold: programs that want more than they may have, and what the result says of them."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

import pycontainer as pc
from pycontainer import aio

MIB = 1 << 20
#: How many times slower programs may be.
SLOWNESS = 6 if "CGROUP2_VM" in os.environ else 1

pytestmark = pytest.mark.needs("cgroup")


def python(script: str) -> list[str]:
    return ["/usr/bin/python3", "-S", "-E", "-c", script]


# -- memory ----------------------------------------------------------------------------------------


def test_a_memory_hog_is_killed_and_the_result_says_so() -> None:
    result = pc.run("host:", python("x = bytearray(200 << 20); print(len(x))"), memory="64M")
    assert (result.exit_code, result.signal, result.oom_killed, result.limit) == (137, 9, True, "memory")
    assert result.usage.oom_kills
    assert 56 * MIB < result.usage.memory_peak <= 64 * MIB
    assert "ran out of memory" in result.describe_failure()


@pytest.mark.needs("tmpfs_xattr")
def test_memory_of_files_in_the_writable_layer_counts() -> None:
    script = "head -c 100M /dev/zero >/tmp/x; echo $?"
    result = pc.run("host:", ["sh", "-c", script], memory="32M", text=True)
    assert result.oom_killed
    assert result.stdout != "0\n"


def test_a_child_that_is_killed_is_told_though_the_program_goes_on() -> None:
    hog = "python3 -S -c 'x = bytearray(200 << 20)'; echo $?"
    result = pc.run("host:", ["sh", "-c", hog], memory="64M", text=True)
    assert (result.exit_code, result.stdout, result.oom_killed, result.limit) == (0, "137\n", True, None)


def test_what_fits_is_left_alone() -> None:
    result = pc.run("host:", python("x = bytearray(40 << 20); print(len(x))"), memory="64M")
    assert (result.exit_code, result.oom_killed, result.limit) == (0, False, None)
    assert 40 * MIB < result.usage.memory_peak < 64 * MIB


# -- processes -------------------------------------------------------------------------------------

BOMB = """
import os, sys
made = 0
try:
    while True:
        if os.fork() == 0:
            import time; time.sleep(60)
        made += 1
except OSError as error:
    print(made, error.errno, flush=True)
"""


def test_a_fork_bomb_ends_at_the_limit() -> None:
    result = pc.run("host:", python(BOMB), pids=20, text=True)
    assert result.exit_code == 0
    assert result.stdout == "19 11\n"  # EAGAIN
    if result.usage.pids_peak is not None:
        assert result.usage.pids_peak == 20


def test_threads_count_as_processes() -> None:
    script = "import threading\nfor _ in range(50): threading.Thread(target=threading.Event().wait, daemon=True).start()"
    result = pc.run("host:", python(script), pids=10, timeout=30, text=True)
    assert "can't start new thread" in result.stderr


def test_a_fork_bomb_is_bounded_unasked() -> None:
    script = BOMB.replace("time.sleep(60)", "os.pause() if hasattr(os, 'pause') else time.sleep(60)")
    result = pc.run("host:", python(script), timeout=120, text=True)
    assert result.stdout.split()[1:] == ["11"]


# -- processor -------------------------------------------------------------------------------------

BURN = "while True: pass"


def test_a_cpu_burner_gets_its_share() -> None:
    result = pc.run("host:", python(BURN), cpus=0.2, timeout=2)
    assert (result.timed_out, result.limit) == (True, "timeout")
    used = result.usage.cpu_user + result.usage.cpu_system
    assert used < 0.7
    assert result.usage.cpu_throttled > 0


def test_cpu_timeout_counts_the_time_of_all_processes() -> None:
    script = f"import os\nos.fork()\n{BURN}"
    result = pc.run("host:", python(script), cpu_timeout=0.6, timeout=60)
    assert (result.timed_out, result.limit, result.exit_code) == (True, "cpu_timeout", 137)
    assert 0.6 <= result.usage.cpu_user + result.usage.cpu_system < 1.2
    assert "cpu_timeout" in result.describe_failure()


def test_cpu_timeout_spares_who_sleeps() -> None:
    result = pc.run("host:", ["sleep", "1"], cpu_timeout=0.4 * SLOWNESS, timeout=60)
    assert (result.exit_code, result.timed_out) == (0, False)


def test_ulimits_that_end_a_program_are_named() -> None:
    script = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nopen('/tmp/x', 'wb').write(bytes(4 << 20))"
    result = pc.run("host:", python(script), ulimits={"fsize": 1 << 20}, init=True)
    assert (result.exit_code, result.limit) == (128 + signal.SIGXFSZ, "ulimits:fsize")
    result = pc.run("host:", python(BURN), ulimits={"cpu": (1, 5)}, init=True)
    assert (result.exit_code, result.limit) == (128 + signal.SIGXCPU, "ulimits:cpu")


def test_an_fd_flood_ends_at_its_ulimit() -> None:
    script = (
        "import os\ntry:\n    while True: last = os.dup(0)\nexcept OSError as error: print(last, error.errno)"
    )
    result = pc.run("host:", python(script), ulimits={"nofile": 64}, text=True)
    assert result.stdout == "63 24\n"


# -- output ----------------------------------------------------------------------------------------


def test_an_output_flood_fills_nothing() -> None:
    result = pc.run("host:", ["sh", "-c", "yes | head -c 300M"], output_limit="1M")
    assert (len(result.stdout), result.truncated, result.exit_code) == (MIB, True, 0)


def test_a_program_that_never_reads_does_not_hang_the_caller() -> None:
    result = pc.run("host:", ["sleep", "0.2"], input=bytes(16 * MIB), timeout=30)
    assert result.exit_code == 0


# -- what a command leaves running counts, and ends ------------------------------------------------

BURNING_ORPHAN = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        end = time.process_time() + 0.5
        while time.process_time() < end: pass
        open("/tmp/done", "w").close()
        time.sleep(60)
    os._exit(0)
while not os.path.exists("/tmp/done"): time.sleep(0.01)
"""


def test_usage_includes_daemonised_children() -> None:
    result = pc.run("host:", python(BURNING_ORPHAN), timeout=60)
    assert result.exit_code == 0
    assert 0.5 <= result.usage.cpu_user + result.usage.cpu_system < 0.5 + 0.5 * SLOWNESS


@pytest.fixture
def box():
    with pc.Container.create("host:", ["sleep", "1000"], init=True, pids=100, memory="256M") as container:
        container.start()
        yield container


def sleepers(box: pc.Container) -> int:
    return int(box.exec(["sh", "-c", "pgrep -c -x sleep"], text=True).stdout)


def test_each_exec_has_its_own_usage(box: pc.Container) -> None:
    small = box.exec(["true"])
    large = box.exec(python("x = bytearray(50 << 20)"))
    assert large.usage.memory_peak > 50 * MIB > 20 * MIB > small.usage.memory_peak
    assert small.usage.cpu_user + small.usage.cpu_system < 0.1 * SLOWNESS
    again = box.exec(["true"])
    assert again.usage.memory_peak < 20 * MIB


def test_an_exec_that_is_out_of_memory_says_so_and_no_other(box: pc.Container) -> None:
    hog = box.exec(python("x = bytearray(400 << 20)"))
    assert (hog.exit_code, hog.oom_killed, hog.limit) == (137, True, "memory")
    assert box.status == "running"
    assert box.exec(["true"]).oom_killed is False


TREE = "for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM; sleep 77 & kill -STOP $$' &); done; sleep 0.2; sleep 60"


def test_a_timed_out_exec_takes_its_orphans_and_spares_the_rest(box: pc.Container) -> None:
    before = sleepers(box)
    result = box.exec(["sh", "-c", TREE], timeout=1)
    assert (result.timed_out, result.limit) == (True, "timeout")
    assert sleepers(box) == before
    assert box.status == "running"


def test_cpu_timeout_of_an_exec(box: pc.Container) -> None:
    result = box.exec(python(BURN), cpu_timeout=0.3, timeout=60)
    assert (result.limit, box.status) == ("cpu_timeout", "running")


def test_limits_of_a_container_hold_for_all_that_run_in_it(box: pc.Container) -> None:
    running = box.popen(
        python("import time; x = bytearray(150 << 20); print('ok', flush=True); time.sleep(60)"),
        stdout=pc.PIPE,
    )
    assert running.stdout.readline() == b"ok\n"
    assert box.exec(python("x = bytearray(150 << 20)")).oom_killed or running.wait(10) == 137
    running.kill()
    running.wait()
    running.close()


# -- stats and update ------------------------------------------------------------------------------


def test_stats_and_update(box: pc.Container) -> None:
    stats = box.stats()
    assert 0 < stats.memory_current < 256 * MIB
    assert stats.pids_current >= 2
    box.update(pids=3)
    assert "fork" in box.exec(["sh", "-c", "sleep 1 & sleep 1 & sleep 1 & wait"], text=True).stderr
    box.update(pids=100, memory="300M")
    with pytest.raises(pc.InvalidArgument, match="memory"):
        box.update(memory="much")
    with pytest.raises(TypeError, match="nonsense"):
        box.update(nonsense=1)


def test_live_stats_end_with_the_container(box: pc.Container) -> None:
    seen = []
    for stats in box.stats(stream=True, interval=0.05):
        seen.append(stats)
        if len(seen) == 3:
            box.kill()
    assert 3 <= len(seen) <= 4


# -- what cannot be had ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"memory": "lots"}, "memory"),
        ({"memory": 0}, "memory"),
        ({"memory": True}, "memory"),
        ({"cpus": 0}, "cpus"),
        ({"cpus": "many"}, "cpus"),
        ({"cpus": float("nan")}, "cpus"),
        ({"pids": 0}, "pids"),
        ({"pids": -1}, "pids"),
        ({"cpu_weight": 0}, "cpu_weight"),
        ({"cpuset_cpus": "a-b"}, "cpuset_cpus"),
        ({"memory_swap": "1G"}, "memory_swap"),
        ({"memory": "1G", "memory_swap": "1M"}, "memory_swap"),
        ({"io_max": {"/nonexistent": {"rbps": 1}}}, "io_max"),
        ({"cpu_timeout": 0}, "cpu_timeout"),
        ({"best_effort": "yes"}, "best_effort"),
    ],
)
def test_nonsense_is_refused_with_its_name(options: dict[str, object], name: str) -> None:
    with pytest.raises(pc.InvalidArgument, match=name):
        pc.run("host:", ["true"], **options)


def test_a_timeout_ends_a_large_tree_at_once() -> None:
    script = "import os, time\nfor _ in range(200):\n    if os.fork() == 0: os.setsid(); time.sleep(100)\ntime.sleep(100)"
    result = pc.run("host:", python(script), timeout=2)
    assert result.timed_out
    assert result.usage.wall < 10


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def held() -> tuple[int, int, int]:
    """Fds, threads, and MiB of memory of this process."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), pages * 4096 // MIB


# To forget them is what the warning is about.
@pytest.mark.filterwarnings("ignore:unclosed <Process:ResourceWarning")
def test_a_thousand_abandoned_programs_leave_nothing(box: pc.Container) -> None:
    def abandon(count: int) -> None:
        for number in range(count):
            box.popen(["sleep", "0.01"])
            if number % 20 == 19:
                time.sleep(0.1 * SLOWNESS)  # as many as may be there at once

    def settle() -> None:
        time.sleep(0.1 * SLOWNESS)
        box.exec(["true"])  # whoever starts something collects those that have ended

    abandon(50)
    settle()
    fds, threads, memory = held()
    abandon(1000 if SLOWNESS == 1 else 200)
    settle()
    after = held()
    assert after[0] <= fds + 1
    assert after[1] <= threads
    assert after[2] <= memory + 2


def test_the_same_from_an_event_loop() -> None:
    async def use() -> None:
        hog = await aio.run("host:", python("x = bytearray(200 << 20)"), memory="64M")
        assert (hog.oom_killed, hog.limit) == (True, "memory")
        burner = await aio.run("host:", python(BURN), cpu_timeout=0.3, timeout=60)
        assert (burner.timed_out, burner.limit, burner.exit_code) == (True, "cpu_timeout", 137)
        async with aio.Container.create("host:", ["sleep", "1000"], init=True) as box:
            await box.start()
            await box.update(pids=40)
            assert (await box.stats()).pids_current >= 2
            seen = 0
            async for _ in box.stats(stream=True, interval=0.05):
                seen += 1
                if seen == 2:
                    await box.kill()
            assert seen <= 3

    asyncio.run(use())
