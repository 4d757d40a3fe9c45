"""Pools: what a run in a container that was set up before has in common with any run, and what it takes."""

from __future__ import annotations

import asyncio
import io
import os
import select
import signal
import threading
import time
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer import aio


@pytest.fixture
def engine(tmp_path):
    """One that is closed with the test: what many containers at once leased is given back."""
    with pc.Engine(tmp_path / "engine") as made:
        yield made


@pytest.fixture
def pool(engine):
    with pc.Pool("host:", 2, engine=engine) as made:
        yield made


class TestRuns:
    @pytest.mark.parametrize(
        ("command", "options"),
        [
            (["sh", "-c", "echo out; echo err >&2; exit 3"], {}),
            (["sh", "-c", "kill -9 $$"], {}),
            (["cat"], {"input": b"typed" * 100_000}),
            (["cat"], {"input": "typed", "text": True}),
            (["sh", "-c", "yes | head -c 100000"], {"output_limit": 10}),
            (["sh", "-c", "echo x >&2"], {"stderr": pc.STDOUT}),
            (["sh", "-c", "echo $A $B $PATH $HOME"], {"env": {"A": "1"}}),
            (["pwd"], {"workdir": "/usr"}),
            (["pwd"], {"workdir": "/made/by the run"}),
            (["sh", "-c", "id; echo $HOME"], {"user": "nobody"}),
            (["pwd"], {"user": "nobody", "workdir": "/root"}),
            (["sh", "-c", "echo x > /x; rm -r /root"], {}),
            (["no-such-program"], {}),
            (["/etc"], {}),
            (["/etc"], {"text": True}),
            (["echo", "ü" * 1000, *["word"] * 20_000], {}),
        ],
    )
    def test_a_result_is_that_of_any_run(self, command, options):
        settings = {"env": {"A": "0", "B": "2"}, "hostname": "same"}
        with pc.Pool("host:", 1, **settings) as pool:
            ours = pool.run(command, **options)
        settings["env"] = {**settings["env"], **options.pop("env", {})}
        theirs = pc.run("host:", command, **settings, **options)
        for name in ("args", "exit_code", "signal", "stdout", "stderr", "truncated", "timed_out", "limit"):
            assert getattr(ours, name) == getattr(theirs, name), name
        assert ours.changes() == theirs.changes()

    def test_each_finds_a_fresh_root(self, pool):
        for _ in range(4):
            result = pool.run(
                ["sh", "-c", "cat /x /tmp/x /dev/shm/x; for f in /x /tmp/x /dev/shm/x; do echo x > $f; done"]
            )
            assert result.exit_code == 0
            assert result.stdout == b""
            assert pc.Change(kind="added", path="/x") in result.changes()

    def test_changes_can_be_left_out(self, pool):
        with pytest.raises(pc.StateError):
            pool.run(["true"], changes=False).changes()

    def test_timeouts(self, pool):
        result = pool.run(["sh", "-c", "echo begun; trap '' TERM; sleep 100 & wait"], timeout=0.3)
        assert (result.timed_out, result.limit, result.stdout) == (True, "timeout", b"begun\n")

    def test_check(self, pool):
        with pytest.raises(pc.ContainerFailed):
            pool.run(["false"], check=True)

    def test_streams_of_the_callers(self, pool, tmp_path):
        with open(tmp_path / "out", "wb") as out, open("/etc/hostname", "rb") as source:
            assert pool.run(["cat"], stdin=source, stdout=out).stdout == b""
        assert (tmp_path / "out").read_bytes() == Path("/etc/hostname").read_bytes()

    def test_pieces_of_output(self, pool):
        pieces = []
        pool.run(["echo", "x"], on_output=lambda name, piece: pieces.append((name, piece)))
        assert pieces == [("stdout", b"x\n")]

    def test_an_exception_of_the_caller_ends_it(self, pool):
        def fail(name, piece):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            pool.run(["sh", "-c", "echo x; sleep 100"], on_output=fail)
        assert pool.run(["true"]).exit_code == 0

    @pytest.mark.parametrize("options", [{"init": True}, {"read_only": True}, {"network": "host"}])
    def test_kinds_of_containers(self, options):
        with pc.Pool("host:", 1, **options) as pool:
            result = pool.run(["sh", "-c", "echo $$; exit 4"], text=True)
            assert (result.exit_code, result.stdout) == (4, "2\n" if "init" in options else "1\n")
            assert pool.run(["no-such-program"]).exit_code == 127

    def test_the_images_own_command_and_entrypoint(self):
        with pc.Pool("host:", 1, entrypoint=["echo", "first"]) as pool:
            assert pool.run(["second"]).stdout == b"first second\n"
            assert pool.run().stdout == b"first\n"

    @pytest.mark.needs("cgroup")
    def test_limits_and_usage(self):
        with pc.Pool("host:", 1, memory="32M", pids=20) as pool:
            eaten = pool.run(["sh", "-c", "head -c 100000000 /dev/zero | tail"])
            assert eaten.usage.oom_kills
            assert pool.run(["true"]).usage.memory_peak < 32 << 20
            spent = pool.run(["sh", "-c", "while :; do :; done"], cpu_timeout=0.2)
            assert spent.limit == "cpu_timeout"

    @pytest.mark.needs("tmpfs_xattr")
    def test_the_root_can_be_bounded(self):
        with pc.Pool("host:", 1, root_size="1M") as pool:
            assert pool.run(["sh", "-c", "head -c 5000000 /dev/zero > /x"]).limit == "size"
            assert pool.run(["sh", "-c", "head -c 500000 /dev/zero > /x"]).exit_code == 0


