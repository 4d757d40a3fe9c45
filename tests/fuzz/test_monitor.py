"""The monitor's socket, and the log: whatever a process of the same user sends, the monitor goes on; and any file is read."""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import pycontainer as pc
from pycontainer.container.logreader import LogReader
from pycontainer.kernel.monitorclient import Client
from pycontainer.kernel.native import lib
from tests.fuzz.guard import guarded, scratch

NUMBERS = st.one_of(
    st.integers(-2, 70),
    st.sampled_from([-(2**31), 2**31 - 1, 65535, 65536]),
    st.integers(-(2**31), 2**31 - 1),
)
#: Signals that end the program are sent, too: it is started again, for it has init above it that hands them on.
MESSAGES = st.one_of(
    st.builds(
        lambda kind, one, two, rest: struct.pack("=IiiI", kind, one, two, rest),
        st.one_of(st.integers(0, 10), st.integers(0, 2**32 - 1)),
        NUMBERS,
        NUMBERS,
        st.integers(0, 2**32 - 1),
    ),
    st.binary(max_size=64),
    st.just(b"x" * 70000),
)
#: A connection is closed, or is asked for, or gets a message with so many fds.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 3), MESSAGES, st.integers(0, 5)),
        st.tuples(st.just("close"), st.integers(0, 3)),
        st.tuples(st.just("read"), st.integers(0, 3)),
        st.tuples(st.just("shut"), st.integers(0, 3)),
        st.tuples(st.just("flood"), st.integers(1, 80)),
    ),
    max_size=20,
)


@cache
def _container() -> Any:
    script = "while :; do echo line; sleep 0.01; done"
    atexit.register(_end)
    return pc.Container.create(
        "host:", ["sh", "-c", script], detach=True, stdin_open=True, log_size="16K", log_files=2
    )


def _end() -> None:
    if _container.cache_info().currsize:
        _container().remove(force=True)
        _container.cache_clear()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    _end()


def _ready() -> Any:
    container = _container()
    if container.status in {"created", "exited"}:
        container.start()
    return container


class _Connections:
    def __init__(self, path: str) -> None:
        self._path = path
        self._sockets: dict[int, socket.socket] = {}

    def get(self, number: int) -> socket.socket:
        if number not in self._sockets:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            made.setblocking(False)
            with contextlib.suppress(OSError):  # it may have ended
                made.connect(self._path)
            self._sockets[number] = made
        return self._sockets[number]

    def do(self, step: Any) -> None:
        what, number, *rest = step
        with contextlib.suppress(OSError):
            if what == "send":
                self._send(self.get(number), *rest)
            elif what == "close":
                self._sockets.pop(number).close() if number in self._sockets else None
            elif what == "read":
                _, fds, _, _ = socket.recv_fds(self.get(number), 100, 8)
                for fd in fds:
                    os.close(fd)
            elif what == "shut":
                self.get(number).shutdown(socket.SHUT_RD)
            else:
                for each in range(number):
                    self.get(100 + each)

    def _send(self, to: socket.socket, message: bytes, fds: int) -> None:
        with open("/dev/null") as null:
            socket.send_fds(to, [message], [null.fileno()] * fds)

    def close(self) -> None:
        for each in self._sockets.values():
            each.close()


@given(steps=STEPS)
@example(steps=[("flood", 80), ("send", 0, struct.pack("=IiiI", 4, 0, 0, 0), 0)])
@example(steps=[("send", 0, struct.pack("=IiiI", 9, 0, 0, 0), 3), ("read", 0), ("close", 0)])
@example(steps=[("send", 0, struct.pack("=IiiI", 2, 9, 1, 0), 0)])
@example(steps=[("send", 0, struct.pack("=IiiI", 1, 0, 0, 0), 0)] * 20)
def test_the_monitor_goes_on(steps: list[Any]) -> None:
    container = _ready()
    before = container.run_state
    with guarded("monitor"):
        connections = _Connections(f"{container._home.folder}/monitor")
        try:
            for step in steps:
                connections.do(step)
        finally:
            connections.close()
        run = _answered(container)
    assert run.phase in {"running", "restarting", "exited"}, run
    if run.phase == "exited":
        assert run.code is not None
    else:
        assert run.monitor == before.monitor


def _answered(container: Any) -> Any:
    """How it is, by a monitor that answers, or after its end in order."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(pc.StateError), Client(f"{container._home.folder}/monitor") as client:
            answer, fds = client.ask(lib.PC_MONITOR_HELLO)
            for fd in fds:
                os.close(fd)
            if answer.phase in {"running", "restarting"}:
                return container.run_state
        run = container.run_state
        if run.phase in {"exited", "dead"}:
            return run
        time.sleep(0.01)
    raise AssertionError("the monitor does not answer")


#: Lines as the monitor writes them, and parts of such.
WORDS = st.sampled_from(
    [
        b"2024-01-01T00:00:00.000000001Z",
        b"2024-13-01T00:00:00Z",
        b"stdout",
        b"stderr",
        b"F",
        b"P",
        b" ",
        b"\n",
        b"",
        b"x",
    ]
)
CONTENTS = st.lists(
    st.one_of(
        WORDS,
        st.binary(max_size=20),
        st.sampled_from([b"2024-01-01T00:00:00Z stdout F x\n", b"2024-01-01T00:00:00Z stdout P x\n"]),
    ),
    max_size=30,
).map(b"".join)


@given(
    files=st.dictionaries(
        st.one_of(st.integers(0, 12).map(str), st.sampled_from(["", "x", "01", "-1", "²"])),
        CONTENTS,
        max_size=4,
    ),
    tail=st.one_of(st.none(), st.integers(0, 5)),
    since=st.one_of(st.none(), st.integers(0, 2_000_000_000)),
)
def test_a_log_of_anything(files: dict[str, bytes], tail: int | None, since: int | None) -> None:
    with scratch() as (place, _):
        for name, content in files.items():
            Path(place, f"log.{name}").write_bytes(content)
        with guarded("log"):
            reader = LogReader(str(place), tail=tail, since=since)
            with contextlib.closing(reader):
                found = list(reader)
    assert all(entry.stream for entry in found)
    if tail is not None and since is None:
        assert sum(entry.data.endswith(b"\n") for entry in found) <= tail
