"""`pycontainer.aio`: the same names on an event loop; what is cancelled ends, and leaves nothing."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

import pycontainer as pc
from pycontainer import aio
from tests.support import leaks

FOREVER = ["sleep", "1000"]


def leased() -> list[str]:
    """The id ranges that this process holds; the house rules allow a few to stay, an engine that is closed does not."""
    return [key for key in leaks.fds() if re.search(r"-> (user:|/run/pycontainer/ids/)", key)]


@pytest.fixture
def engine():
    pc.run("host:", ["true"])
    before = leased()
    with pc.Engine() as engine:
        yield engine
    assert leased() == before


@pytest.fixture
def go(engine):
    """Run a test's coroutine function, with a container that runs where it asks for one."""

    def go(test, *, image="host:", command=FOREVER, **options):
        async def main():
            if not inspect.signature(test).parameters:
                return await test()
            options.setdefault("init", True)
            async with aio.Container.create(image, command, engine=engine, **options) as container:
                await container.start()
                return await test(container)

        return asyncio.run(main())

    return go


_others: set[str] = set()


@pytest.fixture(autouse=True)
def _remember_others():
    """Servers of other tests go on meanwhile."""
    _others.clear()
    _others.update(leaks.children())


def programs() -> list[str]:
    """The children of this process since the test began that are not its leash, nor the writer of its logs."""
    found = leaks.children().items()
    return [text for pid, text in found if pid not in _others and not re.search(r" (reaper|scribe)\b", text)]


# -- run -----------------------------------------------------------------------------------


def test_run_says_what_the_synchronous_one_says(engine, go):
    async def test():
        command = ["sh", "-c", "cat; echo err >&2; touch /root/new; exit 3"]
        return await aio.run("host:", command, engine=engine, input="grüße", text=True, user="root")

    result = go(test)
    assert (result.exit_code, result.stdout, result.stderr) == (3, "grüße", "err\n")
    assert "/root/new" in {change.path for change in result.changes()}
    assert 0 < result.usage.wall < 60


def test_run_checks_and_knows_what_cannot_be_run(engine, go):
    async def test():
        with pytest.raises(pc.ContainerFailed):
            await aio.run("host:", ["false"], engine=engine, check=True)
        with pytest.raises(pc.InvalidArgument, match="workdir"):
            await aio.run("host:", ["true"], engine=engine, workdir="relative")
        assert (await aio.run("host:", ["no-such-program"], engine=engine)).exit_code == 127
        assert (await aio.run("host:", ["/etc/passwd"], engine=engine)).exit_code == 126

    go(test)


def test_a_timeout_ends_a_run_and_keeps_what_it_wrote(engine, go):
    async def test():
        return await aio.run("host:", ["sh", "-c", "echo begun; sleep 1000"], engine=engine, timeout=0.5)

    result = go(test)
    assert (result.timed_out, result.exit_code, result.stdout) == (True, 137, b"begun\n")


def test_a_flood_in_both_directions(engine, go):
    async def test():
        return await aio.run("host:", ["cat"], engine=engine, input=b"x" * 5_000_000, output_limit=1000)

    result = go(test)
    assert result.truncated
    assert result.stdout == b"x" * 1000


def test_a_terminal(engine, go):
    async def test():
        command = ["sh", "-c", "read line; tty; echo $line"]
        return await aio.run("host:", command, engine=engine, tty=True, text=True, input="typed\n")

    assert go(test).stdout.split() == ["typed", "/dev/pts/0", "typed"]


def test_fifty_at_once(engine, go):
    async def test():
        runs = [aio.run("host:", ["echo", str(number)], engine=engine) for number in range(50)]
        return await asyncio.gather(*runs)

    assert [result.stdout for result in go(test)] == [b"%d\n" % number for number in range(50)]


def test_the_default_engine_is_used_where_none_is_given():
    async def test():
        async with aio.Container.create("host:", ["true"]) as container:
            assert (await aio.run("host:", ["true"])).exit_code == 0
            return container.name

    assert asyncio.run(test()) not in {each.name for each in pc.Engine().containers.list(all=True)}


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, SystemExit])
def test_what_on_output_raises_leaves_the_call(engine, error):
    seen = []

    def on_output(name, data):
        seen.append((name, data))
        raise error

    async def test():
        await aio.run("host:", ["sh", "-c", "echo x; sleep 1000"], engine=engine, on_output=on_output)

    with pytest.raises(error):
        asyncio.run(test())
    assert seen == [("stdout", b"x\n")]
    assert programs() == []


def test_what_input_raises_leaves_the_call(go):
    def pieces():
        yield b"x"
        raise Broken

    async def test(container):
        with pytest.raises(Broken):
            await container.exec(["sh", "-c", "cat; sleep 1000"], input=pieces())
        assert b"cat" not in (await container.exec(["ps", "-A", "-o", "comm="])).stdout

    go(test)


