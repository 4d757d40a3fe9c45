"""What a detached container writes: kept apart by stream, whole, rotated, read from either end, followed."""

from __future__ import annotations

import datetime
import os
import time

import pytest

import pycontainer as pc
from pycontainer.container.detached.logs import LogReader, parse, seconds_of
from tests.detached.conftest import folder, until


def test_streams_are_kept_apart_and_every_byte_is_there(box):
    every = bytes(range(256)) * 40
    container = box(start=False, command=["sh", "-c", "cat /data; cat /data >&2; printf tail"], mounts=[])
    container.start()
    container.kill()
    container.wait(20)
    # Written through a file that is there before the start, as arguments cannot hold a zero byte.
    container = box(
        [
            "sh",
            "-c",
            "while [ ! -e /tmp/go ]; do sleep 0.01; done; cat /tmp/data; cat /tmp/data >&2; printf tail",
        ]
    )
    container.write_bytes("/tmp/data", every)
    container.write_bytes("/tmp/go", b"")
    container.wait(20)
    assert b"".join(container.logs(stderr=False)) == every + b"tail"
    assert b"".join(container.logs(stdout=False)) == every


def test_a_line_that_is_not_complete_is_seen_at_once(box):
    container = box(["sh", "-c", "printf 'a question: '; read answer; echo got $answer"], stdin_open=True)
    with container.attach(logs=True) as streams:
        lines = iter(streams)
        assert next(lines).data == b"a question: "
        streams.write(b"yes\n")
        assert next(lines).data == b"got yes\n"
        assert list(lines) == []
    assert container.exit_code == 0


@pytest.mark.parametrize("count", [0, 1, 5, 1000, 20000])
def test_tail(box, count):
    container = box(["sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"])
    container.wait(20)
    lines = [f"line {i}\n".encode() for i in range(3000)]
    assert list(container.logs(tail=count)) == (lines[-count:] if count else [])


def test_rotation_keeps_the_newest(box):
    container = box(
        ["sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"],
        log_size="16K",
        log_files=3,
    )
    container.wait(20)
    files = sorted(name for name in os.listdir(folder(container)) if name.startswith("log"))
    assert files == ["log", "log.1", "log.2"]
    assert all(os.path.getsize(f"{folder(container)}/{name}") <= 16 << 10 for name in files)
    kept = list(container.logs())
    assert kept == [f"line {i}\n".encode() for i in range(3000 - len(kept), 3000)]
    assert len(kept) > 400
    assert list(container.logs(tail=500)) == kept[-500:]


def test_following_loses_nothing_while_files_are_rotated(box, process):
    container = box(
        ["sh", "-c", "read go; i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"],
        log_size="64K", log_files=6, stdin_open=True,
    )  # fmt: skip
    follower = process(
        """
c = engine.containers.get(sys.argv[1])
lines = c.logs(follow=True)
say("ready")
say([line.decode() for line in lines])
""",
        container.id,
    )
    assert follower.stdout.readline() == '"ready"\n'
    with container.attach() as streams:
        streams.write(b"go\n")
    import json

    assert json.loads(follower.stdout.readline()) == [f"line {i}\n" for i in range(3000)]


def test_following_ends_with_the_container_and_not_with_a_restart(box):
    container = box(["sh", "-c", "echo run; exit 1"], restart="on-failure:2")
    assert list(container.logs(follow=True)) == [b"run\n"] * 3


def test_since_and_until(box):
    container = box(["sh", "-c", "echo one; sleep 0.3; echo two; sleep 0.3; echo three"])
    container.wait(20)
    first, second, third = container.logs(entries=True)
    middle = (first.time + second.time) / 2
    assert list(container.logs(since=middle)) == [b"two\n", b"three\n"]
    assert list(container.logs(until=middle)) == [b"one\n"]
    assert list(container.logs(since=middle, until=(second.time + third.time) / 2)) == [b"two\n"]
    moment = datetime.datetime.fromtimestamp(middle, tz=datetime.timezone.utc)
    assert list(container.logs(since=moment)) == list(container.logs(since=moment.isoformat()))
    assert list(container.logs(since=datetime.timedelta(hours=1))) == [b"one\n", b"two\n", b"three\n"]
    for wrong in ("yesterday", [], True):
        with pytest.raises(pc.InvalidArgument):
            container.logs(since=wrong)
    with pytest.raises(pc.InvalidArgument):
        container.logs(tail=-1)


