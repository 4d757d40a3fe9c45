"""Paths of a container: whatever they are and whatever lies there, nothing beyond its root is read or changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pycontainer.errors import InvalidArgument, KernelError
from pycontainer.kernel.rooted import Rooted
from pycontainer.kernel.transfer import copy_in, copy_out
from tests.fuzz.guard import Outside, guarded, holds_secret, scratch

#: Stands for the path of what lies outside.
OUTSIDE = "@"
NAMES = st.sampled_from(
    ["a", "b", "c", ".", "..", "", "l", "m", "outside", "file", "n" * 256, "\udcff", "\0", "\ud800"]
)
#: Deeper than a path may be long; each is thousands of directories, so they are few.
DEEP = st.integers(0, 60).map(lambda chance: "a/" * 2500 if chance == 60 else "a/b")
PATHS = st.one_of(
    st.lists(NAMES, max_size=5).map("/".join),
    st.lists(NAMES, max_size=5).map(lambda names: "/" + "/".join(names)),
    st.sampled_from(
        [
            "../outside/file",
            "/proc/self/root",
            "/proc/self/cwd/../outside/file",
            OUTSIDE,
            OUTSIDE + "/file",
            "../../" * 40 + "etc/passwd",
        ]
    ),
    st.text(max_size=6),
    DEEP,
)
#: What the container has made: kind, where, and where to a link leads.
PLANTED = st.lists(
    st.tuples(
        st.sampled_from(["directory", "file", "symlink", "symlink", "fifo", "shut"]),
        st.lists(st.sampled_from(["a", "b", "c", "l", "m"]), min_size=1, max_size=3).map("/".join),
        st.one_of(
            PATHS,
            st.sampled_from(
                [
                    "..",
                    "../..",
                    "/",
                    ".",
                    OUTSIDE,
                    OUTSIDE + "/file",
                    "../outside",
                    "l",
                    "/m",
                    "/proc/self/root",
                ]
            ),
        ),
    ),
    max_size=8,
)
IDS = st.sampled_from([0, 1, 65534, 2**31, 2**32 - 2])
VERBS: dict[str, Callable[..., Any]] = {
    "read": lambda rooted, path, _: rooted.read_bytes(path, limit=1 << 16),
    "write": lambda rooted, path, other: rooted.write_bytes(path, other.encode(errors="replace")),
    "stat": lambda rooted, path, other: rooted.stat(path, follow=len(other) % 2 == 0),
    "list": lambda rooted, path, _: rooted.listdir(path, limit=100),
    "readlink": lambda rooted, path, _: rooted.readlink(path),
    "mkdirs": lambda rooted, path, _: rooted.mkdirs(path),
    "symlink": lambda rooted, path, other: rooted.symlink(other, path),
    "chmod": lambda rooted, path, other: rooted.chmod(path, len(other) % 0o1000),
    "chown": lambda rooted, path, other: rooted.chown(
        path, len(other), len(other), follow=len(other) % 2 == 0
    ),
    "remove": lambda rooted, path, _: rooted.remove(path),
    "open": lambda rooted, path, _: rooted.open(path, os.O_RDWR | os.O_TRUNC | os.O_CREAT).close(),
    "locate": lambda rooted, path, other: rooted.locate(path, follow=len(other) % 2 == 0)[0].close(),
}


def plant(root: Path, outside: Outside, planted: list[tuple[str, str, str]]) -> None:
    for kind, name, target in planted:
        place = root / name
        try:
            if os.path.lexists(place) or not place.parent.resolve().is_relative_to(root):
                continue  # this hand must not go out, either
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind in {"directory", "shut"}:
                place.mkdir(mode=0o700 if kind == "directory" else 0)
            elif kind == "file":
                place.write_bytes(b"inside")
            elif kind == "fifo":
                os.mkfifo(place)
            elif kind == "symlink":
                place.symlink_to(target.replace(OUTSIDE, str(outside.place)))
        except (OSError, ValueError, RuntimeError):
            continue


@given(
    planted=PLANTED,
    calls=st.lists(st.tuples(st.sampled_from(sorted(VERBS)), PATHS, PATHS), min_size=1, max_size=5),
)
@example(planted=[], calls=[("read", "\ud800", "")])
@example(planted=[], calls=[("symlink", "a", "\0")])
def test_nothing_outside_is_read_or_changed(
    planted: list[tuple[str, str, str]], calls: list[tuple[str, str, str]]
) -> None:
    with scratch() as (root, outside):
        plant(root, outside, planted)
        fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
        try:
            rooted = Rooted(fd)
            for verb, *paths in calls:
                path, other = (each.replace(OUTSIDE, str(outside.place)) for each in paths)
                with guarded(KernelError, InvalidArgument):
                    got = VERBS[verb](rooted, path, other)
                    assert not (isinstance(got, bytes) and outside.SECRET in got)
                    assert not (verb == "list" and "inner" in got)
                outside.check()
        finally:
            os.close(fd)


@given(planted=PLANTED, path=PATHS, inward=st.booleans())
@example(planted=[], path="\ud800", inward=True)
@example(planted=[], path="a\0", inward=False)
def test_copies_stay_on_their_side(planted: list[tuple[str, str, str]], path: str, inward: bool) -> None:
    with scratch() as (root, outside):
        plant(root, outside, planted)
        given_ = root.parent / "outside" / "directory"
        fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
        try:
            path = path.replace(OUTSIDE, str(outside.place))
            with guarded(KernelError, InvalidArgument):
                if inward:
                    copy_in(Rooted(fd), given_, path)
                else:
                    (root / "a-new-place").mkdir()
                    copy_out(Rooted(fd), path, root / "a-new-place")
            assert inward or not holds_secret(root)
        finally:
            os.close(fd)
