"""Paths that lead somewhere else a moment later: exchanged for a link to the host as fast as a program can.

Either a program of the container exchanges, or one on the host that may write to what is mounted, to an image or to a
writable layer.  Each attempt must do its work inside, or be refused; the canaries of the host stay as they were.
Reading, writing and copying whole trees are in tests/e2e/test_hostile_files.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.engine import default_engine
from pycontainer.kernel.program import FOLDER
from tests.support.native import Program
from tests.support.trees import state

ROUNDS = pytest.mark.parametrize(
    "rounds", [pytest.param(300, id="300"), pytest.param(10_000, id="10000", marks=pytest.mark.exhaustive)]
)
#: Seconds for an attempt, at the most: some machines are emulated.
PATIENCE = 0.2


@pytest.fixture
def outside(tmp_path) -> Iterator[Path]:
    """A directory of the host with canaries, which must be as they were in the end."""
    place = tmp_path / "outside"
    (place / "sub").mkdir(parents=True)
    (place / "secret").write_text("of the host")
    (place / "sub" / "secret").write_text("of the host")
    (place / "only-here").mkdir()
    (place / "passwd").write_text("somebody:x:4242:4242::/:/bin/sh\n")
    before = state(place)
    yield place
    assert state(place) == before


@contextmanager
def swapping(probe: Path, one: Path, other: Path) -> Iterator[Callable[[], None]]:
    """Exchange two names from the host until the end; the function given starts it."""
    process: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        process.append(
            subprocess.Popen([probe, "swap", one, other], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        assert process[0].stdout is not None
        assert process[0].stdout.readline() == b"ready\n"

    try:
        yield begin
    finally:
        for each in process:
            said = each.communicate()[0]
    assert int(said) > 0  # how often; that attempts met both is counted by them


def tried(name: str, rounds: int, attempt: Callable[[int], object], *, both: bool = True) -> None:
    """Attempt so often, and until both were met: what leads inside, and what leads nowhere."""
    done = refused = 0
    deadline = time.monotonic() + 60 + PATIENCE * rounds
    while done + refused < rounds or (both and (not done or not refused)):
        try:
            attempt(done + refused)
            done += 1
        except pc.PyContainerError as error:
            assert "Traceback" not in str(error)
            refused += 1
        assert time.monotonic() < deadline, (done, refused)
    # Shown by pytest -rP.
    print(f"{name}: {done + refused} rounds, {done} done, {refused} refused, 0 escapes")  # noqa: T201


@pytest.fixture
def rootfs(tmp_path, probe, outside) -> Path:
    """An image's directory in which /work/here is a directory and /work/away a link to the host's."""
    place = tmp_path / "rootfs"
    (place / "work" / "here" / "sub").mkdir(parents=True)
    (place / "work" / "away").symlink_to(outside)
    shutil.copy(probe, place / "probe")
    return place


# -- from inside -----------------------------------------------------------------------------------


@contextmanager
def swapped_inside(probe: Path, away: str, **options: object) -> Iterator[pc.Container]:
    """A container in which /work/here is now a directory, now a link to ``away``, all the time."""
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts, **options) as container:
        container.start()
        script = f"mkdir -p /work/here/sub; echo inside | tee /work/here/secret > /work/here/sub/secret; ln -s {away} /work/away"
        container.exec(["sh", "-c", script], check=True)
        command = ["/probe", "swap", "/work/here", "/work/away"]
        with container.popen(command, stdin=pc.PIPE, stdout=pc.PIPE, text=True) as swapper:
            assert swapper.stdout.readline() == "ready\n"
            yield container
            swapper.stdin.close()
            assert int(swapper.stdout.read()) > 0


@ROUNDS
@pytest.mark.parametrize("way", ["path", "descriptor"])
def test_the_working_directory_of_an_exec(probe, outside, rounds, way):
    """A link to /proc/self/fd/N leads who enters to what the host has open there."""
    held = os.open(outside, os.O_RDONLY | os.O_DIRECTORY)
    os.dup2(held, 900)
    try:
        with swapped_inside(probe, str(outside) if way == "path" else "/proc/self/fd/900") as container:

            def attempt(number: int) -> None:
                workdir = ("/work/here", "/work/here/sub")[number % 2]
                result = container.exec(["/probe", "show", "secret"], workdir=workdir, text=True, timeout=30)
                assert result.stdout in {"inside\n", ""}, result

            tried(f"exec workdir, link by {way}", rounds, attempt)
    finally:
        os.close(held)
        os.close(900)


@ROUNDS
def test_files_that_are_links_the_next_moment(probe, outside, tmp_path, rounds):
    """Not a directory on the way, but the last name."""
    back = tmp_path / "back"
    back.mkdir()
    new = tmp_path / "new"
    new.write_text("written")
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts) as container:
        container.start()
        container.exec(
            ["sh", "-c", f"mkdir /work; echo inside > /work/file; ln -s {outside}/secret /work/link"],
            check=True,
        )
        command = ["/probe", "swap", "/work/file", "/work/link"]
        with container.popen(command, stdin=pc.PIPE, stdout=pc.PIPE, text=True) as swapper:
            assert swapper.stdout.readline() == "ready\n"

            def attempt(number: int) -> None:
                if number % 4 == 0:
                    assert container.read_bytes("/work/file") in {b"inside\n", b"written"}
                elif number % 4 == 1:
                    container.write_bytes("/work/link", b"written")
                elif number % 4 == 2:
                    container.put(new, "/work/link")
                else:
                    container.get("/work/file", back / str(number))

            tried("the last name of read, write, put, get", rounds, attempt)
            swapper.stdin.close()
            assert int(swapper.stdout.read()) > 0
    for path in back.iterdir():
        assert path.is_symlink() or path.read_bytes() in {b"inside\n", b"written"}


@ROUNDS
def test_accounts(probe, outside, rounds):
    """Who a program runs as is read in the container, by the host."""
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts) as container:
        container.start()
        script = f"echo somebody:x:1000:1000::/:/bin/sh > /etc/passwd; ln -s {outside}/passwd /etc/link"
        container.exec(["sh", "-c", script], check=True)
        command = ["/probe", "swap", "/etc/passwd", "/etc/link"]
        with container.popen(command, stdin=pc.PIPE, stdout=pc.PIPE, text=True) as swapper:
            assert swapper.stdout.readline() == "ready\n"

            def attempt(_: int) -> None:
                result = container.exec(["/probe", "report"], user="somebody", text=True, timeout=30)
                assert "uid=1000\ngid=1000\n" in result.stdout

            tried("accounts of an exec", rounds, attempt)
            swapper.stdin.close()
            swapper.stdout.read()


@ROUNDS
def test_what_is_told_to_have_changed(probe, outside, rounds):
    """The writable layer is walked on the host while the program exchanges what is in it."""
    known = {
        "/work",
        "/work/here",
        "/work/away",
        "/work/here/secret",
        "/work/here/sub",
        "/work/here/sub/secret",
    }
    known |= {path.replace("here", "away", 1) for path in known} | {"/probe"}
    with swapped_inside(probe, str(outside)) as container:

        def attempt(_: int) -> None:
            told = {
                change.path for change in container.changes() if change.path.startswith(("/work", "/var"))
            }
            assert told <= known, told - known

        tried("changes", rounds, attempt, both=False)


# -- while a container is set up -------------------------------------------------------------------


@ROUNDS
@pytest.mark.parametrize("kind", ["directory", "file", "memory"])
def test_the_target_of_a_mount_in_an_image(probe, rootfs, outside, tmp_path, rounds, kind):
    source = tmp_path / "source"
    source.mkdir()
    (source / "given").write_text("given")
    mount = {
        "directory": pc.Bind(source, "/work/here/new/deep"), "file": pc.Bind(source / "given", "/work/here/new/file"),
        "memory": pc.Tmpfs("/work/here/new/tmp"),
    }[kind]  # fmt: skip
    image = pc.Image.from_rootfs(rootfs)
    with swapping(probe, rootfs / "work" / "here", rootfs / "work" / "away") as begin:
        begin()

        def attempt(_: int) -> None:
            assert pc.run(image, ["/probe", "idle"], mounts=[mount], changes=False, timeout=30).exit_code == 0

        tried(f"mount target in an image, {kind}", rounds, attempt)
    assert os.listdir(source) == ["given"]


@ROUNDS
def test_the_target_of_a_mount_in_a_writable_layer(probe, rootfs, outside, tmp_path, rounds):
    (tmp_path / "source").mkdir()
    image = pc.Image.from_rootfs(rootfs)
    mounts = [pc.Bind(tmp_path / "source", "/here/new/deep")]
    with pc.Container.create(image, ["/probe", "sleep"], mounts=mounts) as container:
        upper = Path(os.environ["PYCONTAINER_ROOT"], "run")
        upper = next(upper.glob(f"*/{container.id[:12]}")) / "upper"
        (upper / "here").mkdir(parents=True)
        (upper / "away").symlink_to(outside)
        with swapping(probe, upper / "here", upper / "away") as begin:
            begin()

            def attempt(_: int) -> None:
                container.start()
                container.kill()

            tried("mount target in a writable layer", rounds, attempt)
    assert os.listdir(tmp_path / "source") == []


@ROUNDS
def test_the_target_of_a_mount_in_a_directory_that_others_write_to(probe, outside, tmp_path, rounds):
    """Two containers share a directory; one exchanges in it what the other's mount is to lie in."""
    shared, source = tmp_path / "shared", tmp_path / "source"
    (shared / "here").mkdir(parents=True)
    source.mkdir()
    (shared / "away").symlink_to(outside)
    tools = [pc.Bind(probe, "/probe", read_only=True), pc.Bind(shared, "/shared")]
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=tools) as hostile:
        hostile.start()
        command = ["/probe", "swap", "/shared/here", "/shared/away"]
        with hostile.popen(command, stdin=pc.PIPE, stdout=pc.PIPE, text=True) as swapper:
            assert swapper.stdout.readline() == "ready\n"
            mounts = [*tools, pc.Bind(source, "/shared/here/new/deep")]

            def attempt(_: int) -> None:
                assert pc.run("host:", ["/probe", "idle"], mounts=mounts, changes=False).exit_code == 0

            tried("mount target in a shared directory", rounds, attempt)
            swapper.stdin.close()
            assert int(swapper.stdout.read()) > 0
    assert os.listdir(source) == []


