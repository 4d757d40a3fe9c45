"""A container that outlives its creator, from its making to its removal, by several processes."""

from __future__ import annotations

import errno
import gc
import os
import stat
import threading
from collections.abc import Callable

import pytest

import pycontainer as pc
from pycontainer.kernel.cgroup import Cgroup
from tests.detached.conftest import folder, gone, until


def test_it_goes_on_without_its_creator(other):
    made = other(
        """
c = pc.run("host:", ["sh", "-c", "echo out; echo err >&2; exec sleep 1000"], detach=True, labels={"a": "b"})
say([c.id, c.pid, c.status])
"""
    )
    id_, pid, status = made
    assert status == "running"
    assert not gone(pid)
    seen = other(
        """
c = engine.containers.get(sys.argv[1][:8])
while len(lines := [[e.stream, e.data.decode()] for e in c.logs(entries=True)]) < 2:
    time.sleep(0.01)
result = c.exec(["sh", "-c", "echo in $PWD; exit 7"], text=True, workdir="/tmp")
c.write_bytes("/tmp/x", b"put")
say({"all": [e.id for e in engine.containers.list()], "status": c.status, "lines": sorted(lines), "pid": c.pid,
     "result": [result.exit_code, result.stdout], "file": c.read_bytes("/tmp/x").decode(),
     "changes": [[e.kind, e.path] for e in c.changes()]})
""",
        id_,
    )
    assert seen == {
        "all": [id_],
        "status": "running",
        "lines": [["stderr", "err\n"], ["stdout", "out\n"]],
        "pid": pid,
        "result": [7, "in /tmp\n"],
        "file": "put",
        "changes": [["added", "/tmp/x"]],
    }
    ended = other(
        """
c = engine.containers.get(sys.argv[1])
code = c.stop(timeout=0.2)
say([code, c.status, c.exit_code, [e.id for e in engine.containers.list()], [e.id for e in engine.containers.list(all=True)]])
""",
        id_,
    )
    assert ended == [137, "exited", 137, [], [id_]]
    assert gone(pid)
    assert (
        other("engine.containers.get(sys.argv[1]).remove(); say(engine.containers.list(all=True))", id_) == []
    )
    assert not os.path.exists(f"{os.environ['PYCONTAINER_ROOT']}/containers/{id_}")


def test_what_it_wrote_stays_from_one_start_to_the_next(box):
    container = box(["sh", "-c", "cat /root/x; echo more >> /root/x"], start=False)
    for expected in ([], [b"more\n"], [b"more\n", b"more\n", b"more\n"]):
        container.start()
        assert container.wait(20) == 0
        assert list(container.logs(stderr=False)) == expected
    assert "/root/x" in [each.path for each in container.changes()]


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_is_kept(box, code):
    container = box(["sh", "-c", f"exit {code}"])
    assert container.wait(20) == code
    assert container.status == "exited"
    assert pc.default_engine().containers.get(container.id).exit_code == code


def test_a_signal_is_told_as_docker_does(box):
    container = box(["sh", "-c", "kill -USR1 $$; exit 3"], init=True)
    assert container.wait(20) == 128 + 10


def test_a_program_that_is_not_there_is_told(box):
    container = box(["nonexistent"], start=False)
    with pytest.raises(pc.CommandNotFound, match="nonexistent"):
        container.start()
    assert container.status == "created"
    with pytest.raises(pc.CommandNotExecutable):
        box(["/etc/passwd"])


def test_a_start_that_fails_is_told_with_its_step(box):
    container = box(["true"], start=False, workdir="/etc/passwd")
    with pytest.raises(pc.KernelError):
        container.start()
    assert container.status == "created"


def test_names(box):
    first = box(name="db", start=False)
    with pytest.raises(pc.InvalidArgument, match="has this name"):
        box(name="db", start=False)
    second = box(start=False)
    second.rename("web")
    with pytest.raises(pc.InvalidArgument, match="has this name"):
        second.rename("db")
    containers = pc.default_engine().containers
    assert containers.get("web").id == second.id
    assert containers.get(first.id[:10]).name == "db"
    with pytest.raises(pc.InvalidArgument, match="no such container"):
        containers.get("nothing")
    first.remove()
    second.rename("db")
    assert containers.get("db").id == second.id


