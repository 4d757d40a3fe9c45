"""Volumes as tar archives: the same bytes for the same content, nothing lost, and hostile ones refused."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

import pycontainer as pc
from tests.support import tarball
from tests.volumes.conftest import sh


def tree(root: Path) -> list[tuple[object, ...]]:
    """All that an archive has to keep."""
    found = []
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        text = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        xattrs = {} if path.is_symlink() else {key: os.getxattr(path, key) for key in os.listxattr(path)}
        xattrs.pop("security.selinux", None)
        found.append(
            (
                str(path.relative_to(root)),
                stat.filemode(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                status.st_nlink if path.is_file() else 0,
                text,
                xattrs,
            )
        )
    return found


@pytest.fixture
def filled(name: str) -> pc.Volume:
    made = pc.Volume.create(name)
    root = Path(made.mountpoint)
    (root / "plain").write_text("content\n")
    (root / "mode").write_text("")
    (root / "mode").chmod(0o4751)
    (root / ("long" * 60)).write_text("a long name")
    (root / "dir/sub").mkdir(parents=True)
    (root / "dir/sub" / "naïve\n\udcff").write_text("an odd name")
    (root / "dir/link").symlink_to("x" * 150)
    os.link(root / "plain", root / "dir/same")
    os.mkfifo(root / "fifo", 0o640)
    os.setxattr(root / "plain", "user.note", b"a\0b=c\n")
    os.setxattr(root / "dir", "user.note", b"d")
    for holes, file in (((), "none"), ((5 << 20,), "one"), ((1 << 20, 9 << 20), "two")):
        with open(root / f"sparse-{file}", "wb") as opened:
            for hole in holes:
                opened.seek(hole)
                opened.write(b"x" * 5000)
            opened.truncate(12 << 20)
    os.utime(root / "plain", ns=(1, -1_500_000_000))
    os.utime(root / "mode", ns=(1, 1_234_567_890_123_456_789))
    if os.geteuid() == 0:
        os.chown(root / "plain", 7, 8)
        os.chown(root / "dir", 3_000_000, 4_000_000_000)
        os.lchown(root / "dir/link", 9, 10)
        os.setxattr(
            root / "mode", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000")
        )
    (root / "dir").chmod(0o700)
    root.chmod(0o1750)
    return made


def test_nothing_is_lost_on_the_way_there_and_back(filled, name, tmp_path):
    archive = tmp_path / "volume.tar"
    made = filled.backup(archive)
    root = Path(filled.mountpoint)
    expected = tree(root)
    assert (made.entries, made.skipped) == (len(expected), ())
    assert archive.stat().st_size < 1 << 20  # holes are holes
    other = pc.Volume.create(f"{name}-2")
    Path(other.mountpoint, "old").touch()
    assert other.restore(archive).entries == made.entries
    assert tree(Path(other.mountpoint)) == expected
    assert (Path(other.mountpoint) / "sparse-none").stat().st_blocks == 0
    assert os.listdir(Path(other.mountpoint).parent) == ["data"]
    copy = filled.clone(f"{name}-3")
    assert tree(Path(copy.mountpoint)) == expected


def test_the_same_content_gives_the_same_bytes(filled, name, tmp_path):
    filled.backup(tmp_path / "1.tar")
    other = pc.Volume.create(f"{name}-2")
    other.restore(tmp_path / "1.tar")
    other.backup(tmp_path / "2.tar")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_others_can_read_it(filled, tmp_path):
    filled.backup(tmp_path / "x.tar")
    out = tmp_path / "out"
    out.mkdir()
    command = ["tar", "-xpf", tmp_path / "x.tar", "-C", out, "--xattrs", "--numeric-owner"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours, theirs = tree(Path(filled.mountpoint)), tree(out)
    drop_capability = [(*entry[:-1], {k: v for k, v in entry[-1].items() if k[0] == "u"}) for entry in ours]
    assert [
        (*entry[:-1], {k: v for k, v in entry[-1].items() if k[0] == "u"}) for entry in theirs
    ] == drop_capability
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert len(archive.getnames()) == len(ours)


@pytest.mark.parametrize("compress", [["gzip", "-c"], ["zstd", "-qc"]])
def test_compressed_archives_are_restored(filled, name, tmp_path, compress):
    filled.backup(tmp_path / "x.tar")
    with open(tmp_path / "x.packed", "wb") as file:
        try:
            subprocess.run([*compress, tmp_path / "x.tar"], stdout=file, check=True)
        except FileNotFoundError:
            pytest.skip(f"there is no {compress[0]}")
    other = pc.Volume.create(f"{name}-2")
    other.restore(tmp_path / "x.packed")
    assert tree(Path(other.mountpoint)) == tree(Path(filled.mountpoint))


def test_a_backup_of_what_changes_is_a_whole_archive(name, tmp_path):
    script = "cd /data; while :; do echo $$ >> f; mkdir d; mv f d/g; rm -r d; ln -s /etc f; rm f; done"
    with pc.Container.create("host:", ["sh", "-c", script], mounts=[f"{name}:/data"]) as container:
        container.start()
        done = 0
        for number in range(20):
            try:
                pc.Volume.get(name).backup(tmp_path / f"{number}.tar")
            except pc.KernelError:
                assert not (tmp_path / f"{number}.tar").exists()
                continue
            done += 1
            with tarfile.open(tmp_path / f"{number}.tar") as archive:
                for member in archive:
                    assert member.linkname == ("/etc" if member.issym() else "")
        assert done
    assert [path for path in os.listdir(tmp_path) if not path.endswith(".tar")] == []


def test_sockets_are_left_out_and_named(name, tmp_path):
    import socket

    made = pc.Volume.create(name)
    with socket.socket(socket.AF_UNIX) as server:
        directory = os.open(made.mountpoint, os.O_PATH)
        server.bind(f"/proc/self/fd/{directory}/socket")
        os.close(directory)
    assert made.backup(tmp_path / "x.tar").skipped == ("./socket",)
    assert os.listdir(made.clone(f"{name}-2").mountpoint) == []


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"no archive at all" * 100,
        tarball.entry(b"../outside", data=b"x") + tarball.END,
        tarball.entry(b"a/../../outside", data=b"x") + tarball.END,
        tarball.entry(b"l", b"2", link=b"/etc") + tarball.entry(b"l/../../outside", data=b"x") + tarball.END,
        tarball.entry(b"h", b"1", link=b"../../volume.json") + tarball.END,
        tarball.entry(b"cut", data=b"x" * 1000)[:700],
        tarball.pax((b"SCHILY.xattr.user.overlay.opaque", b"y")) + tarball.entry(b"d/", b"5") + tarball.END,
    ],
)
def test_hostile_and_damaged_archives_change_nothing(filled, tmp_path, archive):
    before = tree(Path(filled.mountpoint))
    (tmp_path / "x.tar").write_bytes(archive)
    with pytest.raises(pc.ImageError):
        filled.restore(tmp_path / "x.tar")
    assert tree(Path(filled.mountpoint)) == before
    assert os.listdir(Path(filled.mountpoint).parent) == ["data"]


def test_links_of_an_archive_stay_in_the_volume(name, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    parts = [tarball.entry(b"l", b"2", link=bytes(outside)), tarball.entry(b"l/file", data=b"x"), tarball.END]
    (tmp_path / "x.tar").write_bytes(b"".join(parts))
    with pytest.raises(pc.ImageError):
        pc.Volume.create(name).restore(tmp_path / "x.tar")
    assert os.listdir(outside) == []


def test_devices_are_left_out(name, tmp_path):
    parts = [tarball.entry(b"null", b"3"), tarball.entry(b".wh.file", data=b"x"), tarball.END]
    (tmp_path / "x.tar").write_bytes(b"".join(parts))
    made = pc.Volume.create(name)
    assert made.restore(tmp_path / "x.tar").skipped == ("null",)
    assert os.listdir(made.mountpoint) == [".wh.file"]  # a volume is no layer


@pytest.mark.parametrize("source", ["fifo", "/dev/zero", "/proc/self/mem", "missing", "."])
def test_archives_that_are_no_files(name, tmp_path, source):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises((pc.ImageError, pc.KernelError)):
        pc.Volume.create(name).restore(tmp_path / source)


def test_one_in_use_is_not_restored_but_can_be_copied_and_backed_up(filled, name, tmp_path):
    filled.backup(tmp_path / "x.tar")
    with pc.Container.create("host:", ["true"], mounts=[f"{name}:/data"]):
        with pytest.raises(pc.StateError, match="restore it"):
            filled.restore(tmp_path / "x.tar")
        filled.backup(tmp_path / "y.tar")
        filled.clone(f"{name}-2")
        with pytest.raises(pc.InvalidArgument, match="name"):
            filled.clone(f"{name}-2")
    assert (tmp_path / "x.tar").read_bytes() == (tmp_path / "y.tar").read_bytes()


def test_a_backup_that_fails_leaves_the_older_one(filled, tmp_path):
    (tmp_path / "x.tar").write_text("older")
    os.mkdir(tmp_path / "dir.tar")
    with pytest.raises(pc.InvalidArgument, match="directory"):
        filled.backup(tmp_path / "dir.tar")
    with pytest.raises(pc.KernelError):
        filled.backup(tmp_path / "none/x.tar")
    assert sorted(os.listdir(tmp_path)) == ["dir.tar", "x.tar"]
    filled.backup(tmp_path / "x.tar")
    assert stat.S_IMODE((tmp_path / "x.tar").stat().st_mode) == 0o600


@pytest.mark.needs("user", "subuid")
def test_owners_of_subordinate_ids_are_those_of_the_container(name, tmp_path):
    sh("host:", "touch /data/f; chown 7:8 /data/f; chmod 0 /data/f; mkdir -m 0 /data/d", f"{name}:/data")
    pc.Volume.get(name).backup(tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert {member.name: (member.uid, member.gid) for member in archive} == {
            ".": (0, 0),
            "./d": (0, 0),
            "./f": (7, 8),
        }
    pc.Volume.create(f"{name}-2").restore(tmp_path / "x.tar")
    assert sh("host:", "stat -c %u:%g:%a /data/f /data/d", f"{name}-2:/data") == "7:8:0\n0:0:0\n"