class TestConfinement:
    SHOW = "grep -E '^(Cap|NoNewPrivs|Seccomp|Uid|Gid|Groups|Sig[BI])' /proc/self/status; ulimit -a; umask; ls -l /proc/self/fd | wc -l"

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"user": "nobody"},
            pytest.param({"security": pc.Security.strict()}, marks=pytest.mark.needs("cgroup")),
            {"cap_drop": ["ALL"]},
            {"ulimits": {"nofile": 64}},
        ],
    )
    def test_it_is_that_of_a_run(self, options):
        with pc.Pool("host:", 1, **options) as pool:
            ours = pool.run(["sh", "-c", self.SHOW], text=True)
        theirs = pc.run("host:", ["sh", "-c", self.SHOW], text=True, **options)
        assert ours.stdout == theirs.stdout
        assert "NoNewPrivs:\t1" in ours.stdout

    def test_who_waits_has_only_its_channel_and_is_confined(self, pool):
        status, fds, exe, maps = _look(pool._ready[0].process.pid)
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
        assert [fd.partition(":")[0] for fd in fds] == ["socket"]
        assert "memfd:init" in exe
        assert "libpython" not in maps
        assert "_native" not in maps

    @pytest.mark.needs("root")
    def test_who_waits_belongs_to_the_hosts_root_alone(self, pool):
        """As a process that is not dumpable does (proc(5))."""
        assert os.stat(f"/proc/{pool._ready[0].process.pid}/mem").st_uid == 0


def _look(pid: int) -> tuple[str, list[str], str, str]:
    place = Path(f"/proc/{pid}")
    fds = [os.readlink(each) for each in (place / "fd").iterdir()]
    return (place / "status").read_text(), fds, os.readlink(place / "exe"), (place / "maps").read_text()