@ROUNDS
def test_the_source_of_a_mount(probe, outside, tmp_path, rounds):
    """What was looked at when the container was described is mounted, or nothing."""
    place = tmp_path / "place"
    (place / "here" / "sub").mkdir(parents=True)
    (place / "here" / "sub" / "secret").write_text("inside")
    (place / "away").symlink_to(outside)
    mounts = [pc.Bind(probe, "/probe", read_only=True), pc.Bind(place / "here" / "sub", "/data")]
    with pc.Container.create("host:", ["/probe", "show", "/data/secret"], mounts=mounts) as container:
        with swapping(probe, place / "here", place / "away") as begin:
            begin()

            def attempt(_: int) -> None:
                reading, writing = os.pipe()
                with open(reading, "rb") as output:
                    try:
                        container.start(stdout=writing)
                    finally:
                        os.close(writing)
                    assert output.read() == b"inside"
                assert container.wait(30) == 0

            tried("mount source", rounds, attempt)


@ROUNDS
def test_a_source_that_may_only_be_read_is_not_written_wherever_it_leads(probe, outside, tmp_path, rounds):
    """Described anew each time, so that a link may be followed: the permission is that of what is mounted."""
    place = tmp_path / "place"
    (place / "here").mkdir(parents=True)
    (place / "here" / "secret").write_text("inside")
    (place / "away").symlink_to(outside)
    mounts = [pc.Bind(probe, "/probe", read_only=True), pc.Bind(place / "here", "/data", read_only=True)]
    with swapping(probe, place / "here", place / "away") as begin:
        begin()

        def attempt(_: int) -> None:
            result = pc.run("host:", ["/probe", "sysctls", "/data"], text=True, mounts=mounts, changes=False)
            assert result.stdout.splitlines()[-1] == "succeeded 0"

        tried("mount source to be read only", rounds, attempt)
    assert (place / "here" / "secret").read_text() == "inside"


