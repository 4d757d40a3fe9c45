"""Duplicating: the tree is what unpacking the archive would make, and an error of either side ends both."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycontainer.errors import KernelError, UnsafeArchive
from pycontainer.image.duplicate import Duplicate, duplicate
from pycontainer.image.layer import unpack_layer
from pycontainer.image.relay import relaying
from pycontainer.kernel.idmap import user_map


@contextmanager
def opened(*places: Path) -> Iterator[list[int]]:
    fds = [os.open(place, os.O_RDONLY | os.O_DIRECTORY) for place in places]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def duplicated(upper: Path, tree: Path, **options: object) -> Duplicate:
    tree.mkdir()
    ids = None if os.geteuid() == 0 else user_map()
    with opened(upper, tree) as fds:
        return duplicate(*fds, ids=ids, **options)  # type: ignore[misc]


def told(top: Path) -> dict[str, object]:
    """What is in a tree, and what is said of each."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        time = None if stat.S_ISCHR(status.st_mode) else int(status.st_mtime)  # a mark has that of its making
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        link = path.readlink() if path.is_symlink() else None
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        }
        found[str(path.relative_to(top))] = (
            status.st_mode, status.st_uid, status.st_nlink, time, content, link, attributes,
        )  # fmt: skip
    return found


@pytest.fixture
def upper(tmp_path):
    """The upper directory of a container that has done this and that."""
    place = tmp_path / "upper"
    (place / "etc/opaque").mkdir(parents=True)
    place.chmod(0o755)
    (place / "etc/passwd").write_text("root\n")
    os.link(place / "etc/passwd", place / "etc/again")
    (place / "link").symlink_to("etc/passwd")
    (place / "large").write_bytes(os.urandom(3_000_000))
    (place / "large").chmod(0o4711)
    os.mkfifo(place / "fifo")
    os.mknod(place / "etc/gone", stat.S_IFCHR)
    os.setxattr(place / "etc/opaque", "user.overlay.opaque", b"y")
    return place


def test_the_tree_is_that_of_the_archive(tmp_path, upper):
    parts: list[bytes] = []
    made = duplicated(upper, tmp_path / "tree", write=parts.append)
    (tmp_path / "unpacked").mkdir()
    with opened(tmp_path / "unpacked") as [fd]:
        found = unpack_layer(io.BytesIO(b"".join(parts)).read, fd, expected=made.packed.diff_id)
    assert told(tmp_path / "tree") == told(tmp_path / "unpacked")
    assert (made.room, made.packed.entries) == (found.room, found.entries)
    assert len(told(tmp_path / "tree")) == 8


def test_the_archive_need_not_be_kept(tmp_path, upper):
    first, second = duplicated(upper, tmp_path / "a"), duplicated(upper, tmp_path / "b", write=len)
    assert first == second
    assert told(tmp_path / "a") == told(tmp_path / "b")


def test_what_cannot_be_written_ends_it(tmp_path, upper):
    def full(_data: bytes) -> None:
        raise KernelError(errno.ENOSPC, "write")

    with pytest.raises(KernelError, match="write"):
        duplicated(upper, tmp_path / "tree", write=full)


def test_what_cannot_be_made_ends_it(tmp_path, upper):
    (tmp_path / "tree").mkdir()
    with opened(upper, tmp_path / "tree") as fds:
        (tmp_path / "tree").rmdir()
        with pytest.raises(KernelError) as caught:
            duplicate(*fds, ids=None if os.geteuid() == 0 else user_map())
    assert caught.value.errno == errno.ENOENT


class TestRelaying:
    """Pieces handed to work in a thread of its own."""

    def test_they_come_in_order_and_have_an_end(self):
        heard: list[bytes] = []

        def work(read):
            while part := read(3):
                heard.append(part)

        with relaying(work) as put:
            for piece in (b"abcd", b"ef", b"g"):
                put(piece)
        assert heard == [b"abc", b"d", b"ef", b"g"]

    def test_an_error_of_the_work_ends_the_body_and_is_raised(self):
        def work(read):
            raise UnsafeArchive(f"after {read(100)!r}")

        with pytest.raises(UnsafeArchive, match="after b'x'"):
            hand_over_for_ever(work)

    def test_work_that_needs_no_more_ends_the_body(self):
        heard: list[bytes] = []
        hand_over_for_ever(lambda read: heard.append(read(1)))
        assert heard == [b"x"]

    def test_an_error_of_the_body_ends_the_work_and_is_raised(self):
        heard = threading.Event()

        def work(read):
            while read(10):
                heard.set()

        def body():
            with relaying(work) as put:
                put(b"x")
                heard.wait()
                raise KeyError

        with pytest.raises(KeyError):
            body()


def hand_over_for_ever(work):
    with relaying(work) as put:
        while True:
            put(b"x")
