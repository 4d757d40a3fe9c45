"""Layers squashed into one: overlays of both show the same."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pycontainer.kernel.layers import Namespace
from pycontainer.kernel.overlay import OverlayMount
from pycontainer.kernel.squash import squash
from pycontainer.kernel.tree import remove_tree

NAMESPACE: Namespace = "trusted" if os.geteuid() == 0 else "user"
NAMES = ["a", "b", "c"]


def picture(root: str) -> dict[str, tuple[object, ...]]:
    """All that can be seen below a directory."""
    found = {}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content = Path(path).read_bytes() if stat.S_ISREG(status.st_mode) else b""
            found[os.path.relpath(path, root)] = (
                stat.S_IFMT(status.st_mode),
                stat.S_IMODE(status.st_mode),
                content,
            )
    return found


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["file", "directory", "remove", "mode"]),
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join),
    ),
    max_size=8,
)


def act(root: str, actions: list[tuple[str, str]], mark: str) -> None:
    for number, (what, path) in enumerate(actions):
        parent = os.path.join(root, os.path.dirname(path))
        target = os.path.join(root, path)
        if not os.path.isdir(parent):
            continue
        if what == "remove":
            if os.path.lexists(target):
                fd = os.open(parent, os.O_RDONLY)
                remove_tree(fd, os.path.basename(path))
                os.close(fd)
        elif what == "directory":
            if not os.path.lexists(target):
                os.mkdir(target)
        elif what == "mode":
            if os.path.lexists(target):
                os.chmod(target, 0o700 + number)
        elif not os.path.isdir(target):
            Path(target).write_text(f"{mark} {number}")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(layers=st.lists(ACTIONS, min_size=3, max_size=5))
@example(layers=[[], [("directory", "a"), ("file", "a/b")], [("remove", "a/b")]])  # a whiteout of nothing
def test_an_overlay_of_it_shows_the_same(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[tuple[str, str]]]
) -> None:
    top = tmp_path_factory.mktemp("squash")
    made: list[str] = []
    for number, actions in enumerate(layers):
        upper, work = top / f"upper{number}", top / f"work{number}"
        for path in (upper, work):
            path.mkdir()
        if not made:
            act(str(upper), actions, f"layer {number}")
        else:
            with OverlayMount(lower=made[::-1], upper=upper, work=work) as mount:
                act(mount.path, actions, f"layer {number}")
        made.append(str(upper))
    together = top / "together"
    together.mkdir()
    fd = os.open(together, os.O_RDONLY | os.O_DIRECTORY)
    try:
        squash(made[1:], fd, NAMESPACE)
    finally:
        os.close(fd)
    with OverlayMount(lower=made[::-1]) as before, OverlayMount(lower=[together, made[0]]) as after:
        assert picture(after.path) == picture(before.path)


def test_files_are_shared_and_not_copied(tmp_path: Path) -> None:
    for name in ("one", "two", "both"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "file").write_text("x")
    os.link(tmp_path / "one" / "file", tmp_path / "one" / "same")
    os.symlink("file", tmp_path / "two" / "link")
    os.mkfifo(tmp_path / "two" / "fifo")
    fd = os.open(tmp_path / "both", os.O_RDONLY | os.O_DIRECTORY)
    try:
        squash([str(tmp_path / "one"), str(tmp_path / "two")], fd, NAMESPACE)
    finally:
        os.close(fd)
    assert sorted(os.listdir(tmp_path / "both")) == ["fifo", "file", "link", "same"]
    assert (tmp_path / "both" / "same").samefile(tmp_path / "one" / "file")
