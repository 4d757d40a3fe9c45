"""The pump, with real programs at the other end: quiet ones, hostile ones, and ones that leave things behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import select
import signal
import stat
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pycontainer.container.channels import Input, Output, pieces_of
from pycontainer.container.deadline import Deadline
from pycontainer.container.stdio import DEVNULL, PIPE, STDOUT, Stdio
from pycontainer.container.streams import Streams, communicate
from pycontainer.container.text import Text
from pycontainer.errors import InvalidArgument
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.process import Process
from pycontainer.kernel.terminal import Terminal
from tests.support.children import interrupt_main, python, sh, start

MIB = 1 << 20


def exchange(
    *argv: str,
    stderr: Any = PIPE,
    timeout: float | None = 30,
    grace: float = 0.0,
    on_timeout: Callable[[], object] | None = None,
    **options: Any,
) -> tuple[Process, Streams, bool]:
    """Run a program to its end, as a container's run does."""
    stdio = Stdio.create(stdin=PIPE if "input" in options else None, stderr=stderr)
    streams = Streams(stdio, **options)
    with contextlib.closing(start(*argv, stdio=stdio)) as process:
        limit = communicate(process, streams, deadline=Deadline(timeout), on_timeout=on_timeout, grace=grace)
    return process, streams, limit == "timeout"


# -- what arrives -----------------------------------------------------------------------------


def test_output_and_status_of_a_program() -> None:
    process, streams, timed_out = exchange(*sh("echo out; echo err >&2; exit 3"))
    assert (process.exit_code, process.signal) == (3, None)
    assert (streams.stdout, streams.stderr) == (b"out\n", b"err\n")
    assert (streams.truncated, timed_out, streams.done) == (False, False, True)


def test_a_program_without_output() -> None:
    process, streams, _ = exchange("true")
    assert (process.exit_code, streams.stdout, streams.stderr) == (0, b"", b"")


def test_merged_streams_keep_their_order() -> None:
    _, streams, _ = exchange(*sh("echo 1; echo 2 >&2; echo 3"), stderr=STDOUT)
    assert (streams.stdout, streams.stderr) == (b"1\n2\n3\n", b"")


def test_a_stream_to_nowhere_is_empty() -> None:
    _, streams, _ = exchange(*sh("echo 1; echo 2 >&2"), stderr=DEVNULL)
    assert (streams.stdout, streams.stderr) == (b"1\n", b"")


def test_streams_may_be_files_and_descriptors_that_stay_the_callers(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"from a file")
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as sink:
        stdio = Stdio.create(stdin=source, stdout=sink.fileno(), stderr=STDOUT)
        with contextlib.closing(start("cat", stdio=stdio)) as process:
            communicate(process, Streams(stdio), deadline=Deadline(30))
        sink.write(b" and the caller")
    assert (tmp_path / "out").read_bytes() == b"from a file and the caller"


def test_without_a_stdin_the_program_reads_the_end_of_file() -> None:
    _, streams, timed_out = exchange("cat")
    assert (streams.stdout, timed_out) == (b"", False)


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 10 * MIB])
def test_input_of_any_size_comes_back(size: int) -> None:
    data = os.urandom(size)
    process, streams, _ = exchange("cat", input=data)
    assert process.exit_code == 0
    assert streams.stdout == data


@pytest.mark.parametrize(
    "make", [bytes, bytearray, memoryview, lambda data: iter([data[:2], b"", bytearray(data[2:])])]
)
def test_input_is_anything_that_holds_bytes(make: Callable[[bytes], Any]) -> None:
    _, streams, _ = exchange("cat", input=make(b"hello"))
    assert streams.stdout == b"hello"


def test_pieces_are_asked_for_as_the_program_takes_them() -> None:
    asked = 0

    def pieces() -> Iterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield bytes(4096)

    process, streams, timed_out = exchange("head", "-c", "1000000", input=pieces())
    assert (process.exit_code, timed_out, len(streams.stdout)) == (0, False, 1_000_000)
    assert 1_000_000 // 4096 < asked < 1000


# -- text -------------------------------------------------------------------------------------


