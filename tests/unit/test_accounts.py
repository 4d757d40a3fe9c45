"""Who a user string means, by the image's own files and Docker's rules; and hostile files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import ImageError, InvalidArgument, KernelError
from pycontainer.image.accounts import Identity, _identify, identify, identify_in
from pycontainer.kernel.rooted import Rooted

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
joe:x:1000:1000:Joe:/home/joe:/bin/sh
1234:x:77:78:a name of digits:/odd:/bin/sh
nohome:x:1001:1001:::
"""
GROUP = """\
root:x:0:
daemon:x:1:joe
joe:x:1000:joe
wheel:x:10:root,joe
staff:x:50:joe,daemon
"""


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    (tmp_path / "layer/etc").mkdir(parents=True)
    (tmp_path / "layer/etc/passwd").write_text(PASSWD)
    (tmp_path / "layer/etc/group").write_text(GROUP)
    return tmp_path / "layer"


def who(layer: Path, user: str) -> Identity:
    return identify(user, (str(layer),))


@pytest.mark.parametrize(
    ("user", "identity"),
    [
        ("", Identity(0, 0, (10,), "/root", "root")),
        ("root", Identity(0, 0, (10,), "/root", "root")),
        ("0", Identity(0, 0, (10,), "/root", "root")),
        ("joe", Identity(1000, 1000, (1, 10, 50), "/home/joe", "joe")),
        ("1000", Identity(1000, 1000, (1, 10, 50), "/home/joe", "joe")),
        ("joe:wheel", Identity(1000, 10, (), "/home/joe", "joe")),
        ("joe:99", Identity(1000, 99, (), "/home/joe", "joe")),
        ("1000:0", Identity(1000, 0, (), "/home/joe", "joe")),
        ("5000", Identity(5000, 0, (), "/", "5000")),
        ("5000:6000", Identity(5000, 6000, (), "/", "5000")),
        (":wheel", Identity(0, 10, (), "/root", "root")),
        ("1234", Identity(1234, 0, (), "/", "1234")),
        ("nohome", Identity(1001, 1001, (), "/", "nohome")),
        ("4294967294", Identity(4294967294, 0, (), "/", "4294967294")),
        ("00", Identity(0, 0, (10,), "/root", "root")),
    ],
)
def test_strings_by_dockers_rules(layer: Path, user: str, identity: Identity) -> None:
    assert who(layer, user) == identity


@pytest.mark.parametrize(
    "user",
    [
        "nobody-known", "joe:none", "5000:none", "joe:", ":", "joe:wheel:x", "+0", "-1", " 0", "0 ", "0x0", "1_0", "１",
        "4294967295", "4294967296", "18446744073709551616", "0:4294967295", "0:-1", "9" * 5000,
    ],
)  # fmt: skip
def test_everything_else_is_refused(layer: Path, user: str) -> None:
    with pytest.raises(InvalidArgument, match="user="):
        who(layer, user)


def test_the_message_names_the_file(layer: Path) -> None:
    with pytest.raises(InvalidArgument, match="/etc/passwd of the container has no user 'jim'"):
        who(layer, "jim")
    with pytest.raises(InvalidArgument, match="/etc/group of the container has no group 'jims'"):
        who(layer, "joe:jims")


def test_without_files_there_are_numbers_only(tmp_path: Path) -> None:
    assert who(tmp_path, "") == Identity(0, 0, (), "/", "")
    assert who(tmp_path, "7:8") == Identity(7, 8, (), "/", "7")
    with pytest.raises(InvalidArgument):
        who(tmp_path, "root")


@pytest.mark.parametrize(
    "number", ["-1", "4294967295", "4294967296", "99999999999", "0x0", "+0", "", "１", " 0"]
)
def test_impossible_numbers_never_become_root(layer: Path, number: str) -> None:
    (layer / "etc/passwd").write_text(f"evil:x:{number}:0::/:\n")
    with pytest.raises(ImageError, match="evil"):
        who(layer, "evil")
    (layer / "etc/passwd").write_text(f"evil:x:5:{number}::/:\n")
    with pytest.raises(ImageError, match="evil"):
        who(layer, "evil")
    (layer / "etc/passwd").write_text(PASSWD)
    (layer / "etc/group").write_text(f"evil:x:{number}:joe\n")
    with pytest.raises(ImageError, match="evil"):
        who(layer, "joe:evil")
    assert who(layer, "joe").groups == ()


