"""Health checks: run by the monitor, told by status, log and events."""

from __future__ import annotations

import attrs
import pytest

import pycontainer as pc
from pycontainer.container.detached.options import HealthCheck, parse_keeping
from tests.detached.conftest import until

FAST = {"interval": 0.05, "timeout": 5}


def test_it_becomes_healthy_and_unhealthy_and_healthy_again(box, other):
    container = box(healthcheck=HealthCheck("echo looked; test -e /tmp/well", retries=2, **FAST))
    assert container.health == "starting"
    container.write_bytes("/tmp/well", b"")
    until(lambda: container.health == "healthy")
    container.exec(["rm", "/tmp/well"])
    until(lambda: container.health == "unhealthy")
    assert container.run_state.streak >= 2
    assert [each.id for each in pc.default_engine().containers.list(filters={"health": "unhealthy"})] == [
        container.id
    ]
    results = container.health_log()
    assert 1 <= len(results) <= 5
    assert {each.output for each in results} == {b"looked\n"}
    assert results[-1].exit_code == 1
    assert results[-1].began <= results[-1].ended
    container.write_bytes("/tmp/well", b"")
    until(lambda: container.health == "healthy")
    told = container.inspect()["State"]["Health"]
    assert told["Status"] == "healthy"
    happened = [
        each.attributes["health"]
        for each in pc.default_engine().containers.events(since=0, follow=False)
        if each.id == container.id and each.action == "health_status"
    ]
    assert happened == ["healthy", "unhealthy", "healthy"]


def test_failures_of_the_start_period_do_not_count(box):
    container = box(healthcheck=HealthCheck("false", retries=1, start_period=60, **FAST))
    until(lambda: len(container.health_log()) >= 3)
    assert container.health == "starting"


def test_one_that_takes_too_long_has_failed(box):
    container = box(healthcheck=HealthCheck(["sleep", "1000"], interval=0.05, timeout=0.2, retries=1))
    until(lambda: container.health == "unhealthy")
    assert container.health_log()[-1].exit_code == -1
    container.kill()
    assert container.wait(20) == 137


def test_one_that_is_not_there(box):
    container = box(healthcheck=HealthCheck(["nonexistent"], retries=1, **FAST))
    until(lambda: container.health == "unhealthy")
    assert container.health_log()[-1].exit_code == 127


def test_it_runs_as_the_container_does(box):
    script = "id -u; hostname; echo $A; cat /proc/1/comm; grep -c . /proc/self/status; grep Seccomp: /proc/self/status"
    container = box(healthcheck=HealthCheck(script, **FAST), env={"A": "b"}, user="65534", hostname="named")
    until(lambda: container.health == "healthy")
    output = container.health_log()[-1].output.split(b"\n")
    assert output[:4] == [b"65534", b"named", b"b", b"sleep"]
    assert output[5] == b"Seccomp:\t2"


def test_much_output_is_cut(box):
    container = box(healthcheck=HealthCheck("head -c 1000000 /dev/zero", **FAST))
    until(lambda: container.health == "healthy")
    assert container.health_log()[-1].output == bytes(4096)


def test_it_begins_anew_with_a_restart(box):
    container = box(healthcheck=HealthCheck("true", **FAST))
    until(lambda: container.health == "healthy")
    container.stop(0.1)
    assert container.health == "healthy"
    container.start()
    until(lambda: container.health == "healthy")


@pytest.mark.needs("cgroup")
def test_a_paused_container_hinders_nobody(box):
    container = box(healthcheck=HealthCheck("true", interval=0.02, timeout=0.1, retries=2))
    until(lambda: container.health == "healthy")
    container.pause()
    until(lambda: container.health == "unhealthy")
    assert container.status == "paused"
    container.unpause()
    until(lambda: container.health == "healthy")
    assert container.exec(["true"]).exit_code == 0
    container.pause()
    container.kill()
    assert container.wait(20) == 137


def test_programs_that_a_check_leaves_behind_go_with_the_container(box):
    container = box(healthcheck=HealthCheck("sleep 1000 & echo $!", **FAST))
    until(lambda: container.health == "healthy")
    container.kill()
    assert container.wait(20) == 137


def test_an_images_own():
    config = pc.ImageConfig(
        cmd=["x"],
        more={"Healthcheck": {"Test": ["CMD-SHELL", "curl x"], "Interval": 5_000_000_000, "Retries": 7}},
    )
    health = parse_keeping({}, config).health
    assert health == HealthCheck("curl x", interval=5, retries=7)
    assert parse_keeping({"healthcheck": False}, config).health is None
    assert parse_keeping({"healthcheck": ["y"]}, config).health == HealthCheck(["y"])
    for nothing in ({"Test": ["NONE"]}, {"Test": []}, {"Test": "x"}, [], None, {"Test": ["CMD"]}):
        assert parse_keeping({}, attrs.evolve(config, more={"Healthcheck": nothing})).health is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval": 0},
        {"timeout": -1},
        {"retries": 0},
        {"start_period": "x"},
        {"retries": True},
        {"timeout": 1e99},
    ],
)
def test_wrong_values(wrong):
    with pytest.raises(pc.InvalidArgument):
        HealthCheck("true", **wrong)


def test_one_that_takes_too_long_leaves_nothing_that_its_shell_waited_for(box):
    # The shell goes on after it, so it has a process of its own.
    check = HealthCheck("sleep 1000; true", interval=0.05, timeout=0.2, retries=1)
    container = box(["sleep", "2000"], init=True, healthcheck=check)
    until(lambda: len(container.health_log()) >= 4)
    listed = container.exec(["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"], text=True).stdout
    assert listed.count("sleep 1000 ") <= 1
