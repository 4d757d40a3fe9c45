"""Images from archives: unpacked once, run from, and nothing left by what goes wrong."""

from __future__ import annotations

import gzip
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard

import pycontainer as pc
from pycontainer.image.rootfs import unpacked
from tests.support.imagery import GROUP, PASSWD, busybox
from tests.support.tarball import END, entry


@pytest.fixture(scope="module")
def tree() -> bytes:
    """A tar archive of a root file system with one program, accounts and device nodes."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def add(
            name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", mode: int = 0o755, **more: object
        ):
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mode = kind, len(data), mode
            for key, value in more.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))

        for name, mode in (
            ("./", 0o755),
            ("./bin", 0o755),
            ("./etc", 0o755),
            ("./tmp", 0o1777),
            ("./dev", 0o755),
        ):
            add(name, tarfile.DIRTYPE, mode=mode)
        add("./bin/busybox", data=busybox())
        for name in ("sh", "id", "cat", "stat", "ls", "echo"):
            add(f"./bin/{name}", tarfile.SYMTYPE, linkname="/bin/busybox")
        add("./etc/passwd", data=PASSWD.encode(), mode=0o644)
        add("./etc/group", data=GROUP.encode(), mode=0o644)
        add("./dev/null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3)
        add("./home/app", tarfile.DIRTYPE, mode=0o700, uid=1000, gid=1000)
        add("./home/app/secret", data=b"secret\n", mode=0o600, uid=1000, gid=1000)
    return file.getvalue()


@pytest.fixture
def archive(tree, tmp_path) -> Path:
    path = tmp_path / "rootfs.tar"
    path.write_bytes(tree)
    return path


@pytest.fixture
def store(tmp_path) -> Path:
    return tmp_path / "store"


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
def test_an_archive_of_any_compression_runs(compress, tree, tmp_path, store):
    path = tmp_path / "rootfs"
    path.write_bytes(compress(tree))
    image = pc.Image.from_rootfs(
        path, {"Env": ["A=from config"], "Cmd": ["sh", "-c", "echo $A"]}, store=store
    )
    assert pc.run(image, encoding="utf-8").stdout == "from config\n"
    script = "id -u && cat /etc/passwd && echo ok > /tmp/x && cat /tmp/x && echo gone > /dev/null"
    assert pc.run(image, ["sh", "-c", script], encoding="utf-8", check=True).stdout == f"0\n{PASSWD}ok\n"
    assert os.listdir(Path(image.layers[0], "tmp")) == []


def test_the_string_names_an_archive_or_a_directory(archive):
    assert pc.run(f"rootfs:{archive}", ["echo", "a"], check=True).stdout == b"a\n"
    directory = pc.Image.from_rootfs(archive).layers[0]
    assert directory.startswith(os.environ["PYCONTAINER_ROOT"] + "/rootfs/")
    assert pc.run(f"rootfs:{directory}", ["echo", "b"], check=True).stdout == b"b\n"


@pytest.mark.needs("root")
def test_users_are_the_image_s_own(archive, store):
    image = pc.Image.from_rootfs(archive, store=store)
    script = "id -u; id -g; id -G; cat ~/secret; stat -c '%u %a' /home/app /bin/busybox"
    result = pc.run(image, ["sh", "-c", script], user="app", encoding="utf-8", check=True)
    assert result.stdout == "1000\n1000\n1000 1001\nsecret\n1000 700\n0 755\n"
    with pytest.raises(pc.InvalidArgument, match="nobody"):
        pc.run(image, ["id"], user="nobody")


def test_an_archive_is_unpacked_once_and_its_tree_has_its_content_s_name(archive, store):
    first = unpacked(str(archive), store)
    inode = os.stat(first).st_ino
    moved = archive.rename(archive.with_name("moved"))
    assert unpacked(str(moved), store) == first
    assert os.stat(first).st_ino == inode
    assert os.listdir(store) == [os.path.basename(first)]
    moved.write_bytes(moved.read_bytes() + bytes(512))
    assert unpacked(str(moved), store) != first
    assert os.stat(store).st_mode & 0o777 == 0o700


def test_who_unpacks_at_once_gets_the_same_tree(archive, store):
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: unpacked(str(archive), store), range(16)))
    program = "import sys; from pycontainer.image.rootfs import unpacked; print(unpacked(*sys.argv[1:]))"
    command = [sys.executable, "-c", program, str(archive), str(store) + "2"]
    environment = os.environ | {"PYTHONPATH": str(Path(pc.__file__).parent.parent)}
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(6)]
    answers = {process.communicate()[0] for process in processes}
    assert {process.returncode for process in processes} == {0}
    assert (len(found), len(answers)) == (1, 1)
    for place in (store, Path(f"{store}2")):
        assert len(os.listdir(place)) == 1


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"garbage", pc.ImageError),
        (b"", pc.ImageError),
        (entry(b"a", data=b"x" * 2000)[:1500], pc.ImageError),
        (entry(b"ok") + entry(b"../x") + END, pc.UnsafeArchive),
        (
            entry(b"d", b"5", mode=b"0000000\0") + entry(b"d/e", b"5") + entry(b"d/../x") + END,
            pc.UnsafeArchive,
        ),
    ],
)
def test_a_bad_archive_leaves_the_store_as_it_was(data, error, archive, store):
    archive.write_bytes(data)
    with pytest.raises(error, match=str(archive)):
        pc.Image.from_rootfs(archive, store=store)
    assert os.listdir(store) == []


def test_what_is_no_archive_is_refused(tmp_path, store):
    with pytest.raises(pc.ImageNotFound):
        pc.Image.from_rootfs(tmp_path / "nothing", store=store)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(pc.ImageError):
        unpacked(str(tmp_path / "fifo"), store)


def test_a_store_that_others_can_enter_is_refused(archive, store):
    store.mkdir(mode=0o755)
    with pytest.raises(pc.NotSupported, match="0700"):
        pc.Image.from_rootfs(archive, store=store)


def test_what_a_killed_process_left_is_removed_by_the_next(archive, store):
    program = f"""
