"""Files below a hostile root: what works, and that nothing leads out."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycontainer.errors import InvalidArgument, KernelError
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.rooted import Rooted
from tests.support.overlay import BASE, mounted, own_ids


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A container's root next to a canary."""
    (tmp_path / "canary").write_text("untouched")
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/x").write_text("inside")
    return tmp_path / "root"


@pytest.fixture
def files(top: Path) -> Iterator[Rooted]:
    fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
    yield Rooted(fd, ids=own_ids())
    os.close(fd)
    assert (top.parent / "canary").read_text() == "untouched"
    assert sorted(os.listdir(top.parent)) == ["canary", "root"]


class TestReading:
    def test_paths_begin_at_the_root(self, files: Rooted) -> None:
        for path in ("/etc/x", "etc/x", b"etc/x", Path("/etc/x"), "/../../etc/./x", "//etc//x"):
            assert files.read_bytes(path) == b"inside"

    @pytest.mark.parametrize("path", ["", b"", "a\0b"])
    def test_a_path_is_not_empty_and_holds_no_nul(self, files: Rooted, path: str) -> None:
        with pytest.raises(InvalidArgument, match="path="):
            files.read_bytes(path)

    def test_links_lead_to_the_root_at_most(self, top: Path, files: Rooted) -> None:
        (top / "absolute").symlink_to("/etc/x")
        (top / "up").symlink_to("../../../../etc/x")
        (top / "out").symlink_to(top.parent / "canary")
        (top / "far").symlink_to("../canary")
        assert files.read_bytes("absolute") == b"inside"
        assert files.read_bytes("up") == b"inside"
        for name in ("out", "far"):
            with pytest.raises(KernelError) as caught:
                files.read_bytes(name)
            assert caught.value.errno == errno.ENOENT

    def test_magic_links_are_not_followed(self) -> None:
        """/proc/self/root of a container's own /proc would be the host's root."""
        fd = os.open("/", os.O_PATH)
        with pytest.raises(KernelError) as caught:
            Rooted(fd).read_bytes("/proc/self/root/etc/passwd")
        os.close(fd)
        assert caught.value.errno == errno.ELOOP

    def test_a_loop_of_links_ends(self, top: Path, files: Rooted) -> None:
        (top / "a").symlink_to("b")
        (top / "b").symlink_to("a")
        for attempt in (files.read_bytes, files.stat, lambda path: files.write_bytes(path, b"")):
            with pytest.raises(KernelError) as caught:
                attempt("a")
            assert caught.value.errno == errno.ELOOP

    def test_what_is_no_regular_file_is_refused_at_once(self, top: Path, files: Rooted) -> None:
        os.mkfifo(top / "fifo")
        with socket.socket(socket.AF_UNIX) as listener:
            directory = os.open(top, os.O_PATH)
            listener.bind(f"/proc/self/fd/{directory}/socket")
            os.close(directory)
            for name, number, what in [
                ("fifo", errno.EINVAL, "a fifo"),
                ("socket", errno.EINVAL, "a socket"),
                ("etc", errno.EISDIR, "a directory"),
            ]:
                with pytest.raises(KernelError, match=f"open {name} in the container.*{what}") as caught:
                    files.read_bytes(name)
                assert caught.value.errno == number

    def test_reading_is_bounded(self, top: Path, files: Rooted) -> None:
        with (top / "sparse").open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(KernelError, match="limit=1000") as caught:
            files.read_bytes("sparse", limit=1000)
        assert caught.value.errno == errno.EFBIG
        assert files.read_bytes("etc/x", limit=6) == b"inside"
        with pytest.raises(KernelError, match="limit=5"):
            files.read_bytes("etc/x", limit=5)

    def test_the_step_names_the_path(self, files: Rooted) -> None:
        with pytest.raises(KernelError) as caught:
            files.read_bytes("/etc/nothing")
        assert str(caught.value) == "open /etc/nothing in the container: No such file or directory"
        assert isinstance(caught.value, OSError)

    def test_listing(self, top: Path, files: Rooted) -> None:
        for name in (b"b", b"a", b"\xff"):
            Path(os.fsdecode(os.fsencode(top / "etc") + b"/" + name)).touch()
        assert files.listdir("etc") == ["a", "b", "x", "\udcff"]
        with pytest.raises(KernelError, match="limit=2"):
            files.listdir("etc", limit=2)

    def test_stat_and_readlink(self, top: Path, files: Rooted) -> None:
        (top / "link").symlink_to("/etc/x")
        assert stat.S_ISREG(files.stat("link").st_mode)
        assert stat.S_ISLNK(files.stat("link", follow=False).st_mode)
        assert files.readlink("link") == "/etc/x"
        assert stat.S_ISDIR(files.stat("/").st_mode)
        with pytest.raises(KernelError, match="read link etc in the container"):
            files.readlink("etc")