@ROUNDS
def test_a_working_directory_that_is_made(probe, rootfs, outside, rounds):
    image = pc.Image.from_rootfs(rootfs)
    with swapping(probe, rootfs / "work" / "here", rootfs / "work" / "away") as begin:
        begin()

        def attempt(number: int) -> None:
            workdir = f"/work/here/new/{number % 7}"
            said = pc.run(image, ["/probe", "report"], workdir=workdir, text=True, changes=False).stdout
            assert f"cwd={workdir}\n" in said or f"cwd=/work/away/new/{number % 7}\n" in said

        tried("working directory that is made", rounds, attempt)


# -- while a container is removed ------------------------------------------------------------------


def plant(folder: Path, outside: Path) -> None:
    """A tree in which a directory with a file is exchanged for a link all the time."""
    for path in (folder / "upper" / "a" / "here", folder / "upper" / "b"):
        path.mkdir(parents=True)
    (folder / "upper" / "a" / "away").symlink_to(outside)
    # It may be the link already that has this name.
    fd = os.open(folder / "upper" / "b", os.O_RDONLY | os.O_DIRECTORY)
    os.close(os.open("secret", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


@ROUNDS
def test_the_folder_of_a_container_is_removed(probe, outside, rounds):
    """By the library, as at the end of a container."""
    workspace = default_engine().workspace
    folder = Path(workspace.path, "race")
    swapped = folder / "upper" / "a"
    with swapping(probe, swapped / "here", swapped / "away") as begin:
        begin()

        def attempt(_: int) -> None:
            workspace.make_folder("race", other_users=True)
            plant(folder, outside)
            try:
                workspace.remove_folder("race")
            finally:
                while folder.exists():
                    try:
                        workspace.remove_folder("race")
                    except pc.PyContainerError:
                        continue

        tried("removal by the library", rounds, attempt, both=False)


@ROUNDS
def test_the_folder_of_a_container_is_removed_by_the_reaper(probe, outside, tmp_path, rounds):
    """As it does when the host's process is gone."""
    place = tmp_path / "place"
    place.mkdir()
    swapped = place / "race" / "upper" / "a"
    top = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with swapping(probe, swapped / "here", swapped / "away") as begin:
            begin()

            def attempt(_: int) -> None:
                plant(place / "race", outside)
                while (place / "race").exists():
                    with Program([FOLDER / "reaper", "remove", "race"], {3: top}) as remover:
                        remover.wait()

            tried("removal by the reaper", rounds, attempt, both=False)
    finally:
        os.close(top)


# -- that they can be lost -------------------------------------------------------------------------


def test_who_goes_by_names_is_led_outside(probe, outside, tmp_path):
    """The same exchange makes plain paths reach the canary: the races are real."""
    place = tmp_path / "place"
    (place / "here").mkdir(parents=True)
    (place / "here" / "secret").write_text("inside")
    (place / "away").symlink_to(outside)
    seen: set[str] = set()
    with swapping(probe, place / "here", place / "away") as begin:
        begin()
        deadline = time.monotonic() + 60
        while len(seen) < 2 and time.monotonic() < deadline:
            if not (place / "here").is_symlink():  # looked at, and then used
                seen.add((place / "here" / "secret").read_text())
    assert seen == {"inside", "of the host"}
