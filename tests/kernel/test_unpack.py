"""Unpacking: what honest archives say is there afterwards, and hostile ones reach nothing outside."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pycontainer.errors import ImageError, KernelError, UnsafeArchive
from pycontainer.image.limits import Limits
from pycontainer.kernel.tree import remove_tree
from tests.support.tarball import END, entry, header, pax, resum, unpack_bytes


@pytest.fixture
def place(tmp_path):
    """A directory to unpack into, ``root``, beside canaries that must stay as they are."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("untouched")
    (tmp_path / "canary").write_text("untouched")

    def state() -> list[tuple[str, int, int, int, str]]:
        found = []
        for path in (outside, outside / "canary", tmp_path / "canary"):
            status = path.lstat()
            text = path.read_text() if path.is_file() else " ".join(os.listdir(path))
            found.append((str(path), status.st_mode, status.st_uid, status.st_nlink, text))
        return found

    before = state()
    yield tmp_path / "root"
    assert state() == before
    assert {path.name for path in tmp_path.iterdir()} <= {"outside", "canary", "root", "root.archive"}


def file(name: bytes, data: bytes = b"evil", **fields: bytes) -> bytes:
    return entry(name, data=data, **fields)


def link(name: bytes, target: bytes) -> bytes:
    return entry(name, b"2", link=target)


def hard(name: bytes, target: bytes) -> bytes:
    return entry(name, b"1", link=target)


def directory(name: bytes, mode: bytes = b"0000755\0") -> bytes:
    return entry(name, b"5", mode=mode)


def long_chain() -> bytes:
    """Links that lead upwards only for who resolves them to a text beyond PATH_MAX (CVE-2025-4517)."""
    part, steps = b"d" * 247, [bytes([step]) for step in b"abcdefghijklmnop"]
    data, path = b"", b""
    for step in steps:
        data += pax((b"path", path + part)) + directory(b"x")
        data += pax((b"path", path + step), (b"linkpath", part)) + link(b"x", b"x")
        path += part + b"/"
    upwards = b"/".join(steps) + b"/" + b"l" * 254
    data += pax((b"path", upwards), (b"linkpath", b"../" * 16)) + link(b"x", b"x")
    data += pax((b"path", b"escape"), (b"linkpath", upwards + b"/../../../outside")) + link(b"x", b"x")
    return data + hard(b"taken", b"escape/canary") + file(b"taken") + file(b"escape/canary")


