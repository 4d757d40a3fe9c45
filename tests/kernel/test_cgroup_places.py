"""Where cgroups are made: delegated, at the top, in a namespace; by many at once; and what is left when one dies."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.kernel.cgroup import home
from pycontainer.kernel.cgroup.home import LEAF
from tests.support.native import until

pytestmark = pytest.mark.needs("cgroup")

ROOT = Path(__file__).resolve().parents[2]
NAME = f"pycontainer-test-{os.getpid()}"


def code(text: str, *arguments: str) -> list[str]:
    """The command that runs Python code with this tree's library."""
    return [
        sys.executable,
        "-W",
        "error",
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{text}",
        *arguments,
    ]


class TestAdopt:
    @pytest.mark.needs("cgroup2")
    def test_by_path(self) -> None:
        with pc.Cgroup.create(NAME) as above:
            above.child("ours", pids_max=5).close()
            path = f"{above.path}/theirs"
            os.mkdir(path)
            with pc.Cgroup.adopt(path) as group:
                assert (group.name, group.path, group.processes()) == ("theirs", path, [])
                with group.child("x", pids_max=3) as child:
                    assert Path(child.path, "pids.max").read_text() == "3\n"
            assert os.path.isdir(path)
            os.rmdir(path)

    def test_what_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(pc.InvalidArgument, match=r"cgroup\.procs"):
            pc.Cgroup.adopt(str(tmp_path))
        with pytest.raises(pc.KernelError):
            pc.Cgroup.adopt(f"{tmp_path}/nothing")
        with pytest.raises(pc.InvalidArgument, match="nonsense"):
            pc.Cgroup.adopt({"nonsense": home_directory()})


def home_directory() -> str:
    place = home()
    return place.tree.path if place.tree is not None else next(iter(place.layout.v1.values()))


class TestDelegate:
    @pytest.mark.needs("root", "cgroup2")
    def test_the_user_can_make_some_below(self) -> None:
        with pc.Cgroup.create(NAME, pids_max=20, memory_max="64M") as group:
            group.delegate(12345, 12346)
            assert os.stat(group.path).st_uid == 12345
            assert os.stat(f"{group.path}/cgroup.procs").st_gid == 12346
            assert os.stat(f"{group.path}/cgroup.subtree_control").st_uid == 12345
            assert os.stat(f"{group.path}/pids.max").st_uid == 0
            make = f"mkdir {group.path}/x && echo +pids >{group.path}/cgroup.subtree_control && echo 3 >{group.path}/x/pids.max"
            subprocess.run(
                ["setpriv", "--reuid=12345", "--regid=12346", "--clear-groups", "sh", "-c", make], check=True
            )

    @pytest.mark.needs("root", "cgroup1")
    def test_in_version_1(self) -> None:
        with pc.Cgroup.create(NAME, pids_max=20) as group:
            group.delegate(12345, 12346)
            for path in (group.path, group.paths["pids"]):
                assert os.stat(path).st_uid == os.stat(f"{path}/cgroup.procs").st_uid == 12345
            assert os.stat(f"{group.paths['pids']}/pids.max").st_uid == 0

    def test_nonsense(self) -> None:
        with pc.Cgroup.create(NAME) as group, pytest.raises(pc.InvalidArgument, match="uid"):
            group.delegate(-1, 0)


