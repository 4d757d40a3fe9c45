"""Runs of zeros: they are made holes, cost no disk, and are not what a bomb is told by."""

from __future__ import annotations

import gzip
import os
import random

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainer.errors import UnsafeArchive
from pycontainer.image.holes import write_with_holes
from pycontainer.image.limits import Limits
from tests.support.tarball import END, entry, header, unpack_bytes

PACKERS = {"gzip": lambda data: gzip.compress(data, 1), "zstd": zstandard.ZstdCompressor().compress}
LIMITS = Limits(unquestioned=1 << 20)


def file(name: bytes, data: bytes) -> bytes:
    return header(name, size=len(data)) + data + bytes(-len(data) % 512)


@pytest.mark.parametrize("kind", PACKERS)
def test_a_file_that_is_mostly_zeros_is_unpacked_and_takes_no_room(kind, tmp_path):
    size = 200 << 20
    data = bytearray(size)
    for place in (0, 100_000_001, size - 70_000):
        data[place] = 1
    root = tmp_path / "root"
    unpack_bytes(PACKERS[kind](file(b"zeros", bytes(size)) + file(b"some", bytes(data)) + END), root)
    assert (root / "zeros").stat().st_size == size
    assert (root / "zeros").stat().st_blocks == 0
    assert (root / "some").read_bytes() == data
    assert (root / "some").stat().st_blocks * 512 <= 4 << 16


def test_the_room_is_about_what_the_disk_says(tmp_path):
    chance = random.Random(5)
    files = [file(b"%d" % each, chance.randbytes(chance.randrange(1, 20_000))) for each in range(300)]
    link = entry(b"link", b"1", link=b"0")
    made = unpack_bytes(b"".join(files) + link + file(b"zeros", bytes(50 << 20)) + END, tmp_path / "root")
    assert made.size > 50 << 20
    taken = sum(path.stat().st_blocks * 512 for path in (tmp_path / "root").iterdir() if path.name != "link")
    assert 0.8 < made.room / taken < 1.25


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize(
    "what",
    [
        pytest.param(lambda: file(b"a", b"a" * (64 << 20)), id="of something else"),
        pytest.param(lambda: file(b"a", (b"a" + bytes((1 << 20) - 1)) * 64), id="in shorter runs"),
        pytest.param(
            lambda: b"".join(file(b"%d" % each, bytes(1 << 19)) for each in range(128)), id="in small files"
        ),
    ],
)
def test_what_would_take_room_is_a_bomb(kind, what, tmp_path):
    with pytest.raises(UnsafeArchive, match="compressed byte"):
        unpack_bytes(PACKERS[kind](what() + END), tmp_path / "root", LIMITS)


def test_zeros_are_bounded_too(tmp_path):
    with pytest.raises(UnsafeArchive, match="more than 33554432 bytes"):
        unpack_bytes(
            gzip.compress(file(b"a", bytes(64 << 20)) + END), tmp_path / "root", Limits(total=32 << 20)
        )


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 4095, 4096, 65535, 65536, 200_000]), st.booleans()), max_size=8),
    st.lists(st.integers(min_value=1, max_value=300_000), max_size=5),
)
def test_what_is_written_is_what_was_given(runs, cuts):
    content = b"".join((b"\1" if filled else b"\0") * length for length, filled in runs)
    fd = os.memfd_create("holes")
    try:
        position = 0
        for length in [*cuts, len(content)]:
            part = content[position : position + length]
            write_with_holes(fd, memoryview(part), position)
            position += len(part)
        os.ftruncate(fd, len(content))
        assert os.pread(fd, len(content) + 1, 0) == content
    finally:
        os.close(fd)
