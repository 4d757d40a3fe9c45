"""The remover of directory trees, as ``reaper remove NAME`` runs it."""

from __future__ import annotations

import os
import random
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.native import Program

#: An unprivileged user of no other use, and the first of the ids that it delegates to a user namespace.
NOBODY = 65534
DELEGATED = 0x6FF00000


@pytest.fixture(params=["disk", "tmpfs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory on each kind of file system: they differ in how one is read while entries go."""
    if request.param == "disk":
        yield tmp_path
        return
    path = Path("/dev/shm", f"pycontainer-test-{os.getpid()}")
    path.mkdir()
    yield path
    path.rmdir()


def remove(
    reaper: Path,
    parent: Path,
    name: str | bytes,
    *,
    userns: int | None = None,
    user: int | None = None,
    limits: tuple[str, ...] = (),
) -> int:
    """Run the remover; its exit status."""
    argv: list[str | bytes | Path] = [reaper, "remove", name]
    if limits:
        argv[:0] = ["prlimit", *limits]
    if user is not None:
        argv[:0] = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    fds = {3: directory}
    if userns is not None:
        fds[4] = userns
        argv.append("4")
    try:
        with Program(argv, fds) as program:
            return program.wait(timeout=300)
    finally:
        os.close(directory)


def chain(top: Path, levels: int, name: str = "d", files: int = 0) -> None:
    """Directories in directories, deeper than any path is long."""
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        for number in range(files):
            os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)
        here = below
    os.close(here)


def test_removes_what_has_no_entries(reaper: Path, place: Path) -> None:
    (place / "file").write_text("x")
    (place / "directory").mkdir()
    (place / "link").symlink_to("file")
    os.mkfifo(place / "fifo")
    for name in ("link", "directory", "fifo", "file"):
        assert remove(reaper, place, name) == 0
        assert not os.path.lexists(place / name)


def test_absent_is_done(reaper: Path, place: Path) -> None:
    assert remove(reaper, place, "absent") == 0


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "x" * 256])
def test_refuses_what_is_no_name(reaper: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert remove(reaper, tmp_path / "a", name) == 2
    assert (tmp_path / "a" / "b").exists()


@pytest.mark.slow
def test_deep_tree_in_bounded_fds_and_memory(reaper: Path, place: Path) -> None:
    chain(place / "tree", 100_000 if place.is_relative_to("/dev/shm") else 20_000)
    # 24 levels, the parent, one to change modes; and its own two segments, the stack and the kernel's pages.
    assert remove(reaper, place, "tree", limits=("--nofile=32:32", "--as=1048576")) == 0
    assert not (place / "tree").exists()


@pytest.mark.slow
def test_wide_tree(reaper: Path, place: Path) -> None:
    (place / "tree").mkdir()
    for number in range(20_000):
        (place / "tree" / f"file-{number}").touch()
    for number in range(3_000):
        (place / "tree" / f"directory-{number}").mkdir()
        (place / "tree" / f"directory-{number}" / "file").touch()
    assert remove(reaper, place, "tree", limits=("--nofile=32:32", "--as=1048576")) == 0
    assert not (place / "tree").exists()


@pytest.mark.slow
def test_deep_chains_beside_each_other(reaper: Path, place: Path) -> None:
    (place / "tree").mkdir()
    for number in range(100):
        chain(place / "tree" / f"c{number}", 60, files=3)
    assert remove(reaper, place, "tree") == 0
    assert not (place / "tree").exists()


@pytest.mark.parametrize("seed", range(4))
def test_random_tree(reaper: Path, place: Path, seed: int) -> None:
    choose = random.Random(seed)
    directories = [place / "tree"]
    directories[0].mkdir()
    for number in range(2_000):
        above = choose.choice(directories[-choose.choice([1, 10, 1000]) :])
        path = above / f"{number}"
        if choose.random() < 0.4 and len(path.parts) < 200:
            path.mkdir()
            directories.append(path)
        elif choose.random() < 0.5:
            path.touch()
        else:
            path.symlink_to(choose.choice(["/", "..", ".", "absent"]))
    assert remove(reaper, place, "tree") == 0
    assert not (place / "tree").exists()


def test_names_that_the_remover_itself_gives(reaper: Path, place: Path) -> None:
    chain(place / "tree", 100)
    for number in range(16):
        taken = place / "tree" / f"pc-{number:x}{'0' * 15}"
        if number % 3 == 0:
            taken.mkdir()
        elif number % 3 == 1:
            taken.touch()
        else:
            taken.mkdir()
            (taken / "file").touch()
    chain(place / "tree" / f"pc-1{'0' * 14}1", 100, name=f"pc-2{'0' * 14}1")
    assert remove(reaper, place, "tree") == 0
    assert not (place / "tree").exists()


def test_unusual_names(reaper: Path, place: Path) -> None:
    tree = os.fsencode(place / "tree")
    os.mkdir(tree)
    for name in (b"\n", b"\xff\xfe", b"-rf", b" ", b"*", b"...", b"n" * 255, "é".encode()):
        os.mkdir(tree + b"/" + name)
        os.mkdir(tree + b"/" + name + b"/" + name)
    assert remove(reaper, place, b"tree") == 0
    assert not os.path.exists(tree)


def test_links_are_not_followed(reaper: Path, place: Path) -> None:
    outside = place / "outside"
    outside.mkdir()
    (outside / "canary").write_text("alive")
    tree = place / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "directory").symlink_to(outside)
    (tree / "below" / "up").symlink_to("../../outside")
    (tree / "file").symlink_to(outside / "canary")
    (tree / "hard").hardlink_to(outside / "canary")
    before = outside.stat().st_mode
    assert remove(reaper, place, "tree") == 0
    (place / "link").symlink_to(outside)
    assert remove(reaper, place, "link") == 0
    assert not tree.exists()
    assert (outside / "canary").read_text() == "alive"
    assert outside.stat().st_mode == before
    assert remove(reaper, place, "outside") == 0


