"""Files copied in and out while a program inside exchanges directories and links: nothing outside is touched."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.kernel.rooted import Rooted
from pycontainer.kernel.transfer import copy_out

ROUNDS = [pytest.param(300, id="300"), pytest.param(10_000, id="10000", marks=pytest.mark.slow)]


@pytest.fixture
def outside(tmp_path):
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret").write_bytes(b"of the host")
    yield place
    assert sorted(os.listdir(place)) == ["secret"]
    assert (place / "secret").read_bytes() == b"of the host"


@pytest.fixture
def swapping(probe, outside):
    """A container in which /work/here is now a directory, now a link to a directory of the host, all the time."""
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts) as container:
        container.start()
        script = f"mkdir -p /work/here; echo inside > /work/here/secret; ln -s {outside} /work/away"
        assert container.exec(["sh", "-c", script]).exit_code == 0
        command = ["/probe", "swap", "/work/here", "/work/away"]
        with container.popen(command, stdin=pc.PIPE, stdout=pc.PIPE, text=True) as swapper:
            assert swapper.stdout.readline() == "ready\n"
            yield container
            swapper.stdin.close()
            # How often is up to the machine; that both were met, `tried` sees to.
            assert int(swapper.stdout.read()) > 10


def tried(rounds: int, attempt) -> None:
    """Attempt so often, and until both were met: the directory, and the link, which leads nowhere inside."""
    done = refused = 0
    deadline = time.monotonic() + (300 if rounds > 1000 else 60)
    while done + refused < rounds or not done or not refused:
        try:
            attempt(done + refused)
            done += 1
        except pc.PyContainerError:
            refused += 1
        assert time.monotonic() < deadline, (done, refused)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_reading(swapping, rounds):
    def attempt(_: int) -> None:
        assert swapping.read_bytes("/work/here/secret") == b"inside\n"

    tried(rounds, attempt)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_writing(swapping, rounds):
    tried(rounds, lambda _: swapping.write_bytes("/work/here/new", b"x"))


@pytest.mark.parametrize("rounds", ROUNDS)
def test_copying_in(swapping, tmp_path, rounds):
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").write_bytes(b"1")
    (tree / "link").symlink_to("deep")
    targets = ("/work/here/", "/work/here/new", "/work/here", "/work/here/.", "/work")
    tried(rounds, lambda number: swapping.put(tree, targets[number % len(targets)]))


@pytest.mark.parametrize("rounds", ROUNDS)
def test_copying_out(swapping, tmp_path, rounds):
    place = tmp_path / "place"
    place.mkdir()

    def attempt(number: int) -> None:
        # A new name each time: one that was a link before is the caller's own link, and followed.
        swapping.get(
            ("/work/here/secret", "/work/here/.", "/work/here", "/work")[number % 4], place / str(number)
        )

    tried(rounds, attempt)
    for path in place.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert path.read_bytes() == b"inside\n", path


def test_the_swapper_leads_who_goes_by_paths_outside(probe, tmp_path):
    """Unconfined, and with plain paths, the same program makes the host read and write the canary."""
    place, away = tmp_path / "here", tmp_path / "real"
    place.mkdir()
    away.mkdir()
    (place / "secret").write_bytes(b"inside\n")
    (away / "secret").write_bytes(b"of the host")
    link = tmp_path / "away"
    link.symlink_to(away)
    swapper = subprocess.Popen([probe, "swap", place, link], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert swapper.stdout.readline() == b"ready\n"
        read: set[bytes] = set()
        deadline = time.monotonic() + 60
        while len(read) < 2 and time.monotonic() < deadline:
            read.add((tmp_path / "here" / "secret").read_bytes())
    finally:
        swapper.communicate()
    assert read == {b"inside\n", b"of the host"}


def test_what_comes_out_is_written_where_it_was_asked_for(probe, tmp_path, outside):
    """A tree whose names are links to the host's directories, over one copied before with other kinds."""
    place = tmp_path / "place"
    with pc.Container.create("host:", ["sleep", "100"]) as container:
        container.start()
        container.exec(
            [
                "sh",
                "-c",
                f"mkdir /t; ln -s {outside} /t/x; ln -s {outside}/secret /t/y; ln -s ../outside /t/z",
            ]
        )
        container.get("/t", place)
        script = "rm /t/*; mkdir /t/x; echo evil > /t/x/secret; echo evil > /t/y; mkdir /t/z; echo evil > /t/z/secret"
        container.exec(["sh", "-c", script])
        with pytest.raises(pc.KernelError):
            container.get("/t/.", place)
        with pytest.raises(pc.KernelError):
            container.get("/t/x", place)
        container.get("/t/y", place)
        assert (place / "y").read_bytes() == b"evil\n"
        assert not (place / "y").is_symlink()