def test_what_each_state_allows(box):
    container = box(start=False)
    for verb in (
        container.wait,
        container.kill,
        container.pause,
        lambda: container.exec(["true"]),
        container.attach,
    ):
        with pytest.raises(pc.StateError):
            verb()
    container.start()
    for verb in (container.start, container.remove, container.unpause):
        with pytest.raises(pc.StateError, match="running"):
            verb()
    container.kill()
    assert container.wait(20) == 137
    assert container.stop() == 137
    for verb in (
        container.kill,
        container.pause,
        lambda: container.exec(["true"]),
        lambda: container.read_bytes("/etc/hosts"),
    ):
        with pytest.raises(pc.StateError, match="exited"):
            verb()
    container.remove()
    container.remove()
    assert container.status == "removed"
    with pytest.raises(pc.StateError, match="removed"):
        container.start()


@pytest.mark.needs("cgroup")
def test_pause_holds_for_all_processes(box, other):
    container = box(["sh", "-c", "while :; do date +%N; sleep 0.01; done"])
    other("engine.containers.get(sys.argv[1]).pause(); say(1)", container.id)
    assert container.status == "paused"
    with pytest.raises(pc.StateError, match="paused"):
        container.exec(["true"])
    with pytest.raises(pc.StateError, match="paused"):
        container.pause()
    assert other("say([e.status for e in engine.containers.list()])") == ["paused"]
    container.unpause()
    assert container.status == "running"
    container.pause()
    assert container.stop(0.2) == 137
    container.start()
    container.pause()
    container.kill()
    assert container.wait(20) == 137


def test_restart(box):
    container = box(["sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done"])
    before = container.pid
    container.restart()
    # A first process gets no signal that it has no handler for.
    container.wait_for(pc.wait.log("ready"), timeout=30)
    assert container.status == "running"
    assert container.pid != before
    assert gone(before)
    assert container.stop() == 4


def test_wait_in_several_processes(box, process):
    container = box(["sh", "-c", "read line; exit 9"], stdin_open=True)
    waiters = [process("say(engine.containers.get(sys.argv[1]).wait(60))", container.id) for _ in range(3)]
    with pytest.raises(pc.WaitTimeout):
        container.wait(0.1)
    with container.attach() as streams:
        streams.write(b"go\n")
    assert container.wait(20) == 9
    assert [waiter.stdout.readline() for waiter in waiters] == ["9\n"] * 3


def test_how_it_ended_is_known_when_it_is_gone(box):
    container = box(["sh", "-c", "exit 5"], auto_remove=True)
    until(lambda: not os.path.exists(folder(container)))
    assert container.status == "removed"
    assert container.wait(20) == 5
    assert container.exit_code == 5


def test_it_is_removed_with_its_end(box):
    container = box(["sh", "-c", "sleep 0.3; exit 5"], auto_remove=True)
    assert container.wait(20) == 5
    until(lambda: container.status == "removed")
    assert not os.path.exists(folder(container))
    again = box(name=container.name, start=False)
    assert pc.default_engine().containers.get(container.name).id == again.id


def test_only_the_caller_can_get_at_it(box):
    container = box()
    place = folder(container)
    for path in (
        os.path.dirname(place),
        place,
        *(f"{place}/{name}" for name in ("monitor", "log.1", "status", "plan", "run")),
    ):
        assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0, path


def test_arguments_of_it_alone(box):
    for wrong in (
        {"restart": "sometimes"},
        {"restart": "always:3"},
        {"restart": 3},
        {"auto_remove": True, "restart": "always"},
        {"log_size": 10},
        {"log_files": 0},
        {"healthcheck": 5},
        {"stdin_open": 1},
    ):
        with pytest.raises(pc.InvalidArgument):
            box(start=False, **wrong)
    with pytest.raises(pc.InvalidArgument, match="detach=True"):
        pc.Container.create("host:", ["true"], restart="always")
    with pytest.raises(pc.NotSupported):
        box(start=False, size="1M")


