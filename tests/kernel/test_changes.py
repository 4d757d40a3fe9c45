"""What overlay_changes tells of real overlays, and of upper directories made by hand."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from pycontainer.errors import KernelError, NotSupported
from pycontainer.kernel.changes import Change, overlay_changes
from pycontainer.kernel.layers import Lowers, Marks
from pycontainer.kernel.tree import remove_tree
from tests.support.overlay import mounted

Changes: TypeAlias = list[tuple[str, str]]


def plain(changes: list[Change]) -> Changes:
    return [(change.kind, change.path) for change in changes]


def fill(lower: Path) -> None:
    for name in ("etc/conf.d", "home/user", "var/lib/app/data"):
        (lower / name).mkdir(parents=True)
    for name in (
        "etc/passwd",
        "etc/hosts",
        "etc/conf.d/a",
        "etc/conf.d/b",
        "var/lib/app/data/x",
        "home/user/f",
    ):
        (lower / name).write_text(name)
    (lower / "etc/link").symlink_to("hosts")


class TestOnARealOverlay:
    """In a user namespace (`userxattr`), and as root in the host's (`trusted.overlay.*`)."""

    @pytest.fixture(
        params=[
            pytest.param("user", marks=pytest.mark.needs("userns", "overlay")),
            pytest.param("trusted", marks=pytest.mark.needs("root", "overlay")),
        ]
    )
    def after(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Changes]]:
        """Runs a script at the root of an overlay; what it changed."""
        fill(tmp_path / "lower")
        with mounted(tmp_path, base=None, trusted=request.param == "trusted") as overlay:

            def run(script: str) -> Changes:
                overlay.run(script)
                upper = os.open(overlay.upper, os.O_RDONLY)
                try:
                    return plain(overlay_changes(upper, [overlay.lower], namespace=request.param))
                finally:
                    os.close(upper)

            yield run

    def test_nothing(self, after: Callable[[str], Changes]) -> None:
        assert after("true") == []

    def test_added_with_content(self, after: Callable[[str], Changes]) -> None:
        assert after(
            "mkdir -p new/sub && echo > new/sub/f && ln -s f new/sub/l && echo > etc/x && mkfifo etc/p"
        ) == [
            ("added", "/etc/p"),
            ("added", "/etc/x"),
            ("added", "/new"),
            ("added", "/new/sub"),
            ("added", "/new/sub/f"),
            ("added", "/new/sub/l"),
        ]

    def test_modified(self, after: Callable[[str], Changes]) -> None:
        script = "echo more >> etc/passwd && printf etc/hostz > etc/hosts && ln -sf other etc/link"
        assert after(script) == [
            ("modified", "/etc/hosts"),
            ("modified", "/etc/link"),
            ("modified", "/etc/passwd"),
        ]

    def test_content_counts_even_with_the_old_time(self, after: Callable[[str], Changes]) -> None:
        script = "touch -r etc/hosts /tmp/$$ && printf etc/hostz > etc/hosts && touch -r /tmp/$$ etc/hosts; rm /tmp/$$"
        assert after(script) == [("modified", "/etc/hosts")]

    def test_a_file_opened_for_writing_only_is_not_changed(self, after: Callable[[str], Changes]) -> None:
        assert after(": 1<> etc/hosts && test -e etc/hosts") == []

    def test_metadata(self, after: Callable[[str], Changes]) -> None:
        script = "chmod 600 etc/passwd && touch -d 2001-01-01 etc/hosts && chmod 700 var/lib/app"
        assert after(script) == [
            ("metadata", "/etc/hosts"),
            ("metadata", "/etc/passwd"),
            ("metadata", "/var/lib/app"),
        ]

    def test_an_xattr_is_metadata(self, after: Callable[[str], Changes]) -> None:
        program = "import os; os.setxattr('etc/hosts', 'user.note', b'x')"
        assert after(f'python3 -c "{program}"') == [("metadata", "/etc/hosts")]

    def test_deleted_directories_are_told_once(self, after: Callable[[str], Changes]) -> None:
        assert after("rm -r var etc/conf.d/a") == [("deleted", "/etc/conf.d/a"), ("deleted", "/var")]

    def test_added_and_deleted_is_nothing(self, after: Callable[[str], Changes]) -> None:
        assert after("mkdir d && echo > d/f && rm -r d && echo > etc/x && rm etc/x") == []

    def test_a_directory_made_anew_lacks_what_was_in_it(self, after: Callable[[str], Changes]) -> None:
        script = "rm -r etc && mkdir -p etc/conf.d && echo new > etc/conf.d/b && printf etc/hosts > etc/hosts"
        assert after(script) == [
            ("deleted", "/etc/conf.d/a"),
            ("modified", "/etc/conf.d/b"),
            ("metadata", "/etc/hosts"),
            ("deleted", "/etc/link"),
            ("deleted", "/etc/passwd"),
        ]

    def test_deleted_below_a_directory_made_anew(self, after: Callable[[str], Changes]) -> None:
        script = "rm -r var && mkdir -p var/lib && echo > var/lib/f"
        assert after(script) == [("deleted", "/var/lib/app"), ("added", "/var/lib/f")]

    def test_another_type_is_modified(self, after: Callable[[str], Changes]) -> None:
        script = "rm etc/hosts && mkdir etc/hosts && echo > etc/hosts/f && rm -r var && echo > var && rm -r home && ln -s etc home"
        assert after(script) == [
            ("modified", "/etc/hosts"),
            ("added", "/etc/hosts/f"),
            ("modified", "/home"),
            ("modified", "/var"),
        ]

    def test_a_renamed_directory_of_its_own(self, after: Callable[[str], Changes]) -> None:
        assert after("mkdir d && echo > d/f && mv d e && mv e var/lib/app/data") == [
            ("added", "/var/lib/app/data/e"),
            ("added", "/var/lib/app/data/e/f"),
        ]

    def test_names_that_are_no_text(self, after: Callable[[str], Changes]) -> None:
        assert after(r'python3 -c "open(b\"\xff\\n\", \"w\")"') == [("added", "/\udcff\n")]


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    (tmp_path / "upper").mkdir()
    (tmp_path / "lower").mkdir()
    return tmp_path / "upper"