@pytest.mark.parametrize("run", [pc.run, lambda *args, **more: asyncio.run(aio.run(*args, **more))])
def test_input_of_the_wrong_type_is_refused_and_nothing_runs_on(run):
    with pytest.raises(pc.InvalidArgument, match="input"):
        run("host:", FOREVER, input="text")
    assert programs() == []


# -- cancelling ----------------------------------------------------------------------------


async def cut(coroutine, seconds: float, how: str) -> bool:
    """Run a coroutine, but for so long only; whether it was cut."""
    if how == "cancel":
        task = asyncio.create_task(coroutine)
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
        return task.cancelled()
    try:
        if how == "wait_for":
            await asyncio.wait_for(coroutine, seconds)
        else:
            async with asyncio.timeout(seconds):
                await coroutine
    except asyncio.TimeoutError:
        return True
    return False


HOW = ["cancel", "wait_for", *(["timeout"] if sys.version_info >= (3, 11) else [])]
cancelled = pytest.mark.parametrize("ms", [0, 1, 2, 5, 10, 20, 50])
somehow = pytest.mark.parametrize("how", HOW)


@cancelled
@somehow
def test_a_cancelled_run_has_ended(engine, go, ms, how):
    async def test():
        assert await cut(aio.run("host:", FOREVER, engine=engine), ms / 1000, how)
        assert programs() == []

    go(test)


@cancelled
@somehow
def test_a_cancelled_exec_has_ended_and_spares_the_container(go, ms, how):
    async def test(container):
        before = programs()
        assert await cut(container.exec(["sleep", "777"]), ms / 1000, how)
        assert programs() == before
        assert container.status == "running"
        assert b"777" not in (await container.exec(["ps", "-A", "-o", "args="])).stdout

    go(test)


@pytest.mark.needs("cgroup")
def test_a_cancelled_exec_takes_all_that_came_of_it(go):
    async def test(container):
        assert await cut(container.exec(["sh", "-c", "setsid sleep 777 & sleep 778"]), 0.2, "cancel")
        await container.exec(
            ["sh", "-c", "while ps -A -o args= | grep '[s]leep 77'; do sleep 0.02; done"],
            timeout=20,
            check=True,
        )

    go(test)


@cancelled
@somehow
def test_a_cancelled_start_leaves_it_not_running(engine, go, ms, how):
    async def test():
        async with aio.Container.create("host:", FOREVER, engine=engine, init=True) as container:
            if await cut(container.start(), ms / 1000, how):
                assert programs() == []
                assert container.status in {"created", "exited"}
                await container.start()
            assert container.status == "running"

    go(test)


@cancelled
@somehow
def test_a_cancelled_wait_or_stop_can_be_repeated(go, ms, how):
    async def test(container):
        assert await cut(container.wait(), ms / 1000, how)
        assert container.status == "running"
        await cut(container.stop(), ms / 1000, how)
        assert await container.stop() == 143
        assert await container.wait() == 143

    go(test)


@cancelled
@somehow
def test_a_cancelled_life_is_over(engine, go, ms, how):
    async def life():
        async with aio.Container.create("host:", FOREVER, engine=engine, init=True) as container:
            await container.start()
            async with container.popen(["cat"], stdin=pc.PIPE, stdout=pc.PIPE) as process:
                await process.stdout.read()

    async def test():
        assert await cut(life(), ms / 1000, how)
        assert programs() == []
        assert engine.containers.list(all=True) == []

    go(test)


def test_a_storm_of_cancellations(engine, go):
    chance = random.Random(7)

    async def impatient():
        task = asyncio.create_task(aio.run("host:", FOREVER, engine=engine))
        for _ in range(3):
            await asyncio.sleep(chance.uniform(0, 0.05))
            task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    async def test():
        assert all(await asyncio.gather(*(impatient() for _ in range(60))))
        assert programs() == []

    go(test)


def test_a_call_that_waits_for_a_thread_is_cancelled_at_once(engine, go):
    released = threading.Event()

    async def test():
        loop = asyncio.get_running_loop()
        busy = [loop.run_in_executor(None, released.wait, 20) for _ in range(64)]
        try:
            started = time.monotonic()
            assert await cut(aio.Container.create("host:", FOREVER, engine=engine), 0.02, "cancel")
            assert time.monotonic() - started < 5
        finally:
            released.set()
            await asyncio.gather(*busy)
        assert engine.containers.list(all=True) == []

    go(test)


