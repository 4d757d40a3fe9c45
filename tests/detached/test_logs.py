"""What a detached container writes: kept apart by stream, whole, rotated, read from either end, followed."""

from __future__ import annotations

import datetime
import os
import time

import pytest

import pycontainer as pc
from pycontainer.container.logreader import LogReader, parse, seconds_of
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
    assert len(files) == 3
    assert container.inspect()["LogPath"] == f"{folder(container)}/log.{max(int(name[4:]) for name in files)}"
    assert all(os.path.getsize(f"{folder(container)}/{name}") <= 16 << 10 for name in files)
    kept = list(container.logs())
    assert kept == [f"line {i}\n".encode() for i in range(3000 - len(kept), 3000)]
    assert len(kept) > 400
    assert list(container.logs(tail=500)) == kept[-500:]


#: Writes lines when it is told to, as fast as it can.
MANY = "read go; i=0; while [ $i -lt {} ]; do echo line $i; i=$((i+1)); done; read go"


def go(container) -> None:
    with container.attach() as streams:
        streams.write(b"go\n")


def test_who_follows_slowly_is_told_what_he_missed(box):
    container = box(["sh", "-c", MANY.format(3000)], log_size="16K", log_files=3, stdin_open=True)
    lines = container.logs(follow=True)
    go(container)
    first = next(lines)
    until(lambda: b"line 2999\n" in list(container.logs(tail=1)))
    kept = len(list(container.logs()))
    go(container)
    found = [first, *lines]
    assert found[0] == b"line 0\n"
    assert found[-1] == b"line 2999\n"
    assert kept < len(found) < 3000
    assert lines.missed > 0
    assert container.wait(20) == 0


@pytest.mark.parametrize("files", [1, 3])
def test_who_holds_is_waited_for(box, files):
    container = box(["sh", "-c", MANY.format(6000)], log_size="16K", log_files=files, stdin_open=True)
    lines = container.logs(follow=True, hold=True)
    go(container)
    found = [next(lines)]
    time.sleep(0.5)
    size = sum(os.path.getsize(f"{folder(container)}/{name}") for name in log_files(container))
    assert size < (files + 2) * (16 << 10) + (400 << 10)
    for line in lines:
        found.append(line)
        if len(found) % 1000 == 0:
            time.sleep(0.02)
        if line.endswith(b"5999\n"):
            go(container)
    assert b"".join(found) == b"".join(f"line {i}\n".encode() for i in range(6000))
    assert lines.missed == 0
    assert len(log_files(container)) <= files


def test_two_who_hold(box, process):
    """The slower one is waited for; when it goes, nobody is."""
    container = box(["sh", "-c", MANY.format(20000)], log_size="16K", log_files=2, stdin_open=True)
    script = """
lines = engine.containers.get(sys.argv[1]).logs(follow=True, hold=True)
say("ready")
say(next(lines).decode())
time.sleep(1000)
"""
    slow = process(script, container.id)
    assert slow.stdout.readline() == '"ready"\n'
    lines = container.logs(follow=True, hold=True)
    go(container)
    assert slow.stdout.readline() == '"line 0\\n"\n'
    found = [next(lines) for _ in range(300)]
    slow.kill()
    slow.wait()
    for line in lines:
        found.append(line)
        if line.endswith(b"19999\n"):
            go(container)
    assert b"".join(found) == b"".join(f"line {i}\n".encode() for i in range(20000))


def test_one_that_is_waited_for_can_be_ended(box):
    container = box(["sh", "-c", MANY.format(1000000)], log_size="16K", log_files=2, stdin_open=True)
    lines = container.logs(follow=True, hold=True)
    go(container)
    next(lines)
    time.sleep(0.3)
    assert container.stop(0.1) == 137
    assert container.status == "exited"
    rest = list(lines)
    whole = b"".join(rest)
    assert b"".join(f"line {i}\n".encode() for i in range(1, 1 + len(rest))).startswith(whole)
    with pytest.raises(pc.InvalidArgument):
        container.logs(hold=True)


def log_files(container) -> list[str]:
    return [name for name in os.listdir(folder(container)) if name.startswith("log.")]


LONG = """
import os, sys
sys.stdin.readline()
for size in (0, 1, 8191, 8192, 8193, 16384, 16385, 40000, 70000):
    os.write(1, bytes(i % 256 if i % 256 != 10 else 0 for i in range(size)) + b"\\n")
os.write(1, b"x" * 50000)
os.write(2, b"y" * 50000 + b"\\n")
os.write(1, b"z" * 10)
"""


@pytest.mark.parametrize("size", ["16K", "20M"])
def test_long_lines_of_any_bytes(box, size):
    """Also where a file ends in the midst of one."""
    container = box(
        ["python3", "-S", "-c", LONG.replace("\\\\", "\\")], log_size=size, log_files=200, stdin_open=True
    )
    go(container)
    assert container.wait(20) == 0
    expected = [
        bytes(i % 256 if i % 256 != 10 else 0 for i in range(size)) + b"\n"
        for size in (0, 1, 8191, 8192, 8193, 16384, 16385, 40000, 70000)
    ] + [b"x" * 50000 + b"z" * 10]
    assert list(container.logs(stderr=False)) == expected
    assert list(container.logs(stdout=False)) == [b"y" * 50000 + b"\n"]
    pieces = list(container.logs(entries=True))
    assert b"".join(each.data for each in pieces if each.stream == "stdout") == b"".join(expected)
    assert max(len(each.data) for each in pieces) <= 8193
    if size == "16K":
        assert len(log_files(container)) > 10