def test_following_until_a_moment(box):
    container = box(["sh", "-c", "echo one; sleep 1000"])
    until(lambda: list(container.logs()))
    assert list(container.logs(follow=True, until=time.time() + 0.2)) == [b"one\n"]


def test_times_are_right(box):
    before = time.time()
    container = box(["echo", "x"])
    container.wait(20)
    [entry] = container.logs(entries=True)
    assert before <= entry.time <= time.time()
    for moment in (
        "1970-01-01T00:00:00.000000000Z",
        "2000-02-29T23:59:59.999999999Z",
        "2024-03-01T00:00:00.5Z",
    ):
        assert seconds_of(moment) == pytest.approx(
            datetime.datetime.fromisoformat(moment[:19] + "+00:00").timestamp() + float("0" + moment[19:-1])
        )


@pytest.mark.parametrize("line", [b"", b"x", b"a b", b"a b c", b"a b X text", b"\xff \xff F x", b"   "])
def test_what_is_no_entry_is_passed_over(line, tmp_path):
    found = parse(line)
    assert found is None or found.data == b"x\n"
    (tmp_path / "log").write_bytes(
        b"2024-01-01T00:00:00Z stdout F good\n" + line + b"\n2024-01-01T00:00:00Z stdout P bad"
    )
    for tail in (None, 0, 1, 5):
        reader = LogReader(str(tmp_path), tail=tail)
        assert all(entry.data in {b"good\n", b"x\n"} for entry in reader)
        reader.close()


def test_a_terminal(box):
    container = box(["sh", "-c", "stty size; read x; stty size; echo got $x; tty"], tty=True)
    with container.attach(logs=True) as streams:
        lines = iter(streams)
        assert next(lines).data == b"0 0\r\n"
        streams.resize(24, 80)
        streams.write(b"typed\n")
        rest = b"".join(entry.data for entry in lines)
    assert rest == b"typed\r\n24 80\r\ngot typed\r\n/dev/pts/0\r\n" or b"24 80" in rest
    assert container.exit_code == 0
    with pytest.raises(pc.NotSupported):
        container.terminal  # noqa: B018


def test_input_from_several_processes(box, other):
    container = box(["cat"], stdin_open=True)
    for word in ("one", "two"):
        other(
            """
with engine.containers.get(sys.argv[1]).attach() as streams:
    streams.write(sys.argv[2].encode() + b"\\n")
say(1)
""",
            container.id,
            word,
        )
    until(lambda: len(list(container.logs())) == 2)
    container.close_input()
    assert container.wait(20) == 0
    assert list(container.logs()) == [b"one\n", b"two\n"]
    with pytest.raises(pc.StateError):
        container.attach()


def test_without_an_open_input(box):
    container = box(["sh", "-c", "cat; sleep 1000"])
    with container.attach() as streams, pytest.raises(pc.NotSupported, match="stdin_open"):
        streams.write(b"x")
    with pytest.raises(pc.StateError):
        container.close_input()
    with pytest.raises(pc.StateError):
        container.resize(1, 1)


def test_a_slow_reader_stops_nobody(box):
    container = box(["sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"])
    reader = container.logs(follow=True)
    next(reader)
    assert container.wait(60) == 0
    assert len(list(reader)) == 19999


def test_streams_can_be_opened_by_name(box):
    container = box(["sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr"])
    assert container.wait(20) == 0
    assert sorted(container.logs()) == [b"err\n", b"out\n"]


def test_who_takes_away_his_own_output_does_not_stop_his_monitor(box):
    container = box(
        ["sh", "-c", "exec 3</proc/self/fd/1; while :; do echo x; done & while :; do cat <&3; done"]
    )
    until(lambda: list(container.logs(tail=1)))
    for _ in range(20):
        assert container.status == "running"
        assert container.exec(["true"]).exit_code == 0
    assert container.stop(timeout=0.2) == 137