def test_ctrl_c_ends_the_container(tmp_path):
    script = """
import asyncio, pathlib, signal
from pycontainer import aio
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever it was inherited as
run = aio.run("host:", ["sh", "-c", "echo runs; sleep 1000"], on_output=lambda *_: print("runs", flush=True))
try:
    asyncio.run(run)
except KeyboardInterrupt:
    threads = pathlib.Path("/proc/self/task").glob("*/children")
    print(*[pathlib.Path(f"/proc/{pid}/comm").read_text() for each in threads for pid in each.read_text().split()])
"""
    environment = {**os.environ, "PYCONTAINER_ROOT": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "runs\n"
            process.send_signal(signal.SIGINT)
            left, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, left, errors) == (0, "reaper\n\n", "")


# -- a container's life --------------------------------------------------------------------


def test_a_whole_life(engine, go):
    async def test():
        script = "trap 'exit 4' TERM; touch /ready; while :; do sleep 0.05; done"
        container = await aio.Container.create("host:", ["sh", "-c", script], engine=engine, name="whole")
        assert (container.name, container.status, container.exit_code) == ("whole", "created", None)
        assert len(container.id) == 64
        assert container.spec.argv[0] == "sh"
        with pytest.raises(pc.StateError):
            _ = container.pid
        await container.start()
        assert container.status == "running"
        os.kill(container.pid, 0)
        await container.exec(["sh", "-c", "until [ -e /ready ]; do sleep 0.01; done"], timeout=20, check=True)
        with pytest.raises(pc.WaitTimeout):
            await container.wait(timeout=0.02)
        assert await container.stop(timeout=20) == 4
        assert await container.stop() == 4
        await container.restart()
        await container.kill()
        assert (container.status, container.exit_code, await container.wait()) == ("exited", 137, 137)
        await container.remove()
        await container.remove()
        assert container.status == "removed"
        with pytest.raises(pc.StateError):
            await container.start()

    go(test)


