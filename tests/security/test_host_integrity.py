"""What the library itself does on the host for a hostile container, and where it keeps things."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.home import make_private

ROOT = pytest.mark.needs("root")


# -- the store -------------------------------------------------------------------------------------


def symbolic_link(root: Path) -> str:
    real = root.with_name("real")
    real.mkdir(mode=0o700)
    root.symlink_to(real)
    return f"name the directory itself: {real}"


def of_mode(mode: int) -> Callable[[Path], str]:
    def make(root: Path) -> str:
        root.mkdir()
        root.chmod(mode)
        return f"chmod 0700 {root}"

    return make


def file(root: Path) -> str:
    root.write_text("")
    return "remove it"


def of_another(root: Path) -> str:
    root.mkdir(mode=0o700)
    os.chown(root, 12345, 12345)
    return f"chown 0 {root}"


WRONG = {
    "link": symbolic_link,
    "entered by the group": of_mode(0o710),
    "entered by others": of_mode(0o701),
    "read by others": of_mode(0o744),
    "written by the group": of_mode(0o770),
    "written by all": of_mode(0o777),
    "file": file,
}
PLACES = ["root", "root/run"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", [*WRONG, pytest.param("of another", marks=ROOT)])
def test_a_store_that_others_could_get_at_is_refused(tmp_path, kind, place):
    (tmp_path / place).parent.mkdir(mode=0o700, exist_ok=True)
    fix = (of_another if kind == "of another" else WRONG[kind])(tmp_path / place)
    with pytest.raises(pc.NotSupported) as caught:
        pc.Engine(tmp_path / "root").run("host:", ["true"])
    assert str(tmp_path / place) in str(caught.value)
    assert fix in caught.value.fix


@pytest.mark.parametrize("kind", [*WRONG, pytest.param("of another", marks=ROOT)])
def test_a_store_of_trees_is_refused_likewise(tmp_path, kind):
    (of_another if kind == "of another" else WRONG[kind])(tmp_path / "store")
    archive = tmp_path / "empty.tar"
    archive.write_bytes(bytes(1024))
    with pytest.raises(pc.NotSupported, match=str(tmp_path / "store")):
        pc.Image.from_rootfs(archive, store=tmp_path / "store")


def test_a_directory_above_that_others_can_exchange_is_refused(tmp_path):
    above = tmp_path / "above"
    (above / "deep").mkdir(parents=True)
    above.chmod(0o777)
    with pytest.raises(pc.NotSupported, match=f"{above}, and exchange"):
        make_private(str(above / "deep" / "root"))
    # As /tmp is: nobody can rename what is another's there.
    above.chmod(0o1777)
    make_private(str(above / "deep" / "root"))


@ROOT
def test_a_directory_of_another_user_above_is_refused(tmp_path):
    (tmp_path / "home").mkdir(mode=0o755)
    os.chown(tmp_path / "home", 12345, 12345)
    with pytest.raises(pc.NotSupported, match="12345"):
        make_private(str(tmp_path / "home" / "root"))
    # Also when only a link lies there.
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "home" / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(pc.NotSupported, match="12345"):
        make_private(str(tmp_path / "home" / "link" / "root"))


def test_whatever_the_umask_nobody_else_gets_in(tmp_path):
    """The store, the directories above it that are made, and all that a container puts there."""
    tmp_path.chmod(0o700)
    script = f"""
import os, sys, pycontainer as pc
os.umask(0)
with pc.Engine({str(tmp_path / "a" / "b" / "root")!r}) as engine:
    with engine.containers.create("host:", ["sleep", "100"]) as container:
        container.start()
        container.exec(["sh", "-c", "umask 0; echo x > /root/x; chmod 6777 /root/x"])
        for directory, names, files in os.walk({str(tmp_path / "a")!r}):
            for name in [directory, *(os.path.join(directory, file) for file in files)]:
                print(oct(os.lstat(name).st_mode), os.lstat(name).st_uid, name)
    engine.run("host:", ["true"])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = {line.split(" ", 2)[2]: line.split(" ", 2)[:2] for line in done.stdout.splitlines()}
    for path in ("a", "a/b", "a/b/root", "a/b/root/run"):
        assert found[str(tmp_path / path)] == ["0o40700", str(os.geteuid())]
    # What is below the last of them nobody else reaches, whatever its own mode.
    folders = [path for path in found if Path(path).parent == tmp_path / "a/b/root/run"]
    assert [found[path] for path in folders] == [["0o40700", str(os.geteuid())]]
    planted = [path for path, (mode, _) in found.items() if int(mode, 8) & stat.S_ISUID]
    assert planted
    assert all(path.startswith(folders[0]) for path in planted)


@ROOT
def test_claims_of_ids_are_roots_alone():
    pc.run("host:", ["true"])
    status = os.stat("/run/pycontainer/ids")
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, 0)
    for name in os.listdir("/run/pycontainer/ids"):
        assert stat.S_IMODE(os.stat(f"/run/pycontainer/ids/{name}").st_mode) == 0o600