def test_text_that_arrives_byte_by_byte_is_whole() -> None:
    heard: list[Any] = []
    with contextlib.closing(Stdio.create(stderr=None)) as stdio:
        streams = Streams(stdio, text=Text(), on_output=lambda name, data: heard.append((name, data)))
        [(fd, _)] = streams.pollable()
        for byte in "aé€𐍈\r\nz".encode():
            os.write(stdio.child[1], bytes([byte]))
            streams.advance(fd)
        assert heard == [("stdout", piece) for piece in ("a", "é", "€", "𐍈", "\n", "z")]
        stdio.close_child()
        streams.advance(fd)
        assert (streams.done, streams.stdout) == (True, "aé€𐍈\nz")


def test_text_goes_in_and_out_in_its_encoding() -> None:
    _, streams, _ = exchange("cat", input=["ä", "ö\n"], text=Text("latin-1"))
    assert streams.stdout == "äö\n"
    _, streams, _ = exchange("od", "-An", "-tx1", input="äö", text=Text("latin-1"))
    assert streams.stdout.split() == ["e4", "f6"]


def test_a_limit_that_splits_a_character_leaves_it_out() -> None:
    _, streams, _ = exchange(*sh("printf 'aé€'"), text=Text(), output_limit=4)
    assert (streams.stdout, streams.truncated) == ("aé", True)


def test_wrong_bytes_are_the_programs_fault_and_the_callers_choice() -> None:
    _, streams, _ = exchange(*sh(r"printf 'a\377b'"), text=Text(errors="replace"))
    assert streams.stdout == "a�b"
    _, streams, _ = exchange(*sh(r"printf 'a\377b'"), text=Text())
    with pytest.raises(UnicodeDecodeError):
        streams.stdout  # noqa: B018  (reading it is what decodes)


def test_half_a_character_at_the_end_is_wrong_text() -> None:
    heard: list[Any] = []
    with pytest.raises(UnicodeDecodeError):
        exchange(*sh(r"printf 'a\303'"), text=Text(), on_output=lambda _, data: heard.append(data))
    assert heard == ["a"]


# -- limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "kept"), [(0, b""), (1, b"o"), (4, b"out\n"), (5, b"out\n"), (None, b"out\n")]
)
def test_the_limit_keeps_the_head_of_each_stream(limit: int | None, kept: bytes) -> None:
    _, streams, _ = exchange(*sh("echo out; echo err >&2"), output_limit=limit)
    assert (streams.stdout, streams.truncated) == (kept, len(kept) < 4)
    assert len(streams.stderr) == len(kept)