def test_stop_kills_what_ignores_the_signal_and_the_loop_goes_on(go):
    async def test(container):
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += container.status == "running"
                await asyncio.sleep(0.005)

        ticker = asyncio.create_task(tick())
        assert await container.stop(timeout=0.3) == 137
        ticker.cancel()
        assert ticks >= 20

    go(test, command=["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], init=False)


def test_attributes_answer_while_a_verb_is_at_work(go):
    async def test(container):
        await container.exec(["sh", "-c", "mkdir /many; cd /many; seq 5000 | xargs touch"], check=True)
        changes = asyncio.create_task(container.changes())
        answers = []
        while not changes.done():
            answers.append((container.status, container.exit_code, container.pid))
            await asyncio.sleep(0)
        assert len(await changes) > 5000
        assert len(answers) > 20
        assert set(answers) == {("running", None, container.pid)}

    go(test)


def test_several_wait_for_the_same_end(go):
    async def test(container):
        waits = [asyncio.create_task(container.wait()) for _ in range(3)]
        begun = asyncio.Event()
        command = ["sh", "-c", "echo begun; exec sleep 1000"]
        runs = asyncio.create_task(container.exec(command, on_output=lambda *_: begun.set()))
        await begun.wait()
        started = time.monotonic()
        os.kill(container.pid, signal.SIGKILL)
        assert await asyncio.gather(*waits) == [137] * 3
        assert (await runs).signal == signal.SIGKILL
        assert time.monotonic() - started < 10

    go(test)


def test_wait_reaps_programs_that_nobody_waits_for(go):
    async def test(container):
        before = await container.popen(FOREVER)
        wait = asyncio.create_task(container.wait(timeout=20))
        await asyncio.sleep(0.05)
        # The first process of a pid namespace ends when all others there are reaped: this one, too.
        after = await container.popen(FOREVER)
        assert await wait == 0
        assert before.poll() == after.poll() == 137
        before.close()
        after.close()

    go(test, command=["sleep", "0.5"], init=False)


def test_a_synchronous_wait_reaps_them_too(engine):
    with pc.Container.create("host:", ["sleep", "0.5"], engine=engine) as container:
        container.start()
        late = []
        timer = threading.Timer(0.1, lambda: late.append(container.popen(FOREVER)))
        timer.start()
        assert container.wait(timeout=20) == 0
        timer.join()
        assert late[0].poll() == 137
        late[0].close()


def test_many_programs_of_one_container_at_once(go):
    async def test(container):
        for _ in range(3):
            results = await asyncio.gather(*(container.exec(["echo", str(n)], check=True) for n in range(20)))
            assert [result.stdout for result in results] == [b"%d\n" % n for n in range(20)]

    go(test)


def test_files(go, tmp_path):
    (tmp_path / "file").write_bytes(b"of the host")

    async def test(container):
        await container.put(tmp_path / "file", "/root/")
        assert await container.read_bytes("/root/file") == b"of the host"
        await container.write_bytes("/root/file", b"written", mode=0o600)
        await container.get("/root/file", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"written"
        assert "/root/file" in {change.path for change in await container.changes()}

    go(test)


@pytest.mark.needs("cgroup")
def test_pause(go):
    async def test(container):
        await container.pause()
        assert container.status == "paused"
        with pytest.raises(pc.StateError, match="paused"):
            await container.exec(["true"])
        await container.unpause()
        assert (await container.exec(["true"])).exit_code == 0
        await container.pause()
        assert await container.stop() == 143

    go(test)


# -- programs with live streams ------------------------------------------------------------


def test_popen_has_live_streams(go):
    async def test(container):
        script = ["sh", "-c", "while read line; do echo $line; echo $line >&2; done; exit 5"]
        async with container.popen(script, stdin=pc.PIPE, stdout=pc.PIPE, stderr=pc.PIPE) as process:
            for word in (b"one\n", b"two\n"):
                process.stdin.write(word)
                await process.stdin.drain()
                assert await process.stdout.readline() == word
                assert await process.stderr.readline() == word
            with pytest.raises(pc.WaitTimeout):
                await process.wait(timeout=0.02)
            process.stdin.close()
            await process.stdin.wait_closed()
            assert await process.wait(timeout=20) == 5
            assert await process.stdout.read() == b""
        assert (process.poll(), process.exit_code, process.signal) == (5, 5, None)

    go(test)


def test_popen_on_a_terminal(go):
    async def test(container):
        async with container.popen(["sh", "-c", "read x; stty size; tty"], tty=True) as process:
            process.resize(24, 80)
            process.stdin.write(b"go\n")
            output = await process.stdout.read()
        assert b"24 80" in output
        assert b"/dev/pts/" in output
        assert process.exit_code == 0

    go(test)


def test_popen_without_pipes_and_signals(go):
    async def test(container):
        process = await container.popen(FOREVER)
        assert process.stdin is process.stdout is process.stderr is None
        process.send_signal("TERM")
        assert await process.wait(timeout=20) == 143
        assert process.signal == signal.SIGTERM
        with pytest.raises(pc.StateError, match="terminal"):
            process.resize(1, 1)
        process.close()
        process.close()
        with pytest.raises(pc.CommandNotFound):
            await container.popen(["no-such-program"])

    go(test)


def test_a_block_that_is_left_by_an_exception_kills_the_program(go):
    async def test(container):
        with pytest.raises(Broken):
            async with container.popen(FOREVER, stdout=pc.PIPE) as process:
                raise Broken
        assert process.exit_code == 137

    go(test)


def test_a_program_that_reads_nothing_does_not_hold_up_the_end(go):
    async def test(container):
        async with container.popen(["sleep", "0.2"], stdin=pc.PIPE) as process:
            process.stdin.write(b"x" * 1_000_000)
        assert process.exit_code == 0

    go(test)


def test_what_a_reader_may_hold_is_bounded(go):
    async def test(container):
        async with container.popen(["head", "-c", "9999", "/dev/zero"], stdout=pc.PIPE, limit=100) as process:
            with pytest.raises(ValueError, match="limit"):
                await process.stdout.readline()
        with pytest.raises(ValueError, match=r"[Ll]imit"):
            await container.popen(FOREVER, stdout=pc.PIPE, limit=0)

    go(test)


# -- the face ------------------------------------------------------------------------------

#: Parameters that differ, and why: the streams are asyncio's, of bytes, with its limit.
STREAMS = {"text", "encoding", "errors", "bufsize", "limit"}
#: What the synchronous container has for those that drive it.
INNER = {"alive", "allow", "ask_to_stop", "prepare"}


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_it_has_every_verb_and_attribute_of_the_synchronous_container(engine):
    with pc.Container.create("host:", ["true"], engine=engine) as container:
        attributes = {name for name in vars(container) if not name.startswith("_")}
    assert public(aio.Container) == (public(pc.Container) | attributes) - INNER


@pytest.mark.parametrize("name", sorted(public(pc.Container) - INNER))
def test_its_verbs_take_the_same_arguments(name):
    ours, theirs = getattr(aio.Container, name), getattr(pc.Container, name)
    if isinstance(theirs, property):
        assert isinstance(ours, property)
        return
    assert inspect.iscoroutinefunction(ours) or name in {"create", "logs", "popen", "stats"}

    def parameters(function):
        found = inspect.signature(function).parameters.values()
        return [(each.name, each.kind, each.default) for each in found if each.name not in STREAMS]

    assert parameters(ours) == parameters(theirs)


def test_run_takes_what_the_engine_takes():
    ours, theirs = inspect.signature(aio.run).parameters, inspect.signature(pc.Engine.run).parameters
    assert ours.keys() - theirs.keys() == {"engine"}
    assert theirs.keys() - ours.keys() == {"self"}
    assert all(ours[name].kind == each.kind for name, each in theirs.items() if name != "self")