@pytest.mark.parametrize("name", ["fifo", "socket", "device", "loop", "huge"])
def test_what_is_no_file_does_not_hang_a_copy(tmp_path, name):
    make = {
        "fifo": "mkfifo /f", "socket": "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('/f')\"",
        "device": "ln -s /dev/zero /f", "loop": "ln -s f /f", "huge": "truncate -s 1T /f",
    }[name]  # fmt: skip
    with pc.Container.create("host:", ["sleep", "100"]) as container:
        container.start()
        assert container.exec(["sh", "-c", make]).exit_code == 0
        started = time.monotonic()
        with pytest.raises(pc.PyContainerError):
            container.read_bytes("/f")
        if name in {"fifo", "socket", "huge"}:
            with pytest.raises(pc.PyContainerError):
                container.get("/f", tmp_path / "f")
        assert time.monotonic() - started < 10
    assert os.listdir(tmp_path) == []


def test_a_tree_that_is_written_to_without_end_is_bounded(tmp_path):
    with pc.Container.create("host:", ["sleep", "100"]) as container:
        container.start()
        container.exec(
            ["sh", "-c", "mkdir /t; head -c 4000000 /dev/zero > /t/a; head -c 4000000 /dev/zero > /t/b"]
        )
        root = Rooted(container.alive("reach files").root)
        with pytest.raises(pc.KernelError):
            copy_out(root, "/t", tmp_path / "t", limit=5_000_000)


def test_a_deep_tree_is_removed(probe):
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    container = pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts)
    try:
        container.start()
        container.exec(["sh", "-c", "mkdir /root/deep /root/odd"])
        assert container.exec(["/probe", "deep", "/root/deep", "5000"], timeout=120).exit_code == 0
        assert container.exec(["/probe", "bigdir", "/root/odd", "500"], timeout=120).exit_code == 0
        container.exec(["sh", "-c", "chmod 000 /root; chattr +i /root/odd 2>/dev/null"])
        container.kill()
    finally:
        container.remove(force=True)
    assert container.status == "removed"
    run = Path(os.environ["PYCONTAINER_ROOT"], "run")
    assert not [path for path in run.glob("*/*") if path.name == container.id[:12]]


def test_a_deep_tree_of_one_run_is_no_trouble(probe):
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    result = pc.run("host:", ["/probe", "deep", "/root", "3000"], mounts=mounts, timeout=120)
    assert result.exit_code == 0
    # Down to where no path can name it.
    assert len(result.changes()) >= 2000


def test_paths_that_are_none(tmp_path):
    with pc.Container.create("host:", ["sleep", "100"]) as container:
        container.start()
        for path in (
            "",
            "a\0b",
            "/",
            "..",
            "/..",
            ".",
            "/" + "x" * 300,
            "/" + "d/" * 3000,
            "/proc/1/mem",
            "/proc/self/mem",
            "/dev/zero",
        ):
            with pytest.raises(pc.PyContainerError):
                container.write_bytes(path, b"")
            if path not in {"/proc/1/mem"}:
                with pytest.raises(pc.PyContainerError):
                    container.read_bytes(path)
        with pytest.raises((pc.PyContainerError, OSError)):
            container.put(tmp_path / "absent", "/tmp")
        with pytest.raises(pc.PyContainerError):
            container.get("/absent", tmp_path)
