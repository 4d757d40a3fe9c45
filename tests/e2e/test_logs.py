"""What a container of this process writes: its log, and those that wait for a line of it."""

from __future__ import annotations

import os
import signal
import time

import pytest

import pycontainer as pc
from pycontainer.container import journal
from pycontainer.kernel.scribe import running_scribe

#: Takes away what is written to its own standard output, and blocks.
THIEF = "exec 3</proc/self/fd/1; echo taken; while :; do cat <&3 >/dev/null; done"


@pytest.fixture
def box():
    """Make and start a container of the host's programs, removed at the end."""
    made = []

    def make(script, **options):
        container = pc.Container.create("host:", ["sh", "-c", script], **options)
        made.append(container)
        container.start()
        return container

    yield make
    for each in made:
        each.remove(force=True)


def test_lines_of_both_streams(box):
    before = time.time()
    container = box("echo one; sleep 0.05; echo two >&2; sleep 0.05; printf 'three\\nfour'")
    assert container.wait() == 0
    assert list(container.logs()) == [b"one\n", b"two\n", b"three\n", b"four"]
    assert list(container.logs(stderr=False)) == [b"one\n", b"three\n", b"four"]
    assert list(container.logs(stdout=False)) == [b"two\n"]
    assert list(container.logs(tail=2)) == [b"three\n", b"four"]
    entries = list(container.logs(entries=True))
    assert [each.stream for each in entries] == ["stdout", "stderr", "stdout", "stdout"]
    assert before <= entries[0].time < entries[1].time <= time.time()
    assert list(container.logs(since=entries[1].time)) == [b"two\n", b"three\n", b"four"]


def test_by_name_too(box):
    container = box("echo out > /dev/stdout; echo err > /dev/stderr")
    container.wait()
    assert sorted(container.logs(entries=True), key=lambda each: each.stream)[0].data == b"err\n"
    assert sorted(container.logs()) == [b"err\n", b"out\n"]


def test_following_ends_with_the_program(box):
    container = box("for i in 1 2 3; do echo $i; sleep 0.1; done")
    assert list(container.logs(follow=True)) == [b"1\n", b"2\n", b"3\n"]
    assert list(container.logs(follow=True)) == [b"1\n", b"2\n", b"3\n"]
    assert list(container.logs(follow=True, until=time.time() + 0.1)) == [b"1\n", b"2\n", b"3\n"]


def test_all_starts_are_in_it_and_conditions_look_at_the_last(box):
    container = box("test -e /ready || { touch /ready; echo ready; }; exec sleep 1000")
    container.wait_for(pc.wait.log("ready"), timeout=20)
    container.restart(timeout=0)
    with pytest.raises(pc.WaitTimeout, match="log"):
        container.wait_for(pc.wait.log("ready"), timeout=0.2)
    assert list(container.logs()) == [b"ready\n"]
    assert list(container.logs(since=container.started_at)) == []


def test_what_was_written_last_is_there_at_once(box):
    for number in range(30):
        container = box(f"echo {number}")
        container.wait()
        assert list(container.logs()) == [b"%d\n" % number]
        container.remove()


def test_where_the_streams_go_elsewhere_nothing_is_logged(tmp_path):
    with pc.Container.create("host:", ["sh", "-c", "echo out; echo err >&2"]) as container:
        assert list(container.logs()) == []
        container.start(stdout=None, stderr=None)
        container.wait()
        assert list(container.logs()) == []
        with (tmp_path / "out").open("wb") as file:
            container.start(stdout=file)
        container.wait()
        assert list(container.logs()) == [b"err\n"]
        assert (tmp_path / "out").read_bytes() == b"out\n"
        container.start(stderr=pc.STDOUT)
        container.wait()
        assert list(container.logs(tail=2)) == [b"out\n", b"err\n"]
    with pytest.raises(pc.StateError, match="removed"):
        container.logs()


def test_a_terminal_is_its_own_log():
    with pc.Container.create("host:", ["true"], tty=True) as container:
        container.start()
        container.wait()
        with pytest.raises(pc.NotSupported, match="terminal"):
            container.logs()


def test_it_is_bounded(box, monkeypatch):
    monkeypatch.setattr(journal, "_SIZE", 64 << 10)
    container = box("seq 100000")
    container.wait()
    kept = list(container.logs())
    assert kept == [b"%d\n" % number for number in range(100001 - len(kept), 100001)]
    assert len(kept) > 1000
    folder = container._journal.folder
    assert len(os.listdir(folder)) == 5
    assert all(os.path.getsize(f"{folder}/{name}") <= 64 << 10 for name in os.listdir(folder))


def test_who_takes_away_his_own_output_stops_nobody_elses(box):
    thief = box(THIEF)
    other = box("i=0; while [ $i -lt 200 ]; do echo $i; i=$((i+1)); sleep 0.001; done")
    assert other.wait(30) == 0
    assert list(other.logs()) == [b"%d\n" % number for number in range(200)]
    assert thief.status == "running"
    list(thief.logs())
    thief.kill()


def test_a_flood_is_taken_and_bounded(box):
    container = box("yes | head -c 30000000")
    assert container.wait(120) == 0
    assert list(container.logs(tail=1)) == [b"y\n"]


def test_one_that_was_killed_is_started_again(box):
    container = box("echo before; exec sleep 1000")
    container.wait_for(pc.wait.log("before"), timeout=20)
    os.kill(running_scribe(), signal.SIGKILL)
    assert list(container.logs()) == [b"before\n"]
    assert list(container.logs(follow=True)) == [b"before\n"]
    other = box("echo after")
    other.wait()
    assert list(other.logs()) == [b"after\n"]
    container.restart(timeout=0)
    container.wait_for(pc.wait.log("before"), timeout=20)
    assert list(container.logs()) == [b"before\n"] * 2


def test_many_at_once(box):
    running = [box(f"sleep 0.2; echo {number}") for number in range(10)]
    for number, container in enumerate(running):
        container.wait(60)
        assert list(container.logs()) == [b"%d\n" % number]


@pytest.mark.parametrize("wrong", [{"tail": -1}, {"tail": True}, {"since": "yesterday"}, {"follow": 1}])
def test_wrong_arguments_are_named(box, wrong):
    with pytest.raises(pc.InvalidArgument, match=next(iter(wrong))):
        box("true").logs(**wrong)
