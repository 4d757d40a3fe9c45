"""Files that a container's other users own, or that nobody may read: reached, listed and removed all the same."""

from __future__ import annotations

import os
import pickle
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pycontainer as pc

SUBUID = pytest.mark.needs("user", "subuid")
#: A directory of user 1 that the host's user cannot enter, with a file that it cannot read.
PRIVATE = "mkdir -m 700 /srv/q; echo secret > /srv/q/f; chmod 600 /srv/q/f; chown -R 1:1 /srv/q"


@pytest.fixture
def container() -> Iterator[pc.Container]:
    with pc.Container.create("host:", ["sleep", "1000"], init=True) as container:
        container.start()
        yield container


def kinds(changes: list[pc.Change], below: str = "/srv/") -> dict[str, str]:
    return {change.path: change.kind for change in changes if change.path.startswith(below)}


# -- what a run changed ----------------------------------------------------------------------------


@SUBUID
def test_a_run_tells_what_another_user_made() -> None:
    result = pc.run("host:", ["sh", "-c", PRIVATE]).check()
    assert kinds(result.changes()) == {"/srv/q": "added", "/srv/q/f": "added"}


@pytest.mark.parametrize("mode", ["0", "100", "400", "500"])
def test_a_run_tells_of_directories_without_permissions(mode: str) -> None:
    script = f"mkdir -p /srv/q/inner; echo > /srv/q/f; chmod {mode} /srv/q"
    result = pc.run("host:", ["sh", "-c", script]).check()
    assert kinds(result.changes()) == dict.fromkeys(["/srv/q", "/srv/q/f", "/srv/q/inner"], "added")


def test_a_run_tells_of_a_file_without_permissions() -> None:
    result = pc.run("host:", ["sh", "-c", "echo x > /srv/f; chmod 0 /srv/f /etc/group"]).check()
    assert kinds(result.changes()) == {"/srv/f": "added"}
    assert kinds(result.changes(), "/etc/group").keys() == {"/etc/group"}


def test_a_root_directory_without_permissions_is_no_obstacle() -> None:
    result = pc.run("host:", ["sh", "-c", "echo > /srv/f; chmod 0 /"]).check()
    assert kinds(result.changes()) == {"/srv/f": "added"}


# -- the files of a container ----------------------------------------------------------------------


@SUBUID
def test_reading_and_listing(container: pc.Container) -> None:
    container.exec(["sh", "-c", PRIVATE], check=True)
    assert container.read_bytes("/srv/q/f") == b"secret\n"
    assert kinds(container.changes()) == {"/srv/q": "added", "/srv/q/f": "added"}
    with pytest.raises(pc.KernelError, match="/srv/q/absent") as caught:
        container.read_bytes("/srv/q/absent")
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == 2


@SUBUID
def test_a_user_is_found_in_accounts_that_nobody_may_read(container: pc.Container) -> None:
    script = "echo worker:x:7:8::/srv/w:/bin/sh >> /etc/passwd; echo team:x:9:worker >> /etc/group; chmod 0 /etc/passwd /etc/group"
    container.exec(["sh", "-c", script], check=True)
    for _ in range(2):
        shown = container.exec(["sh", "-c", "id -u; id -G; echo $HOME"], user="worker", text=True)
        assert shown.stdout == "7\n8 9\n/srv/w\n"
    with pytest.raises(pc.InvalidArgument, match="no user 'nobody-here'"):
        container.exec(["id"], user="nobody-here")


@SUBUID
def test_writing(container: pc.Container) -> None:
    container.exec(["sh", "-c", PRIVATE], check=True)
    container.write_bytes("/srv/q/new", b"written", mode=0o640)
    container.write_bytes("/srv/q/f", b"replaced", mode=0o600)
    shown = container.exec(["stat", "-c", "%n %u:%g %a", "/srv/q/new", "/srv/q/f"], text=True).stdout
    assert shown == "/srv/q/new 0:0 640\n/srv/q/f 1:1 600\n"
    assert container.exec(["cat", "/srv/q/new", "/srv/q/f"]).stdout == b"writtenreplaced"