class TestPool:
    def test_it_refills(self, pool):
        pool.wait_ready(30)
        assert pool.ready == 2
        for _ in range(5):
            assert pool.run(["true"]).exit_code == 0
        pool.wait_ready(30)
        assert pool.ready == 2

    def test_it_refills_while_runs_are_under_way(self, pool):
        pool.wait_ready(30)
        threads = [threading.Thread(target=pool.run, args=(["sleep", "100"],)) for _ in range(3)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 20
        while len(pool._taken) < 3 or not pool.ready:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        pool.close()
        for thread in threads:
            thread.join()

    def test_many_threads(self, pool):
        results: list[bytes] = []

        def work() -> None:
            results.extend(pool.run(["sh", "-c", f"echo {number}"]).stdout for number in range(10))

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == sorted(b"%d\n" % number for number in range(10) for _ in range(6))

    def test_one_that_was_killed_while_it_waited_is_replaced(self, pool):
        pool.wait_ready(30)
        for warm in list(pool._ready):
            os.kill(warm.process.pid, signal.SIGKILL)
            assert select.select([warm.process.fileno()], [], [], 30)[0]
        result = pool.run(["echo", "x"])
        assert (result.exit_code, result.stdout) == (0, b"x\n")
        pool.wait_ready(30)

    def test_one_that_is_stopped_runs_into_the_timeout(self, pool):
        pool.wait_ready(30)
        os.kill(pool._ready[0].process.pid, signal.SIGSTOP)
        assert pool.run(["true"], timeout=0.3).timed_out
        assert pool.run(["true"]).exit_code == 0

    def test_close_ends_what_runs(self, pool):
        results = []
        thread = threading.Thread(target=lambda: results.append(pool.run(["sleep", "100"])))
        thread.start()
        while not pool._taken:
            time.sleep(0.01)
        time.sleep(0.1)
        pool.close()
        thread.join()
        assert results[0].exit_code == 137
        pool.close()

    def test_a_closed_one_refuses(self, pool):
        pool.close()
        for call in (lambda: pool.run(["true"]), pool.wait_ready):
            with pytest.raises(pc.StateError, match="closed"):
                call()

    def test_an_engine_closes_its_pools(self, engine):
        pool = pc.Pool("host:", 3, engine=engine)
        engine.close()
        assert "closed" in repr(pool)

    def test_a_refill_that_fails_is_told_by_the_next_run(self, pool, monkeypatch):
        from pycontainer.container import pool as module

        pool.wait_ready(30)

        def fail(*_):
            raise pc.NotSupported("nothing", "wait")

        with monkeypatch.context() as patch:
            patch.setattr(module, "Warm", fail)
            for _ in range(2):
                pool.run(["true"])
            with pytest.raises(pc.NotSupported):
                pool.run(["true"])
            with pytest.raises(pc.NotSupported):
                pool.wait_ready(30)
        assert pool.run(["true"]).exit_code == 0
        pool.wait_ready(30)

    def test_a_wait_can_end(self, engine):
        with pc.Pool("host:", 200, engine=engine) as pool, pytest.raises(pc.WaitTimeout):
            pool.wait_ready(0.001)

    def test_in_a_fork_it_is_the_parents(self, pool):
        pid = os.fork()
        if pid == 0:
            try:
                pool.close()
                pool.run(["true"])
            except pc.StateError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert pool.run(["true"]).exit_code == 0


class TestArguments:
    @pytest.mark.parametrize("size", [0, -1, True, 1.5, "4", 1001])
    def test_sizes(self, size):
        with pytest.raises(pc.InvalidArgument, match="size"):
            pc.Pool("host:", size)

    @pytest.mark.parametrize("name", ["tty", "extra_fds", "input", "nonsense", "timeout"])
    def test_what_a_pool_has_not(self, name):
        with pytest.raises(TypeError, match=name):
            pc.Pool("host:", 1, **{name: 1})

    @pytest.mark.parametrize("name", ["memory", "mounts", "tty", "image", "nonsense"])
    def test_what_a_run_has_not(self, pool, name):
        with pytest.raises(TypeError, match=name):
            pool.run(["true"], **{name: 1})

    @pytest.mark.parametrize(
        "options",
        [
            {"workdir": "relative"},
            {"env": ["A"]},
            {"user": True},
            {"timeout": 0},
            {"output_limit": "x"},
            {"input": "text"},
            {"input": b"", "stdin": pc.DEVNULL},
            {"changes": "yes"},
            {"check": 1},
        ],
    )
    def test_wrong_values_are_refused_as_by_run(self, pool, options):
        messages = []
        for call in (lambda: pool.run(["true"], **options), lambda: pc.run("host:", ["true"], **options)):
            with pytest.raises(pc.InvalidArgument) as caught:
                call()
            messages.append(str(caught.value))
        assert messages[0] == messages[1]

    @pytest.mark.parametrize("command", [[], [""], ["a\0b"], {"a": 1}, [1]])
    def test_wrong_commands(self, pool, command):
        with pytest.raises(pc.InvalidArgument):
            pool.run(command)

    def test_a_user_that_is_not_there(self, pool):
        with pytest.raises(pc.InvalidArgument, match="nobody-at-all"):
            pool.run(["true"], user="nobody-at-all")

    def test_a_wrong_pool_leaves_nothing(self):
        with pytest.raises(pc.InvalidArgument):
            pc.Pool("host:", 2, user="nobody-at-all")


class TestAsync:
    def test_runs_and_timeouts(self, engine):
        async def main() -> None:
            async with aio.Pool.create("host:", 3, engine=engine) as pool:
                await pool.wait_ready(30)
                results = await asyncio.gather(*(pool.run(["sh", "-c", f"exit {n}"]) for n in range(6)))
                assert [result.exit_code for result in results] == list(range(6))
                assert (await pool.run(["no-such-program"])).exit_code == 127
                assert (await pool.run(["sleep", "100"], timeout=0.2)).timed_out
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(pool.run(["sleep", "100"]), 0.2)
                assert (await pool.run(["pwd"], workdir="/new", text=True)).stdout == "/new\n"
                with pytest.raises(pc.ContainerFailed):
                    await pool.run(["false"], check=True)

        asyncio.run(main())

    def test_it_is_awaited_and_closed(self):
        async def main() -> None:
            pool = await aio.Pool.create("host:", 1)
            task = asyncio.create_task(pool.run(["sleep", "100"]))
            await asyncio.sleep(0.3)
            await pool.close()
            assert (await task).exit_code == 137
            with pytest.raises(pc.StateError):
                await pool.run(["true"])

        asyncio.run(main())


def test_input_that_nobody_reads(pool):
    assert pool.run(["true"], input=io.BytesIO(b"x" * (1 << 20))).exit_code == 0
