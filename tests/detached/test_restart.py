"""Restart policies: who is started again, when, and how that is seen."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time

import pytest

from pycontainer.kernel.cgroup import Cgroup
from tests.detached.conftest import folder, gone, until


def started(container) -> list[float]:
    return [entry.time for entry in container.logs(entries=True, stderr=False)]


def test_on_failure_so_many_times(box):
    container = box(["sh", "-c", "echo run; exit 3"], restart="on-failure:3")
    assert container.wait(30) == 3
    assert container.run_state.restarts == 3
    assert len(started(container)) == 4


def test_the_pauses_double(box):
    container = box(["sh", "-c", "echo run; exit 3"], restart="on-failure:3")
    container.wait(30)
    times = started(container)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=True):
        assert pause >= least


def test_who_succeeds_is_not_restarted_on_failure(box):
    container = box(
        ["sh", "-c", "echo run; [ -e /root/x ] || { touch /root/x; exit 1; }"], restart="on-failure"
    )
    assert container.wait(30) == 0
    assert container.run_state.restarts == 1


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_always_until_stopped(box, policy, other):
    container = box(["sh", "-c", "echo run; exit 0"], restart=policy)
    until(lambda: len(started(container)) >= 3)
    other("engine.containers.get(sys.argv[1]).stop(); say(1)", container.id)
    assert container.status == "exited"
    count = len(started(container))
    time.sleep(0.3)
    assert len(started(container)) == count


def test_the_pause_is_a_state(box):
    container = box(["false"], restart="always")
    until(lambda: container.run_state.restarts >= 3)
    until(lambda: container.status == "restarting")
    container.kill()
    assert container.wait(10) == 1


def test_kill_ends_for_good(box):
    container = box(restart="always")
    container.kill()
    assert container.wait(20) == 137
    assert container.status == "exited"


def test_a_signal_from_inside_does_not(box):
    container = box(["sh", "-c", "echo run; kill -9 $$; sleep 1000"], restart="always", init=True)
    until(lambda: len(started(container)) >= 2)


def test_it_is_the_same_container(box):
    container = box(
        [
            "sh",
            "-c",
            "echo run $HOSTNAME; id -u; echo x >> /root/n; [ $(wc -l < /root/n) = 3 ] || exit 1; cat /proc/self/cgroup",
        ],
        restart="always",
    )
    until(lambda: len([line for line in container.logs() if b"run" in line]) >= 4)
    container.stop()
    lines = [line for line in container.logs() if b"run" in line]
    assert set(lines) == {b"run " + container.id[:12].encode() + b"\n"}


def test_exec_and_streams_after_a_restart(box):
    container = box(["sh", "-c", "echo up; sleep 1000"], restart="always")
    until(lambda: list(container.logs()))
    first = container.pid
    assert container.exec(["echo", "one"], text=True).stdout == "one\n"
    # From outside of all that the monitor knows: as an end of its own.
    import os
    import signal

    os.kill(first, signal.SIGKILL)
    # Not asked for its pid, which is refused in the moment between its end and its next start.
    until(lambda: container.status == "running" and container.run_state.pid not in {first, 0})
    assert gone(first)
    assert container.exec(["echo", "two"], text=True).stdout == "two\n"
    until(lambda: list(container.logs()) == [b"up\n", b"up\n"])


def test_a_policy_can_be_changed(box):
    container = box(["sh", "-c", "read x; exit 1"], stdin_open=True)
    container.set_restart("on-failure:2")
    with container.attach() as streams:
        streams.write(b"\n")
    until(lambda: container.status == "running" and container.run_state.restarts == 1)
    container.set_restart("no")
    with container.attach() as streams:
        streams.write(b"\n")
    assert container.wait(20) == 1
    assert container.inspect()["HostConfig"]["RestartPolicy"]["Name"] == "no"


@pytest.mark.needs("cgroup")
def test_limits_hold_after_a_restart(box):
    container = box(["sh", "-c", "echo run; tail /dev/zero"], restart="on-failure:2", memory="16M")
    assert container.wait(60) != 0
    assert len(started(container)) == 3
    assert container.run_state.oom_killed


@pytest.mark.needs("cgroup", "cgroup2_tree", "root")
def test_one_that_was_paused_begins_anew_and_not_frozen(box):
    container = box(restart="always")
    container.pause()
    os.kill(container.pid, signal.SIGKILL)
    until(lambda: container.run_state.restarts == 1)
    until(lambda: container.status == "running")
    assert container.exec(["true"]).exit_code == 0


@pytest.mark.needs("cgroup")
def test_a_start_that_is_frozen_goes_on(box):
    """By somebody who looked before the last run had ended."""
    container = box(["false"], restart="always")
    until(lambda: container.run_state.restarts >= 3 and container.status == "restarting")
    with open(f"{folder(container)}/run", "rb") as file:
        found = Cgroup.adopt(json.load(file)["cgroup"])
    found.freeze()
    found.leave()
    before = container.run_state.restarts
    until(lambda: container.run_state.restarts > before)
    container.remove(force=True)
