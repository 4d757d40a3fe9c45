"""kill -9 of everyone: the creator, the monitor, its guard, both, and clients in the midst of a verb."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

import pycontainer as pc
from tests.detached.conftest import folder, gone, until

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def guard_of(container) -> int | None:
    """The guard is the monitor's child of its own name."""
    monitor = container.run_state.monitor
    with open(f"/proc/{monitor}/task/{monitor}/children") as file:
        for pid in map(int, file.read().split()):
            with open(f"/proc/{pid}/comm") as name:
                if name.read() == "guard\n":
                    return pid
    return None


def test_the_monitor(box):
    container = box(["sh", "-c", "sleep 1000 & sleep 1000"], restart="always")
    run = container.run_state
    guard = guard_of(container)
    os.kill(run.monitor, signal.SIGKILL)
    until(lambda: gone(run.pid))
    until(lambda: container.run_state.phase == "dead")
    until(lambda: gone(guard))
    assert container.status == "dead"
    assert container.exit_code is None
    assert container.wait(5) == 255
    events = [
        each.action
        for each in pc.default_engine().containers.events(since=0, follow=False)
        if each.id == container.id
    ]
    assert events[-1] == "dead"
    container.start()
    assert container.status == "running"
    assert container.exec(["true"]).exit_code == 0


def test_the_monitor_of_one_that_is_to_be_removed(box):
    container = box(auto_remove=True)
    os.kill(container.run_state.monitor, signal.SIGKILL)
    until(lambda: container.status == "removed")


def test_the_guard_is_made_anew(box):
    container = box()
    first = guard_of(container)
    os.kill(first, signal.SIGKILL)
    second = until(lambda: [pid for pid in [guard_of(container)] if pid not in {first, None}])[0]
    assert container.status == "running"
    run = container.run_state
    os.kill(run.monitor, signal.SIGKILL)
    until(lambda: gone(run.pid) and gone(second))
    assert container.status == "dead"


def test_both(box, other):
    container = box(["sh", "-c", "sleep 1000 & sleep 1000"])
    run, guard = container.run_state, guard_of(container)
    os.kill(guard, signal.SIGSTOP)
    os.kill(run.monitor, signal.SIGKILL)
    os.kill(guard, signal.SIGKILL)
    until(lambda: gone(guard) and gone(run.monitor))
    assert other("say([e.status for e in engine.containers.list(all=True)])") == ["dead"]
    until(lambda: gone(run.pid))
    assert container.exit_code is None
    container.start()
    assert container.status == "running"


def test_the_monitor_while_it_waits_to_restart(box):
    container = box(["false"], restart="always")
    until(lambda: container.run_state.restarts >= 3 and container.status == "restarting")
    os.kill(container.run_state.monitor, signal.SIGKILL)
    until(lambda: container.status == "dead")


@pytest.mark.needs("cgroup")
def test_the_monitor_of_a_paused_one(box):
    container = box()
    container.pause()
    run = container.run_state
    os.kill(run.monitor, signal.SIGKILL)
    until(lambda: gone(run.pid))
    until(lambda: container.status == "dead")


def test_a_term_for_the_monitor_is_an_orderly_end(box):
    container = box(
        ["sh", "-c", "trap 'exit 6' TERM; echo up; while :; do sleep 0.01; done"], restart="always"
    )
    until(lambda: list(container.logs()))
    os.kill(container.run_state.monitor, signal.SIGTERM)
    assert container.wait(20) == 6
    assert container.status == "exited"


def test_a_reboot_is_noticed(box):
    container = box()
    container.kill()
    container.wait(20)
    place = f"{folder(container)}/status"
    with open(place) as file:
        text = file.read()
    boot = text.split("boot=")[1].split()[0]
    text = (
        text.replace("phase=exited", "phase=running")
        .replace(boot, "0" * 36)
        .replace("pid=0", f"pid={os.getpid()}")
    )
    with open(place, "w") as file:
        file.write(text)
    assert container.status == "dead"
    assert pc.default_engine().containers.revive() == []
    container.set_restart("always")
    assert pc.default_engine().containers.revive() == [container.id]
    assert container.status == "running"


def test_who_attaches_or_follows_or_waits_leaves_no_trace(box, process):
    container = box(["sh", "-c", "while :; do echo x; sleep 0.01; done"], stdin_open=True)
    scripts = (
        "c.wait()",
        "[say(1) for line in c.logs(follow=True)]",
        "a = c.attach(); a.write(b'x'); [say(1) for line in a]",
        "[say(1) for e in engine.containers.events(since=0)]",
        "c.exec(['sleep', '1000'])",
        "p = c.popen(['cat'], stdin=pc.PIPE); say(1); time.sleep(100)",
    )
    for script in scripts:
        client = process(f"c = engine.containers.get(sys.argv[1]); say(0); {script}", container.id)
        assert client.stdout.readline() == "0\n"
        time.sleep(0.1)
        client.kill()
        client.wait()
        assert container.status == "running"
    container.kill()
    assert container.wait(20) == 137


VERBS = {
    "create": 'pc.Container.create("host:", ["sleep", "1000"], detach=True, labels={"round": "1"})',
    "run": 'pc.run("host:", ["sleep", "1000"], detach=True, labels={"round": "1"})',
    "start": "c.start()",
    "stop": "c.stop(0)",
    "kill": "c.kill()",
    "restart": "c.restart(0)",
    "remove": "c.remove(force=True)",
    "exec": 'c.exec(["true"])',
    "rename": 'c.rename("other-" + c.name)',
    "pause": "c.pause()",
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_client_in_the_midst_of_a_verb(box, process, verb):
    """At different moments: whatever was done is whole, or is undone by who comes next."""
    containers = pc.default_engine().containers
    for moment in range(6):
        container = box(start=verb != "start")
        client = process(
            f"c = engine.containers.get(sys.argv[1]); engine.workspace; say(0)\n{VERBS[verb]}", container.id
        )
        assert client.stdout.readline() == "0\n"
        time.sleep(0.004 * moment * (3 if verb in {"create", "run", "start", "restart"} else 1))
        client.kill()
        client.wait()
        client.stdout.close()
        for each in containers.list(all=True):
            status = each.status
            assert status in {"created", "running", "exited", "dead", "paused"}, status
            if status == "running":
                with contextlib.suppress(pc.StateError):  # its end was asked for
                    assert each.exec(["echo", "well"], text=True).stdout in {"well\n", ""}
            each.remove(force=True)
            assert each.status == "removed"
        assert containers.list(all=True) == []
    containers.prune()  # sweeps what is half-made