@SUBUID
def test_copies(container: pc.Container, tmp_path: Path) -> None:
    container.exec(["sh", "-c", f"mkdir -m 750 /srv/t; touch -d @1000 /srv/t; {PRIVATE}; mv /srv/q /srv/t"])
    container.exec(["touch", "-d", "@1000", "/srv/t"], check=True)
    container.get("/srv/t", tmp_path / "out")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "out",
        "out/q",
        "out/q/f",
    ]
    assert (tmp_path / "out/q/f").read_bytes() == b"secret\n"
    for name, mode in (("out", 0o750), ("out/q", 0o700), ("out/q/f", 0o600)):
        status = (tmp_path / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (mode, os.geteuid())
    assert (tmp_path / "out").stat().st_mtime == 1000
    container.put(tmp_path / "out", "/srv/t/q/back")
    listed = container.exec(["sh", "-c", "cd /srv/t/q; find back | sort; stat -c %u:%a back"], text=True)
    assert listed.stdout == "back\nback/q\nback/q/f\n0:750\n"


@SUBUID
def test_a_copy_from_what_the_host_hides_fails_and_makes_nothing_twice(
    container: pc.Container, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "f").write_bytes(b"x")
    (tree / "f").chmod(0)
    with pytest.raises(pc.KernelError) as caught:
        container.put(tree, "/srv/copy")
    assert caught.value.errno == 13
    assert container.exec(["ls", "/srv/copy"]).stdout == b""


@SUBUID
def test_a_hostile_link_of_another_user_is_followed_inside_only(
    container: pc.Container, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    canary.write_bytes(b"untouched")
    script = f"mkdir -m 700 /srv/q; ln -s {canary} /srv/q/l; ln -s {tmp_path} /srv/q/d; chown -hR 1:1 /srv/q"
    container.exec(["sh", "-c", script], check=True)
    for path in ("/srv/q/l", "/srv/q/d/canary"):
        with pytest.raises(pc.KernelError) as caught:
            container.read_bytes(path)
        assert caught.value.errno == 2
        with pytest.raises(pc.KernelError):
            container.write_bytes(path, b"x")
    assert canary.read_bytes() == b"untouched"


def test_an_unreadable_file_of_ones_own_is_read(container: pc.Container, tmp_path: Path) -> None:
    container.exec(["sh", "-c", "mkdir /srv/q; echo x > /srv/q/f; chmod 0 /srv/q/f /srv/q"], check=True)
    assert container.read_bytes("/srv/q/f") == b"x\n"
    container.get("/srv/q", tmp_path / "q")
    assert stat.S_IMODE((tmp_path / "q").stat().st_mode) == 0
    (tmp_path / "q").chmod(0o700)
    (tmp_path / "q/f").chmod(0o600)
    assert (tmp_path / "q/f").read_bytes() == b"x\n"
    assert kinds(container.changes()) == {"/srv/q": "added", "/srv/q/f": "added"}


def test_a_root_directory_of_a_container_without_permissions(container: pc.Container) -> None:
    container.exec(["sh", "-c", "echo x > /srv/f; chmod 0 /"], check=True)
    assert container.read_bytes("/srv/f") == b"x\n"
    assert kinds(container.changes()) == {"/srv/f": "added"}


@pytest.mark.needs("user")
def test_an_absent_interpreter_is_named(monkeypatch: pytest.MonkeyPatch, container: pc.Container) -> None:
    container.exec(["sh", "-c", "echo x > /srv/f; chmod 0 /srv/f"], check=True)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(pc.NotSupported, match=r"/bin/false.*sys\.executable"):
        container.read_bytes("/srv/f")


# -- removal ---------------------------------------------------------------------------------------

HOLD = """
import sys, time, pycontainer as pc
engine = pc.Engine(sys.argv[1])
c = engine.containers.create("host:", ["sleep", "1000"], init=True)
c.start()
c.exec(["sh", "-c", sys.argv[2]], check=True)
print("ready", flush=True)
time.sleep(1000)
"""
UNREADABLE = "mkdir -p /srv/n/n; chmod 0 /srv/n/n /srv/n"


def kill_and_wait(pid: int) -> None:
    """Until its fds are closed, and with them the lock is free."""
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    select.select([pidfd], [], [], 20)
    os.close(pidfd)


def killed_host(root: Path, script: str, *, reaper_too: bool) -> None:
    """A host process that is killed while it has a container with such files."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLD, str(root), script], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            if reaper_too:
                for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                    if Path(f"/proc/{child}/comm").read_text() == "reaper\n":
                        kill_and_wait(int(child))
        finally:
            process.send_signal(signal.SIGKILL)


def left(root: Path) -> list[str]:
    return os.listdir(root / "run")


def until_empty(root: Path) -> None:
    deadline = time.monotonic() + 20
    while left(root):
        assert time.monotonic() < deadline, left(root)
        time.sleep(0.01)


SCRIPTS = [pytest.param(UNREADABLE, id="unreadable"), pytest.param(PRIVATE, id="private", marks=SUBUID)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_removal_and_close(tmp_path: Path, script: str) -> None:
    root = tmp_path / "root"
    with pc.Engine(root) as engine:
        with engine.containers.create("host:", ["sh", "-c", script]) as container:
            container.start()
            assert container.wait(timeout=20) == 0
        (host,) = left(root)
        assert not [name for name in os.listdir(root / "run" / host) if name.startswith(container.id[:12])]
        engine.containers.create("host:", ["sh", "-c", script]).start()
    assert left(root) == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_kill_9_leaves_nothing(tmp_path: Path, script: str) -> None:
    killed_host(tmp_path / "root", script, reaper_too=False)
    until_empty(tmp_path / "root")


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_next_start_sweeps_what_a_killed_reaper_left(tmp_path: Path, script: str) -> None:
    root = tmp_path / "root"
    killed_host(root, script, reaper_too=True)
    (old,) = left(root)
    with pc.Engine(root) as engine:
        assert engine.run("host:", ["true"]).exit_code == 0
        assert old not in left(root)
    assert left(root) == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_half_removed_folder_without_a_lock_is_swept_when_it_is_old(tmp_path: Path, script: str) -> None:
    root = tmp_path / "root"
    killed_host(root, script, reaper_too=True)
    (old,) = left(root)
    folder = root / "run" / old
    (folder / "lock").unlink()
    with pc.Engine(root) as engine:
        engine.run("host:", ["true"]).check()
        assert old in left(root)  # somebody may be at it
    os.utime(folder, (1000, 1000))
    with pc.Engine(root) as engine:
        engine.run("host:", ["true"]).check()
        assert old not in left(root)
    assert left(root) == []


# -- results and starts that fail ------------------------------------------------------------------


@pytest.mark.needs("user")
def test_a_result_outlives_what_kept_its_changes_from_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    result = pc.run("host:", ["sh", "-c", "echo kept; mkdir -m 0 /srv/q; exit 3"])
    assert (result.exit_code, result.stdout) == (3, b"kept\n")
    for each in (result, pickle.loads(pickle.dumps(result))):
        for _ in range(2):
            with pytest.raises(pc.NotSupported, match="/bin/false"):
                each.changes()


def test_a_start_that_cannot_be_noted_leaves_no_process(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with pc.Engine(root) as engine:
        container = engine.containers.create("host:", ["sleep", "4711"])
        (host,) = left(root)
        note = root / "run" / host / f"{container.id[:12]}.pid"
        note.mkdir()
        with pytest.raises(pc.KernelError, match="note the process"):
            container.start()
        running = subprocess.run(["pgrep", "-f", "^sleep 4711$"], capture_output=True, check=False)
        assert running.stdout == b""
        assert container.status == "created"
        note.rmdir()
        container.start()
        assert container.status == "running"