def test_filters(box):
    running = box(name="filter-one", labels={"kind": "db", "x": "1"})
    stopped = box(["sh", "-c", "exit 3"], name="filter-two", labels={"kind": "web"})
    stopped.wait(20)
    containers = pc.default_engine().containers

    def found(**filters):
        return {each.id for each in containers.list(all=True, filters=filters)}

    assert found(name="filter") == {running.id, stopped.id}
    assert found(label="kind=db") == {running.id}
    assert found(label=["kind", "x=1"]) == {running.id}
    assert found(label=["kind", "x=2"]) == set()
    assert found(status="exited", name="filter") == {stopped.id}
    assert found(status=["exited", "running"], name="filter") == {running.id, stopped.id}
    assert found(exited=3, name="filter") == {stopped.id}
    assert found(id=running.id[:9]) == {running.id}
    assert found(ancestor="host:", name="filter") == {running.id, stopped.id}
    assert [each.id for each in containers.list(filters={"name": "filter"})] == [running.id]
    for wrong in ({"colour": "red"}, {"status": "asleep"}):
        with pytest.raises(pc.InvalidArgument):
            containers.list(filters=wrong)


def test_prune(box):
    running, ended, created = box(), box(["true"]), box(start=False)
    ended.wait(20)
    assert set(pc.default_engine().containers.prune()) == {ended.id, created.id}
    assert running.status == "running"
    assert ended.status == "removed"


def test_inspect(box):
    container = box(name="looked-at", env={"A": "b"}, labels={"l": "m"}, restart="on-failure:2", memory=None)
    told = container.inspect()
    assert told["Name"] == "/looked-at"
    assert told["State"]["Status"] == "running"
    assert told["State"]["Pid"] == container.pid
    assert "A=b" in told["Config"]["Env"]
    assert told["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    container.kill()
    container.wait(20)
    assert container.inspect()["State"]["ExitCode"] == 137


@pytest.mark.needs("cgroup")
def test_what_it_uses_is_told_to_everyone(box, other):
    container = box(["sh", "-c", "while :; do :; done"], memory="64M", pids=20)
    assert other("s = engine.containers.get(sys.argv[1]).stats(); say(s.memory_current > 0)", container.id)
    container.update(memory="80M")
    assert container.exec(["true"]).usage.wall > 0


@pytest.mark.needs("cgroup")
def test_out_of_memory_is_told(box):
    container = box(["sh", "-c", "tail /dev/zero"], memory="16M")
    assert container.wait(60) in {1, 137}
    assert container.run_state.oom_killed
    assert container.inspect()["State"]["OOMKilled"]


def test_who_starts_one_that_goes_with_its_end(box, process):
    """It is removed by its monitor while the start waits for that."""
    for _ in range(10):
        container = box(("sleep", "1000"), auto_remove=True)
        client = process(
            """
c = engine.containers.get(sys.argv[1])
engine.workspace
say(0)
while True:
    try:
        c.restart(0)
        say("restarted")
    except pc.StateError as error:
        say(str(error))
        break
""",
            container.id,
        )
        assert client.stdout.readline() == "0\n"
        lines = client.communicate(timeout=60)[0].splitlines()
        assert client.returncode == 0
        assert "removed" in lines[-1]


def test_other_threads_of_the_same_object_go_on_while_one_restarts_it(box):
    container = box(init=True)
    over = threading.Event()
    wrong: list[Exception] = []

    def use(call: Callable[[], object]) -> None:
        while not over.is_set():
            try:
                call()
            except pc.StateError:
                pass
            except Exception as error:  # noqa: BLE001  whatever it is, it is told
                wrong.append(error)
                return

    calls: list[Callable[[], object]] = [
        lambda: container.exec(["true"]),
        lambda: container.read_bytes("/etc/passwd"),
        lambda: container.write_bytes("/tmp/x", b"1"),
        container.close,
        container.changes,
    ]
    threads = [threading.Thread(target=use, args=(each,)) for each in calls]
    for each in threads:
        each.start()
    for _ in range(6):
        container.restart(0)
    over.set()
    for each in threads:
        each.join()
    assert wrong == []


@pytest.mark.needs("cgroup2")
def test_a_cgroup_that_is_removed_while_it_is_looked_at_is_let_go(box, monkeypatch):
    container = box()
    adopt = Cgroup.adopt

    def removed(paths, **options):
        if str(paths).endswith("/main"):
            raise pc.KernelError(errno.ENOENT, "open the cgroup")
        return adopt(paths, **options)

    monkeypatch.setattr(Cgroup, "adopt", removed)
    assert container.exec(["true"]).exit_code == 0
    container.close()
    monkeypatch.undo()
    gc.collect()  # an object that nobody has closed warns here
    assert container.exec(["true"]).exit_code == 0