import os, sys, time
import pycontainer.image.rootfs as rootfs
rootfs.unpack = lambda read, tree: (os.mkdir("half", dir_fd=tree), print("half", flush=True), time.sleep(1000))
rootfs.unpacked({str(archive)!r}, {str(store)!r})
"""
    environment = os.environ | {"PYTHONPATH": str(Path(pc.__file__).parent.parent)}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    [unfinished] = os.listdir(store)
    finished = os.path.basename(unpacked(str(archive), store))
    assert sorted(os.listdir(store)) == sorted([unfinished, finished])  # its maker lives
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    archive.write_bytes(archive.read_bytes() + bytes(512))
    unpacked(str(archive), store)
    assert unfinished not in os.listdir(store)


def test_an_archive_that_changes_meanwhile_is_refused(archive, store, monkeypatch):
    from pycontainer.image import rootfs

    honest = rootfs._digest

    def digest(fd: int) -> str:
        found = honest(fd)
        with archive.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"x")
        return found

    monkeypatch.setattr(rootfs, "_digest", digest)
    with pytest.raises(pc.ImageError, match="was changed"):
        unpacked(str(archive), store)
    assert os.listdir(store) == []


def test_an_archive_that_is_known_is_not_read_again_unless_it_was_changed(archive, store):
    time.sleep(2.1)  # only what has not changed for a while is known
    first = unpacked(str(archive), store)
    before = bytes_read()
    assert unpacked(str(archive), store) == first
    assert bytes_read() - before < archive.stat().st_size // 2
    status = archive.stat()
    with archive.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    os.utime(archive, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert unpacked(str(archive), store) != first


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text(encoding="utf-8").split()[1])