def test_a_callback_hears_what_the_limit_drops() -> None:
    heard: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    def hear(name: str, data: bytes | str) -> None:
        assert isinstance(data, bytes)
        heard[name] += data

    exchange(*sh("echo out; echo err >&2"), output_limit=0, on_output=hear)
    assert heard == {"stdout": b"out\n", "stderr": b"err\n"}


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def test_a_flood_of_200_mb_costs_no_memory_and_does_not_stop_the_program() -> None:
    exchange("head", "-c", str(4 * MIB), "/dev/zero", output_limit=MIB)  # what is allocated once
    before = resident()
    tracemalloc.start()
    try:
        process, streams, timed_out = exchange("head", "-c", str(200 * MIB), "/dev/zero", output_limit=MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (process.exit_code, timed_out, streams.truncated) == (0, False, True)
    assert streams.stdout == bytes(MIB)
    assert peak < 4 * MIB
    assert resident() - before < 8 * MIB


def test_single_bytes_cost_no_more_memory_than_they_are() -> None:
    # 50,000 pieces of 1 byte; a list of pieces of bytes would take 40 times that.
    tracemalloc.start()
    try:
        _, streams, _ = exchange(*python("import os\nfor i in range(50000): os.write(1, b'%d' % (i % 10))"))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(streams.stdout) == 50_000
    assert kept < 150_000
    assert peak < 400_000


# -- programs that do not play along ----------------------------------------------------------


def test_10_mb_of_input_to_a_program_that_never_reads() -> None:
    process, _, timed_out = exchange("sleep", "0.3", input=bytes(10 * MIB))
    assert (process.exit_code, timed_out) == (0, False)


def test_input_to_a_program_that_closes_its_stdin_and_goes_on() -> None:
    process, streams, _ = exchange(*sh("exec <&-; sleep 0.1; echo later"), input=bytes(10 * MIB))
    assert (process.exit_code, streams.stdout) == (0, b"later\n")


def test_input_and_flood_both_ways_do_not_lock_up() -> None:
    _, streams, _ = exchange(
        *python("import os\nos.write(2, bytes(300000))\nwhile d := os.read(0, 1): os.write(1, d * 10)"),
        input=bytes(200_000),
        output_limit=MIB,
    )
    assert (len(streams.stdout), len(streams.stderr)) == (MIB, 300_000)


def test_a_program_that_closes_its_output_is_waited_for() -> None:
    started = time.monotonic()
    process, _, _ = exchange(*sh("exec >&- 2>&-; sleep 0.2; exit 5"))
    assert process.exit_code == 5
    assert time.monotonic() - started >= 0.2


@contextlib.contextmanager
def pid_in(path: Path) -> Iterator[None]:
    """End the process that wrote its number there."""
    yield
    os.kill(int(path.read_text(encoding="ascii")), signal.SIGKILL)


def test_a_child_that_keeps_the_output_open_is_not_waited_for(tmp_path: Path) -> None:
    script = f"echo before; sleep 60 & echo $! > {tmp_path}/pid; echo after"
    started = time.monotonic()
    with pid_in(tmp_path / "pid"):
        process, streams, timed_out = exchange(*sh(script))
        assert time.monotonic() - started < 10
    assert (process.exit_code, timed_out) == (0, False)
    assert streams.stdout == b"before\nafter\n"


def test_a_child_that_floods_after_the_end_does_not_hold_us(tmp_path: Path) -> None:
    started = time.monotonic()
    with pid_in(tmp_path / "pid"):
        process, streams, _ = exchange(
            *sh(f"yes & echo $! > {tmp_path}/pid; sleep 0.1; exit 0"), output_limit=MIB
        )
        assert time.monotonic() - started < 10
    assert process.exit_code == 0
    assert streams.stdout.startswith(b"y\ny\n")


def test_a_child_that_keeps_the_output_open_has_the_grace_period() -> None:
    _, streams, _ = exchange(*sh("(sleep 0.3; echo late) & echo early"), grace=20)
    assert streams.stdout == b"early\nlate\n"


def test_the_grace_period_ends(tmp_path: Path) -> None:
    started = time.monotonic()
    with pid_in(tmp_path / "pid"):
        _, streams, timed_out = exchange(*sh(f"sleep 60 & echo $! > {tmp_path}/pid; echo x"), grace=0.3)
        assert 0.3 <= time.monotonic() - started < 10
    assert (streams.stdout, timed_out) == (b"x\n", False)


def test_half_a_character_of_a_child_that_lives_on_is_left_out(tmp_path: Path) -> None:
    with pid_in(tmp_path / "pid"):
        _, streams, _ = exchange(*sh(rf"printf 'a\303'; sleep 60 & echo $! > {tmp_path}/pid"), text=Text())
    assert streams.stdout == "a"


# -- timeouts and interrupts ------------------------------------------------------------------


def test_a_timeout_kills_and_keeps_what_was_written() -> None:
    started = time.monotonic()
    process, streams, timed_out = exchange(*sh("echo before; exec sleep 60"), timeout=0.5)
    assert 0.5 <= time.monotonic() - started < 10
    assert (timed_out, process.exit_code, process.signal) == (True, 137, 9)
    assert streams.stdout == b"before\n"


@pytest.mark.parametrize("script", ["yes", "yes >&2", "cat > /dev/null"])
def test_a_busy_stream_does_not_put_the_timeout_off(script: str) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(65536)

    started = time.monotonic()
    _, _, timed_out = exchange(*sh(f"exec {script}"), timeout=0.3, output_limit=0, input=endless())
    assert timed_out
    assert time.monotonic() - started < 10


def test_a_timeout_of_nothing_is_at_once() -> None:
    process, _, timed_out = exchange("sleep", "60", timeout=0)
    assert (timed_out, process.signal) == (True, 9)


def test_a_timeout_beyond_what_poll_takes() -> None:
    assert exchange("true", timeout=1e12)[2] is False


def test_on_timeout_may_end_the_program_in_its_own_way() -> None:
    stdio = Stdio.create()
    streams = Streams(stdio)
    script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.01; done"
    with contextlib.closing(start(*sh(script), stdio=stdio)) as process:
        assert (
            communicate(process, streams, deadline=Deadline(0.5), on_timeout=process.terminate) == "timeout"
        )
    assert (process.exit_code, streams.stdout) == (4, b"ready\nbye\n")


def test_an_interrupt_kills_and_leaves_nothing() -> None:
    stdio = Stdio.create(stdin=PIPE)
    streams = Streams(stdio, input=bytes(MIB))
    with contextlib.closing(start("sleep", "60", stdio=stdio)) as process:
        killed: list[int] = []

        def kill() -> None:
            killed.append(process.pid)
            process.kill()

        started = time.monotonic()
        with interrupt_main(0.2), pytest.raises(KeyboardInterrupt):
            communicate(process, streams, on_interrupt=kill)
        assert time.monotonic() - started < 10
        assert (killed, process.signal) == ([process.pid], 9)


def test_a_signal_handler_that_returns_does_not_disturb() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    try:
        timer.start()
        process, streams, timed_out = exchange(*sh("sleep 0.3; echo done"))
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert (heard, process.exit_code, streams.stdout, timed_out) == ([signal.SIGUSR1], 0, b"done\n", False)


@pytest.mark.parametrize("what", ["input", "on_output"])
def test_an_exception_of_the_callers_code_kills_and_comes_out(what: str) -> None:
    def fail(*_: object) -> bytes:
        raise LookupError("the caller's own")

    stdio = Stdio.create(stdin=PIPE)
    options: dict[str, Any] = {"input": map(fail, [1])} if what == "input" else {"on_output": fail}
    streams = Streams(stdio, **options)
    with contextlib.closing(start(*sh("echo x; exec sleep 60"), stdio=stdio)) as process:
        with pytest.raises(LookupError):
            communicate(process, streams)
        assert process.signal == 9


def test_many_threads_pump_at_once() -> None:
    wrong: list[Any] = []

    def run(number: int) -> None:
        data = bytes([number]) * 300_000
        for _ in range(5):
            process, streams, _ = exchange("cat", input=data)
            if (process.exit_code, streams.stdout) != (0, data):
                wrong.append((number, process, len(streams.stdout)))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- descriptors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"), [("stdin", STDOUT), ("stdout", STDOUT), ("stdout", -7), ("stderr", -7)]
)
def test_a_wrong_stream_is_refused_with_nothing_open(name: str, value: int) -> None:
    arguments: dict[str, Any] = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, name: value}
    with pytest.raises(InvalidArgument) as caught:
        Stdio.create(**arguments)
    assert caught.value.argument == name