ZOO = {
    "dots": file(b"../canary"),
    "dots inside": file(b"a/../../canary"),
    "dots at the end": directory(b"a/.."),
    "absolute": file(b"//../canary"),
    "prefix": file(b"canary", prefix=b".."),
    "pax path": pax((b"path", b"../canary")) + file(b"x"),
    "long name": entry(b"L", b"L", b"../canary\0") + file(b"x"),
    "sparse name": pax(
        (b"GNU.sparse.name", b"../canary"), (b"GNU.sparse.size", b"4"), (b"GNU.sparse.map", b"0,4")
    ) + file(b"x"),
    "through a link": link(b"l", b"../outside") + file(b"l/canary"),
    "through an absolute link": link(b"l", b"/proc/self/cwd") + file(b"l/canary"),
    "through a chain": link(b"a", b"..") + link(b"b", b"a/..") + link(b"c", b"b/../outside") + file(b"c/canary"),
    "through a link that loops": link(b"a", b"b") + link(b"b", b"a") + file(b"a/x"),
    "link, then file of that name": link(b"l", b"../outside/canary") + file(b"l"),
    "link, then directory of that name": link(b"l", b"../outside") + directory(b"l") + file(b"l/canary"),
    "directory mode by link": link(b"l", b"../outside") + directory(b"l", b"0000777\0"),
    "fifo through a link": link(b"l", b"../outside") + entry(b"l/fifo", b"6"),
    "hard link outside": hard(b"h", b"../outside/canary") + file(b"h"),
    "hard link through a link": link(b"l", b"../outside") + hard(b"h", b"l/canary") + file(b"h"),
    "hard link to a link": link(b"l", b"../outside/canary") + hard(b"h", b"l") + file(b"h"),
    "hard link to a directory": directory(b"d") + hard(b"h", b"d"),
    "hard link to the root": hard(b"h", b"."),
    "hard link to nothing": hard(b"h", b"nothing"),
    "root as a link": link(b"./", b"../outside") + file(b"canary"),
    "root as a link with a dot": link(b"/.", b"../outside") + file(b"canary"),
    "root as a file": file(b"."),
    "PATH_MAX": long_chain(),
    "NUL": pax((b"path", b"canary\0x")) + file(b"x"),
    "empty link": link(b"l", b""),
    "long component": pax((b"path", b"n" * 300)) + file(b"x"),
    "long path": pax((b"path", b"n/" * 3000)) + file(b"x"),
    "below a file": file(b"f") + file(b"f/x"),
    "overlay opaque": pax((b"SCHILY.xattr.user.overlay.opaque", b"y")) + directory(b"d"),
    "overlay redirect": pax((b"SCHILY.xattr.trusted.overlay.redirect", b"/x")) + directory(b"d"),
    "attribute with NUL": pax((b"SCHILY.xattr.user.a\0b", b"y")) + file(b"f"),
    "sparse bomb": pax((b"GNU.sparse.size", b"%d" % (1 << 62)), (b"GNU.sparse.map", b"0,4")) + file(b"x"),
}  # fmt: skip
#: Those that the root being a root makes harmless: they succeed, and all they make is inside.
HARMLESS = {
    "link, then file of that name", "link, then directory of that name", "directory mode by link",
    "hard link to a link",
}  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_nothing_outside_is_reached(name, place):
    data = ZOO[name] + END
    if name in HARMLESS:
        unpack_bytes(data, place, keep_owners=False)
        assert all(path.lstat().st_dev == place.stat().st_dev for path in place.iterdir())
    else:
        with pytest.raises(ImageError):
            unpack_bytes(data, place, keep_owners=False)


@pytest.mark.parametrize(
    "name",
    ["through a link", "through a chain", "hard link through a link", "fifo through a link", "PATH_MAX"],
)
def test_links_that_lead_upwards_end_at_the_root(name, place):
    inside = directory(b"outside") + file(b"outside/canary", b"inside")
    unpack_bytes(inside + ZOO[name] + END, place, keep_owners=False)
    found = {path.name for path in (place / "outside").iterdir()}
    assert found == ({"canary", "fifo"} if "fifo" in name else {"canary"})


def test_links_of_the_archive_are_followed_inside_of_it(place):
    data = (
        directory(b"usr/lib") + link(b"lib", b"/usr/lib") + file(b"lib/a", b"1")
        + directory(b"d/e") + link(b"d/e/up", b"../../../../../usr") + file(b"d/e/up/b", b"2")
    )  # fmt: skip
    unpack_bytes(data + END, place, keep_owners=False)
    assert (place / "usr/lib/a").read_text() == "1"
    assert (place / "usr/b").read_text() == "2"
    assert os.readlink(place / "lib") == "/usr/lib"


def test_a_later_entry_takes_the_place_of_an_earlier_one_of_any_kind(place):
    makers = {"file": file, "link": lambda name: link(name, b"x"), "dir": lambda name: directory(name) + file(name + b"/x"),
              "fifo": lambda name: entry(name, b"6"), "hard": lambda name: hard(name, b"base")}  # fmt: skip
    kinds = {
        "file": stat.S_IFREG,
        "link": stat.S_IFLNK,
        "dir": stat.S_IFDIR,
        "fifo": stat.S_IFIFO,
        "hard": stat.S_IFREG,
    }
    data = file(b"base", b"base")
    for first, make in makers.items():
        for second, remake in makers.items():
            name = f"{first}-{second}".encode()
            data += make(name) + remake(name)
    unpack_bytes(data + END, place, keep_owners=False)
    for first in makers:
        for second in makers:
            assert stat.S_IFMT((place / f"{first}-{second}").lstat().st_mode) == kinds[second]
    assert (place / "base").read_text() == "base"