def write_log(place, *files: str) -> list[str]:
    """A log of entries such as ``1oF``: a second, a stream, whether a line ends; each in a file of its own list."""
    expected = []
    for number, entries in enumerate(files, 7):
        text = ""
        for entry in entries.split():
            stream = "stdout" if entry[-2] == "o" else "stderr"
            text += f"2024-01-01T00:00:{int(entry[:-2]):02}.000000000Z {stream} {entry[-1]} {entry}\n"
            expected.append(entry)
        (place / f"log.{number}").write_text(text)
    return expected


def lines_of(place, **options) -> list[str]:
    reader = LogReader(str(place), **options)
    try:
        return [entry.data.decode().strip() for entry in reader]
    finally:
        reader.close()


@pytest.mark.parametrize(
    ("files", "tail", "expected"),
    [
        (("1oF 2oF", "3oF"), 1, "3oF"),
        (("1oF 2oF", "3oF"), 2, "2oF 3oF"),
        (("1oF 2oP", "3oF"), 1, "2oP 3oF"),
        (("1oF 2oP", "3oP", "4oP 5oF"), 1, "2oP 3oP 4oP 5oF"),
        (("1oF 2oP", "3oP", "4oP 5oF"), 2, "1oF 2oP 3oP 4oP 5oF"),
        (("1oF 2oP", "3oP", "4oP"), 1, "2oP 3oP 4oP"),
        (("1oF", "2oP 3oP", "", "4oF 5oP"), 2, "2oP 3oP 4oF 5oP"),
        (("1oF", "2oP 3oP", "", "4oF 5oP"), 1, "5oP"),
        (("1oF", "2oF"), 0, ""),
        (("1oF", "2oF"), 9, "1oF 2oF"),
        (("", ""), 3, ""),
        (("1oP", "2oP"), 1, "1oP 2oP"),
    ],
)
def test_tail_where_one_file_ends_and_the_next_begins(tmp_path, files, tail, expected):
    write_log(tmp_path, *files)
    assert lines_of(tmp_path, tail=tail) == expected.split()


def test_times_where_one_file_ends_and_the_next_begins(tmp_path):
    entries = write_log(tmp_path, "1oF 2oF 3oF", "4oF 5oP", "6oF 7oF")
    zero = seconds_of("2024-01-01T00:00:00Z")
    for begin in range(9):
        for end in range(9):
            wanted = [each for each in entries if begin <= int(each[:-2]) <= end]
            assert lines_of(tmp_path, since=zero + begin, until=zero + end) == wanted


def test_a_file_that_goes_while_it_is_looked_for(tmp_path):
    write_log(tmp_path, "1oF", "2oF", "3oF")
    reader = LogReader(str(tmp_path), follow=True)
    assert next(reader).data == b"1oF\n"
    for name in ("log.8", "log.9"):
        os.unlink(tmp_path / name)  # these are open
    assert next(reader).data == b"2oF\n"
    (tmp_path / "log.11").write_bytes(b"2024-01-01T00:00:00Z stdout F four\n")
    assert next(reader).data == b"3oF\n"
    assert next(reader) is None
    assert next(reader).data == b"four\n"
    assert next(reader) is None
    reader.finish()
    assert list(reader) == []
    assert reader.missed == 1
    reader.close()


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
    (tmp_path / "log.1").write_bytes(
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


def test_a_terminal_has_its_size_from_the_first_moment(box):
    container = box(["stty", "size"], tty=True, start=False)
    container.resize(24, 80)
    container.start()
    container.wait(20)
    assert list(container.logs()) == [b"24 80\r\n"]
    container.resize(50, 132)
    container.start()
    container.wait(20)
    assert list(container.logs())[-1] == b"50 132\r\n"
    for wrong in (-1, 65536, True, "24"):
        with pytest.raises(pc.InvalidArgument):
            container.resize(wrong, 80)
    another = box(["stty", "size"], tty=(33, 99))
    another.wait(20)
    assert list(another.logs()) == [b"33 99\r\n"]
    assert another.inspect()["Config"]["Tty"] is True


def test_a_terminal_keeps_its_size_from_one_start_to_the_next(box):
    container = box(["sh", "-c", "read x; stty size; exit 1"], tty=True, restart="on-failure:1")
    container.resize(33, 44)
    with container.attach() as streams:
        streams.write(b"a\n")
        until(lambda: container.run_state.restarts == 1)
    with container.attach() as streams:
        streams.write(b"b\n")
    assert container.wait(20) == 1
    assert [line for line in container.logs() if b" " in line] == [b"33 44\r\n"] * 2


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
