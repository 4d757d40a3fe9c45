"""Programs that do not want to end, and traces for who comes next: all is gone when a container is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import pycontainer as pc
from tests.support.processes import members


@pytest.fixture
def mounts(probe):
    return [pc.Bind(probe, "/probe", read_only=True)]


class Watched:
    """A run whose pid namespace is known, as its output tells it."""

    def __init__(self, mounts, *words: str, **options: object) -> None:
        # The shell hands its place to the payload: one process more would be one more to end.
        script = 'readlink /proc/self/ns/pid; exec "$@"'
        self.result = pc.run("host:", ["sh", "-c", script, "sh", *words], mounts=mounts, text=True, **options)
        self.namespace = self.result.stdout.splitlines()[0]
        assert self.namespace.startswith("pid:[")


@pytest.mark.parametrize("init", [False, True])
def test_a_daemon_ends_with_the_run(mounts, init):
    started = time.monotonic()
    run = Watched(mounts, "/probe", "daemon", "x", init=init, timeout=20)
    assert not run.result.timed_out
    assert time.monotonic() - started < 10
    assert members(run.namespace) == []


@pytest.mark.parametrize("init", [False, True])
@pytest.mark.parametrize("words", [("daemon", "x", "stay"), ("forks", "64"), ("stop",)])
def test_who_ignores_everything_ends_with_the_timeout(mounts, words, init):
    started = time.monotonic()
    run = Watched(mounts, "/probe", *words, init=init, timeout=1)
    assert run.result.timed_out
    assert time.monotonic() - started < 15
    assert members(run.namespace) == []
    if words[0] == "forks":
        assert "64 all" in run.result.stdout


def test_the_search_for_processes_finds_them(mounts):
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts) as container:
        container.start()
        namespace = os.readlink(f"/proc/{container.pid}/ns/pid")
        with container.popen(["/probe", "daemon", "x", "stay"], stdout=pc.DEVNULL):
            deadline = time.monotonic() + 10
            while len(members(namespace)) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            container.kill()
    assert members(namespace) == []


def test_processes_are_bounded_where_asked(mounts):
    # The bound counts all processes of the user on the host: with ids of its own, those of the container.
    run = Watched(
        mounts,
        "/probe",
        "forks",
        "200",
        timeout=2,
        ulimits={"nproc": 50},
        user="1000" if os.geteuid() == 0 else None,
    )
    if os.geteuid() == 0:
        made, reason = run.result.stdout.splitlines()[1].split()
        assert int(made) < 60
        assert reason == "EAGAIN"
    assert members(run.namespace) == []


@pytest.mark.parametrize("init", [False, True])
def test_a_container_of_stopped_processes_can_be_ended(mounts, init):
    with pc.Container.create("host:", ["/probe", "stop"], mounts=mounts, init=init) as container:
        container.start()
        namespace = os.readlink(f"/proc/{container.pid}/ns/pid")
        time.sleep(0.3)
        container.stop(timeout=0.5)
        assert container.status == "exited"
    assert members(namespace) == []


def test_an_exec_that_times_out_takes_what_ignores_signals(mounts):
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts) as container:
        container.start()
        for words in (["daemon", "x", "stay"], ["stop"]):
            result = container.exec(["/probe", *words], timeout=0.5)
            assert result.timed_out
        assert container.status == "running"
        namespace = os.readlink(f"/proc/{container.pid}/ns/pid")
        container.kill()
    assert members(namespace) == []


# -- the next one --------------------------------------------------------------------------


def outcomes(result: pc.Result[str]) -> dict[str, str]:
    assert result.exit_code == 0, result.stderr
    return dict(line.split() for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    "options", [{}, {"privileged": True}, {"cap_add": ["SYS_ADMIN"]}, {"read_only": True}]
)
def test_the_next_container_finds_nothing(mounts, options):
    seen = set()
    for _ in range(3):
        left = outcomes(pc.run("host:", ["/probe", "leave"], mounts=mounts, text=True, timeout=60, **options))
        assert left["shm"] == left["sem"] == left["msg"] == left["mqueue"] == left["/dev/shm/trace"] == "done"
        after = pc.run(
            "host:",
            ["sh", "-c", "cat /proc/self/uid_map >&2; exec /probe find"],
            mounts=mounts,
            text=True,
            timeout=60,
        )
        seen.add(after.stderr.split()[1])
        found = outcomes(after)
        assert {name: outcome for name, outcome in found.items() if outcome == "done"} == {}
    if os.geteuid() == 0 and not options:
        # The same ids: the user namespace was one that the former had.
        assert len(seen) == 1


def test_what_is_left_is_found_where_it_was_left(mounts):
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts) as container:
        container.start()
        left = outcomes(container.exec(["/probe", "leave"], text=True))
        found = outcomes(container.exec(["/probe", "find"], text=True))
        assert found == {**left, "abstract": "ECONNREFUSED"}


@pytest.mark.needs("root")
def test_ids_are_not_shared_with_one_that_could_leave_something(mounts):
    """Who may mount can hold on to its user namespace; the next container gets another one."""
    mark = "/proc/sys/user/max_inotify_watches"
    for options in ({"privileged": True}, {"cap_add": ["ALL"], "userns": "auto"}):
        script = f"echo 77 > {mark} || {{ mount -t proc proc /mnt && echo 77 > /mnt{mark[5:]}; }}; cat {mark}"
        left = pc.run("host:", ["sh", "-c", script], text=True, timeout=60, **options)
        assert left.stdout == "77\n", left.stderr
        after = pc.run("host:", ["cat", mark], text=True, timeout=60)
        assert after.stdout != "77\n"


def test_a_kept_container_is_gone_with_its_layer(mounts):
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts) as container:
        container.start()
        outcomes(container.exec(["/probe", "leave"], text=True))
        folder = [
            path
            for path in Path(os.environ["PYCONTAINER_ROOT"], "run").glob("*/*")
            if path.name == container.id[:12]
        ]
        assert len(folder) == 1
    assert not folder[0].exists()
