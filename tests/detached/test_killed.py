"""kill -9 of everyone: the creator, the monitor, its guard, both, and clients in the midst of a verb."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time

import pytest

import pycontainer as pc
from tests.detached import storm
from tests.detached.conftest import folder, gone, prune_images, until
from tests.support import imagery

WHO = ("client", "monitor", "guard", "both")

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


@pytest.mark.needs("cgroup")
@pytest.mark.parametrize("kept", [False, True])
def test_who_commits_is_killed_while_it_stands_still(box, process, image, kept):
    """It goes on; unless somebody had paused it before."""
    container = box(("sh", "-c", "while :; do echo x; sleep 0.01; done"), image=image)
    if kept:
        container.pause()
    script = """
c = engine.containers.get(sys.argv[1])
with c._standing_still():
    say(c.status)
    time.sleep(1000)
"""
    client = process(script, container.id)
    assert client.stdout.readline() == '"paused"\n'
    assert container.status == "paused"
    client.kill()
    client.wait()
    assert container.status == ("paused" if kept else "running")
    if not kept:
        before = len(list(container.logs()))
        until(lambda: len(list(container.logs())) > before)
        container.commit().remove()
        assert container.status == "running"
        container.pause()
        assert container.status == "paused"
    container.close()


#: By name: what a client does, and how the container is before.
VERBS = {
    "create": (
        "running",
        'pc.Container.create(image, ["sleep", sleep], detach=True, labels={"sleep": sleep})',
    ),
    "run": ("running", 'pc.run(image, ["sleep", sleep], detach=True, labels={"sleep": sleep})'),
    "start": ("created", "c.start()"),
    "stop": ("running", "c.stop(0)"),
    "kill": ("running", "c.kill(); c.wait(20)"),
    "restart": ("running", "c.restart(0)"),
    "remove": ("running", "c.remove(force=True)"),
    "exec": ("running", 'c.exec(["true"])'),
    "popen": ("running", 'p = c.popen(["sleep", "1000"]); time.sleep(9)'),
    "rename": ("running", 'c.rename("other-" + c.name)'),
    "pause": ("running", "c.pause()"),
    "unpause": ("paused", "c.unpause()"),
    "update": ("running", 'c.update(memory="64M")'),
    "commit": ("running", "c.commit()"),
    "prune": ("created", "engine.containers.prune()"),
    "follow": ("running", "list(c.logs(follow=True, hold=True))"),
    "wait": ("running", "c.wait()"),
    "attach": ("running", "s = c.attach(); s.write(b'x' * 1000000)"),
    "put": ("running", "[c.write_bytes('/tmp/x', b'x' * 100000) for _ in range(99)]"),
    "get": ("running", "[c.read_bytes('/etc/passwd') for _ in range(99)]"),
    "policy": ("running", 'c.set_restart("always")'),
    "events": ("running", "list(engine.containers.events(since=0))"),
}
#: A cgroup is needed.
FREEZING = {"pause", "unpause", "update", "commit"}
SLOW = {"create", "run", "start", "restart", "commit"}
IN_THE_MIDST = """
c = engine.containers.get(sys.argv[1])
image, sleep = sys.argv[2:]
engine.workspace
c.spec
say(0)
"""


@pytest.fixture(scope="module")
def image():
    """A stored one, which can be committed."""
    images = pc.default_engine().images
    yield imagery.make_image(images, "killed:v1", imagery.base()).name
    prune_images()


@pytest.mark.parametrize(
    "verb",
    [pytest.param(verb, marks=pytest.mark.needs("cgroup")) if verb in FREEZING else verb for verb in VERBS],
)
@pytest.mark.parametrize(
    ("who", "rounds"),
    [("client", 3), ("monitor", 2), *(pytest.param(who, 40, marks=pytest.mark.exhaustive) for who in WHO)],
)
def test_in_the_midst_of_a_verb(cleared, box, process, image, verb, who, rounds):
    """At different moments: whatever was done is whole, or is undone by who comes next."""
    root, mark = os.environ["PYCONTAINER_ROOT"], f"{os.getpid():08d}"
    containers = pc.default_engine().containers
    before, script = VERBS[verb]
    for number in range(rounds):
        sleep = [f"1000.{mark}{2 * number + each:010d}" for each in range(2)]
        container = box(
            ("sleep", sleep[0]),
            start=before != "created",
            image=image,
            stdin_open=True,
            labels={"sleep": sleep[0]},
        )
        if before == "paused":
            container.pause()
            container.close()
        client = process(IN_THE_MIDST + script, container.id, image, sleep[1])
        assert client.stdout.readline() == "0\n"
        time.sleep(random.random() * (0.06 if verb in SLOW else 0.02))
        end(who, client, root)
        assert storm.settled(lambda: storm.contradictions(root, mark)) == []
        for each in containers.list(all=True):
            if each.status == "running":
                with contextlib.suppress(pc.StateError):  # its end was asked for
                    assert each.exec(["echo", "well"], text=True).stdout in {"well\n", ""}
            each.remove(force=True)
            assert each.status == "removed"
        assert containers.list(all=True) == []
        assert storm.settled(lambda: storm.sleepers(mark)) == {}
    assert storm.settled(lambda: storm.monitors(root)) == {}
    assert storm.settled(lambda: storm.mounts(root)) == []
    storm.forget_half_made(root)
    containers.prune()  # sweeps
    assert storm.settled(lambda: storm.cgroups(root)) == []


def end(who: str, client, root: str) -> None:
    """Kill the client, or who is behind the containers and leave the client alone until it has seen that."""
    pids = [sorted(each) for each in storm.monitors(root).values()]
    for each in pids:
        for pid in {"client": [], "monitor": each[:1], "guard": each[1:], "both": each[::-1]}[who]:
            storm.kill(pid)
    if who != "client":
        with contextlib.suppress(subprocess.TimeoutExpired):
            client.wait(1)
    client.kill()
    client.wait()
    client.stdout.close()
