"""What dies with whom: a host process that is killed takes its containers, and all they had, with it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pycontainer as pc
from tests.support import needs

#: Python has no handler for a SIGINT that is ignored when it starts, as in the background of a shell.
SETUP = """
import signal, sys, threading, time, pycontainer as pc
signal.signal(signal.SIGINT, signal.default_int_handler)
engine = pc.Engine(sys.argv[1])
"""
READY = """
print("ready", *pids, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def host(tmp_path):
    """Run a script in a host process of its own: yields a function that returns the process and its output."""
    root = tmp_path / "root"
    started = []

    def start(script: str) -> tuple[subprocess.Popen[str], list[str]]:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SETUP + script + READY, str(root)],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        words = process.stdout.readline().split()
        assert words[:1] == ["ready"]
        return process, words[1:]

    start.root = root
    yield start
    for process in started:
        process.kill()
        process.wait(timeout=60)
        process.stdout.close()


def gone(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def cgroups(pid: int) -> list[Path]:
    """Those of one host process: others may run, and end, on the machine."""
    return list(Path("/sys/fs/cgroup").glob(f"**/pycontainer-{pid}-*"))


def left(root: Path) -> list[str]:
    return sorted(os.listdir(root / "run"))


def test_kill_9_ends_everything(host):
    process, pids = host(
        """
c = engine.containers.create("host:", ["sleep", "1000"])
c.start()
p = c.popen(["sleep", "1000"])
q = c.popen(["sh", "-c", "setsid sleep 1000 & wait"])
c.write_bytes("/root/file", b"x")
pids = [c.pid, p.pid, q.pid]
"""
    )
    assert not any(gone(pid) for pid in pids)
    if needs.lacking("cgroup") is None:
        assert cgroups(process.pid) != []
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    until(lambda: all(gone(pid) for pid in pids))
    until(lambda: left(host.root) == [])
    until(lambda: cgroups(process.pid) == [])


def test_kill_9_during_a_run(host):
    process, _ = host(
        """
threading.Thread(target=engine.run, args=("host:", ["sleep", "4242"]), daemon=True).start()
pids = []
"""
    )

    def sleepers() -> list[str]:
        done = subprocess.run(["pgrep", "-f", "^sleep 4242$"], capture_output=True, text=True, check=False)
        return done.stdout.split()

    until(lambda: len(sleepers()) == 1)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    until(lambda: sleepers() == [])
    until(lambda: left(host.root) == [])


def test_threads_that_started_containers_may_end(host):
    process, pids = host(
        """
c = engine.containers.create("host:", ["sleep", "1000"])
t = threading.Thread(target=c.start)
t.start(); t.join(); time.sleep(0.3)
assert c.status == "running"
pids = [c.pid]
"""
    )
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    until(lambda: gone(pids[0]))


def test_an_orderly_end_leaves_nothing(host):
    process, pids = host(
        """
c = engine.containers.create("host:", ["sleep", "1000"])
c.start()
pids = [c.pid]
"""
    )
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    until(lambda: gone(pids[0]))
    until(lambda: left(host.root) == [])


def reaper_of(pid: int) -> int:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if Path(f"/proc/{child}/comm").read_text() == "reaper\n":
            return int(child)
    raise AssertionError("no reaper")


def test_a_killed_reaper_is_replaced_and_the_new_one_knows(host):
    process, pids = host(
        """
import os, signal
from pathlib import Path
def reapers():
    me = os.getpid()
    found = Path(f"/proc/{me}/task/{me}/children").read_text().split()
    return [int(p) for p in found if Path(f"/proc/{p}/comm").read_text() == "reaper\\n"]
c = engine.containers.create("host:", ["sleep", "1000"])
c.start()
(old,) = reapers()
os.kill(old, signal.SIGKILL)
time.sleep(0.2)
d = engine.containers.create("host:", ["sleep", "1000"])
d.start()
assert old not in [p for p in reapers() if Path(f"/proc/{p}/stat").read_text().split()[2] != "Z"]
pids = [c.pid, d.pid]
"""
    )
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    until(lambda: all(gone(pid) for pid in pids))
    until(lambda: left(host.root) == [])


#: Kills the host, and its leash if there is one to be killed, once its first cgroup has a directory.
KILLED_IN_THE_MIDST = """
from pycontainer.kernel.cgroup.directory import Directory
from pycontainer.kernel.reaper import running_reaper
make = Directory.make
def killed(self, name):
    made = make(self, name)
    if name.startswith(f"pycontainer-{os.getpid()}-"):
        if %r:
            os.kill(running_reaper(), 9)
        os.kill(os.getpid(), 9)
    return made
Directory.make = killed
engine.run("host:", ["true"])
"""


@pytest.mark.needs("cgroup")
@pytest.mark.parametrize("leash_too", [False, True])
def test_a_cgroup_that_was_being_made_is_removed(tmp_path, leash_too):
    """By the leash, which knew of it before; or by the next start, for which it was noted before."""
    root = tmp_path / "root"
    script = f"import os\nimport pycontainer as pc\nengine = pc.Engine({str(root)!r})\n"
    command = [sys.executable, "-c", script + KILLED_IN_THE_MIDST % leash_too]
    with subprocess.Popen(command) as process:
        assert process.wait(60) == -signal.SIGKILL

    def started_again() -> bool:
        with pc.Engine(root) as engine:
            assert engine.run("host:", ["true"]).exit_code == 0
        return cgroups(process.pid) == []

    if leash_too:
        assert cgroups(process.pid) != []
        until(started_again)  # the leash holds the lock until it has ended
    until(lambda: cgroups(process.pid) == [])
    until(lambda: left(root) == [])


def test_the_next_start_sweeps_what_a_killed_reaper_left(host):
    process, pids = host(
        """
c = engine.containers.create("host:", ["sleep", "1000"])
c.start()
pids = [c.pid]
"""
    )
    reaper = os.pidfd_open(reaper_of(process.pid))
    signal.pidfd_send_signal(reaper, signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    # It holds the lock until it has ended, which may be after the host's end.
    assert select.select([reaper], [], [], 60)[0]
    os.close(reaper)
    assert len(left(host.root)) == 1
    with pc.Engine(host.root) as engine:
        assert engine.run("host:", ["true"]).exit_code == 0
        assert len(left(host.root)) == 1
        assert not left(host.root)[0].startswith(f"{process.pid}-")
    until(lambda: all(gone(pid) for pid in pids))


def test_an_engine_in_use_is_not_swept(host):
    process, pids = host(
        """
c = engine.containers.create("host:", ["sleep", "1000"])
c.start()
pids = [c.pid]
"""
    )
    with pc.Engine(host.root) as engine:
        assert engine.run("host:", ["true"]).exit_code == 0
    assert not gone(pids[0])
    assert left(host.root)[0].startswith(f"{process.pid}-")


def test_a_root_that_others_can_enter_is_refused(tmp_path):
    root = tmp_path / "open"
    root.mkdir(mode=0o755)
    with pytest.raises(pc.NotSupported, match="0700"):
        pc.Engine(root).run("host:", ["true"])


def test_closing_an_engine_removes_its_containers(tmp_path):
    engine = pc.Engine(tmp_path / "root")
    container = engine.containers.create("host:", ["sleep", "1000"])
    container.start()
    engine.close()
    assert container.status == "removed"
    assert left(tmp_path / "root") == []