@pytest.fixture
def lower(upper: Path) -> Path:
    return upper.parent / "lower"


def compare(upper: Path, *lowers: Path, base: int = 0, limit: int = 1000) -> Changes:
    fd = os.open(upper, os.O_RDONLY)
    try:
        return plain(overlay_changes(fd, lowers, upper_base=base, limit=limit))
    finally:
        os.close(fd)


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, 0)


class TestLayers:
    """Several lowers, with marks of their own."""

    @pytest.fixture
    def layers(self, tmp_path: Path) -> tuple[Path, Path, Path]:
        """Top, middle, bottom."""
        paths = (tmp_path / "l3", tmp_path / "l2", tmp_path / "l1")
        for path in paths:
            (path / "d").mkdir(parents=True)
        return paths

    def test_the_topmost_counts(self, upper: Path, layers: tuple[Path, Path, Path]) -> None:
        for number, layer in enumerate(layers):
            (layer / "d/f").write_text(str(number))
        (upper / "d").mkdir()
        (upper / "d/f").write_text("0")
        stamp = (layers[0] / "d/f").stat().st_mtime_ns
        os.utime(upper / "d/f", ns=(stamp, stamp))
        assert compare(upper, *layers) == []
        assert compare(upper, *layers[::-1]) == [("modified", "/d/f")]

    def test_what_a_layer_deleted_is_added_anew(self, upper: Path, layers: tuple[Path, Path, Path]) -> None:
        top, middle, bottom = layers
        (bottom / "d/f").write_text("x")
        whiteout(middle / "d/f")
        (upper / "d").mkdir()
        (upper / "d/f").write_text("x")
        assert compare(upper, top, middle, bottom) == [("added", "/d/f")]
        whiteout(top / "d/g")
        (upper / "d/g").write_text("x")
        assert compare(upper, top, middle, bottom) == [("added", "/d/f"), ("added", "/d/g")]

    def test_an_opaque_layer_hides_those_below(self, upper: Path, layers: tuple[Path, Path, Path]) -> None:
        top, middle, bottom = layers
        (bottom / "d/f").write_text("x")
        os.setxattr(middle / "d", "user.overlay.opaque", b"y")
        (upper / "d").mkdir()
        (upper / "d/f").write_text("x")
        assert compare(upper, top, middle, bottom) == [("added", "/d/f")]

    def test_a_file_in_the_way_hides_directories_below(
        self, upper: Path, layers: tuple[Path, Path, Path]
    ) -> None:
        top, middle, bottom = layers
        (bottom / "d/sub").mkdir()
        (bottom / "d/sub/f").write_text("x")
        (middle / "d/sub").write_text("a file")
        (upper / "d/sub").mkdir(parents=True)
        (upper / "d/sub/f").write_text("x")
        assert compare(upper, top, middle, bottom) == [("modified", "/d/sub"), ("added", "/d/sub/f")]
        (top / "d/sub").symlink_to("/d")
        assert compare(upper, top, middle, bottom) == [("modified", "/d/sub"), ("added", "/d/sub/f")]

    def test_opaque_deletes_what_all_layers_show(self, upper: Path, layers: tuple[Path, Path, Path]) -> None:
        top, middle, bottom = layers
        (bottom / "d/a").mkdir()
        (bottom / "d/gone").write_text("x")
        (middle / "d/b").write_text("x")
        whiteout(top / "d/gone")
        (upper / "d").mkdir()
        os.setxattr(upper / "d", "user.overlay.opaque", b"y")
        assert compare(upper, top, middle, bottom) == [("deleted", "/d/a"), ("deleted", "/d/b")]

    def test_lookup_ends_at_every_level(self, layers: tuple[Path, Path, Path]) -> None:
        (layers[2] / "d/f").write_text("x")
        with Lowers([str(layer) for layer in layers], Marks("user")) as lowers:
            lowers.down("d")
            found = lowers.lookup("f")
            assert found is not None
            assert found.status.st_size == 1
            lowers.up()
            assert lowers.lookup("f") is None
            assert lowers.names() == {"d"}

    def test_descriptors_are_borrowed(self, upper: Path, layers: tuple[Path, Path, Path]) -> None:
        (layers[2] / "f").write_text("x")
        whiteout(upper / "f")
        fds = [os.open(layer, os.O_PATH | os.O_DIRECTORY) for layer in layers]
        top = os.open(upper, os.O_PATH | os.O_DIRECTORY)
        assert plain(overlay_changes(top, fds)) == [("deleted", "/f")]
        for fd in (*fds, top):
            os.close(fd)


