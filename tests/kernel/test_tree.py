"""The remover: what it removes, and that it touches nothing else."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainer.errors import InvalidArgument, KernelError
from pycontainer.kernel.tree import remove_tree


@pytest.fixture
def place(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def nest(top: int, depth: int) -> None:
    """Make `depth` directories in each other, a file in each, without recursion and long paths."""
    fd = os.dup(top)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


def test_a_file_a_link_and_a_tree_go(tmp_path: Path, place: int) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "tree/a/b").mkdir(parents=True)
    (tmp_path / "tree/a/f").write_text("x")
    os.mkfifo(tmp_path / "tree/a/b/fifo")
    for name in ("file", "link", b"tree"):
        remove_tree(place, name)
    assert os.listdir(tmp_path) == []


def test_what_is_absent_is_removed_already(place: int) -> None:
    remove_tree(place, "nothing")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0b"])
def test_a_name_must_be_one_entry(place: int, name: str) -> None:
    with pytest.raises(InvalidArgument, match="name="):
        remove_tree(place, name)


def test_links_are_removed_and_not_followed(tmp_path: Path, place: int) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("untouched")
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/absolute").symlink_to(canary)
    (tmp_path / "tree/sub/relative").symlink_to("../../canary")
    (tmp_path / "tree/file").symlink_to(canary / "file")
    remove_tree(place, "tree")
    assert (canary / "file").read_text() == "untouched"
    assert os.listdir(tmp_path) == ["canary"]


def test_directories_without_permissions_go(tmp_path: Path, place: int) -> None:
    for mode in (0o000, 0o100, 0o200, 0o400, 0o500, 0o600):
        directory = tmp_path / f"tree/{mode:o}/inner"
        directory.mkdir(parents=True)
        (directory / "file").write_text("x")
        directory.chmod(mode)
        directory.parent.chmod(mode)
    (tmp_path / "tree").chmod(0)
    remove_tree(place, "tree")
    assert os.listdir(tmp_path) == []


def test_permissions_are_given_to_directories_never_through_links(tmp_path: Path, place: int) -> None:
    canary = tmp_path / "canary"
    canary.mkdir(mode=0o500)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(canary)
    (tmp_path / "tree").chmod(0)
    remove_tree(place, "tree")
    assert canary.stat().st_mode & 0o777 == 0o500


@pytest.mark.parametrize("depth", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_any_depth_goes(tmp_path: Path, place: int, depth: int) -> None:
    os.mkdir(tmp_path / "tree")
    top = os.open(tmp_path / "tree", os.O_RDONLY)
    nest(top, depth)
    os.close(top)
    remove_tree(place, "tree")
    assert os.listdir(tmp_path) == []


def test_many_entries_go(tmp_path: Path, place: int) -> None:
    for directory in range(20):
        (tmp_path / f"tree/{directory}").mkdir(parents=True)
        for number in range(500):
            (tmp_path / f"tree/{directory}/{number}").touch()
    remove_tree(place, "tree")
    assert os.listdir(tmp_path) == []


@pytest.mark.needs("userns")
def test_a_mount_below_is_not_entered(tmp_path: Path) -> None:
    """Even when the same file system is mounted there, as a bind mount is."""
    (tmp_path / "canary").mkdir()
    (tmp_path / "canary/file").write_text("untouched")
    (tmp_path / "tree/sub/mount").mkdir(parents=True)
    program = """if True:
        import os, sys
        sys.path.insert(0, sys.argv[2])
        from pycontainer.errors import KernelError
        from pycontainer.kernel.tree import remove_tree
        top = os.open(sys.argv[1], os.O_RDONLY)
        try:
            remove_tree(top, "tree")
        except KernelError as error:
            print(error.errno, error)
        """
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec",
         'mount --bind "$1/canary" "$1/tree/sub/mount"; exec "$2" -c "$3" "$1" "$4"',
         "sh", str(tmp_path), sys.executable, program, root],
        capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.stdout.startswith(f"{errno.EXDEV} remove sub/mount"), done
    assert (tmp_path / "canary/file").read_text() == "untouched"


def test_a_tree_that_is_filled_meanwhile_ends_removed_or_with_an_error(tmp_path: Path, place: int) -> None:
    """Never outside, and never an endless loop once the other has stopped."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("untouched")
    stop = threading.Event()
    refused: set[int | None] = set()

    def refill() -> None:
        number = 0
        while not stop.is_set() and number < 3000:
            number += 1
            try:
                os.makedirs(tmp_path / "tree/a/b", exist_ok=True)
                os.symlink(canary, tmp_path / f"tree/a/link{number}")
                os.rename(tmp_path / "tree/a/b", tmp_path / f"tree/moved{number}")
                os.symlink(canary, tmp_path / "tree/a/b")
            except OSError:
                continue

    thread = threading.Thread(target=refill)
    thread.start()
    try:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            try:
                remove_tree(place, "tree")
            except KernelError as error:
                refused.add(error.errno)
    finally:
        stop.set()
        thread.join()
    assert refused <= {errno.ENOTEMPTY, errno.ESTALE, errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
    remove_tree(place, "tree")
    assert (canary / "file").read_text() == "untouched"
    assert os.listdir(tmp_path) == ["canary"]


def test_several_can_remove_the_same_at_once(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number}").mkdir()
    program = (
        "import os, sys; from pycontainer.kernel.tree import remove_tree\n"
        "here = os.open(sys.argv[1], os.O_PATH); print(flush=True); sys.stdin.read()\n"
        "for number in range(3000): remove_tree(here, str(number))"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    racers = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)]
    for racer in racers:
        assert racer.stdout is not None
        racer.stdout.readline()
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()
    for racer in racers:
        racer.wait(60)
        assert racer.stdout is not None
        racer.stdout.close()
    assert [racer.returncode for racer in racers] == [0] * 4
    assert list(tmp_path.iterdir()) == []


def test_the_error_of_a_refused_removal_is_typed(place: int) -> None:
    fd = os.open("/proc/self", os.O_RDONLY)
    with pytest.raises(KernelError) as caught:
        remove_tree(fd, "status")
    os.close(fd)
    assert caught.value.step == "remove status"
