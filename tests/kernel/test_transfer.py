"""Copies between host and container: the rules of docker cp, and hostile trees on either side."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from pycontainer.errors import KernelError
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.rooted import Rooted
from pycontainer.kernel.transfer import copy_in, copy_out
from pycontainer.kernel.tree import remove_tree
from tests.support.overlay import BASE, mounted, own_ids

Copy: TypeAlias = Callable[[str, str], None]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "canary").write_text("untouched")
    (tmp_path / "root").mkdir()
    (tmp_path / "host").mkdir()
    return tmp_path / "root"


@pytest.fixture
def host(top: Path) -> Path:
    return top.parent / "host"


@pytest.fixture
def files(top: Path) -> Iterator[Rooted]:
    fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
    yield Rooted(fd, ids=own_ids())
    os.close(fd)
    assert (top.parent / "canary").read_text() == "untouched"
    assert sorted(os.listdir(top.parent)) == ["canary", "host", "root"]


def listing(place: Path) -> dict[str, str]:
    """Every entry below a directory: its path and its content, `/` for a directory, the text of a link."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = "/" if path.is_dir() else path.read_text()
    return found


class TestRules:
    """The table of docker's reference for cp, in both directions."""

    @pytest.fixture(params=["in", "out"])
    def places(
        self, request: pytest.FixtureRequest, top: Path, host: Path, files: Rooted
    ) -> tuple[Path, Path, Copy]:
        """Where the source lies, where the target lies, and the copy with paths relative to these."""
        if request.param == "in":
            return host, top, lambda source, target: copy_in(files, f"{host}/{source}", target)
        return top, host, lambda source, target: copy_out(files, source, f"{host}/{target}")

    def test_a_file_to_a_new_name(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        (source / "f").write_text("data")
        copy("f", "new")
        assert listing(target) == {"new": "data"}

    def test_a_file_to_a_new_directory_is_an_error(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        (source / "f").write_text("data")
        for path in ("new/", "new/name", "new/."):
            with pytest.raises(KernelError) as caught:
                copy("f", path)
            assert caught.value.errno == errno.ENOENT
        assert listing(target) == {}

    def test_a_file_over_a_file(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        (source / "f").write_text("data")
        (target / "g").write_text("old")
        copy("f", "g")
        assert listing(target) == {"g": "data"}
        with pytest.raises(KernelError) as caught:
            copy("f", "g/")
        assert caught.value.errno == errno.ENOTDIR

    def test_a_file_into_a_directory(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        (source / "f").write_text("data")
        (target / "d").mkdir()
        copy("f", "d")
        (source / "f").write_text("again")
        copy("f", "d/.")
        assert listing(target) == {"d": "/", "d/f": "again"}

    def test_a_directory_to_a_new_name(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        (source / "d/sub").mkdir(parents=True)
        (source / "d/sub/f").write_text("data")
        copy("d", "new")
        copy("d/.", "other/")
        tree = {"": "/", "/sub": "/", "/sub/f": "data"}
        expected = {name + path: content for name in ("new", "other") for path, content in tree.items()}
        assert listing(target) == expected

    def test_a_directory_over_a_file_is_an_error(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        (source / "d").mkdir()
        (target / "f").write_text("old")
        with pytest.raises(KernelError, match="a directory does not replace") as caught:
            copy("d", "f")
        assert caught.value.errno == errno.ENOTDIR

    def test_a_directory_into_a_directory(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        (source / "d").mkdir()
        (source / "d/f").write_text("data")
        (target / "e").mkdir()
        copy("d", "e")
        assert listing(target) == {"e": "/", "e/d": "/", "e/d/f": "data"}
        copy("d/.", "e")
        assert listing(target) == {"e": "/", "e/f": "data", "e/d": "/", "e/d/f": "data"}

    def test_merging_keeps_what_is_there(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        (source / "d/sub").mkdir(parents=True)
        (source / "d/sub/f").write_text("new")
        (target / "d/sub").mkdir(parents=True)
        (target / "d/sub").chmod(0o711)
        (target / "d/sub/g").write_text("kept")
        (target / "d/sub/f").write_text("old")
        copy("d", ".")
        assert listing(target) == {"d": "/", "d/sub": "/", "d/sub/f": "new", "d/sub/g": "kept"}
        assert (target / "d/sub").stat().st_mode & 0o7777 == 0o711

    def test_directories_and_others_never_replace_each_other(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        (source / "a/x").mkdir(parents=True)
        (source / "b").mkdir()
        (source / "b/x").write_text("file")
        (target / "a").mkdir()
        (target / "a/x").write_text("file")
        (target / "b/x").mkdir(parents=True)
        before = listing(target)
        for name in ("a", "b"):
            with pytest.raises(KernelError, match=r"x is a directory"):
                copy(name, ".")
        assert listing(target) == before

    def test_links_are_copied_as_links(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        (source / "d").mkdir()
        (source / "d/absolute").symlink_to("/etc/passwd")
        (source / "d/up").symlink_to("../../../canary")
        (source / "link").symlink_to("d")
        copy("link", "copied")
        copy("d", "d")
        copy("link/", "followed")
        links = {"/absolute": "-> /etc/passwd", "/up": "-> ../../../canary"}
        assert listing(target) == {
            "copied": "-> d",
            **{name + path: text for name in ("d", "followed") for path, text in {"": "/", **links}.items()},
        }

    def test_a_link_in_the_way_is_replaced_or_refused_never_followed(
        self, places: tuple[Path, Path, Copy]
    ) -> None:
        source, target, copy = places
        (source / "d/sub").mkdir(parents=True)
        (source / "d/sub/canary").write_text("changed")
        (source / "d/canary").write_text("changed")
        (target / "d").mkdir()
        (target / "d/canary").symlink_to(target.parent / "canary")
        (target / "d/sub").symlink_to(target.parent)
        with pytest.raises(KernelError, match="sub is a directory and would replace a symbolic link"):
            copy("d", ".")
        assert (target / "d/canary").read_text() == "changed"
        assert not (target / "d/canary").is_symlink()

    def test_modes_and_times_are_kept(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        (source / "d/shut").mkdir(parents=True)
        (source / "d/f").write_text("data")
        (source / "d/shut/g").write_text("data")
        (source / "d/l").symlink_to("f")
        (source / "d/f").chmod(0o641)
        for name in ("d/f", "d/l", "d/shut", "d"):
            os.utime(
                source / name,
                ns=(1_500_000_000_000_000_001, 1_500_000_000_000_000_002),
                follow_symlinks=False,
            )
        (source / "d/shut").chmod(0o500)
        copy("d", "new")
        for name in ("f", "l", "shut", ""):
            assert (target / "new" / name).lstat().st_mtime_ns == 1_500_000_000_000_000_002
            assert (target / "new" / name).lstat().st_mode == (source / "d" / name).lstat().st_mode

    @pytest.mark.parametrize("where", ["", "d/"])
    def test_special_files_are_refused(self, places: tuple[Path, Path, Copy], where: str) -> None:
        source, target, copy = places
        (source / "d").mkdir()
        os.mkfifo(source / where / "fifo")
        with pytest.raises(KernelError, match="fifo is a fifo") as caught:
            copy(where or "fifo", ".")
        assert caught.value.errno == errno.EINVAL
        assert "fifo" not in " ".join(listing(target))

    def test_what_is_absent_is_an_error(self, places: tuple[Path, Path, Copy]) -> None:
        _, target, copy = places
        for path in ("nothing", "nothing/", "nothing/."):
            with pytest.raises(KernelError) as caught:
                copy(path, ".")
            assert caught.value.errno == errno.ENOENT
        assert listing(target) == {}

    def test_the_content_of_the_root(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        (source / "d").mkdir()
        copy(".", "all")
        copy("d/..", "all2")
        assert listing(target) == {"all": "/", "all/d": "/", "all2": "/", "all2/d": "/"}

    def test_holes_stay_holes(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        with (source / "sparse").open("wb") as file:
            file.truncate(1 << 33)
            file.seek(1 << 32)
            file.write(b"middle")
        copy("sparse", "sparse")
        status = (target / "sparse").stat()
        assert status.st_size == 1 << 33
        assert status.st_blocks < 1000
        with (target / "sparse").open("rb") as file:
            file.seek(1 << 32)
            assert file.read(10) == b"middle\0\0\0\0"

    def test_any_depth(self, places: tuple[Path, Path, Copy]) -> None:
        source, target, copy = places
        fd = os.open(source, os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("d", dir_fd=fd)
            below = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        copy("d", "d")
        fd = os.open(target, os.O_RDONLY)
        for _ in range(3000):
            below = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        assert os.listdir(fd) == ["bottom"]
        os.close(fd)
        for place in (source, target):  # deeper than what cleans up after a test can remove
            fd = os.open(place, os.O_RDONLY)
            remove_tree(fd, "d")
            os.close(fd)


class TestOut:
    def test_privileged_bits_stay_in_the_container(self, top: Path, host: Path, files: Rooted) -> None:
        (top / "d").mkdir()
        (top / "d/tool").write_text("x")
        (top / "d/tool").chmod(0o6755)
        (top / "d").chmod(0o3777)
        copy_out(files, "d", host)
        assert stat.S_IMODE((host / "d/tool").stat().st_mode) == 0o755
        assert stat.S_IMODE((host / "d").stat().st_mode) == 0o777

    def test_a_source_never_leads_out(self, top: Path, host: Path, files: Rooted) -> None:
        (top / "link").symlink_to(top.parent)
        (top / "up").symlink_to("..")
        for path in ("link/canary", "link/", "../canary", "up/canary", "up/../canary"):
            with pytest.raises(KernelError) as caught:
                copy_out(files, path, host)
            assert caught.value.errno == errno.ENOENT
        assert listing(host) == {}

    @pytest.mark.parametrize("sparse", [False, True])
    def test_content_is_bounded(self, top: Path, host: Path, files: Rooted, *, sparse: bool) -> None:
        (top / "d").mkdir()
        for name in ("a", "b"):
            (top / "d" / name).write_bytes(b"x" * 600)
            if sparse:
                os.truncate(top / "d" / name, 0)
                os.truncate(top / "d" / name, 600)
        copy_out(files, "d", host / "all", limit=1200)
        with pytest.raises(KernelError, match="limit=") as caught:
            copy_out(files, "d", host / "part", limit=1199)
        assert caught.value.errno == errno.EFBIG
        assert len(os.listdir(host / "part")) == 1

    def test_files_that_tell_no_size_are_copied(self, host: Path) -> None:
        fd = os.open("/", os.O_PATH)
        copy_out(Rooted(fd), "/proc/version", host)
        os.close(fd)
        assert (host / "version").read_text().startswith("Linux version")

    def test_relative_targets_begin_at_the_working_directory(
        self, top: Path, host: Path, files: Rooted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(host)
        (top / "f").write_text("data")
        copy_out(files, "f", ".")
        copy_out(files, "/f", "g")
        assert listing(host) == {"f": "data", "g": "data"}

    @pytest.mark.needs("root")
    def test_devices_are_refused_and_not_opened(self, top: Path, host: Path, files: Rooted) -> None:
        os.mknod(top / "device", stat.S_IFCHR | 0o666, os.makedev(1, 8))
        with pytest.raises(KernelError, match="a character device"):
            copy_out(files, "device", host)
        assert listing(host) == {}

    @pytest.mark.needs("root")
    def test_what_comes_out_is_the_callers(self, top: Path, host: Path, files: Rooted) -> None:
        (top / "d").mkdir()
        (top / "d/f").write_text("x")
        (top / "d/l").symlink_to("f")
        for name in ("d", "d/f", "d/l"):
            os.lchown(top / name, BASE, BASE)
        copy_out(files, "d", host)
        assert {(host / name).lstat().st_uid for name in ("d", "d/f", "d/l")} == {0}


class TestIn:
    def test_a_target_never_leads_out(self, top: Path, host: Path, files: Rooted) -> None:
        (host / "canary").write_text("changed")
        (host / "d").mkdir()
        (host / "d/canary").write_text("changed")
        (top / "out").symlink_to(top.parent)
        (top / "file").symlink_to(top.parent / "canary")
        for source, target in (
            ("canary", "out/"),
            ("canary", "out/canary"),
            ("d/.", "out/"),
            ("canary", "file"),
        ):
            with pytest.raises(KernelError):
                copy_in(files, host / source if source[-1] != "." else f"{host}/{source}", target)

    def test_a_link_as_target_is_followed_inside(self, top: Path, host: Path, files: Rooted) -> None:
        (host / "f").write_text("data")
        (top / "real").mkdir()
        (top / "link").symlink_to("/real")
        (top / "new").symlink_to("real/name")
        copy_in(files, host / "f", "link")
        copy_in(files, host / "f", "new")
        assert listing(top / "real") == {"f": "data", "name": "data"}

    def test_privileged_bits_are_kept(self, top: Path, host: Path, files: Rooted) -> None:
        (host / "tool").write_text("x")
        (host / "tool").chmod(0o4755)
        copy_in(files, host / "tool", "/")
        assert stat.S_IMODE((top / "tool").stat().st_mode) == 0o4755

    def test_a_directory_is_not_copied_into_itself(self, top: Path, files: Rooted) -> None:
        (top / "a/b").mkdir(parents=True)
        with pytest.raises(KernelError, match="into itself"):
            copy_in(files, top / "a", "/a/b")

    @pytest.mark.needs("root", "overlay")
    def test_into_an_overlay_of_a_user_namespace(self, tmp_path: Path, host: Path) -> None:
        (tmp_path / "lower/home").mkdir(parents=True)
        for name in ("lower", "lower/home"):
            os.chown(tmp_path / name, BASE, BASE)
        (host / "d/shut").mkdir(parents=True)
        (host / "d/f").write_text("data")
        (host / "d/l").symlink_to("f")
        (host / "d/shut").chmod(0)
        with mounted(tmp_path, base=BASE) as overlay:
            files = Rooted(overlay.root, ids=IdMap.block(BASE))
            copy_in(files, host / "d", "/home")
            overlay.run("test -O home/d -a -O home/d/f -a -L home/d/l && test $(cat home/d/l) = data")
            copy_in(files, host / "d/f", "/home/d/f")
            copy_out(files, "/home/d", host / "back")
        assert listing(host / "back") == {"f": "data", "l": "-> f", "shut": "/"}
