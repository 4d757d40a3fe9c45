"""Snapshots and forks: the same files for several containers, each with a writable layer of its own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer import aio


@pytest.fixture
def stopped():
    """A container that has written something, and has ended."""
    with pc.Container.create(
        "host:", ["sh", "-c", "echo one > /srv/file; rm -r /opt; mkdir /opt; echo x > /opt/new"]
    ) as made:
        made.start()
        assert made.wait(30) == 0
        yield made


def text(container: pc.Container, script: str) -> str:
    result = container.exec(["sh", "-c", script], text=True)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_forks_see_what_was_written_and_not_each_other(stopped):
    first, second = stopped.fork(2)
    with first, second:
        for number, fork in enumerate((first, second)):
            fork.spec.image  # noqa: B018
            result = pc.run(fork.spec.image, ["sh", "-c", "cat /srv/file; ls /opt"], text=True)
            assert result.stdout == "one\nnew\n"
            assert fork.status == "created"
            assert fork.changes() == []
            assert number in {0, 1}


def test_a_fork_has_the_command_and_the_settings(stopped):
    (fork,) = stopped.fork()
    with fork:
        fork.start()
        assert fork.wait(30) == 0
        assert fork.spec.argv == stopped.spec.argv
        assert fork.id != stopped.id


def test_the_container_goes_on_and_tells_all_its_changes(stopped):
    before = stopped.changes()
    with stopped.snapshot():
        assert stopped.changes() == before
    stopped.start()
    assert stopped.wait(30) == 0
    paths = {change.path: change.kind for change in stopped.changes()}
    assert paths["/srv/file"] == "added"
    assert paths["/opt/new"] == "added"


def test_what_is_below_goes_with_the_last_that_has_it(stopped):
    run = Path(os.environ["PYCONTAINER_ROOT"], "run")
    snapshot = stopped.snapshot()
    (fork,) = snapshot.fork()
    snapshot.close()
    snapshot.close()
    stopped.remove()
    assert list(run.glob("*/sealed-*"))
    fork.start()
    assert fork.wait(30) == 0
    fork.remove()
    assert not list(run.glob("*/sealed-*"))
    with pytest.raises(pc.StateError):
        snapshot.fork()


def test_nothing_was_started_yet():
    with pc.Container.create("host:", ["cat", "/etc/hostname"]) as made, made.snapshot() as snapshot:
        (fork,) = snapshot.fork()
        with fork:
            fork.start()
            assert fork.wait(30) == 0
            assert made.changes() == fork.changes() == []


@pytest.mark.parametrize("count", [0, -1, True, 2.0, "2", 10**9])
def test_impossible_counts(stopped, count):
    with stopped.snapshot() as snapshot, pytest.raises(pc.InvalidArgument, match="count"):
        snapshot.fork(count)


def test_deep_stacks(stopped):
    """A snapshot of a fork of a snapshot of ..: overlayfs has a bound."""
    container = stopped
    forks = []
    try:
        for number in range(40):
            (container,) = container.fork()
            forks.append(container)
            if number % 10 == 9:
                container.start()
                assert container.wait(30) == 0
    finally:
        for each in forks:
            each.remove(force=True)


@pytest.mark.needs("cgroup")
def test_one_that_runs_is_copied_while_it_stands_still():
    with pc.Container.create("host:", ["sleep", "100"]) as made:
        made.start()
        text(made, "echo one > /srv/file; ln /srv/file /srv/same; rm -r /opt; mkfifo /srv/fifo")
        with made.snapshot() as snapshot:
            text(made, "echo two > /srv/file")
            (fork,) = snapshot.fork()
            with fork:
                fork.start()
                assert (
                    text(fork, "cat /srv/file; ls /opt; test /srv/file -ef /srv/same; test -p /srv/fifo")
                    == "one\n"
                )
                text(fork, "echo three > /srv/file")
        assert text(made, "cat /srv/file /srv/same") == "two\ntwo\n"


def test_it_says_what_it_is(tmp_path):
    with pc.Container.create("host:", ["true"]) as container:
        with container.snapshot() as snapshot:
            assert repr(snapshot) == f"<Snapshot of {snapshot.image.name}>"
        assert repr(snapshot).endswith(" closed>")


def test_from_an_event_loop(tmp_path):
    async def story() -> list[str]:
        async with aio.Container.create("host:", ["sh", "-c", "echo one > /srv/file"]) as first:
            await first.start()
            assert await first.wait(30) == 0
            async with await first.snapshot() as snapshot:
                (second,) = await snapshot.fork()
                (third,) = await second.fork()
                async with second, third:
                    found = await aio.run(snapshot.image, ["cat", "/srv/file"], text=True)
                    return [found.stdout, second.status, third.status]

    assert asyncio.run(story()) == ["one\n", "created", "created"]