class TestWriting:
    def test_a_new_file(self, top: Path, files: Rooted) -> None:
        files.write_bytes("/etc/new", b"data")
        assert (top / "etc/new").read_bytes() == b"data"
        assert (top / "etc/new").stat().st_mode & 0o7777 == 0o644
        assert sorted(os.listdir(top / "etc")) == ["new", "x"]

    def test_a_replaced_file_keeps_its_mode(self, top: Path, files: Rooted) -> None:
        (top / "etc/x").chmod(0o4710)
        before = (top / "etc/x").stat()
        files.write_bytes("etc/x", b"data")
        after = (top / "etc/x").stat()
        assert after.st_mode == before.st_mode
        assert after.st_ino != before.st_ino
        files.write_bytes("etc/x", b"data", mode=0o600)
        assert (top / "etc/x").stat().st_mode & 0o7777 == 0o600

    def test_a_reader_sees_the_old_or_the_new(self, top: Path, files: Rooted) -> None:
        old = os.open(top / "etc/x", os.O_RDONLY)
        files.write_bytes("etc/x", b"new")
        assert os.read(old, 100) == b"inside"
        os.close(old)

    def test_links_are_followed_inside(self, top: Path, files: Rooted) -> None:
        (top / "etc/link").symlink_to("/etc/target")
        (top / "etc/relative").symlink_to("../etc/link")
        files.write_bytes("etc/relative", b"data")
        assert (top / "etc/target").read_bytes() == b"data"
        assert (top / "etc/link").is_symlink()

    def test_a_link_out_is_written_inside(self, top: Path, files: Rooted) -> None:
        (top / "up").symlink_to("../canary")
        files.write_bytes("up", b"data")
        assert (top / "canary").read_bytes() == b"data"

    def test_a_parent_that_links_out_is_refused(self, top: Path, files: Rooted) -> None:
        (top / "out").symlink_to(top.parent)
        with pytest.raises(KernelError, match="out/canary"):
            files.write_bytes("out/canary", b"data")

    @pytest.mark.parametrize("path", ["/", "etc/..", "etc/.", "etc"])
    def test_a_directory_is_refused(self, files: Rooted, path: str) -> None:
        with pytest.raises(KernelError) as caught:
            files.write_bytes(path, b"")
        assert caught.value.errno == errno.EISDIR

    def test_a_fifo_is_refused(self, top: Path, files: Rooted) -> None:
        os.mkfifo(top / "fifo")
        with pytest.raises(KernelError, match="a fifo"):
            files.write_bytes("fifo", b"")
        assert stat.S_ISFIFO((top / "fifo").lstat().st_mode)

    def test_opening_empties_only_regular_files(self, top: Path, files: Rooted) -> None:
        with files.open("etc/x", os.O_WRONLY | os.O_TRUNC) as file:
            os.write(file.fileno(), b"abc")
        assert (top / "etc/x").read_bytes() == b"abc"
        with files.open("etc/y", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600):
            pass
        assert (top / "etc/y").stat().st_mode & 0o777 == 0o600

    def test_directories_with_those_above(self, top: Path, files: Rooted) -> None:
        (top / "link").symlink_to("/etc")
        files.mkdirs("link/a/../b/c", mode=0o700)
        assert (top / "etc/b/c").stat().st_mode & 0o7777 == 0o700
        files.mkdirs("/etc/b/c", mode=0o755)
        assert (top / "etc/b/c").stat().st_mode & 0o7777 == 0o700
        files.mkdirs("/")

    @pytest.mark.parametrize("path", ["etc/x/y", "etc/x", "dangling/y"])
    def test_no_directory_below_or_in_place_of_a_file(self, top: Path, files: Rooted, path: str) -> None:
        (top / "dangling").symlink_to("/nowhere")
        with pytest.raises(KernelError, match=r"make .* in the container") as caught:
            files.mkdirs(path)
        assert caught.value.errno in {errno.ENOTDIR, errno.ENOENT}
        assert not (top / "nowhere").exists()

    def test_a_link_and_modes(self, top: Path, files: Rooted) -> None:
        files.symlink("/etc/x", "etc/link")
        assert os.readlink(top / "etc/link") == "/etc/x"
        with pytest.raises(KernelError) as caught:
            files.symlink("other", "etc/link")
        assert caught.value.errno == errno.EEXIST
        files.chmod("etc/link", 0o640)
        assert (top / "etc/x").stat().st_mode & 0o7777 == 0o640

    def test_removing(self, top: Path, files: Rooted) -> None:
        (top / "link").symlink_to("/etc")
        files.remove("link")
        assert (top / "etc/x").exists()
        files.remove("/etc")
        files.remove("/etc")
        assert os.listdir(top) == []
        with pytest.raises(KernelError):
            files.remove("/")

    def test_a_race_of_links_never_leads_out(self, top: Path, files: Rooted) -> None:
        """A parent that is now a directory, now a link to the canary's."""
        stop = threading.Event()
        (top / "real").mkdir()

        def swap() -> None:
            while not stop.is_set():
                os.symlink(top.parent, top / "swap")
                os.unlink(top / "swap")
                os.rename(top / "real", top / "swap")
                os.rename(top / "swap", top / "real")

        thread = threading.Thread(target=swap)
        thread.start()
        written = refused = 0
        end = time.monotonic() + 1
        try:
            while time.monotonic() < end:
                try:
                    files.write_bytes("swap/canary", b"changed")
                    written += 1
                except KernelError:
                    refused += 1
        finally:
            stop.set()
            thread.join()
        assert written > 0
        assert refused > 0
        assert (top.parent / "canary").read_text() == "untouched"


