"""Programs that do not want to end, and what they leave: gone with the container, whatever its confinement."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

import pycontainer as pc
from tests.security.running import options_of
from tests.support.processes import members, running

STRICT = pytest.param("strict", marks=pytest.mark.needs("cgroup"))
MODES = ["default", STRICT, "privileged"]
#: Where tests/e2e/test_leftovers.py tries the default.
OTHERS = [STRICT, "privileged"]


@pytest.fixture
def ended(probe):
    """Run a word in a container of a mode; the result, and nothing of its pid namespace is left."""

    def run(mode, *words, **options):
        # The shell hands its place to the payload: one process more would be one more to end.
        script = 'readlink /proc/self/ns/pid; exec "$@"'
        mounts = [pc.Bind(probe, "/probe", read_only=True)]
        command = ["sh", "-c", script, "sh", "/probe", *words]
        given = {**options_of(mode), "timeout": 60, "changes": False, **options}
        result = pc.run("host:", command, text=True, mounts=mounts, **given)
        namespace = result.stdout.splitlines()[0]
        assert re.fullmatch(r"pid:\[\d+\]", namespace)
        assert members(namespace) == []
        return result

    return run


@pytest.mark.parametrize("mode", OTHERS)
@pytest.mark.parametrize("init", [False, True])
def test_a_daemon_left_behind(ended, mode, init):
    assert not ended(mode, "daemon", "x", init=init).timed_out


@pytest.mark.parametrize("mode", OTHERS)
@pytest.mark.parametrize("words", [("daemon", "x", "stay"), ("forks", "64"), ("stop",)])
def test_a_tree_that_ignores_signals_or_is_stopped(ended, mode, words):
    assert ended(mode, *words, timeout=0.5).timed_out


@pytest.mark.parametrize("mode", MODES)
def test_a_flood_of_output(ended, mode):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = ended(mode, "flood", output_limit="256K", timeout=1)
    assert (result.timed_out, result.truncated) == (True, True)
    assert len(result.stdout) <= 256 << 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


@pytest.mark.parametrize("mode", OTHERS)
def test_a_container_whose_processes_are_stopped(probe, mode):
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    with pc.Container.create("host:", ["/probe", "stop"], mounts=mounts, **options_of(mode)) as container:
        container.start()
        namespace = os.readlink(f"/proc/{container.pid}/ns/pid")
        container.stop(timeout=0.3)
        assert container.status == "exited"
    assert members(namespace) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_deep_and_odd_tree(probe, mode):
    """In the writable layer on disk; of a read-only root in the container's memory."""
    place = "/tmp" if mode == "strict" else "/root"
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts, **options_of(mode)) as container:
        container.start()
        container.exec(["sh", "-c", f"mkdir {place}/deep {place}/odd"], check=True)
        container.exec(["/probe", "deep", f"{place}/deep", "2000"], timeout=120, check=True)
        container.exec(["/probe", "bigdir", f"{place}/odd", "300"], timeout=120, check=True)
        container.exec(["chmod", "000", place])
        name = container.id[:12]
    run = Path(os.environ["PYCONTAINER_ROOT"], "run")
    assert [path for path in run.glob("*/*") if path.name == name] == []


def test_without_a_container_they_stay(probe):
    """A daemon of the same word outlives what started it, and its group's end."""
    started = subprocess.Popen(
        [probe, "daemon", "x"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        started.wait(30)
        # The middle one of three has to end, and the last to say which signals it ignores.
        time.sleep(1)
        left = running(probe)
        assert len(left) == 1
        os.kill(left[0], signal.SIGTERM)
        time.sleep(0.05)
        assert left[0] in running(probe)
    finally:
        for pid in running(probe):
            os.kill(pid, signal.SIGKILL)
        started.stdout.close()
