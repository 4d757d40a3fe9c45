"""The scribe: what it logs, what it refuses, and when it ends."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.csrc.conftest import _built
from tests.support.native import Program, until

LISTEN, DRAIN, CLOSE = 1, 2, 3
OUT, ERR = 1, 2
MESSAGE, REPLY = struct.Struct("=IIIIIIQ"), struct.Struct("=iIQ")


class Writer:
    """A running scribe of a host of its own."""

    def __init__(self, program: Path) -> None:
        self.host = subprocess.Popen(["sleep", "1000"])
        pidfd = os.pidfd_open(self.host.pid)
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20)
        self.program = Program([program], {3: theirs.fileno(), 4: pidfd})
        theirs.close()
        os.close(pidfd)

    def ask(self, kind: int, journal: int = 0, *fds: int, **told: int) -> tuple[int, int, int]:
        given = {"streams": 0, "newest": 1, "files": 3, "bound": 16384, **told}
        order = [given[name] for name in ("streams", "newest", "files")]
        socket.send_fds(self.socket, [MESSAGE.pack(kind, journal, *order, 0, given["bound"])], list(fds))
        found: tuple[int, int, int] = REPLY.unpack(self.socket.recv(100))
        return found

    def close(self) -> None:
        self.host.kill()
        self.host.wait()
        self.socket.close()
        self.program.__exit__()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built("scribe", tmp_path_factory)


@pytest.fixture
def writer(built: Path) -> Iterator[Writer]:
    made = Writer(built)
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def pipe() -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    return reading, writing


def logged(folder: Path) -> list[bytes]:
    return [line.split(b" ", 1)[1] for line in (folder / "log.1").read_bytes().splitlines()]


def test_what_two_streams_write(writer: Writer, folder: int, tmp_path: Path) -> None:
    (out, to_out), (err, to_err) = pipe(), pipe()
    assert writer.ask(LISTEN, 7, folder, out, err, streams=OUT | ERR) == (0, OUT | ERR, 0)
    os.close(out)
    os.close(err)
    os.write(to_out, b"one\ntwo")
    os.write(to_err, b"three\n")
    assert writer.ask(DRAIN, 7) == (0, OUT | ERR, 0)
    assert sorted(logged(tmp_path)) == [b"stderr F three", b"stdout F one", b"stdout P two"]
    os.close(to_out)
    until(lambda: writer.ask(DRAIN, 7) == (0, ERR, 0))
    os.close(to_err)
    assert writer.ask(CLOSE, 7)[0] == 0
    assert writer.ask(DRAIN, 7) == (0, 0, 0)


def test_it_needs_no_question(writer: Writer, folder: int, tmp_path: Path) -> None:
    out, to_out = pipe()
    writer.ask(LISTEN, 0, folder, out, streams=OUT)
    os.close(out)
    os.write(to_out, b"x\n")
    until(lambda: logged(tmp_path) == [b"stdout F x"])
    os.close(to_out)


@pytest.mark.needs("root")  # who looks at its descriptors
@pytest.mark.parametrize(
    ("kind", "count", "told"),
    [
        (0, 0, {}),
        (4, 0, {}),
        (LISTEN, 0, {"streams": OUT}),
        (LISTEN, 1, {"streams": OUT}),
        (LISTEN, 3, {"streams": OUT}),
        (LISTEN, 2, {"streams": OUT | ERR}),
        (LISTEN, 2, {"streams": 4}),
        (LISTEN, 2, {"streams": OUT, "files": 0}),
        (LISTEN, 2, {"streams": OUT, "bound": 1}),
        (LISTEN, 2, {"streams": OUT, "newest": 0}),
        (DRAIN, 1, {}),
        (CLOSE, 1, {}),
    ],
)
def test_what_makes_no_sense_is_refused(
    writer: Writer, folder: int, kind: int, count: int, told: dict[str, Any]
) -> None:
    writer.ask(DRAIN)
    before = writer.program.fds()
    assert writer.ask(kind, 0, *[folder] * count, **told)[0] == 22
    assert writer.ask(DRAIN, 8192)[0] == 22
    assert writer.program.fds() == before


@pytest.mark.needs("root")  # who looks at its descriptors
def test_a_folder_that_cannot_be_written_to(writer: Writer) -> None:
    out, to_out = pipe()
    null = os.open("/dev/null", os.O_RDONLY)
    writer.ask(DRAIN)
    before = writer.program.fds()
    assert writer.ask(LISTEN, 0, null, out, streams=OUT)[0] == 20
    assert writer.program.fds() == before
    for fd in (out, to_out, null):
        os.close(fd)


def test_it_ends_with_its_host(writer: Writer) -> None:
    writer.host.kill()
    assert writer.program.wait(20) == 0


def test_it_ends_when_the_host_lets_go(writer: Writer) -> None:
    writer.socket.close()
    assert writer.program.wait(20) == 0
    assert writer.host.poll() is None


@pytest.mark.needs("root")  # who looks at its descriptors
def test_it_is_nobodys(writer: Writer) -> None:
    writer.ask(DRAIN)
    assert writer.program.fds() == ["0", "3", "4"]
    writer.program.send(15)
    writer.ask(DRAIN)
    assert writer.program.runs()


@pytest.mark.needs("root")  # who looks at its descriptors
def test_many_journals(writer: Writer, folder: int) -> None:
    ends = []
    for journal in range(200):
        out, to_out = pipe()
        assert writer.ask(LISTEN, journal, folder, out, streams=OUT)[0] == 0
        os.close(out)
        ends.append(to_out)
    for journal, end in enumerate(ends):
        os.write(end, b"x\n")
        os.close(end)
        until(lambda journal=journal: writer.ask(DRAIN, journal)[1] == 0)
        assert writer.ask(CLOSE, journal)[0] == 0
    assert writer.program.fds() == ["0", "3", "4"]