@pytest.mark.needs("root")
class TestOwners:
    @pytest.fixture
    def mapped(self, top: Path) -> Iterator[Rooted]:
        fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
        yield Rooted(fd, ids=IdMap.block(BASE))
        os.close(fd)

    def test_new_files_are_of_the_containers_root_or_as_told(self, top: Path, mapped: Rooted) -> None:
        mapped.write_bytes("/new", b"")
        mapped.write_bytes("/told", b"", owner=(5, 6))
        mapped.mkdirs("/d/e", owner=(7, 8))
        mapped.symlink("x", "/link", owner=(1, 2))
        mapped.chown("/etc/x", 3, 4)
        owners = {name: (top / name).lstat() for name in ("new", "told", "d/e", "link", "etc/x")}
        assert {name: (s.st_uid - BASE, s.st_gid - BASE) for name, s in owners.items()} == {
            "new": (0, 0), "told": (5, 6), "d/e": (7, 8), "link": (1, 2), "etc/x": (3, 4),
        }  # fmt: skip

    def test_a_link_itself_can_change_hands(self, top: Path, mapped: Rooted) -> None:
        (top / "link").symlink_to("/etc/x")
        mapped.chown("/link", 9, 9, follow=False)
        assert (top / "link").lstat().st_uid == BASE + 9
        assert (top / "etc/x").stat().st_uid == 0

    def test_a_replaced_file_keeps_its_owner(self, top: Path, mapped: Rooted) -> None:
        mapped.chown("/etc/x", 3, 4)
        mapped.write_bytes("/etc/x", b"new")
        assert (top / "etc/x").stat().st_uid == BASE + 3

    @pytest.mark.parametrize("uid", [-1, 65536, 0xFFFFFFFF])
    def test_an_owner_without_a_number_is_refused(self, mapped: Rooted, uid: int) -> None:
        for attempt in (
            lambda: mapped.chown("/etc/x", uid, 0),
            lambda: mapped.write_bytes("/new", b"", owner=(0, uid)),
            lambda: mapped.mkdirs("/new", owner=(uid, uid)),
        ):
            with pytest.raises(InvalidArgument, match="owner="):
                attempt()

    def test_the_thread_keeps_its_ids_and_capabilities(self, mapped: Rooted) -> None:
        mapped.write_bytes("/new", b"")
        with pytest.raises(KernelError):
            mapped.write_bytes("/none/new", b"")
        assert os.stat("/proc/self").st_uid == 0
        status = Path("/proc/thread-self/status").read_text()
        assert "Uid:\t0\t0\t0\t0" in status


@pytest.mark.needs("root", "overlay")
class TestOverlayOfAUserNamespace:
    """There the host's root has no number, and new names need one."""

    @pytest.fixture
    def stacked(self, tmp_path: Path) -> Iterator[Rooted]:
        lower = tmp_path / "lower"
        for directory, owner in ((lower, 0), (lower / "etc", 0), (lower / "home", 5)):
            directory.mkdir(mode=0o755)
            os.chown(directory, BASE + owner, BASE + owner)
        (lower / "etc/x").write_text("lower")
        os.chown(lower / "etc/x", BASE, BASE)
        with mounted(tmp_path, base=BASE) as overlay:
            yield Rooted(overlay.root, ids=IdMap.block(BASE))

    @pytest.mark.parametrize(
        "change",
        [
            lambda files: files.write_bytes("/etc/new", b"data"),
            lambda files: files.write_bytes("/home/new", b"data"),
            lambda files: files.write_bytes("/etc/x", b"data"),
            lambda files: files.mkdirs("/home/a/b"),
            lambda files: files.symlink("x", "/home/link"),
            lambda files: files.open("/home/new", os.O_CREAT | os.O_WRONLY).close(),
            lambda files: files.chown("/etc/x", 7, 7),
            lambda files: files.chmod("/etc/x", 0o600),
            lambda files: files.remove("/etc"),
        ],
    )
    def test_everything_can_be_changed(self, stacked: Rooted, change: Callable[[Rooted], None]) -> None:
        change(stacked)

    def test_what_is_made_belongs_to_the_container(self, stacked: Rooted) -> None:
        stacked.write_bytes("/home/new", b"data", owner=(5, 5))
        stacked.mkdirs("/home/d")
        assert stacked.read_bytes("/home/new") == b"data"
        assert stacked.stat("/home/new").st_uid == BASE + 5
        assert stacked.stat("/home/d").st_uid == BASE
