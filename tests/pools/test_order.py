"""The program that waits for an order: what it does with one, and with what is none."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys

import pytest

from pycontainer.kernel.order import NotTaken, Order
from pycontainer.kernel.program import FOLDER

HEAD = struct.Struct("=IIIII")
WORKDIR = 1 << 16


class Waiting:
    """A waiting init, and the socket that it waits at."""

    def __init__(self, *words: str) -> None:
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(30)
        with theirs:
            self.process = subprocess.Popen(
                [
                    "/bin/sh",
                    "-c",
                    'exec 0<&- 1>&- 2>&-; exec "$@"',
                    "sh",
                    FOLDER / "init",
                    *words,
                    str(theirs.fileno()),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def send(self, data: bytes, count: int = 3) -> None:
        null = os.open("/dev/null", os.O_RDWR)
        read, write = os.pipe()
        socket.send_fds(self.ours, [data], [null, write, null][:count])
        for fd in (null, write):
            os.close(fd)
        self.output = read

    def end(self) -> tuple[int, bytes, bytes]:
        """Its exit status, its report, its output."""
        report = b""
        try:
            while piece := self.ours.recv(100):
                report += piece
        except ConnectionResetError:
            pass
        self.ours.close()
        status = self.process.wait(30)
        with open(self.output, "rb") as output:
            return status, report, output.read()


def order(argv: list[str], paths: list[str], env: tuple[str, ...] = (), workdir: str | None = None) -> bytes:
    places = [] if workdir is None else [workdir]
    text = "".join(word + "\0" for word in [*places, *paths, *argv, *env]).encode()
    return HEAD.pack(len(text), len(places), len(paths), len(argv), len(env)) + text


KINDS = pytest.mark.parametrize("words", [("become", "await"), ("await",)])


@KINDS
def test_it_becomes_what_it_is_told(words):
    waiting = Waiting(*words)
    script = 'echo "$A" "$PWD"; ls -l /proc/self/fd | grep -c socket; exit 7'
    waiting.send(order(["sh", "-c", script], ["/no/such", "/bin/sh"], ("A=1", "PATH=/bin"), "/usr"))
    status, report, output = waiting.end()
    assert (status, output) == (7, b"1 /usr\n0\n")
    assert report in (b"", bytes(4))


@KINDS
def test_pieces(words):
    """Its head comes with its fds, and the rest as it comes."""
    waiting = Waiting(*words)
    data = order(["sh", "-c", "exit 5"], ["/bin/sh"])
    waiting.send(data[:3])
    for number in range(3, len(data)):
        waiting.ours.send(data[number : number + 1])
    assert waiting.end()[0] == 5


@KINDS
@pytest.mark.parametrize(
    ("told", "error"),
    [
        (order(["x"], ["/no/such"]), errno.ENOENT),
        (order(["x"], ["/etc/passwd"]), errno.EACCES),
        (order(["x"], []), errno.ENOENT),
        (order(["x"], ["/bin/sh"], (), "/no/such"), errno.ENOENT | WORKDIR),
        (order(["x"], ["/bin/sh"], (), "/etc/passwd"), errno.ENOTDIR | WORKDIR),
        (HEAD.pack(1 << 31, 0, 1, 1, 0), errno.E2BIG),
        (HEAD.pack(10, 2, 1, 1, 0) + bytes(10), errno.E2BIG),
        (HEAD.pack(10, 0, 11, 1, 0) + bytes(10), errno.E2BIG),
        (HEAD.pack(10, 0, 1, 1 << 31, 0) + bytes(10), errno.E2BIG),
        (HEAD.pack(3, 0, 3, 3, 3) + b"a\0b", errno.EINVAL),
        (HEAD.pack(0, 0, 0, 0, 0), errno.ENOENT),
        (HEAD.pack(5, 1, 1, 1, 1) + bytes(5), errno.ENOENT | WORKDIR),
    ],
)
def test_refusals(words, told, error):
    waiting = Waiting(*words)
    waiting.send(told)
    status, report, _ = waiting.end()
    assert status in (126, 127)
    assert int.from_bytes(report[:4], sys.byteorder) == error


@KINDS
@pytest.mark.parametrize("count", [1, 2])
def test_too_few_streams(words, count):
    waiting = Waiting(*words)
    waiting.send(order(["sh", "-c", "exit 5"], ["/bin/sh"]), count)
    status, report, _ = waiting.end()
    assert (status, int.from_bytes(report, sys.byteorder)) == (126, errno.EBADF)


@KINDS
@pytest.mark.parametrize("told", [b"", b"x", HEAD.pack(10, 0, 1, 1, 0) + b"abc"])
def test_it_ends_when_its_host_is_gone(words, told):
    waiting = Waiting(*words)
    if told:
        waiting.send(told)
        os.close(waiting.output)
    waiting.ours.close()
    assert waiting.process.wait(30) == 0


def test_an_order_that_nobody_takes():
    given = Order()
    given.close_theirs()
    null = os.open("/dev/null", os.O_RDWR)
    with pytest.raises(NotTaken):
        given.give([b"/bin/true"], [b"true"], [], (null, null, null))
    os.close(null)
    given.close()