class TestMarks:
    def test_a_whiteout_of_nothing_is_nothing(self, upper: Path, lower: Path) -> None:
        whiteout(upper / "f")
        assert compare(upper, lower) == []

    def test_a_whiteout_as_xattr_needs_its_directory_to_say_so(self, upper: Path, lower: Path) -> None:
        for name in ("d/f", "e/f", "d/full"):
            (lower / name).parent.mkdir(exist_ok=True)
            (lower / name).write_text("x")
            (upper / name).parent.mkdir(exist_ok=True)
            (upper / name).write_text("")
            os.setxattr(upper / name, "user.overlay.whiteout", b"y")
        (upper / "d/full").write_text("content")
        os.setxattr(upper / "d", "user.overlay.opaque", b"x")
        assert compare(upper, lower) == [("deleted", "/d/f"), ("modified", "/d/full"), ("modified", "/e/f")]

    @pytest.mark.needs("root")
    def test_marks_of_the_other_kind_mean_nothing(self, upper: Path, lower: Path) -> None:
        for name in ("a", "b"):
            (lower / name).mkdir()
            (lower / name / "f").write_text("x")
            (upper / name).mkdir()
        os.setxattr(upper / "a", "user.overlay.opaque", b"y")
        os.setxattr(upper / "b", "trusted.overlay.opaque", b"y")
        fd = os.open(upper, os.O_RDONLY)
        assert plain(overlay_changes(fd, [lower])) == [("deleted", "/a/f")]
        assert plain(overlay_changes(fd, [lower], namespace="trusted")) == [("deleted", "/b/f")]
        os.close(fd)

    @pytest.mark.parametrize(("name", "mark"), [("d", "redirect"), ("d/f", "metacopy")])
    def test_what_cannot_be_read_right_is_refused(
        self, upper: Path, lower: Path, name: str, mark: str
    ) -> None:
        for top in (upper, lower):
            (top / "d").mkdir()
            (top / "d/f").write_text("x")
        os.setxattr(upper / name, f"user.overlay.{mark}", b"/other")
        with pytest.raises(NotSupported, match=mark):
            compare(upper, lower)