def test_the_names_are_those_of_subprocess() -> None:
    assert (PIPE, STDOUT, DEVNULL) == (subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL)


def test_no_descriptor_is_inherited_and_only_the_hosts_ends_do_not_block() -> None:
    stdio = Stdio.create(stdin=PIPE)
    streams = Streams(stdio)
    ends = [fd.fileno() for fd in (stdio.stdin, stdio.stdout, stdio.stderr) if fd is not None]
    assert [os.get_blocking(fd) for fd in ends] == [False, False, False]
    assert [os.get_blocking(fd) for fd in stdio.child] == [True, True, True]
    assert [os.get_inheritable(fd) for fd in (*ends, *stdio.child)] == [False] * 6
    streams.close()
    streams.close()
    stdio.close()
    stdio.close()


def test_another_user_can_open_the_streams_by_name() -> None:
    stdio = Stdio.create(stdin=PIPE)
    modes = [stat.S_IMODE(os.fstat(fd).st_mode) for fd in stdio.child]
    stdio.close()
    assert modes == [0o666] * 3


@pytest.mark.needs("root")
def test_a_program_that_dropped_its_ids_writes_to_dev_stderr() -> None:
    script = "read line < /dev/stdin; echo $line > /dev/stdout; echo err > /dev/stderr"
    process, streams, _ = exchange(
        "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *sh(script), input=b"hello\n"
    )
    assert (process.exit_code, streams.stdout, streams.stderr) == (0, b"hello\n", b"err\n")


