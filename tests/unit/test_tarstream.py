"""What tar archives say: as tarfile and GNU tar write it, and as nobody honest would."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import sys
import tarfile
import time

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import ImageError, NotSupported, UnsafeArchive
from pycontainer.image.compression import decompressed
from pycontainer.image.limits import Limits
from pycontainer.image.tarheader import parse_records
from pycontainer.image.tarstream import Entry, TarStream
from tests.support.tarball import END, entry, header, pax, resum


def read_all(data: bytes, limits: Limits | None = None) -> list[tuple[Entry, bytes]]:
    bounds = limits or Limits()
    stream = TarStream(decompressed(io.BytesIO(data).read, bounds), bounds)
    found = [(each, b"".join(stream.content())) for each in stream.entries()]
    stream.drain()
    return found


def one(data: bytes) -> Entry:
    [(found, _)] = read_all(data + END)
    return found


def honest(form: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, data in (("d" * 60 + "/" + "n" * 60, b"x" * 700), ("short", b""), ("e" * 90, b"1")):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid, info.mode = len(data), 1_700_000_000, 70_000, 0o4755
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "t" * 300
        if form != tarfile.USTAR_FORMAT:
            archive.addfile(link)
    return file.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_formats_of_tarfile_are_read(form):
    found = read_all(honest(form))
    assert [(each.name.decode(), each.size, data) for each, data in found[:3]] == [
        ("d" * 60 + "/" + "n" * 60, 700, b"x" * 700),
        ("short", 0, b""),
        ("e" * 90, 1, b"1"),
    ]
    first = found[0][0]
    assert (first.uid, first.mode, first.mtime, first.kind) == (70_000, 0o4755, 1_700_000_000 * 10**9, "file")
    if form != tarfile.USTAR_FORMAT:
        assert (found[3][0].kind, found[3][0].link) == ("symlink", b"t" * 300)


COMPRESSIONS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compressions_are_told_by_their_first_bytes_and_members_are_joined(name):
    data = honest(tarfile.PAX_FORMAT)
    compress = COMPRESSIONS[name]
    assert len(read_all(compress(data))) == 4
    assert len(read_all(compress(data[:1000]) + compress(data[1000:]))) == 4


@pytest.mark.parametrize("name", sorted(set(COMPRESSIONS) - {"plain"}))
def test_compressed_data_that_ends_early_or_is_followed_by_other_data_is_refused(name):
    packed = COMPRESSIONS[name](honest(tarfile.PAX_FORMAT))
    for cut in (1, 4, 8, len(packed) // 2):
        with pytest.raises(ImageError):
            read_all(packed[:-cut])
    with pytest.raises(ImageError):
        read_all(packed + b"something else")
    assert read_all(packed + bytes(512))


@pytest.mark.parametrize(
    "name", [b"\x1f\x8b\x08", b"BZh91AY&SY", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"]
)
def test_a_name_may_look_like_the_mark_of_a_compressor(name):
    assert one(entry(name, data=b"x")).name == name


def test_a_frame_that_zstd_passes_over_may_come_first():
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    assert read_all(skippable + COMPRESSIONS["zstd"](honest(tarfile.PAX_FORMAT)))


def test_members_of_no_bytes_and_members_in_one_piece_are_read():
    data = honest(tarfile.PAX_FORMAT)
    for compress in (gzip.compress, bz2.compress, lzma.compress, COMPRESSIONS["zstd"]):
        pieces = [compress(data[place : place + 97]) for place in range(0, len(data), 97)]
        assert (
            len(read_all(compress(b"") * 3000 + (compress(b"") + bytes(7) + compress(b"")).join(pieces))) == 4
        )


def test_without_a_decoder_for_zstd_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression", None)
    with pytest.raises(NotSupported, match=r"pycontainer-linux\[images\]"):
        read_all(COMPRESSIONS["zstd"](END))


def test_truncated_archives_are_refused_wherever_they_end():
    data = entry(b"a", data=b"x" * 600) + entry(b"b")
    for length in range(0, len(data) + 1, 64):
        with pytest.raises(ImageError):
            read_all(data[:length])
    assert len(read_all(data + bytes(512))) == 2


@pytest.mark.parametrize("taken", [False, True], ids=["passed over", "taken"])
@pytest.mark.parametrize("piece", [1, 100, 512, 1 << 20])
def test_a_layer_may_end_with_its_last_byte_and_not_before(taken, piece):
    data = entry(b"a", data=b"x") + entry(b"b", data=b"y" * 600) + header(b"c", size=700) + b"z" * 700

    def names(end):
        file = io.BytesIO(data[:end])
        stream = TarStream(lambda count: file.read(min(count, piece)), marked=False)
        return [(each.name, taken and len(b"".join(stream.content()))) for each in stream.entries()]

    assert [name for name, _ in names(len(data))] == [b"a", b"b", b"c"]
    for end in (len(data) - 1, len(data) - 700, len(data) - 1000, 1536 + 599, 512, 511):
        with pytest.raises(ImageError, match="truncated"):
            names(end)
    assert names(512 + 1) == names(1024) == [(b"a", taken and 1)]


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x7fELF" * 500, header(b"a")[:-1] + b"x" + END])
def test_garbage_is_refused(data):
    with pytest.raises(ImageError):
        read_all(data)


def test_a_signed_checksum_of_old_tars_is_right_too():
    block = header(b"\xe9")
    rest = block[:148] + b"        " + block[156:]
    total = sum(byte - 256 if byte > 127 else byte for byte in rest)
    assert one(block[:148] + b"%06o\0 " % total + block[156:]).name == b"\xe9"


def test_numbers_in_base_256():
    assert one(entry(b"a", uid=b"\x80\0\0\0\0\x01\0\0")).uid == 65536
    assert one(entry(b"a", mtime=b"\xff" * 12)).mtime == -(10**9)


@pytest.mark.parametrize(
    "fields",
    [
        {"told": b"\xff" * 12},
        {"told": b"\x80" + b"\xff" * 11},
        {"uid": b"\xff" * 8},
        {"uid": b"\x80\0\0\0\xff\xff\xff\xff"},
        {"mtime": b"\x80" + b"\xff" * 11},
        {"told": b"12x\0"},
        {"told": b"-1\0"},
        {"mode": b"9\0"},
    ],
)
def test_impossible_numbers_are_refused(fields):
    with pytest.raises(ImageError):
        read_all(header(b"a", **fields) + END)


def test_extended_headers_override():
    data = pax(
        (b"path", b"p" * 400), (b"uid", b"100000"), (b"mtime", b"-1.5"), (b"SCHILY.xattr.user.a", b"\0=\n"),
        (b"comment", b"x"),
    )  # fmt: skip
    found = one(data + entry(b"short"))
    assert (found.name, found.uid, found.mtime) == (b"p" * 400, 100_000, -1_500_000_000)
    assert found.xattrs == ((b"user.a", b"\0=\n"),)
    assert one(pax((b"uid", b"7"), kind=b"g") + entry(b"a")).uid == 7


@pytest.mark.parametrize(
    "record",
    [
        b"5 a=",
        b"999 a=b\n",
        b"0 a=b\n",
        b"-6 a=b\n",
        b"6 ab=\n"[:-1] + b"x",
        b" a=b\n",
        b"4 =\n",
        b"99999999999 a=b\n",
    ],
)
def test_damaged_extended_headers_are_refused(record):
    with pytest.raises(ImageError):
        read_all(entry(b"pax", b"x", record) + entry(b"a") + END)


@pytest.mark.parametrize(
    "record",
    [(b"size", b"-1"), (b"size", b"9" * 30), (b"uid", b"4294967295"), (b"mtime", b"1e9"), (b"path", b"a\0b")],
)
def test_wrong_values_in_extended_headers_are_refused(record):
    with pytest.raises(ImageError):
        read_all(pax(record) + entry(b"a") + END)


def test_a_size_for_all_entries_is_refused():
    with pytest.raises(ImageError, match="same size"):
        read_all(pax((b"size", b"10"), kind=b"g") + entry(b"a") + END)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_descriptions_are_bounded_before_they_are_read(kind):
    with pytest.raises(UnsafeArchive):
        read_all(header(b"big", kind, size=8 << 30) + END)


def test_many_descriptions_of_one_entry_are_bounded_together():
    part = b"".join(pax((b"key%d" % each, b"v" * 60_000)) for each in range(20))
    with pytest.raises(UnsafeArchive, match="extended headers"):
        read_all(part + entry(b"a") + END)


def test_descriptions_of_all_entries_that_mean_nothing_are_not_kept():
    part = b"".join(
        pax((b"key%d" % each, b"v" * 60_000), (b"uid", b"%d" % each), kind=b"g") for each in range(20)
    )
    assert one(part + entry(b"a")).uid == 19


def test_the_number_of_headers_is_bounded():
    with pytest.raises(UnsafeArchive, match="more than 10 headers"):
        read_all(entry(b"a") * 11 + END, Limits(entries=10))
    with pytest.raises(UnsafeArchive, match="more than 10 headers"):
        read_all(pax() * 11 + entry(b"a") + END, Limits(entries=10))


@pytest.mark.parametrize("name", ["gzip", "xz", "bzip2", "zstd"])
def test_a_decompression_bomb_is_stopped_early(name):
    packed = COMPRESSIONS[name](header(b"zeros", size=200 << 20) + bytes(200 << 20) + END)
    started = time.monotonic()
    with pytest.raises(UnsafeArchive, match="compressed byte"):
        read_all(packed, Limits(unquestioned=1 << 20))
    assert time.monotonic() - started < 10
    with pytest.raises(UnsafeArchive, match="decompressed"):
        read_all(packed, Limits(total=1 << 20))


def test_unknown_types_are_refused_by_name():
    with pytest.raises(ImageError, match="b'M'"):
        read_all(entry(b"a", b"M") + END)


@pytest.mark.parametrize("form", [["gnu"], ["posix", "0.0"], ["posix", "0.1"], ["posix", "1.0"]])
def test_sparse_files_of_gnu_tar(form, tmp_path):
    with (tmp_path / "file").open("wb") as file:
        for place in range(0, 60 << 20, 2 << 20):
            file.seek(place)
            file.write(b"%08d" % place)
        file.truncate(100 << 20)
    version = [f"--sparse-version={form[1]}"] if len(form) > 1 else []
    command = ["tar", "-C", str(tmp_path), "--sparse", f"--format={form[0]}", *version, "-cf", "-", "file"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    assert len(data) < 2 << 20
    [(found, content)] = read_all(data)
    assert (found.name, found.size) == (b"file", 100 << 20)
    position = 0
    seen = {}
    for offset, length in found.segments:
        seen[offset] = content[position : position + 8]
        position += length
    assert position == len(content)
    assert all(seen[place] == b"%08d" % place for place in range(0, 60 << 20, 2 << 20))


@pytest.mark.parametrize("text", [b"0,10,5,10", b"0,10,10,-1", b"0,21", b"90,20", b"0", b"0,1"])
def test_maps_that_cannot_be_are_refused(text):
    data = pax((b"GNU.sparse.size", b"100"), (b"GNU.sparse.map", text))
    with pytest.raises(ImageError):
        read_all(data + entry(b"a", data=b"x" * 20) + END)


def test_the_pieces_of_a_sparse_file_are_bounded():
    text = b",".join(b"%d,0" % each for each in range(200))
    data = pax((b"GNU.sparse.size", b"1000"), (b"GNU.sparse.map", text))
    with pytest.raises(UnsafeArchive, match="pieces"):
        read_all(data + entry(b"a") + END, Limits(segments=100))


SEED = (
    entry(b"d/", b"5")
    + pax((b"path", b"long" * 50), (b"SCHILY.xattr.user.a", b"b"))
    + entry(b"a", data=b"content")
    + entry(b"././@LongLink", b"L", b"n" * 200)
    + entry(b"n", b"2", link=b"target")
    + pax((b"GNU.sparse.size", b"100"), (b"GNU.sparse.map", b"0,4,50,3"))
    + entry(b"s", data=b"1234567")
    + END
)


@given(st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), max_size=6), st.booleans())
def test_any_bytes_give_entries_or_an_image_error(changes, mended):
    data = bytearray(SEED)
    for place, value in changes:
        data[place] = value
        start = place - place % 512
        if mended:
            data[start : start + 512] = resum(bytes(data[start : start + 512]))
    try:
        for found, _ in read_all(bytes(data), Limits(total=1 << 20)):
            assert 0 <= found.uid < (1 << 32) - 1
            assert 0 <= found.size < 1 << 63
            assert b"\0" not in found.name + found.link
    except ImageError:
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"6 a=b\nx", b"6 a=b\nlonger than any number", b"6 a=b\n 6 c=d\n", b"0 a=b\n", b"5 a=b\n", b"7 a=b\n", b"6 a=b ",
        b"6 a=b\n0 a=b\n", b"-6 a=b\n", b"4 =b\n", b"5 ab\n", b"99999999 a=b\n",
    ],
)  # fmt: skip
def test_records_of_an_extended_header_end(data: bytes) -> None:
    """A second record without a length was the first one over again, for ever."""
    if data:
        with pytest.raises(ImageError):
            parse_records(data)
    else:
        assert parse_records(data) == []