class TestHome:
    @pytest.mark.needs("user", "cgroup2")
    def test_the_processes_of_a_delegated_cgroup_go_to_a_leaf(self) -> None:
        """The first that needs controllers moves them; one that starts in the leaf uses the cgroup above."""
        with pc.Cgroup.create(NAME, pids_max=5) as group:
            own = Path("/proc/self/cgroup").read_text().strip()
            assert os.path.basename(own) == LEAF
            text = "import pycontainer as pc\nwith pc.Cgroup.create(sys.argv[1], pids_max=3) as group: print(group.path)"
            done = subprocess.run(code(text, f"{NAME}-b"), stdout=subprocess.PIPE, text=True, check=True)
            assert done.stdout.strip() == f"{os.path.dirname(group.path)}/{NAME}-b"

    @pytest.mark.needs("root", "cgroup2")
    def test_a_session_of_root_is_left_as_it_is(self) -> None:
        own = Path("/proc/self/cgroup").read_text()
        with pc.Cgroup.create(NAME, pids_max=5) as group:
            assert os.path.dirname(group.path) == home().layout.mount
            assert Path("/proc/self/cgroup").read_text() == own

    @pytest.mark.needs("root", "cgroup2")
    def test_in_a_cgroup_namespace(self) -> None:
        """As in a Docker container of version 2: all that is seen is its own, and all its processes are at the top."""
        text = """
import os, subprocess
import pycontainer as pc
child = subprocess.Popen(["sleep", "1000"])
with pc.Cgroup.create("job", memory_max="32M", pids_max=9) as group:
    group.add(child.pid)
    print(group.path, group.stat().pids_current, open("/proc/self/cgroup").read().strip())
    print(open(f"/mnt/pycontainer.host/cgroup.procs").read().split() == [str(os.getppid()), str(os.getpid())])
    group.kill()
    child.wait()
    group.wait_empty()
"""
        with pc.Cgroup.create(NAME, pids_max=100, memory_max="512M") as group:
            inner = 'mount -t tmpfs none /mnt && mount -t cgroup2 none /mnt && "$@"; exit $?'
            outer = f"echo 0 >{group.path}/cgroup.procs && exec unshare --cgroup --mount sh -c '{inner}' sh \"$@\""
            done = subprocess.run(
                ["sh", "-c", outer, "sh", *code(text)], stdout=subprocess.PIPE, text=True, check=True
            )
            assert done.stdout.splitlines() == ["/mnt/job 1 0::/pycontainer.host", "True"]
            group.wait_empty()

    @pytest.mark.needs("root", "cgroup1")
    def test_in_a_cgroup_namespace_of_version_1(self) -> None:
        """Mounts of a namespace's own part, with the memory controller alone."""
        text = """
import pycontainer as pc
with pc.Cgroup.create("job", memory_max="32M") as group:
    print(group.path, group.paths["memory"])
    try:
        pc.Cgroup.create("other", pids_max=9)
    except pc.NotSupported as error:
        print(error)
"""
        with pc.Cgroup.create(NAME, memory_max="512M", pids_max=100) as group:
            inner = (
                "mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/memory && "
                'mount -t cgroup -o memory none /sys/fs/cgroup/memory && "$@"; exit $?'
            )
            joins = "".join(
                f"echo 0 >{path}/tasks && " for path in group.paths.values() if path != group.path
            )
            outer = f"{joins}exec unshare --cgroup --mount sh -c '{inner}' sh \"$@\""
            done = subprocess.run(
                ["sh", "-c", outer, "sh", *code(text)], stdout=subprocess.PIPE, text=True, check=True
            )
            lines = done.stdout.splitlines()
            assert lines[0] == " /sys/fs/cgroup/memory/job"
            assert "pids" in lines[1]
            group.wait_empty()

    @pytest.mark.needs("cgroup2")
    def test_a_cgroup_with_processes_has_no_limits_below(self) -> None:
        with pc.Cgroup.create(NAME) as group, subprocess.Popen(["sleep", "1000"]) as process:
            group.add(process.pid)
            with pytest.raises(pc.NotSupported, match="move the processes"):
                group.child("x", memory_max="1M")
            group.child("x").close()
            assert Path(group.path, "cgroup.type").read_text() == "domain\n"
            group.kill()
            process.wait()
            group.wait_empty()


class TestTogether:
    def test_many_threads(self) -> None:
        """One place, and one cgroup that all make theirs in, which comes to be in further hierarchies meanwhile."""
        failures: list[BaseException] = []

        def work(above: pc.Cgroup, number: int) -> None:
            try:
                for turn in range(10):
                    limits = ({"pids_max": 5}, {"memory_max": "8M"}, {"cpu_max": 1})[(number + turn) % 3]
                    with above.child(f"{number}-{turn}", **limits) as group:  # type: ignore[arg-type]
                        assert group.processes() == []
            except BaseException as error:  # noqa: BLE001  shown below
                failures.append(error)

        with pc.Cgroup.create(NAME) as above:
            threads = [threading.Thread(target=work, args=(above, number)) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert failures == []

    def test_many_processes(self) -> None:
        text = """
import pycontainer as pc
for turn in range(5):
    with pc.Cgroup.create(f"{sys.argv[1]}-{turn}", pids_max=9, memory_max="9M") as group:
        assert group.processes() == []
"""
        hosts = [subprocess.Popen(code(text, f"{NAME}-{number}")) for number in range(4)]
        assert [host.wait(120) for host in hosts] == [0] * 4

    def test_a_forked_child_goes_on(self) -> None:
        text = f"""
import os
import pycontainer as pc
pc.Cgroup.create({NAME!r}, pids_max=5).close()
pid = os.fork()
pc.Cgroup.create(f"{NAME}-{{pid == 0}}", pids_max=5).close()
assert pid == 0 or os.waitpid(pid, 0)[1] == 0
"""
        subprocess.run(code(text), check=True)


@pytest.mark.parametrize("frozen", [False, True])
def test_what_a_killed_process_leaves_is_removed(frozen: bool) -> None:
    """In all hierarchies, also those that were joined later; whoever is paused dies, too."""
    text = f"""
import subprocess, time
import pycontainer as pc
group = pc.Cgroup.create(sys.argv[1], leashed=True)
child = group.child("x", memory_max="64M", pids_max=20, cpu_max=1)
below = child.child("y")
process = subprocess.Popen(["sleep", "1000"])
below.add(process.pid)
if {frozen}:
    child.freeze()
print(process.pid, *{{group.path, *group.paths.values(), child.path, *child.paths.values()}} - {{""}}, flush=True)
time.sleep(1000)
"""
    with subprocess.Popen(code(text, NAME), stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        pid, *paths = host.stdout.readline().split()
        assert all(os.path.isdir(path) for path in paths)
        pidfd = os.pidfd_open(int(pid))
        host.kill()
    try:
        until(lambda: not any(os.path.exists(path) for path in paths), 20)
        assert select.select([pidfd], [], [], 0)[0]
    finally:
        os.close(pidfd)
