"""The reaper's socket: whatever comes in it, the reaper neither crashes nor removes what it was not told of."""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import struct
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.guard import guarded, scratch
from tests.support.leash import SHUT, Leash
from tools import build_programs

TYPES = st.one_of(st.integers(0, 6), st.integers(0, 2**32 - 1))
FLAGS = st.one_of(st.integers(0, 4), st.integers(0, 2**32 - 1))
IDS = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))
NAMES = st.one_of(
    st.sampled_from(
        [b"a", b"b", b"..", b".", b"", b"a/b", b"../outside", b"outside", b"n" * 255, b"n" * 256, b"a\0junk"]
    ),
    st.binary(max_size=256),
)
#: What is sent along: how many of which.
FDS = st.lists(st.sampled_from(["root", "root", "outside file", "pidfd", "pipe", "memfd"]), max_size=18)
MESSAGES = st.one_of(
    st.builds(lambda *fields: struct.pack("=IIQ256s", *fields), TYPES, FLAGS, IDS, NAMES),
    st.builds(
        lambda *fields: struct.pack("=IIQ256s", *fields),
        st.integers(1, 4),
        st.just(0),
        st.integers(1, 3),
        st.sampled_from([b"a", b"b"]),
    ),
    st.binary(max_size=600),
)


@cache
def _reaper() -> Path:
    """The program, compiled as the tests in tests/csrc compile it; it is gone with this process."""
    folder = tempfile.TemporaryDirectory(prefix="fuzz-reaper-")
    atexit.register(folder.cleanup)
    build_programs.build("reaper", Path(folder.name, "reaper"))
    return Path(folder.name, "reaper")


@contextlib.contextmanager
def _offered(root: Path, outside: Path, host: int) -> Iterator[dict[str, int]]:
    reading, writing = os.pipe()
    fds = {
        "root": os.open(root, os.O_RDONLY | os.O_DIRECTORY),
        "outside file": os.open(outside / "file", os.O_RDONLY),
        "pidfd": os.pidfd_open(host),
        "pipe": reading,
        "memfd": os.memfd_create("x"),
    }
    try:
        yield fds
    finally:
        for fd in (*fds.values(), writing):
            os.close(fd)


@given(messages=st.lists(st.tuples(MESSAGES, FDS), max_size=12))
@example(
    messages=[
        (struct.pack("=IIQ256s", 3, 0, 1, b"a"), ["root"] * 16),
        (struct.pack("=IIQ256s", 2, 2, 1, b"a"), ["root", "pipe"]),
    ]
)
def test_messages(messages: list[tuple[bytes, list[str]]]) -> None:
    with scratch() as (root, outside):
        (root / "a").mkdir()
        (root / "b").mkdir()
        (root / "b" / "link").symlink_to(outside.place)
        (root / "kept").mkdir()
        leash = Leash(_reaper())
        try:
            with _offered(root, outside.place, leash.host.pid) as fds:
                for message, names in messages:
                    with contextlib.suppress(*SHUT):
                        socket.send_fds(
                            leash.socket, [message], [fds[name] for name in names], socket.MSG_NOSIGNAL
                        )
            with guarded():
                assert leash.end() in {0, 1}
        finally:
            leash.close()
        assert (root / "kept").exists()
