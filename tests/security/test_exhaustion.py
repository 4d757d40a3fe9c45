"""More than one's share of the machine: processes, memory, files in memory, processor."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import pytest

import pycontainer as pc
from tests.security.running import options_of

pytestmark = pytest.mark.needs("cgroup")

LIMITED = ("default", "strict")


@pytest.fixture
def run(probe):
    """Run a word in a container of a mode; the result."""

    def go(mode, *words, **options):
        mounts = [pc.Bind(probe, "/probe", read_only=True)]
        given = {**options_of(mode), "timeout": 60, "changes": False, **options}
        return pc.run("host:", ["/probe", *words], text=True, mounts=mounts, **given)

    return go


@pytest.mark.parametrize("mode", LIMITED)
@pytest.mark.parametrize("init", [False, True])
def test_a_fork_bomb_ends_at_the_limit(run, mode, init):
    result = run(mode, "forks", "100", "end", pids=40, init=init)
    made, error = result.stdout.split()
    assert (int(made), error) == (38 if init else 39, "EAGAIN")


def test_strict_has_fewer_processes_than_the_bomb_wants(run):
    result = run("strict", "forks", "400", "end")
    assert result.stdout == "255 EAGAIN\n"


@pytest.mark.parametrize("mode", LIMITED)
def test_memory_ends_at_the_limit(run, mode):
    result = run(mode, "eat", "256", memory="64M")
    assert (result.oom_killed, result.exit_code, result.limit) == (True, 137, "memory")
    assert "all" not in result.stdout
    assert max(map(int, result.stdout.split())) < 64


@pytest.mark.parametrize("mode", LIMITED)
@pytest.mark.parametrize(
    ("place", "options", "bound"),
    [("/dev/shm", {"shm_size": "8M"}, 8), ("/dev", {}, 0), ("/data", {"tmpfs": ["/data:size=4M"]}, 4)],
)
def test_a_file_system_in_memory_is_bounded(run, mode, place, options, bound):
    assert run(mode, "fill", place, "64", **options).stdout == f"{bound} ENOSPC\n"


def test_tmp_of_strict_is_bounded(run):
    assert run("strict", "fill", "/tmp", "100").stdout == "64 ENOSPC\n"
    assert run("strict", "fill", "/", "1").stdout == "0 EROFS\n"


@pytest.mark.needs("tmpfs_xattr")
def test_the_writable_layer_in_memory_is_bounded_where_asked(run):
    assert run("default", "fill", "/root", "64", size="16M").stdout == "16 ENOSPC\n"


@pytest.mark.parametrize("mode", LIMITED)
def test_the_number_of_files_in_memory_is_bounded(run, mode):
    for place in ("/dev", "/dev/mqueue"):
        made, error = run(mode, "files", place, "5000").stdout.split()
        assert int(made) < 1100
        assert error in {"ENOSPC", "EMFILE", "EACCES", "EROFS", "EPERM"}


@pytest.mark.parametrize("mode", LIMITED)
def test_a_burner_is_throttled(run, mode):
    result = run(mode, "burn", cpus=0.2, timeout=1)
    assert result.timed_out
    assert result.usage.cpu_throttled > 0


def test_without_limits_the_words_take_it_all(probe, tmp_path):
    def outside(*words, timeout=60):
        return subprocess.run(
            [probe, *words], capture_output=True, text=True, timeout=timeout, check=False
        ).stdout

    assert outside("eat", "96").splitlines()[-1] == "ate all"
    assert outside("fill", str(tmp_path), "9") == "9 all\n"
    (tmp_path / "files").mkdir()
    assert outside("files", str(tmp_path / "files"), "1500") == "1500 all\n"
    shutil.rmtree(tmp_path / "files")
    with subprocess.Popen(
        [probe, "burn"], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as burner:
        try:
            assert burner.stdout.readline() == "burning\n"
        finally:
            os.killpg(burner.pid, signal.SIGKILL)


def test_privileged_has_no_limit_but_those_given(run):
    made, error = run("privileged", "forks", "300", "end").stdout.split()
    assert (made, error) == ("300", "all")
