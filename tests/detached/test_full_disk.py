"""An engine whose disk is full: what runs goes on, what ends is noted, what is removed goes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pycontainer as pc
from tests.detached.conftest import until

pytestmark = pytest.mark.needs("root", "cgroup")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[pc.Engine]:
    """On a file system of 3 MiB, in a mount of this test alone."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "small", place], check=True)
    try:
        with pc.Engine(place / "engine") as made:
            yield made
            for each in made.containers.list(all=True):
                with contextlib.suppress(OSError):  # a test that failed has left it as it may be
                    os.unlink(f"{made.root}/filler")
                each.remove(force=True)
    finally:
        # A monitor that has told of its end may still be about to go.
        until(lambda: subprocess.run(["umount", place], check=False, capture_output=True).returncode == 0)


def fill(engine: pc.Engine) -> str:
    """Take the last byte; what did."""
    path = f"{engine.root}/filler"
    with open(path, "ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            for size in (1 << 16, 1 << 12):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size) == size:
                        pass
            file.write(b"x")
    return path


def box(engine: pc.Engine, script: str, **options):
    # A tmpfs cannot be shown through an id map before Linux 6.3.
    return engine.run("host:", ["sh", "-c", script], detach=True, userns="host", **options)


def test_output_that_finds_no_room_is_counted(engine):
    script = (
        "read x; i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; read x; echo more; exit 3"
    )
    container = box(engine, script, stdin_open=True)
    filler = fill(engine)
    with container.attach() as streams:
        streams.write(b"go\n")
        until(lambda: container.run_state.lost > 0)
        before = container.run_state.lost
        time.sleep(0.2)
        os.unlink(filler)
        streams.write(b"go\n")
    assert container.wait(20) == 3
    lost = container.run_state.lost
    assert before <= lost
    lines = list(container.logs())
    assert lines[-1] == b"more\n"
    written = sum(len(f"line {i}\n") for i in range(2000)) + len("more\n")
    assert sum(map(len, lines)) + lost == written
    container.close()


def test_the_end_is_noted(engine):
    container = box(engine, "read x; exit 5", stdin_open=True)
    fill(engine)
    with container.attach() as streams:
        streams.write(b"go\n")
    assert container.wait(20) == 5
    assert container.status == "exited"
    assert [each.status for each in engine.containers.list(all=True)] == ["exited"]
    container.remove()
    assert container.status == "removed"
    assert engine.containers.list(all=True) == []


def test_what_was_killed_is_noted(engine):
    container = box(engine, "exec sleep 1000")
    run = container.run_state
    fill(engine)
    container.pause()
    container.unpause()
    assert container.exec(["echo", "well"]).stdout == b"well\n"
    os.kill(run.monitor, 9)
    until(lambda: container.status == "dead")
    container.remove()
    assert engine.containers.list(all=True) == []


def test_what_both_were_killed_of_is_noted(engine):
    from tests.detached.test_killed import guard_of

    container = box(engine, "exec sleep 1000")
    run, guard = container.run_state, guard_of(container)
    fill(engine)
    os.kill(guard, 19)
    os.kill(run.monitor, 9)
    os.kill(guard, 9)
    until(lambda: container.status == "dead")
    container.remove(force=True)
    assert engine.containers.list(all=True) == []


def test_nothing_begins(engine):
    """Neither a container nor a start, and nothing is left of what was tried."""
    container = engine.containers.create("host:", ["sleep", "1000"], detach=True, userns="host")
    filler = fill(engine)
    with pytest.raises(pc.PyContainerError):
        container.start()
    assert container.status == "created"
    with pytest.raises(pc.PyContainerError):
        engine.containers.create("host:", ["true"], detach=True)
    assert [each.id for each in engine.containers.list(all=True)] == [container.id]
    os.unlink(filler)
    container.start()
    assert container.status == "running"
    names = os.listdir(f"{engine.root}/containers")
    assert [name for name in names if os.path.isdir(f"{engine.root}/containers/{name}")] == [container.id]
    container.remove(force=True)


def test_a_restart_goes_on(engine):
    container = box(engine, "read x; echo again; exit 1", stdin_open=True, restart="always")
    fill(engine)
    with container.attach() as streams:
        streams.write(b"go\n")
    until(lambda: container.run_state.restarts == 1)
    until(lambda: container.status == "running")
    assert container.stop(0) == 137
    container.remove()


def test_a_log_that_cannot_be_begun_anew_is_not_lost(engine):
    """The older files stay where they are, however often it is tried."""
    script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; read x; {}; read x"
    more = "i=0; while [ $i -lt 3000 ]; do echo more $i; i=$((i+1)); done"
    container = box(engine, script.format(more), stdin_open=True, log_size="64K", log_files=50)
    until(lambda: b"line 2999\n" in list(container.logs(tail=1)))
    fill(engine)
    with container.attach() as streams:
        streams.write(b"go\n")
        until(lambda: container.run_state.lost > 10000)
    lines = list(container.logs())
    assert lines[:3000] == [f"line {i}\n".encode() for i in range(3000)]
    container.remove(force=True)
