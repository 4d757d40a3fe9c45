"""Packing: the archive says what the upper directory says, and always in the same bytes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.image.compression import decompressed
from pycontainer.image.compressor import compressed
from pycontainer.image.layer import unpack_layer
from pycontainer.image.limits import Limits
from pycontainer.image.pack import Packed, pack_layer
from pycontainer.image.tarstream import Entry, TarStream
from pycontainer.image.tarwriter import headers
from pycontainer.kernel.idmap import IdMap, user_map
from pycontainer.kernel.layers import Marks
from tests.support.tarball import END


def packed(place: Path, **options: object) -> tuple[bytes, Packed]:
    parts: list[bytes] = []
    # What an ordinary user makes is that of the container's root.
    options.setdefault("ids", None if os.geteuid() == 0 else user_map())
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = pack_layer(fd, parts.append, **options)  # type: ignore[arg-type]
    finally:
        os.close(fd)
    data = b"".join(parts)
    assert found.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert found.size == len(data)
    return data, found


@pytest.fixture
def upper(tmp_path):
    """An empty upper directory."""
    place = tmp_path / "upper"
    place.mkdir()
    place.chmod(0o755)
    return place


def names(data: bytes) -> list[bytes]:
    return [entry.name for entry in TarStream(io.BytesIO(data).read).entries()]


def unpacked(data: bytes, place: Path, **options: object) -> Path:
    place.mkdir()
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpack_layer(io.BytesIO(data).read, fd, **options)  # type: ignore[arg-type]
    finally:
        os.close(fd)
    return place


def seen(top: Path) -> dict[str, tuple[object, ...]]:
    """All that a layer keeps of a tree, and which names are one file."""
    found: dict[str, tuple[object, ...]] = {}
    firsts: dict[int, str] = {}
    for directory, below, files in os.walk(top):
        for path in [directory, *(os.path.join(directory, name) for name in sorted(below + files))]:
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = Path(path).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            xattrs = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if key != "security.selinux"
            }
            first = "" if stat.S_ISDIR(status.st_mode) else firsts.setdefault(status.st_ino, path)
            found[os.path.relpath(path, top)] = (
                status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns // 10**9 if path != str(top) else 0,
                content, xattrs, os.path.relpath(first, top) if first and not stat.S_ISCHR(status.st_mode) else "",
            )  # fmt: skip
    return found


def test_a_layer_of_nothing_is_the_one_that_everybody_has(upper):
    data, found = packed(upper)
    assert data == bytes(1024)
    assert found.diff_id == "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"


def test_the_order_is_that_of_the_names_whatever_that_of_the_making(upper):
    for place, order in (("a", ["b", "a", "a.d", "a/z"]), ("b", ["a", "a/z", "a.d", "b"])):
        (upper / place / "a").mkdir(parents=True)
        for name in order:
            if name != "a":
                (upper / place / name).write_text(name)
                os.utime(upper / place / name, (1, 1))
        os.utime(upper / place / "a", (1, 1))
    first, _ = packed(upper / "a")
    assert first == packed(upper / "b")[0]
    assert names(first) == [b"a/", b"a/z", b"a.d", b"b"]


def test_other_programs_read_it(tmp_path, upper):
    (upper / "d").mkdir(parents=True)
    (upper / "d" / ("n" * 200)).write_text("long")
    (upper / "link").symlink_to("t" * 300)
    (upper / "number").touch()
    os.utime(upper / "number", (-5, -5))
    (tmp_path / "layer.tar").write_bytes(packed(upper)[0])
    listed = subprocess.run(
        ["tar", "-tvf", str(tmp_path / "layer.tar")],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC"},
    )
    assert "n" * 200 in listed.stdout
    assert "link -> " + "t" * 300 in listed.stdout
    assert "1969-12-31" in listed.stdout
    assert not listed.stderr


def test_marks_become_names(tmp_path, upper):
    (upper / "d" / "opaque").mkdir(parents=True)
    os.setxattr(upper / "d" / "opaque", "user.overlay.opaque", b"y")
    os.setxattr(upper / "d", "user.overlay.origin", b"whatever")
    os.mknod(upper / "d" / "gone", stat.S_IFCHR, 0)
    os.link(upper / "d" / "gone", upper / "d" / "gone too")
    (upper / "x").mkdir()
    os.setxattr(upper / "x", "user.overlay.opaque", b"x")
    (upper / "x" / "hidden").touch()
    os.setxattr(upper / "x" / "hidden", "user.overlay.whiteout", b"y")
    (upper / "x" / "there").touch()
    data, _ = packed(upper)
    assert names(data) == [
        b"d/", b"d/.wh.gone", b"d/.wh.gone too", b"d/opaque/", b"d/opaque/.wh..wh..opq", b"x/", b"x/.wh.hidden", b"x/there",
    ]  # fmt: skip
    again = unpacked(data, tmp_path / "again", keep_owners=False)
    assert os.getxattr(again / "d/opaque", "user.overlay.opaque") == b"y"
    assert os.getxattr(again / "d", "user.overlay.origin") == b""  # of the unpacked layer itself
    # What a container says with the attributes of the other kind means nothing.
    trusted = names(packed(upper, marks=Marks("trusted"))[0])
    assert b"d/opaque/.wh..wh..opq" not in trusted
    assert b"x/hidden" in trusted


@pytest.mark.parametrize("mark", ["redirect", "metacopy"])
def test_what_only_an_overlay_can_say_is_refused(mark, upper):
    if mark == "redirect":
        (upper / "d").mkdir()
    else:
        (upper / "d").touch()
        os.truncate(upper / "d", 1 << 20)
    os.setxattr(upper / "d", f"user.overlay.{mark}", b"/x")
    with pytest.raises(NotSupported, match="off"):
        packed(upper)


def test_names_that_would_hide_others_are_refused(upper):
    (upper / ".wh.passwd").touch()
    with pytest.raises(NotSupported, match="rename"):
        packed(upper)


def test_what_a_layer_cannot_hold_is_left_out_and_told(tmp_path, upper):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(upper / "socket"))
        (upper / "file").touch()
        os.setxattr(upper / "file", "user.a=b", b"c")
        os.setxattr(upper / "file", "user.a", b"=\0")
        data, found = packed(upper)
    assert names(data) == [b"file"]
    assert found.skipped == ("file: the attribute 'user.a=b'", "socket: a socket")
    assert os.listxattr(unpacked(data, tmp_path / "again", keep_owners=False) / "file") == ["user.a"]


def test_trees_deeper_than_any_path_are_left_out_where_no_path_names_them(tmp_path, upper):
    try:
        subprocess.run(
            ["sh", "-c", "for i in $(seq 60); do mkdir $(printf %0100d $i) && cd -P $(printf %0100d $i); done; touch end"],
            cwd=upper, check=True,
        )  # fmt: skip
        data, found = packed(upper)
        assert max(map(len, names(data))) > 3900
        assert [note.endswith("too long") for note in found.skipped] == [True]
        again = unpacked(data, tmp_path / "again", keep_owners=False)
        assert packed(again)[0] == data
    finally:
        subprocess.run(["rm", "-rf", str(upper), str(tmp_path / "again")], check=True)


def test_a_file_that_shrinks_is_an_error_and_one_that_grows_is_as_long_as_it_was(upper):
    (upper / "file").write_bytes(bytes(3 << 20))
    fd = os.open(upper, os.O_RDONLY)

    def change(size: int) -> int:
        written = []

        def write(data: bytes) -> None:
            written.append(len(data))
            os.truncate(upper / "file", size)

        pack_layer(fd, write, ids=None if os.geteuid() == 0 else user_map())
        return sum(written)

    try:
        assert change(5 << 20) == (3 << 20) + 512 + 1024
        with pytest.raises(KernelError, match="pause"):
            change(100)
    finally:
        os.close(fd)


def test_bounds(upper):
    (upper / "file").touch()
    (upper / "other").touch()
    with pytest.raises(KernelError, match="more than 1 files"):
        packed(upper, limits=Limits(entries=1))
    os.truncate(upper / "file", 1 << 40)
    with pytest.raises(KernelError, match="bytes"):
        packed(upper, limits=Limits(total=1 << 22))


def test_a_fifo_is_not_opened(tmp_path, upper):
    os.mkfifo(upper / "fifo", 0o600)
    os.link(upper / "fifo", upper / "second")
    data, _ = packed(upper)
    again = unpacked(data, tmp_path / "again", keep_owners=False)
    assert {stat.S_IFMT(path.lstat().st_mode) for path in again.iterdir()} == {stat.S_IFIFO}


def test_time_is_whole_seconds_and_no_later_than_the_epoch(upper):
    for name, time in (("old", 5 * 10**8), ("new", 20 * 10**8 + 123)):
        (upper / name).touch()
        os.utime(upper / name, ns=(time, time))
        (upper / name).chmod(0o644)

    def times(epoch: int | None) -> dict[bytes, int]:
        data, _ = packed(upper, epoch=epoch)
        return {entry.name: entry.mtime for entry in TarStream(io.BytesIO(data).read).entries()}

    assert times(None) == {b"new": 2 * 10**9, b"old": 0}
    assert times(1) == {b"new": 10**9, b"old": 0}


@pytest.mark.needs("root")
def test_owners_and_capabilities_are_those_of_the_container(upper):
    base = 0x70000000
    os.chown(upper, base, base)
    upper.chmod(0o755)
    (upper / "ping").touch(mode=0o755)
    os.chown(upper / "ping", base + 1000, base + 15)
    three = bytes.fromhex("0100000300040000000000000000000000000000") + base.to_bytes(4, "little")
    os.setxattr(upper / "ping", "security.capability", three)
    data, _ = packed(upper, ids=IdMap.block(base))
    [entry] = TarStream(io.BytesIO(data).read).entries()
    assert (entry.uid, entry.gid) == (1000, 15)
    assert dict(entry.xattrs) == {
        b"security.capability": bytes.fromhex("0100000200040000000000000000000000000000")
    }
    os.chown(upper / "ping", 5, 5)
    with pytest.raises(NotSupported, match="no number"):
        packed(upper, ids=IdMap.block(base))


def test_the_root_is_told_of_where_it_is_another(tmp_path, upper):
    upper.chmod(0o700)
    data, _ = packed(upper)
    assert names(data) == [b"./"]
    assert stat.S_IMODE(unpacked(data, tmp_path / "again", keep_owners=False).stat().st_mode) == 0o700


NAMES = st.one_of(
    st.sampled_from([b"a", b"b", b"a.b", b"\xff\xfe", b"\n", b"x" * 255, b"-", b"wh.", b".wh"]),
    st.binary(min_size=1, max_size=6).filter(
        lambda name: (
            not {b"/", b"\0"} & {bytes([byte]) for byte in name}
            and name not in {b".", b".."}
            and not name.startswith(b".wh.")
        )
    ),
)
LEAVES = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=1500), st.dictionaries(st.sampled_from(["user.a", "user.b"]), st.binary(max_size=20))),
    st.tuples(st.just("link"), st.binary(min_size=1, max_size=300).filter(lambda text: b"\0" not in text)),
    st.tuples(st.just("fifo")),
    st.tuples(st.just("whiteout")),
    st.tuples(st.just("hard")),
)  # fmt: skip
TREES = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=4),
    lambda below: st.dictionaries(NAMES, st.one_of(LEAVES, st.tuples(st.just("directory"), st.booleans(), below)), max_size=5),
    max_leaves=12,
)  # fmt: skip
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o4755, 0o1777, 0o2750])
TIMES = st.one_of(st.integers(-(10**10), 10**10), st.integers(0, 2 * 10**9).map(lambda time: time * 10**9))


def grow(place: bytes, tree: dict[bytes, tuple[object, ...]], draw, files: list[bytes]) -> None:
    for name, (kind, *rest) in tree.items():
        path = os.path.join(place, name)
        if kind == "file":
            Path(os.fsdecode(path)).write_bytes(rest[0])
            for key, value in rest[1].items():
                os.setxattr(path, key, value)
            files.append(path)
        elif kind == "link":
            os.symlink(rest[0], path)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "whiteout":
            os.mknod(path, stat.S_IFCHR, 0)
            continue
        elif kind == "hard":
            if files:
                os.link(files[-1], path)
            continue
        else:
            os.mkdir(path)
            if rest[0]:
                os.setxattr(path, "user.overlay.opaque", b"y")
            grow(path, rest[1], draw, files)
        if kind != "link":
            os.chmod(path, draw(MODES) | (0o700 if kind == "directory" else 0))
        time = draw(TIMES)
        os.utime(path, ns=(time, time), follow_symlinks=False)


@settings(max_examples=60)
@given(tree=TREES, data=st.data())
def test_what_is_packed_is_unpacked_and_packed_the_same(tree, data):
    place = Path(tempfile.mkdtemp())
    try:
        (place / "upper").mkdir(mode=0o755)
        grow(os.fsencode(place / "upper"), tree, data.draw, [])
        first, _ = packed(place / "upper")
        again = unpacked(first, place / "again")
        left, right = seen(place / "upper"), seen(again)
        for found in right.values():
            for mark in ("trusted.overlay.opaque", "trusted.overlay.origin", "user.overlay.origin"):
                found[5].pop(mark, None)  # type: ignore[attr-defined]
        whiteouts = {path for path, found in left.items() if stat.S_ISCHR(found[0])}  # type: ignore[arg-type]
        assert left.keys() == right.keys()
        assert {path: left[path] for path in left.keys() - whiteouts} == {
            path: right[path] for path in right.keys() - whiteouts
        }
        assert packed(again)[0] == first
    finally:
        subprocess.run(["chmod", "-R", "u+rwx", str(place)], check=True)
        shutil.rmtree(place)


IDS = st.one_of(st.integers(0, 70000), st.integers(0, (1 << 32) - 2))
TEXT = st.binary(min_size=1, max_size=300).filter(lambda text: b"\0" not in text)
ENTRIES = st.builds(
    Entry,
    name=TEXT.filter(lambda name: not name.endswith(b"/")),
    kind=st.sampled_from(["file", "directory", "symlink", "hardlink", "fifo"]),
    mode=st.integers(0, 0o7777),
    uid=IDS,
    gid=IDS,
    mtime=st.integers(-(1 << 40) * 10**9 + 1, (1 << 40) * 10**9 - 1),
    link=TEXT,
    xattrs=st.lists(
        st.tuples(TEXT.filter(lambda key: b"=" not in key), st.binary(max_size=200)), max_size=3, unique_by=lambda pair: pair[0]
    ).map(lambda found: tuple(sorted(found))),
)  # fmt: skip


@given(ENTRIES)
def test_what_is_written_is_read(entry):
    assert list(TarStream(io.BytesIO(headers(entry) + END).read).entries()) == [entry]


def test_sizes_beyond_eight_gibibytes_are_written():
    entry = Entry(name=b"big", kind="file", mode=0, uid=0, gid=0, mtime=0, size=1 << 40)
    found = next(TarStream(io.BytesIO(headers(entry)).read).entries())
    assert found.size == 1 << 40


def squeeze(data: bytes, kind: str, step: int = 1 << 20) -> bytes:
    parts: list[bytes] = []
    with compressed(parts.append, kind) as out:  # type: ignore[arg-type]
        for start in range(0, len(data), step):
            out.write(data[start : start + step])
    return b"".join(parts)


@pytest.mark.parametrize("kind", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("step", [1 << 20, 1000])
def test_compressing_is_the_same_each_time_and_others_read_it(kind, step, tmp_path):
    data = b"".join(b"line %d\n" % number for number in range(300_000))
    small = squeeze(data, kind, step)
    assert squeeze(data, kind, step) == small
    read = decompressed(io.BytesIO(small).read, Limits())
    assert b"".join(iter(lambda: read(1 << 20), b"")) == data
    if kind != "none":
        assert len(small) < len(data) // 3
        (tmp_path / "file").write_bytes(small)
        with (tmp_path / "file").open("rb") as file:
            done = subprocess.run([kind, "-dc"], stdin=file, capture_output=True, check=True)
        assert done.stdout == data


def test_without_isal_it_is_zlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "isal", None)
    small = squeeze(b"text" * 1000, "gzip")
    assert (small[4:8], zlib.decompress(small, 31)) == (bytes(4), b"text" * 1000)
    assert decompressed(io.BytesIO(small).read, Limits())(5000) == b"text" * 1000


def test_an_error_leaves_compressed_data_without_an_end():
    parts: list[bytes] = []

    def fail() -> None:
        with compressed(parts.append, "gzip") as out:
            out.write(b"x" * 100)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not b"".join(parts).endswith(b"d\0\0\0")
    with pytest.raises(InvalidArgument):
        compressed(parts.append, "lz4")  # type: ignore[arg-type]
