"""Programs that clients started in a container, and do not ask about: they are the client's children, not its own."""

from __future__ import annotations

import os
import signal
import time

import pytest

import pycontainer as pc
from tests.detached.conftest import gone, until

#: A client that starts a program, and then does nothing any more.
IDLE = """
c = engine.containers.get(sys.argv[1])
p = c.popen(["sleep", "1000"], stdin=pc.DEVNULL, stdout=pc.DEVNULL)
say(p.pid)
time.sleep(1000)
"""


@pytest.fixture
def guest(process):
    """Have a client with a program in a container; the program's pid."""

    def start(container) -> int:
        client = process(IDLE, container.id)
        return int(client.stdout.readline())

    return start


def is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


def test_the_end_is_told_when_it_is(box, guest):
    container = box(["sh", "-c", "read x; exit 7"], stdin_open=True)
    pid = guest(container)
    with container.attach() as streams:
        streams.write(b"go\n")
    before = time.time()
    assert container.wait(20) == 7
    assert is_zombie(pid)
    assert container.status == "exited"
    assert container.run_state.finished / 1e9 < before + 10
    container.start()
    assert container.status == "running"
    assert container.exec(["true"]).exit_code == 0


@pytest.mark.parametrize("name", ["KILL", "TERM"])
def test_of_one_that_is_killed(box, guest, name):
    container = box()
    pid = guest(container)
    container.kill(name)
    if name == "TERM":  # the first process of a container has no default action
        container.kill("KILL")
    assert container.wait(20) == 137
    assert is_zombie(pid)
    container.remove()
    assert container.status == "removed"


def test_one_that_says_nothing_any_more(box, guest):
    """Its output is closed long before its end."""
    container = box(["sh", "-c", "exec >/dev/null 2>&1; read x; exit 5"], stdin_open=True)
    guest(container)
    with container.attach() as streams:
        streams.write(b"go\n")
    assert container.wait(20) == 5


def test_one_that_has_closed_its_output_goes_on(box, guest):
    container = box(["sh", "-c", "exec >/dev/null 2>&1; exec sleep 1000"])
    guest(container)
    time.sleep(0.5)
    assert container.status == "running"
    container.kill()
    assert container.wait(20) == 137


THREADS = """
import ctypes, os, sys, threading, time
sys.stdin.readline()
def last():
    time.sleep(0.5)
    os._exit(9)
threading.Thread(target=last).start()
os.close(1), os.close(2)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_one_whose_first_thread_has_ended_goes_on(box, guest):
    container = box(["python3", "-S", "-c", THREADS], stdin_open=True)
    guest(container)
    with container.attach() as streams:
        streams.write(b"go\n")
    assert container.wait(20) == 9


def test_it_is_restarted(box, guest):
    container = box(["sh", "-c", "read x; exit 1"], restart="always", stdin_open=True)
    pids = []
    for count in range(3):
        pids.append(guest(container))
        with container.attach() as streams:
            streams.write(b"go\n")
        until(lambda count=count: container.run_state.restarts == count + 1)
        until(lambda: container.status == "running")
    assert all(map(is_zombie, pids))
    assert container.exec(["echo", "new"]).stdout == b"new\n"


def test_the_monitor_is_killed(box, guest):
    container = box()
    guest(container)
    run = container.run_state
    os.kill(run.monitor, signal.SIGKILL)
    until(lambda: container.status == "dead", timeout=5)
    container.start()
    assert container.status == "running"


def test_who_has_it_at_hand_sees_the_next_one(box):
    """The client's own program is the reason why the old first process is still there."""
    container = box(["sh", "-c", "read x; exit 1"], restart="always", stdin_open=True)
    left = container.popen(["sleep", "1000"], stdin=pc.DEVNULL, stdout=pc.DEVNULL)
    container.write_bytes("/tmp/x", b"one")
    first = container.pid
    with container.attach() as streams:
        streams.write(b"go\n")
    until(lambda: container.run_state.restarts == 1)
    until(lambda: container.status == "running")
    assert container.pid != first
    assert container.exec(["cat", "/tmp/x"]).stdout in {b"one", b""}
    container.write_bytes("/tmp/x", b"two")
    assert container.read_bytes("/tmp/x") == b"two"
    with left:
        assert left.wait(20) == 137
    assert gone(first) or until(lambda: gone(first))
