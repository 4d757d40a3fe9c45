"""Files that somebody has damaged: what was damaged is told, and all else goes on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.state.places import Places
from pycontainer.state.records import Records
from tests.detached.conftest import folder, until


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_database_that_is_none(tmp_path, content):
    places = Places(str(tmp_path))
    places.make()
    Path(places.path, "containers.db").write_bytes(content)
    with pytest.raises(pc.KernelError, match=r"containers\.db.*(not a database|malformed|unsupported)"):
        Records(places).all()


def test_what_a_lost_database_told_of_is_not_thrown_away(tmp_path):
    places = Places(str(tmp_path))
    for name, started in (("aa", True), ("bb", False)):
        with places.new(name) as made:
            if started:
                Path(made, "status").write_text("phase=exited\n")
    assert list(places.abandoned(frozenset, lambda _: False)) == ["bb"]
    gone = places.put_away("aa")
    assert sorted(places.abandoned(frozenset, lambda _: False)) == sorted([gone, "bb"])


@pytest.mark.parametrize(
    "status", [b"end\n", b"phase=zz\nboot=x\nend\n", b"\xff\0garbage=\nphase=running\nend\n"]
)
def test_a_status_that_is_garbage(box, status):
    running, other = box(init=True), box()
    for each in (running, other):
        with suppress(FileNotFoundError):
            Path(folder(each), "status").write_bytes(status)
    other.kill()
    listed = pc.default_engine().containers.list(all=True)
    assert {running.id, other.id} <= {each.id for each in listed}
    assert running.status == "running"
    running.remove(force=True)
    assert running.status == "removed"


def test_a_status_that_is_garbage_of_one_that_has_ended(box):
    container = box(["true"])
    container.wait(20)
    Path(folder(container), "status").write_bytes(b"phase=zz\nend\n")
    until(lambda: container.status == "dead")  # its monitor may not have ended yet
    container.start()
    assert container.wait(20) == 0


def test_results_of_health_checks_that_are_empty(box):
    container = box(healthcheck=pc.HealthCheck("true", interval=0.05, timeout=5))
    until(lambda: len(container.health_log()) >= 2)
    container.stop(0)
    Path(folder(container), "health.0").write_bytes(b"")
    assert container.health_log()
    assert container.inspect()["State"]["Health"]


def test_what_a_start_has_noted_is_lost_with_the_power(box):
    container = box(["sh", "-c", "echo > /new"])
    container.wait(20)
    Path(folder(container), "run").write_bytes(b"")
    assert [each.path for each in container.changes()] == ["/new"]


def test_its_lock_is_gone_and_it_runs(box):
    container = box()
    pid = container.pid
    Path(folder(container), "verb").unlink()
    container.remove(force=True)
    assert not Path(folder(container)).exists()
    assert not Path(f"/proc/{pid}/root").exists()


def test_too_few_descriptors_leave_none_behind(box, other):
    # In a process of its own: what it has open is known, and its bound ends with it.
    told = other(
        """
import resource
c = pc.Container.create("host:", ["true"], detach=True)
c.start(); c.wait(20)
def count():
    return len(os.listdir("/proc/self/fd"))
before, (soft, hard) = count(), resource.getrlimit(resource.RLIMIT_NOFILE)
failed = 0
for number in range(before, before + 60):
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        c.start()
        break
    except (OSError, pc.PyContainerError):
        failed += 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
c.wait(20)  # its monitor has as few, and works
c.close()
after = count()
c.remove(force=True)
say([failed, after - before])
"""
    )
    assert told[0] > 3
    assert told[1] == 0


def test_a_tree_that_could_not_be_built_is_not_in_the_way(other):
    told = other(
        """
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
kinds = set()
for number in range(len(os.listdir("/proc/self/fd")) + 2, 200):
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        pc.run("host:", ["true"])
        break
    except (OSError, pc.PyContainerError) as error:
        kinds.add(type(error).__name__)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
say([number < 199, sorted(kinds)])
"""
    )
    assert told[0]
    assert "FileExistsError" not in told[1]