@pytest.mark.parametrize(
    "make",
    [
        lambda stdio: Streams(stdio, input="text"),
        lambda stdio: Streams(stdio, output_limit=-1),
        lambda _: Streams(Stdio(), input=b"x"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(make: Callable[[Stdio], Streams]) -> None:
    with contextlib.closing(Stdio.create(stdin=PIPE)) as stdio, pytest.raises(InvalidArgument):
        make(stdio)


def test_an_input_is_written_once_per_step() -> None:
    # A reader that keeps up must not be able to hold the pump in one step.
    with contextlib.closing(Stdio.create(stdin=PIPE)) as stdio:
        assert stdio.stdin is not None
        channel = Input(stdio.stdin, pieces_of([b"abc", b"def"], None))
        assert channel.advance() is True
        assert os.read(stdio.child[0], 100) == b"abc"
        assert (channel.advance(), channel.advance()) == (True, False)
        assert os.read(stdio.child[0], 100) == b"def"


def test_draining_ends_where_output_does_not() -> None:
    with Fd(os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)) as endless:
        output = Output(endless, "stdout", limit=10)
        assert output.drain() is True
    assert (bytes(output.data), output.truncated, output.ended) == (bytes(10), True, False)


# -- terminals --------------------------------------------------------------------------------


def on_terminal(*argv: str, **options: Any) -> tuple[Process, Streams]:
    master, slave = pty.openpty()
    stdio = Stdio.create(stdin=slave, stdout=slave, stderr=slave)
    with Terminal.adopt(master) as terminal:
        streams = Streams.on_terminal(terminal, **options)
        with contextlib.closing(start(*argv, stdio=stdio)) as process:
            os.close(slave)
            assert communicate(process, streams, deadline=Deadline(30)) is None
    return process, streams


def test_output_on_a_terminal_is_one_stream_with_its_line_ends() -> None:
    process, streams = on_terminal(*sh("echo out; echo err >&2; test -t 0 && exit 7"))
    assert (process.exit_code, streams.stdout, streams.stderr) == (7, b"out\r\nerr\r\n", b"")


def test_much_output_on_a_terminal_arrives_to_the_last_byte() -> None:
    _, streams = on_terminal(*sh("stty -opost; head -c 1000000 /dev/zero"))
    assert len(streams.stdout) == 1_000_000


@pytest.mark.parametrize("data", ["one\ntwo\n", "one\ntwo", ""])
def test_input_on_a_terminal_ends(data: str) -> None:
    process, streams = on_terminal(*sh("stty -echo; cat"), input=data, text=Text())
    assert process.exit_code == 0
    assert streams.stdout.replace("^D\b\b", "").endswith(data)


def test_half_a_line_on_a_terminal_is_not_lost() -> None:
    _, streams = on_terminal(*sh("stty -echo; cat | tr a-z A-Z"), input=[b"on", b"e"])
    assert streams.stdout.endswith(b"ONE")


# -- under an event loop ----------------------------------------------------------------------


async def drive(process: Process, streams: Streams) -> None:
    """The least that an asynchronous driver has to do."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def forget(fd: int) -> None:
        loop.remove_reader(fd)
        loop.remove_writer(fd)

    streams.forget = forget
    for fd, events in streams.pollable():
        (loop.add_reader if events == select.POLLIN else loop.add_writer)(fd, streams.advance, fd)
    loop.add_reader(process.fileno(), ended.set)
    await ended.wait()
    loop.remove_reader(process.fileno())
    assert process.poll() is not None
    streams.program_ended()
    streams.close()


def test_an_event_loop_drives_the_same_streams() -> None:
    data = os.urandom(500_000)

    async def one() -> tuple[int | None, bytes]:
        stdio = Stdio.create(stdin=PIPE)
        streams = Streams(stdio, input=data)
        with contextlib.closing(start("cat", stdio=stdio)) as process:
            await drive(process, streams)
            return process.exit_code, streams.stdout

    async def many() -> list[tuple[int | None, bytes]]:
        return await asyncio.gather(*(one() for _ in range(8)))

    assert asyncio.run(many()) == [(0, data)] * 8