def test_modes_times_and_holes_are_kept(place):
    data = (
        directory(b".", b"0000750\0")
        + entry(b"shut", b"5", mode=b"0000555\0", mtime=b"00000001000\0")
        + file(b"shut/in", b"x", mode=b"0004755\0", mtime=b"00000002000\0")
        + entry(b"shut/none", b"5", mode=b"0000000\0")
        + file(b"shut/none/in", b"x", mode=b"0000000\0")
        + entry(b"l", b"2", link=b"gone", mtime=b"00000003000\0")
        + entry(b"p", b"6", mode=b"0000622\0")
        + pax((b"GNU.sparse.size", b"%d" % (8 << 20)), (b"GNU.sparse.map", b"4194304,4")) + file(b"holes", b"data")
        + file(b"implied/deep/file")
    )  # fmt: skip
    unpack_bytes(data + END, place, keep_owners=False)
    modes = {
        name: stat.S_IMODE((place / name).lstat().st_mode)
        for name in (".", "shut", "shut/in", "p", "implied/deep")
    }
    assert modes == {".": 0o750, "shut": 0o555, "shut/in": 0o4755, "p": 0o622, "implied/deep": 0o755}
    times = {name: int((place / name).lstat().st_mtime) for name in ("shut", "shut/in", "l")}
    assert times == {"shut": 0o1000, "shut/in": 0o2000, "l": 0o3000}
    assert stat.S_IMODE((place / "shut/none").stat().st_mode) == 0
    (place / "shut/none").chmod(0o700)
    assert stat.S_IMODE((place / "shut/none/in").stat().st_mode) == 0
    holes = place / "holes"
    assert (holes.stat().st_size, holes.stat().st_blocks * 512 < 1 << 20) == (8 << 20, True)
    assert holes.read_bytes() == bytes(4 << 20) + b"data" + bytes((4 << 20) - 4)


def test_hard_links_are_one_file_and_one_to_itself_is_nothing(place):
    data = file(b"a", b"1") + hard(b"d/b", b"/a") + hard(b"a", b"./a") + link(b"l", b"a") + hard(b"m", b"l")
    unpack_bytes(data + END, place, keep_owners=False)
    assert (place / "a").stat().st_ino == (place / "d/b").stat().st_ino
    assert os.readlink(place / "m") == "a"


def test_attributes_of_users_are_kept_and_labels_left_out(place):
    records = (
        (b"SCHILY.xattr.user.a", b"\0\n"),
        (b"SCHILY.xattr.security.selinux", b"x"),
        (b"SCHILY.xattr.trusted.x", b"x"),
    )
    data = pax(*records) + file(b"f", mode=b"0000444\0") + pax(*records) + directory(b"d", b"0000555\0")
    unpack_bytes(data + END, place, keep_owners=False)
    for name in ("f", "d"):
        assert os.getxattr(place / name, "user.a") == b"\0\n"
        assert {key for key in os.listxattr(place / name) if key != "security.selinux"} == {"user.a"}


@pytest.mark.needs("root")
def test_root_keeps_owners_and_capabilities(place):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    data = (
        pax((b"SCHILY.xattr.security.capability", capability))
        + file(b"ping", uid=b"0001750\0", gid=b"0000017\0", mode=b"0006755\0")
        + entry(b"d", b"5", uid=b"0000007\0", mode=b"0002755\0") + entry(b"l", b"2", link=b"x", uid=b"0000007\0")
        + file(b"implied/x")
    )  # fmt: skip
    unpack_bytes(data + END, place)
    status = (place / "ping").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1000, 15, 0o6755)
    assert os.getxattr(place / "ping", "security.capability") == capability
    assert [(place / name).lstat().st_uid for name in ("d", "l", "implied")] == [7, 7, 0]
    assert stat.S_IMODE((place / "d").stat().st_mode) == 0o2755


@pytest.mark.needs("user")
def test_for_an_ordinary_user_everything_is_the_caller_s(place):
    capability = pax((b"SCHILY.xattr.security.capability", b"x"))
    unpack_bytes(capability + file(b"f", uid=b"0000000\0") + directory(b"d") + END, place)
    assert {path.lstat().st_uid for path in place.iterdir()} == {os.geteuid()}
    assert not os.listxattr(place / "f")