class TestBounds:
    def test_too_many_changes(self, upper: Path, lower: Path) -> None:
        for number in range(11):
            (upper / str(number)).touch()
        with pytest.raises(KernelError, match="limit=10") as caught:
            compare(upper, lower, limit=10)
        assert caught.value.errno == errno.EFBIG

    def test_a_deep_tree_is_told_as_far_as_paths_reach(self, upper: Path, lower: Path) -> None:
        fd = os.open(upper, os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("d", dir_fd=fd)
            below = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(fd)
        try:
            changes = compare(upper, lower, limit=100_000)
        finally:
            fd = os.open(upper, os.O_RDONLY)
            remove_tree(fd, "d")
            os.close(fd)
        assert len(changes) == 2047
        assert max(len(path) for _, path in changes) == 4094

    def test_a_large_sparse_file_is_not_read(self, upper: Path, lower: Path) -> None:
        (lower / "f").write_text("x")
        (upper / "f").touch()
        os.truncate(upper / "f", 1 << 42)
        assert compare(upper, lower) == [("modified", "/f")]

    def test_a_lower_that_is_absent_is_an_error(self, upper: Path) -> None:
        (upper / "f").touch()
        with pytest.raises(KernelError, match="compare with the layers below") as caught:
            compare(upper, upper / "nothing")
        assert caught.value.errno == errno.ENOENT


@pytest.mark.needs("root")
class TestOwners:
    def same(self, upper: Path, lower: Path) -> None:
        for top in (upper, lower):
            (top / "f").write_text("x")
            os.utime(top / "f", ns=(0, 0))

    def test_ids_are_compared_without_their_base(self, upper: Path, lower: Path) -> None:
        self.same(upper, lower)
        os.chown(upper / "f", 100_005, 100_006)
        os.chown(lower / "f", 5, 6)
        assert compare(upper, lower, base=100_000) == []
        assert compare(upper, lower) == [("metadata", "/f")]
        os.chown(upper / "f", 100_006, 100_006)
        assert compare(upper, lower, base=100_000) == [("metadata", "/f")]

    def test_file_capabilities_are_compared_without_their_namespace(self, upper: Path, lower: Path) -> None:
        self.same(upper, lower)
        words = (1 << 10, 0, 0, 0)
        os.setxattr(lower / "f", "security.capability", struct.pack("<5I", 0x02000001, *words))
        assert compare(upper, lower) == [("metadata", "/f")]
        os.setxattr(upper / "f", "security.capability", struct.pack("<6I", 0x03000001, *words, 100_000))
        assert compare(upper, lower) == []

    def test_access_lists_are_compared_without_their_base(self, upper: Path, lower: Path) -> None:
        self.same(upper, lower)
        for top, base in ((upper, 100_000), (lower, 0)):
            entries = [
                (1, 6, 0xFFFFFFFF),
                (2, 4, base + 7),
                (4, 4, 0xFFFFFFFF),
                (0x10, 4, 0xFFFFFFFF),
                (0x20, 0, 0xFFFFFFFF),
            ]
            acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
            os.chown(top / "f", base, base)
            os.setxattr(top / "f", "system.posix_acl_access", acl)
        assert compare(upper, lower, base=100_000) == []
        assert compare(upper, lower) == [("metadata", "/f")]


@pytest.mark.needs("user")
def test_what_may_not_be_read_is_an_error(upper: Path, lower: Path) -> None:
    for top in (upper, lower):
        (top / "f").write_text("x")
    (upper / "f").chmod(0)
    with pytest.raises(KernelError) as caught:
        compare(upper, lower)
    assert caught.value.errno == errno.EACCES
