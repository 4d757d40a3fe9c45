"""Project quotas: on a file system that has them, made in a file and mounted for one program alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from pycontainer.errors import NotSupported
from pycontainer.kernel import quota

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.needs("root")

#: In a mount namespace of its own; the loop device goes with the mount, and the mount with the program.
MOUNT = """
truncate -s 64M image
mkfs.ext4 -q -O quota,project -E quotatype=prjquota image
modprobe -q quota_v2 || true
mkdir disk
mount -o loop,prjquota image disk
exec "$@"
"""

PREPARE = """
import os, sys
from pycontainer.kernel import quota
from pycontainer.kernel.quota import Project
os.environ["PYCONTAINER_ROOT"] = os.path.abspath("disk/engine")
def folder(name):
    os.makedirs(f"disk/{name}")
    return os.open(f"disk/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
"""

Script = Callable[[str], str]


@pytest.fixture
def on_disk(tmp_path: Path) -> Script:
    """Run a Python script beside ``disk``, a file system with project quotas; what it prints."""

    def run(script: str) -> str:
        python = [sys.executable, "-c", PREPARE + textwrap.dedent(script)]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", MOUNT, "sh", *python],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_a_file_system_without_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    fd = os.open("/dev/shm", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with pytest.raises(NotSupported, match=r"tmpfs.*has no project quotas.*prjquota"):
            quota.Project.create(fd, 1 << 20)
    finally:
        os.close(fd)


@pytest.mark.needs("prjquota")
class TestProject:
    def test_bounds_what_is_below_a_directory(self, on_disk: Script) -> None:
        """Root of the host is not bound: the writer is one without CAP_SYS_RESOURCE."""
        told = on_disk("""
            import subprocess
            fd = folder("a")
            project = Project.create(fd, 1 << 20)
            os.makedirs("disk/a/b/c")
            write = "head -c 4000000 /dev/zero > disk/a/b/c/f"
            drop = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-all"]
            done = subprocess.run([*drop, "sh", "-c", write], capture_output=True, text=True)
            print("quota exceeded" in done.stderr or "No space" in done.stderr)
            print(900_000 < os.path.getsize("disk/a/b/c/f") <= 1 << 20, 900_000 < project.usage() <= 1 << 20)
            project.resize(8 << 20)
            print(subprocess.run([*drop, "sh", "-c", write]).returncode, os.path.getsize("disk/a/b/c/f"))
            project.close()
        """)
        assert told.splitlines() == ["True", "True True", "0 4000000"]

    def test_ids_are_handed_out_once(self, on_disk: Script) -> None:
        told = on_disk("""
            import subprocess
            first, second = Project.create(folder("a"), 1 << 20), Project.create(folder("b"), 1 << 20)
            other = ("import os; from pycontainer.kernel.quota import Project; os.mkdir('disk/c');"
                     "print(Project.create(os.open('disk/c', os.O_RDONLY), 1 << 20).number)")
            third = int(subprocess.run([sys.executable, "-c", other], stdout=subprocess.PIPE, check=True).stdout)
            print(len({first.number, second.number, third}))
            # The third process is gone, its directory is not: its id stays in use.
            print(Project.create(folder("d"), 1 << 20).number == third)
            first.close(), second.close()
            print(quota.usage(os.open("disk", os.O_RDONLY), first.number)[1])
        """)
        assert told.splitlines() == ["3", "False", "1"]

    def test_given_back_serves_again_when_nothing_is_left_in_it(self, on_disk: Script) -> None:
        told = on_disk("""
            fd = folder("a")
            first = Project.create(fd, 1 << 20)
            os.close(fd)
            os.rmdir("disk/a")
            first.close()
            first.close()
            print(Project.create(folder("b"), 1 << 20).number == first.number)
        """)
        assert told == "True\n"


@pytest.mark.needs("prjquota")
class TestContainer:
    """``size=`` of a container that is kept."""

    def test_is_bounded(self, on_disk: Script) -> None:
        told = on_disk("""
            import pycontainer as pc
            with pc.Container.create("host:", ["sleep", "100"], size="2M") as c:
                c.start()
                done = c.exec(["sh", "-c", "head -c 9000000 /dev/zero > /root/f"], text=True)
                print(done.exit_code != 0, "quota exceeded" in done.stderr or "No space" in done.stderr)
                print(1_500_000 < int(c.exec(["stat", "-c", "%s", "/root/f"]).stdout) < 2 << 20)
                print(c.exec(["sh", "-c", "rm /root/f; echo again > /root/f"]).exit_code)
                try:
                    c.write_bytes("/root/g", bytes(4 << 20))
                except OSError as error:
                    print(error.errno in (28, 122))
            print(c.id[:12] in os.listdir(c._workspace.path))
        """)
        assert told.splitlines() == ["True True", "True", "0", "True", "False"]

    def test_with_root_of_the_host_is_refused(self, on_disk: Script) -> None:
        told = on_disk("""
            import pycontainer as pc
            try:
                pc.Container.create("host:", ["true"], size="2M", userns="host")
            except pc.NotSupported as error:
                print(error)
            print([name for name in os.listdir(pc.default_engine().workspace.path) if name != "lock"])
        """)
        assert "does not bind root of the host" in told
        assert told.splitlines()[-1] == "[]"
