"""Layers: what hides what, as overlayfs sees it and as the image specification says it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import subprocess
from pathlib import Path

import pytest

from pycontainer.errors import ImageError, NotSupported, UnsafeArchive
from pycontainer.image.duplicate import duplicate_file
from pycontainer.image.layer import UnpackedLayer, unpack_file, unpack_layer
from pycontainer.image.tarstream import TarStream
from pycontainer.kernel.idmap import IdMap, user_map
from pycontainer.kernel.steward import Steward
from pycontainer.kernel.userns import create
from tests.support.tarball import END, entry, pax


def file(name: bytes, data: bytes = b"new", **fields: bytes) -> bytes:
    return entry(name, data=data, **fields)


def directory(name: bytes, mode: bytes = b"0000755\0") -> bytes:
    return entry(name, b"5", mode=mode)


def whiteout(name: bytes) -> bytes:
    above, slash, last = name.rpartition(b"/")
    return entry(above + slash + b".wh." + last)


def opaque(name: bytes) -> bytes:
    return entry(name + b"/.wh..wh..opq")


def unpack_at(place: Path, data: bytes, **options: object) -> UnpackedLayer:
    place.mkdir()
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return unpack_layer(io.BytesIO(data).read, fd, **options)  # type: ignore[arg-type]
    finally:
        os.close(fd)


def mark(path: Path) -> str:
    """What a file is to overlayfs."""
    status = path.lstat()
    if stat.S_ISCHR(status.st_mode):
        assert status.st_rdev == 0
        return "whiteout"
    if stat.S_ISDIR(status.st_mode):
        found = {name: os.getxattr(path, name) for name in os.listxattr(path) if "overlay" in name}
        namespaces = ["user", "trusted"] if os.geteuid() == 0 else ["user"]
        covering = any(stat.S_ISCHR(each.lstat().st_mode) for each in path.iterdir())
        opaque = "user.overlay.opaque" in found
        expected = {f"{each}.overlay.opaque": b"y" for each in namespaces if opaque}
        expected |= {f"{each}.overlay.origin": b"" for each in namespaces if covering}
        assert found == expected
        return "opaque" if opaque else "directory"
    return "file" if stat.S_ISREG(status.st_mode) else "other"


ORDERS = {
    "whiteout": (whiteout(b"d/a"), {"d": "directory", "d/a": "whiteout"}),
    "opaque first": (directory(b"d") + opaque(b"d") + file(b"d/a"), {"d": "opaque", "d/a": "file"}),
    "opaque last": (directory(b"d") + file(b"d/a") + opaque(b"d"), {"d": "opaque", "d/a": "file"}),
    "opaque before its directory": (opaque(b"d") + directory(b"d", b"0000700\0"), {"d": "opaque"}),
    "opaque alone": (opaque(b"d"), {"d": "opaque"}),
    "opaque with a whiteout": (opaque(b"d") + whiteout(b"d/a"), {"d": "opaque", "d/a": "whiteout"}),
    "whiteout twice": (whiteout(b"a") * 2, {"a": "whiteout"}),
    "whiteout, then file": (whiteout(b"a") + file(b"a"), {"a": "file"}),
    "file, then whiteout": (file(b"a") + whiteout(b"a"), {"a": "file"}),
    "whiteout, then directory": (whiteout(b"a") + directory(b"a"), {"a": "opaque"}),
    "directory, then whiteout": (directory(b"a") + whiteout(b"a"), {"a": "opaque"}),
    "whiteout, then what is in it": (whiteout(b"a") + file(b"a/b/c"), {"a": "opaque", "a/b": "directory"}),
    "whiteout, file, directory": (whiteout(b"a") + file(b"a") + directory(b"a"), {"a": "opaque"}),
    "directory, then file": (directory(b"a") + file(b"a/b") + file(b"a"), {"a": "file"}),
    "opaque directory, then file, then directory": (opaque(b"a") + file(b"a") + file(b"a/b"[:1]) + directory(b"b"), {"a": "file"}),
    "through a link": (directory(b"d") + entry(b"l", b"2", link=b"d") + whiteout(b"l/a"), {"d/a": "whiteout"}),
    "the mark itself": (entry(b"d/a", b"3"), {"d/a": "whiteout"}),
    "the mark itself, then a directory": (entry(b"a", b"3") + directory(b"a"), {"a": "opaque"}),
    "whiteouts that are one file": (whiteout(b"a") + entry(b".wh.b", b"1", link=b".wh.a"), {"a": "whiteout", "b": "whiteout"}),
    "of aufs": (entry(b".wh.b", b"1", link=b".wh..wh.aufs"), {"b": "whiteout"}),
    "odd names": (whiteout(b"...") + whiteout(b"\xff\n") + whiteout(b"x.wh.y"), {"...": "whiteout", "x.wh.y": "whiteout"}),
    "no mark": (file(b"a.wh.b") + file(b"wh.c"), {"a.wh.b": "file", "wh.c": "file"}),
    "leftovers": (file(b".wh..wh.aufs") + directory(b".wh..wh.orph") + file(b".wh..wh.orph/x") + file(b"d/.wh..wh.x"), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
def test_marks_say_what_is_hidden_in_any_order(name, tmp_path):
    data, wanted = ORDERS[name]
    unpack_at(tmp_path / "layer", data + END)
    assert {path: mark(tmp_path / "layer" / path) for path in wanted} == wanted
    assert not list((tmp_path / "layer").rglob(".wh.*"))


REFUSED = {
    "no name": entry(b"d/.wh."),
    "dot": entry(b".wh.."),
    "dots": entry(b".wh..."),
    "content": entry(b".wh.a", data=b"x"),
    "opaque with content": entry(b"d/.wh..wh..opq", data=b"x"),
    "directory": entry(b".wh.a", b"5"),
    "link": entry(b".wh.a", b"2", link=b"b"),
    "link to a file": file(b"b") + entry(b".wh.a", b"1", link=b"b"),
    "fifo": entry(b".wh.a", b"6"),
    "below a whiteout": file(b".wh.a/b"),
    "above": whiteout(b"../a"),
    "attribute of overlayfs": pax((b"SCHILY.xattr.user.overlay.opaque", b"y")) + directory(b"d"),
    "escaped attribute": pax((b"SCHILY.xattr.trusted.overlay.overlay.opaque", b"y")) + directory(b"d"),
    "new kind of whiteout": pax((b"SCHILY.xattr.user.overlay.whiteout", b"y")) + file(b"f"),
    "hard link to a whiteout": whiteout(b"a") + entry(b"b", b"1", link=b"a"),
    "below the mark of a link": whiteout(b"a") + entry(b"l", b"2", link=b"a") + file(b"l/x"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_marks_that_cannot_be_are_refused(name, tmp_path):
    with pytest.raises(ImageError):
        unpack_at(tmp_path / "layer", REFUSED[name] + END)


def test_hard_links_to_what_aufs_kept_aside(tmp_path):
    data = (
        directory(b".wh..wh.plnk") + file(b".wh..wh.plnk/1.2") + entry(b"a", b"1", link=b".wh..wh.plnk/1.2")
    )
    unpack_at(tmp_path / "layer", data + END)
    assert (tmp_path / "layer" / "a").read_text() == "new"
    assert os.listdir(tmp_path / "layer") == ["a"]


def test_an_opaque_root_is_told(tmp_path):
    assert unpack_at(tmp_path / "layer", entry(b".wh..wh..opq") + file(b"a") + END).opaque
    assert mark(tmp_path / "layer") == "opaque"
    assert not unpack_at(tmp_path / "other", opaque(b"d") + END).opaque


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("tail", [b"", END, END + bytes(10240), END + b"what nobody reads"])
def test_the_diff_id_is_that_of_every_byte(tail, pack, tmp_path):
    data = file(b"a") + tail
    wanted = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert unpack_at(tmp_path / "layer", pack(data), expected=wanted).diff_id == wanted
    with pytest.raises(ImageError, match="was expected"):
        unpack_at(tmp_path / "other", pack(file(b"a", b"old") + tail), expected=wanted)
    with pytest.raises(ImageError, match="64 digits"):
        unpack_at(tmp_path / "third", pack(data), expected="sha256:x")


def test_a_layer_of_nothing(tmp_path):
    found = unpack_at(tmp_path / "layer", b"")
    assert (found.entries, found.diff_id) == (0, f"sha256:{hashlib.sha256().hexdigest()}")
    assert stat.S_IMODE((tmp_path / "layer").stat().st_mode) == 0o755


@pytest.mark.parametrize("cut", [511, 513, 1025])
def test_a_truncated_layer_is_refused(cut, tmp_path):
    with pytest.raises(ImageError, match="truncated"):
        unpack_at(tmp_path / "layer", (file(b"a", bytes(1024)) + file(b"b"))[:-cut])


def test_errors_of_the_source_are_raised_as_they_are(tmp_path):
    (tmp_path / "layer").mkdir()
    fd = os.open(tmp_path / "layer", os.O_RDONLY)
    parts = [file(b"a"), file(b"b")]

    def read(count: int) -> bytes:
        if parts:
            return parts.pop(0)
        raise ConnectionResetError("gone")

    try:
        with pytest.raises(ConnectionResetError):
            unpack_layer(read, fd)
    finally:
        os.close(fd)


def test_what_is_ahead_is_given_up_when_the_work_fails(tmp_path):
    """The rest of a layer that is refused is not read."""
    (tmp_path / "layer").mkdir()
    fd = os.open(tmp_path / "layer", os.O_RDONLY)
    taken = 0
    start = file(b"../a")

    def read(count: int) -> bytes:
        nonlocal taken, start
        part, start = start or bytes(count), b""
        taken += len(part)
        return part

    try:
        with pytest.raises(UnsafeArchive, match="upwards"):
            unpack_layer(read, fd)
        assert taken < 64 << 20
    finally:
        os.close(fd)


@pytest.mark.needs("root")
@pytest.mark.parametrize("options", ["", ",userxattr"])
def test_overlays_show_what_the_layers_say(options, tmp_path):
    """The same tree, below an overlay of the host and below one as in a user namespace."""
    lower = b"".join(
        file(name, b"old")
        for name in (b"gone", b"kept", b"replaced", b"d/gone", b"d/kept", b"o/gone/x", b"w/gone", b"t/gone")
    )
    upper = (
        whiteout(b"gone") + file(b"replaced") + whiteout(b"d/gone") + file(b"d/new")
        + opaque(b"o") + file(b"o/new") + whiteout(b"w") + file(b"w/new") + file(b"t")
        + whiteout(b"n/never") + file(b"n/new") + opaque(b"n/o") + whiteout(b"n/o/never")
    )  # fmt: skip
    unpack_at(tmp_path / "1", lower + END)
    unpack_at(tmp_path / "2", upper + END)
    (tmp_path / "merged").mkdir()
    command = (
        f"mount -t overlay -o ro,lowerdir=2:1{options} none merged && cd merged"
        r' && find ! -type d -printf "%P " -exec cat {} \; -printf "\n"'
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert sorted(done.stdout.split("\n")[:-1]) == [
        "d/kept old", "d/new new", "kept old", "n/new new", "o/new new", "replaced new", "t new", "w/new new",
    ]  # fmt: skip


OWNED = (
    directory(b"home") + file(b"home/mine", uid=b"0001747\0", gid=b"0000005\0", mode=b"0004750\0")
    + pax((b"SCHILY.xattr.security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))) + file(b"ping")
    + whiteout(b"home/gone") + opaque(b"home/new")
)  # fmt: skip


def check_owned(tree: Path, again: Path, steward: Steward, user: int, group: int, tmp_path: Path) -> None:
    """A layer unpacked and duplicated by root of a user namespace: what belongs to 999:5 there is told by its numbers."""
    fd, second = (os.open(place, os.O_RDONLY | os.O_DIRECTORY) for place in (tree, again))
    blob, out = (os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("blob", "out"))
    try:
        os.write(blob, gzip.compress(OWNED + END))
        os.lseek(blob, 0, os.SEEK_SET)
        found = steward.call(unpack_file, (blob, fd))
        assert found.diff_id == f"sha256:{hashlib.sha256(OWNED + END).hexdigest()}"
        made = steward.call(duplicate_file, (fd, second, out), namespace="user")
        for place in (tree, again):
            status = (place / "home/mine").stat()
            assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (user, group, 0o4750)
            assert len(os.getxattr(place / "ping", "security.capability")) in {20, 24}
            assert os.listxattr(place / "home/new") == ["user.overlay.opaque"]
            assert mark(place / "home/gone") == "whiteout"
        archive = gzip.decompress((tmp_path / "out").read_bytes())
        told = {entry.name: entry for entry in TarStream(io.BytesIO(archive).read).entries()}
        assert (told[b"home/mine"].uid, told[b"home/mine"].gid) == (999, 5)
        assert told[b"ping"].xattrs[0][1].hex().startswith("01000002")
        assert made.packed.entries == len(told)
        assert made.packed.diff_id == f"sha256:{hashlib.sha256(archive).hexdigest()}"
    finally:
        for each in (fd, second, blob, out):
            os.close(each)


@pytest.mark.needs("root")
def test_root_of_a_user_namespace_keeps_owners(tmp_path):
    base = 0x7FF0_0000
    trees = tmp_path / "tree", tmp_path / "again"
    for tree in trees:
        tree.mkdir()
        os.chown(tree, base, base)
    userns = create(IdMap.block(base))
    try:
        steward = Steward(userns)
        check_owned(*trees, steward, base + 999, base + 5, tmp_path)
        with pytest.raises(NotSupported, match="70000:0"):
            refused(tmp_path, steward, base)
    finally:
        os.close(userns)


def refused(tmp_path: Path, steward: Steward, base: int) -> None:
    """Unpack a file that belongs to nobody of the namespace."""
    other = tmp_path / "other"
    other.mkdir()
    os.chown(other, base, base)
    (tmp_path / "blob").write_bytes(file(b"a", uid=b"%07o\0" % 70000) + END)
    fd, blob = os.open(other, os.O_RDONLY), os.open(tmp_path / "blob", os.O_RDONLY)
    try:
        steward.call(unpack_file, (blob, fd))
    finally:
        os.close(fd)
        os.close(blob)


@pytest.mark.needs("user", "subuid")
def test_users_of_a_layer_are_the_caller_s_subordinate_ids(tmp_path):
    trees = tmp_path / "tree", tmp_path / "again"
    for tree in trees:
        tree.mkdir()
    map_ = user_map()
    userns = create(map_)
    try:
        steward = Steward(userns)
        user, group = map_.host_uid(999), map_.host_gid(5)
        assert user is not None
        assert group is not None
        check_owned(*trees, steward, user, group, tmp_path)
        top = os.open(tmp_path, os.O_RDONLY)
        for tree in trees:
            steward.remove(top, tree.name)
        os.close(top)
    finally:
        os.close(userns)