@pytest.mark.parametrize("mode", [0o000, 0o111, 0o222, 0o400, 0o500, 0o555, 0o600])
def test_directories_that_deny_their_owner(reaper: Path, place: Path, mode: int) -> None:
    """As an ordinary user: root needs no permission."""
    user = NOBODY if os.geteuid() == 0 else None
    home = place / "home"
    chain(home, 0)
    (home / "tree").mkdir()
    denied = []
    for levels in (1, 2, 30):
        path = home / "tree" / f"c{levels}"
        path.mkdir()
        for number in range(levels):
            (path / "file").touch()
            (path / "empty").mkdir()
            denied += [path / "empty", path]
            path /= f"{number}"
            path.mkdir()
        denied.append(path)
    if user is not None:
        for directory, names, files in os.walk(home):
            for name in ("", *names, *files):
                os.chown(os.path.join(directory, name), user, user)
    for path in sorted(denied, key=lambda path: -len(path.parts)):
        path.chmod(mode)
    assert remove(reaper, home, "tree", user=user) == 0
    assert not (home / "tree").exists()
    assert remove(reaper, place, "home") == 0


@pytest.mark.needs("root")
def test_device_nodes_and_sockets(reaper: Path, place: Path) -> None:
    (place / "tree").mkdir()
    os.mknod(place / "tree" / "whiteout", stat.S_IFCHR, os.makedev(0, 0))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "tree" / "socket"))
    assert remove(reaper, place, "tree") == 0
    assert not (place / "tree").exists()


MOUNTED = """
set -e
mkdir -p tree/a/m tree/b/c tree/z outside
touch tree/a/x tree/b/c/x tree/z/x outside/canary
deep=tree
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do deep=$deep/$i; done
mkdir -p $deep/bind $deep/beside
mount -t tmpfs tmpfs tree/a/m
touch tree/a/m/canary
mount --bind outside $deep/bind
exec 3<.
status=0
"$1" remove tree || status=$?
echo "status $status"
echo canaries $(find tree outside -name canary | wc -l)
echo rest $(find tree -name x -o -name beside -o -name z | wc -l)
"""


@pytest.mark.needs("root")
def test_mounts_are_not_entered(reaper: Path, tmp_path: Path) -> None:
    """A file system and a bind mount of the same file system stay; all the rest goes."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", MOUNTED, "sh", str(reaper)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    # The canaries: on the tmpfs, in `outside`, and the latter once more through the bind mount.
    assert done.stdout.splitlines() == ["status 1", "canaries 3", "rest 0"]
    assert remove(reaper, tmp_path, "tree") == 0
    assert (tmp_path / "outside" / "canary").exists()


@pytest.fixture
def userns() -> Iterator[int]:
    """A user namespace of NOBODY's, with ids delegated to it."""
    holder = subprocess.Popen(
        ["unshare", "--user", "sh", "-c", "echo; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        for kind in ("uid", "gid"):
            Path(f"/proc/{holder.pid}/{kind}_map").write_text(f"0 {NOBODY} 1\n1 {DELEGATED} 65535\n")
        fd = os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY)
        holder.kill()
    yield fd
    os.close(fd)


@pytest.mark.needs("root", "userns")
def test_files_of_delegated_ids(reaper: Path, place: Path, userns: int) -> None:
    home = place / "home"
    tree = home / "tree"
    (tree / "theirs" / "below").mkdir(parents=True)
    (tree / "theirs" / "below" / "file").touch()
    (tree / "mine").mkdir()
    (tree / "mine" / "file").touch()
    for path in (home, tree, tree / "mine", tree / "mine" / "file"):
        os.chown(path, NOBODY, NOBODY)
    for number, path in enumerate(
        (tree / "theirs" / "below" / "file", tree / "theirs" / "below", tree / "theirs")
    ):
        path.chmod(0)
        os.chown(path, DELEGATED + number, DELEGATED + number)
    assert remove(reaper, home, "tree", user=NOBODY) == 1
    assert (tree / "theirs" / "below" / "file").exists()
    assert not (tree / "mine").exists()
    assert remove(reaper, home, "tree", user=NOBODY, userns=userns) == 0
    assert not tree.exists()
    home.rmdir()
