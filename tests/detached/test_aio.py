"""Detached containers on an event loop."""

from __future__ import annotations

import asyncio

import pytest

import pycontainer as pc
from pycontainer import aio


@pytest.fixture
def made():
    """Containers to be removed at the end."""
    found = []
    yield found
    for each in found:
        each.remove(force=True)


def test_it_goes_on_without_its_context(made):
    async def main():
        async with aio.Container.create("host:", ["sleep", "1000"], detach=True) as container:
            made.append(container.sync)
            assert isinstance(container, aio.DetachedContainer)
            await container.start()
        assert container.status == "running"
        assert (await container.exec(["echo", "hi"], text=True)).stdout == "hi\n"
        assert await container.stop(0) == 137
        assert await container.wait() == 137

    asyncio.run(main())


def test_many_are_waited_for_at_once(made):
    async def main():
        command = ["sh", "-c", "read line; exit $line"]
        running = [await aio.run("host:", command, detach=True, stdin_open=True) for _ in range(20)]
        made.extend(each.sync for each in running)
        waiting = [asyncio.ensure_future(each.wait(60)) for each in running]
        await asyncio.sleep(0.1)
        assert not any(each.done() for each in waiting)
        for number, each in enumerate(running):
            with each.sync.attach() as streams:
                streams.write(b"%d\n" % number)
        assert await asyncio.gather(*waiting) == list(range(20))

    asyncio.run(main())


def test_one_that_is_started_again_has_not_ended(made):
    async def main():
        container = await aio.run("host:", ["sh", "-c", "exit 4"], detach=True, restart="on-failure:2")
        made.append(container.sync)
        assert await container.wait(30) == 4
        assert container.sync.run_state.restarts == 2

    asyncio.run(main())


def test_waiting_ends_with_its_time_and_with_the_task(made):
    async def main():
        container = await aio.run("host:", ["sleep", "1000"], detach=True)
        made.append(container.sync)
        with pytest.raises(pc.WaitTimeout):
            await container.wait(0.1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(container.wait(), 0.1)
        assert container.status == "running"

    asyncio.run(main())


def test_the_loop_goes_on_while_a_condition_is_waited_for(made):
    async def main():
        command = ["sh", "-c", "sleep 0.3; echo up; exec sleep 1000"]
        container = await aio.run("host:", command, detach=True)
        made.append(container.sync)
        waiting = asyncio.ensure_future(container.wait_for(pc.wait.log("up"), timeout=30))
        ticks = 0
        while not waiting.done():
            await asyncio.sleep(0.01)
            ticks += 1
        await waiting
        assert ticks > 5
        with pytest.raises(pc.WaitTimeout, match="file"):
            await container.wait_for(pc.wait.file("/nowhere"), timeout=0.1)
        with pytest.raises(pc.InvalidArgument, match="condition"):
            await container.wait_for("port")

    asyncio.run(main())


@pytest.mark.parametrize("detach", [True, False])
def test_what_it_writes_comes_as_it_is_written(made, detach):
    command = ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done; echo err >&2"]

    async def main():
        container = await aio.Container.create("host:", command, detach=detach)
        made.append(container.sync if detach else container._container)
        await container.start()
        lines = container.logs(follow=True, stderr=False)
        times = [(line, asyncio.get_running_loop().time()) async for line in lines]
        assert [line for line, _ in times] == [b"1\n", b"2\n", b"3\n"]
        assert times[-1][1] - times[0][1] > 0.1
        assert [line async for line in container.logs()] == [b"1\n", b"2\n", b"3\n", b"err\n"]
        assert [each.stream async for each in container.logs(entries=True, tail=1)] == ["stderr"]

    asyncio.run(main())


@pytest.mark.parametrize("detach", [True, False])
def test_many_follow_at_once_and_are_cancelled(made, detach):
    async def follow(container):
        return await container.logs(follow=True).__anext__()

    async def main():
        container = await aio.Container.create(
            "host:", ["sh", "-c", "sleep 0.5; echo x; exec sleep 1000"], detach=detach
        )
        made.append(container.sync if detach else container._container)
        await container.start()
        assert await asyncio.gather(*(follow(container) for _ in range(20))) == [b"x\n"] * 20
        waiting = asyncio.ensure_future(follow(container))
        endless = asyncio.ensure_future(_all(container.logs(follow=True, tail=0)))
        assert await waiting == b"x\n"
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(endless, 0.2)
        assert container.status == "running"

    asyncio.run(main())


async def _all(logs):
    return [line async for line in logs]


def test_a_start_that_is_cancelled_is_ended(made):
    async def main():
        container = await aio.Container.create("host:", ["sleep", "1000"], detach=True)
        made.append(container.sync)
        starting = asyncio.ensure_future(container.start())
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert container.status in {"created", "exited"}

    asyncio.run(main())
