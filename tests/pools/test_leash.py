"""Pools and executors of a host process that is killed end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SETUP = """
import os, sys, time, threading, pycontainer as pc
engine = pc.Engine(sys.argv[1])
"""


def until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def gone(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_pool_ends_with_its_host(tmp_path, how):
    script = """
pool = pc.Pool("host:", 4, engine=engine)
pool.wait_ready()
threading.Thread(target=pool.run, args=(["sleep", "1000"],), daemon=True).start()
while not pool._taken:
    time.sleep(0.01)
pids = [warm.process.pid for warm in [*pool._ready, *pool._taken]]
print(*pids, flush=True)
time.sleep(1000)
"""
    root = tmp_path / "root"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SETUP + script, str(root)], stdout=subprocess.PIPE, text=True
    )
    with process:
        pids = process.stdout.readline().split()
        assert len(pids) >= 4
        assert not any(gone(pid) for pid in pids)
        process.send_signal(how)
        process.wait(timeout=60)
    until(lambda: all(gone(pid) for pid in pids))
    until(lambda: os.listdir(root / "run") == [])
    until(lambda: list(Path("/sys/fs/cgroup").glob(f"**/pycontainer-{process.pid}-*")) == [])


def test_a_host_that_ends_without_closing_its_pool(tmp_path):
    script = """
pool = pc.Pool("host:", 2, engine=engine)
pool.run(["true"], check=True)
print(*[warm.process.pid for warm in pool._ready], flush=True)
"""
    root = tmp_path / "root"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SETUP + script, str(root)],
        capture_output=True,
        text=True,
        check=True,
    )
    until(lambda: all(gone(pid) for pid in done.stdout.split()))
    until(lambda: os.listdir(root / "run") == [])