@pytest.mark.parametrize("kind", [b"3", b"4"])
def test_devices_are_named_and_left_out_or_refused(kind, place):
    data = entry(b"dev/null", kind) + file(b"dev/x") + END
    assert unpack_bytes(data, place, keep_owners=False).skipped == ("dev/null",)
    assert os.listdir(place / "dev") == ["x"]
    with pytest.raises(UnsafeArchive, match="dev/null"):
        unpack_bytes(data, place, keep_owners=False, devices="refuse")


def test_what_is_made_is_bounded_not_only_what_is_said(place):
    deep = pax((b"path", b"d/" * 1000 + b"f")) + file(b"x")
    with pytest.raises(UnsafeArchive, match="more than 500 files"):
        unpack_bytes(deep + END, place, Limits(entries=500), keep_owners=False)
    with pytest.raises(UnsafeArchive, match="more than 100 bytes"):
        unpack_bytes(header(b"x", size=1 << 40) + END, place, Limits(total=100), keep_owners=False)


def test_a_tree_deeper_than_any_path_is_finished(place):
    data = directory(b"x")
    path = b"x"
    for step in range(3):
        deeper = path + b"/" + b"/".join([b"y" * 100] * 30)
        data += pax((b"path", deeper)) + directory(b"x", b"0000700\0")
        data += pax((b"path", b"short%d" % step), (b"linkpath", b"/" + deeper)) + link(b"x", b"x")
        path = b"short%d" % step
    data += file(path + b"/end") + entry(path + b"/shut", b"5", mode=b"0000511\0")
    unpack_bytes(data + END, place, keep_owners=False)
    try:
        found = subprocess.run(
            ["find", "x", "-name", "shut", "-printf", "%m"], cwd=place, capture_output=True, check=True
        )
        assert found.stdout == b"511"
    finally:
        subprocess.run(["rm", "-rf", str(place)], check=True)


@pytest.mark.needs("root")
def test_a_full_disk_is_a_kernel_error(tmp_path):
    target = tmp_path / "root"
    target.mkdir()
    script = f"""
import os, sys
sys.path[:0] = {[str(Path.cwd())]!r}
from pathlib import Path
from pycontainer.kernel.tree import remove_tree
from tests.support.tarball import END, entry, unpack_bytes
from pycontainer.errors import KernelError
try:
    unpack_bytes(entry(b"big", data=b"x" * (4 << 20)) + END, Path({str(target)!r}))
except KernelError as error:
    print(error.errno, error.step)
"""
    program = tmp_path / "program.py"
    program.write_text(script)
    mount = f'mount -t tmpfs -o size=1m none {target} && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, str(program)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{errno.ENOSPC} unpack 'big'\n"


SEED = (
    directory(b"d/") + link(b"l", b"d") + file(b"l/f") + hard(b"h", b"d/f") + pax((b"path", b"d/long")) + file(b"x")
    + link(b"o", b"../outside") + END
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, len(SEED) - 1), st.sampled_from(b"./dlfho0125\0\xff") | st.integers(0, 255)),
        max_size=8,
    )
)
def test_changed_bytes_reach_nothing_outside(place, changes):
    data = bytearray(SEED)
    for where, value in changes:
        data[where] = value
        start = where - where % 512
        data[start : start + 512] = resum(bytes(data[start : start + 512]))
    above = os.open(place.parent, os.O_PATH)
    try:
        remove_tree(above, place.name)  # rm(1) is held up by modes
    finally:
        os.close(above)
    with contextlib.suppress(ImageError):
        unpack_bytes(bytes(data), place, Limits(total=1 << 20), keep_owners=False)


def test_an_error_of_the_host_is_no_error_of_the_archive(place, tmp_path):
    place.mkdir()
    gone = os.open(place, os.O_RDONLY)
    place.rmdir()
    from pycontainer.image.unpack import unpack

    (tmp_path / "root.archive").write_bytes(file(b"a") + END)
    with (tmp_path / "root.archive").open("rb") as archive:
        with pytest.raises(KernelError):
            unpack(archive.read, gone)
    os.close(gone)