class TestHostileFiles:
    @pytest.mark.parametrize("name", ["passwd", "group"])
    def test_a_fifo_is_refused_at_once(self, layer: Path, name: str) -> None:
        (layer / "etc" / name).unlink()
        os.mkfifo(layer / "etc" / name)
        with pytest.raises(KernelError, match="a fifo"):
            who(layer, "joe")

    def test_size_is_bounded(self, layer: Path) -> None:
        os.truncate(layer / "etc/passwd", (1 << 20) + 1)
        with pytest.raises(KernelError, match="limit=1048576") as caught:
            who(layer, "joe")
        assert caught.value.errno == errno.EFBIG

    def test_links_stay_inside(self, layer: Path) -> None:
        (layer.parent / "passwd").write_text("outside:x:1:1::/:\n")
        for target in ("../../passwd", "/../../passwd", str(layer.parent / "passwd")):
            (layer / "etc/passwd").unlink()
            (layer / "etc/passwd").symlink_to(target)
            with pytest.raises(InvalidArgument):
                who(layer, "outside")

    def test_too_many_groups_are_an_error(self, layer: Path) -> None:
        (layer / "etc/group").write_text("".join(f"g:x:{number}:joe\n" for number in range(65538)))
        with pytest.raises(ImageError, match="65536"):
            who(layer, "joe")

    def test_a_home_that_is_no_path_is_none(self, layer: Path) -> None:
        (layer / "etc/passwd").write_text("joe:x:5:5::relative:\nnul:x:6:6::/a\0b:\n")
        assert who(layer, "joe").home == "/"
        with pytest.raises(InvalidArgument):
            who(layer, "nul")

    @given(st.text(), st.text(), st.text())
    def test_no_content_gives_anything_but_an_identity_or_an_error(
        self, user: str, passwd: str, group: str
    ) -> None:
        try:
            found = _identify(user, lambda path: passwd if path == "/etc/passwd" else group, ())
        except (InvalidArgument, ImageError):
            return
        assert all(0 <= number < 0xFFFFFFFF for number in (found.uid, found.gid, *found.groups))
        assert found.home.startswith("/")


class TestLayers:
    @pytest.fixture
    def layers(self, tmp_path: Path) -> tuple[Path, Path]:
        """Bottom and top."""
        paths = (tmp_path / "bottom", tmp_path / "top")
        for path in paths:
            (path / "etc").mkdir(parents=True)
        (paths[0] / "etc/passwd").write_text("joe:x:1:1::/bottom:\n")
        (paths[0] / "etc/group").write_text("joes:x:5:joe\n")
        return paths

    def who(self, layers: tuple[Path, Path], user: str) -> Identity:
        return identify(user, tuple(map(str, layers)))

    def test_the_top_one_counts_for_each_file(self, layers: tuple[Path, Path]) -> None:
        (layers[1] / "etc/passwd").write_text("joe:x:2:2::/top:\n")
        assert self.who(layers, "joe") == Identity(2, 2, (5,), "/top", "joe")

    def test_a_deleted_file_is_gone(self, layers: tuple[Path, Path]) -> None:
        os.mknod(layers[1] / "etc/passwd", 0o20000, 0)
        with pytest.raises(InvalidArgument):
            self.who(layers, "joe")
        assert self.who(layers, "1:joes").gid == 5

    def test_an_opaque_directory_hides_the_files_below(self, layers: tuple[Path, Path]) -> None:
        os.setxattr(layers[1] / "etc", "user.overlay.opaque", b"y")
        assert self.who(layers, "1").home == "/"

    def test_links_are_followed_across_layers(self, layers: tuple[Path, Path]) -> None:
        (layers[1] / "lib").mkdir()
        (layers[1] / "lib/passwd").write_text("joe:x:3:3::/lib:\n")
        (layers[0] / "etc/passwd").unlink()
        (layers[0] / "etc/passwd").symlink_to("../../usr/./passwd")
        (layers[0] / "usr").symlink_to("/lib")
        assert self.who(layers, "joe").home == "/lib"

    def test_a_loop_of_links_is_an_error(self, layers: tuple[Path, Path]) -> None:
        (layers[1] / "etc/passwd").symlink_to("passwd2")
        (layers[0] / "etc/passwd2").symlink_to("passwd")
        with pytest.raises(KernelError) as caught:
            self.who(layers, "joe")
        assert caught.value.errno == errno.ELOOP


def test_below_a_root(layer: Path) -> None:
    fd = os.open(layer, os.O_PATH)
    assert identify_in("joe", Rooted(fd)).home == "/home/joe"
    os.close(fd)
