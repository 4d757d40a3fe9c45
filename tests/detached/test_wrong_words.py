"""What is no time, name, filter or signal is refused by name, and before anything was done."""

from __future__ import annotations

import asyncio
import datetime

import pytest

import pycontainer as pc
from pycontainer import aio
from pycontainer.container.detached.options import parse_keeping
from pycontainer.image.config import ImageConfig


@pytest.mark.parametrize("seconds", ["x", float("nan"), True, b"1"])
def test_times_to_wait(box, seconds):
    container = box()
    with pc.Container.create("host:", ["sleep", "1000"]) as own:
        own.start()
        for each in (container, own):
            for call in (
                lambda each=each: each.wait(seconds),
                lambda each=each: each.stop(seconds),
                lambda each=each: each.restart(seconds),
                lambda each=each: each.wait_for(lambda _: False, timeout=seconds),
            ):
                with pytest.raises(pc.InvalidArgument, match="timeout"):
                    call()
            assert each.status == "running"


def test_times_to_wait_on_an_event_loop(box):
    container = aio.DetachedContainer(box())

    async def use() -> None:
        async with aio.Container.create("host:", ["sleep", "1000"]) as own:
            await own.start()
            for each in (container, own):
                for call in (
                    each.wait,
                    each.stop,
                    lambda s, each=each: each.wait_for(lambda _: False, timeout=s),
                ):
                    with pytest.raises(pc.InvalidArgument, match="timeout"):
                        await call(float("nan"))
                assert each.status == "running"

    asyncio.run(use())


def test_a_negative_time_to_stop_is_not_no_time(box):
    container = box()
    with pytest.raises(pc.InvalidArgument, match="None for ever"):
        container.stop(-1)
    assert container.status == "running"


@pytest.mark.parametrize("seconds", [1e30, float("inf")])
def test_longer_than_a_clock_counts(box, seconds):
    container = box(["sleep", "0.3"])
    assert container.wait(seconds) == 0


@pytest.mark.parametrize("name", ["", "a", "a b", "../x", "-x", "é", 5, None])
def test_names(box, name):
    container = box(start=False)
    with pytest.raises(pc.InvalidArgument, match="name="):
        container.rename(name)
    assert pc.default_engine().containers.get(container.id).name == container.name


def test_an_id_is_found_before_a_name(box):
    first, second = box(start=False), box(start=False)
    second.rename(first.id)
    assert pc.default_engine().containers.get(first.id).id == first.id


@pytest.mark.parametrize("signal", [None, 5.5, True, ["TERM"]])
def test_signals(box, signal):
    container = box()
    with pytest.raises(pc.InvalidArgument, match="signal"):
        container.kill(signal)
    assert container.status == "running"


@pytest.mark.parametrize(
    "filters",
    [
        [("name", "x")],
        "name=x",
        {"name": None},
        {"id": b"ab"},
        {"label": {"a": "b"}},
        {"health": "well"},
        {"exited": "x"},
        {"ancestor": 1.5},
        {"status": ["exited", "bogus"]},
    ],
)
def test_filters(filters):
    with pytest.raises(pc.InvalidArgument, match="filters"):
        pc.default_engine().containers.list(filters=filters)


def test_several_values_of_a_filter_come_in_whatever_holds_them(box):
    first, second = box(start=False), box(start=False)
    containers = pc.default_engine().containers
    for values in ({first.id, second.id}, iter([first.id, second.id]), {first.id: 1, second.id: 1}.keys()):
        found = containers.list(all=True, filters={"id": values})
        assert [each.id for each in found] == [first.id, second.id]


@pytest.mark.parametrize("test", ["", [], [""], "a\0b", ["a", "b\0"]])
def test_health_checks(test):
    with pytest.raises(pc.InvalidArgument, match="test="):
        pc.Container.create("host:", ["true"], detach=True, healthcheck=test)
    pc.default_engine().containers.list(all=True)


@pytest.mark.parametrize(
    "told",
    [
        {"Test": ["CMD-SHELL", "a\0b"]},
        {"Test": ["CMD", ""]},
        {"Test": ["CMD", 5]},
        {"Test": ["CMD", "true"], "Interval": "30s"},
        {"Test": ["CMD", "true"], "Retries": "3"},
        {"Test": ["CMD", "true"], "Timeout": 1},
    ],
)
def test_health_checks_of_an_image(told):
    config = ImageConfig(more=(("Healthcheck", told),))
    with pytest.raises(pc.InvalidArgument, match="the image's HEALTHCHECK is wrong"):
        parse_keeping({}, config)
    assert parse_keeping({"healthcheck": False}, config).health is None


def test_moments(box):
    container = box(["true"])
    container.wait(20)
    containers = pc.default_engine().containers
    for wrong in ("x", float("nan"), True, [1]):
        with pytest.raises(pc.InvalidArgument, match="since"):
            containers.events(since=wrong, follow=False)
        with pytest.raises(pc.InvalidArgument, match="until"):
            containers.prune(until=wrong)
        with pytest.raises(pc.InvalidArgument, match="since"):
            container.logs(since=wrong)
    hour = datetime.timedelta(hours=1)
    seen = [each.action for each in containers.events(since=hour, follow=False) if each.id == container.id]
    assert seen == ["create", "start", "die"]
    now = datetime.datetime.now(tz=datetime.timezone.utc)
    assert list(containers.events(since=now + hour, follow=False)) == []
    assert container.id not in containers.prune(until=hour)
    with pytest.raises(pc.InvalidArgument, match="follow"):
        containers.events(follow=1)


def test_conditions():
    for wrong in (
        lambda: pc.wait.command([]),
        lambda: pc.wait.command("true", timeout=-1),
        lambda: pc.wait.http("80"),
        lambda: pc.wait.http(70000),
        lambda: pc.wait.http(80, host=5),
        lambda: pc.wait.http(80, status="200"),
        lambda: pc.wait.log("x", count=0),
        lambda: pc.wait.log("x", count="1"),
    ):
        with pytest.raises(pc.InvalidArgument):
            wrong()


@pytest.mark.needs("cgroup")
def test_pauses_of_a_stream_of_stats(box):
    with pytest.raises(pc.InvalidArgument, match="interval"):
        box().stats(stream=True, interval="x")
