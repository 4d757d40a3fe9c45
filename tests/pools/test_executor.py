"""Calls of functions in containers: what concurrent.futures promises, and what hostile functions cannot do."""

from __future__ import annotations

import array
import asyncio
import concurrent.futures
import errno
import functools
import json
import math
import operator
import os
import select
import signal
import statistics
import subprocess
import sys
import threading
import time

import pytest

import pycontainer as pc

FACTOR = 3
#: It has limits that must hold.
STRICT = pytest.param(True, marks=pytest.mark.needs("cgroup"))


def triple(value=1):
    return FACTOR * value


def hypotenuse(a, b):
    return math.sqrt(triple(a) ** 2 + triple(b) ** 2)


def run(source, *args):
    """Any code; its `result`."""
    space = {"args": args}
    exec(source, space)  # noqa: S102  in the container
    return space.get("result")


@pytest.fixture
def engine(tmp_path):
    with pc.Engine(tmp_path / "engine") as made:
        yield made


@pytest.fixture
def calls(engine):
    with pc.Executor("host:", workers=1, timeout=20, engine=engine) as made:
        yield made


def only(calls):
    """The first process of the one container, as the host sees it."""
    (worker,) = calls._crew._alive
    return worker.process.pid


class TestFutures:
    def test_a_result(self, calls):
        future = calls.submit(operator.add, 1, 2)
        assert future.result(30) == 3
        assert future.done()
        assert future.exception() is None
        assert 0 < future.usage.cpu_user + future.usage.cpu_system < 10
        assert future.usage.memory_peak > 1 << 20
        assert future.usage.wall > 0

    def test_map_keeps_the_order(self, engine):
        with pc.Executor("host:", workers=3, engine=engine) as calls:
            assert list(calls.map(triple, range(20))) == [3 * n for n in range(20)]
            assert list(calls.map(operator.sub, [5, 6], [1, 2])) == [4, 4]

    def test_calls_of_several_workers_are_at_once(self, engine):
        with pc.Executor("host:", workers=2, engine=engine) as calls:
            start = time.monotonic()
            first, second = calls.submit(time.sleep, 30), calls.submit(run, "result = 1")
            assert second.result(20) == 1
            assert not first.done()
            assert time.monotonic() - start < 20
            calls.close()
            assert isinstance(first.exception(), pc.CallFailed)

    def test_what_waits_can_be_cancelled(self, calls):
        first = calls.submit(time.sleep, 0.5)
        waiting = [calls.submit(triple) for _ in range(3)]
        assert waiting[0].cancel()
        assert waiting[1].result(30) == 3
        assert waiting[0].cancelled()
        assert first.result() is None

    def test_shutdown_does_what_is_queued(self, calls):
        futures = [calls.submit(triple, n) for n in range(5)]
        calls.shutdown()
        assert [future.result(0) for future in futures] == [0, 3, 6, 9, 12]
        with pytest.raises(RuntimeError, match="shutdown"):
            calls.submit(triple)
        calls.shutdown()
        calls.close()

    def test_shutdown_cancels_when_told(self, calls):
        running = calls.submit(time.sleep, 0.5)
        while not running.running():
            time.sleep(0.01)
        waiting = [calls.submit(triple) for _ in range(3)]
        calls.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in waiting)
        calls.shutdown()
        assert running.result(0) is None

    def test_the_modules_own_functions(self, calls):
        futures = [calls.submit(triple, n) for n in range(4)]
        done, left = concurrent.futures.wait(futures, timeout=60)
        assert not left
        assert sorted(future.result() for future in concurrent.futures.as_completed(done)) == [0, 3, 6, 9]

    def test_an_event_loop_uses_it(self, calls):
        async def main():
            return await asyncio.get_running_loop().run_in_executor(calls, triple, 7)

        assert asyncio.run(main()) == 21

    def test_one_that_is_forgotten_ends(self, engine):
        calls = pc.Executor("host:", workers=2, engine=engine)
        assert calls.submit(triple).result(30) == 3
        threads = calls._crew._threads
        del calls
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

    def test_the_end_of_the_interpreter_does_what_is_queued(self, tmp_path):
        script = (
            "import sys, time, pycontainer as pc\n"
            "calls = pc.Executor('host:', workers=1, engine=pc.Engine(sys.argv[1]))\n"
            "for _ in range(3): calls.submit('time:time').add_done_callback(lambda f: print(f.result() > 0, flush=True))\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, tmp_path / "root"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["True"] * 3

    def test_in_a_fork_it_is_the_parents(self, calls):
        assert calls.submit(triple).result(30) == 3
        pid = os.fork()
        if pid == 0:
            try:
                calls.close()
                calls.submit(triple)
            except pc.StateError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert calls.submit(triple).result(30) == 3


class TestFunctions:
    @pytest.mark.parametrize(
        ("function", "args", "result"),
        [
            (triple, (2,), 6),
            (hypotenuse, (3, 4), 15.0),
            (functools.partial(operator.add, 1), (2,), 3),
            (str.upper, ("x",), "X"),
            (len, ([1, 2],), 2),
            (dict, ([(1, 2)],), {1: 2}),
            ("os.path:join", ("a", "b"), "a/b"),
            ("math:sqrt", (4,), 2.0),
            (json.dumps, ([1],), "[1]"),
            (statistics.median, ([3, 1, 2],), 2),
        ],
    )
    def test_kinds(self, calls, function, args, result):
        assert calls.submit(function, *args).result(30) == result

    def test_keywords(self, calls):
        assert calls.submit(triple, value=5).result(30) == 15
        assert calls.submit(functools.partial(triple, value=5)).result(30) == 15

    @pytest.mark.parametrize(
        "kind", ["lambda", "closure", "method", "class", "decorated", "generator", "async"]
    )
    def test_what_cannot_be_sent_is_refused(self, calls, kind):
        variable = 1

        def closure():
            return variable

        @functools.wraps(triple)
        def decorated():
            return 1

        def generator():
            yield 1

        async def coroutine():
            return 1

        class Own:
            def method(self):
                return 1

        refused = {
            "lambda": lambda: 1, "closure": closure, "method": Own().method, "class": Own,
            "decorated": decorated, "generator": generator, "async": coroutine,
        }  # fmt: skip
        with pytest.raises(pc.InvalidArgument, match="fn"):
            calls.submit(refused[kind])

    @pytest.mark.parametrize("function", [1, None, "no colon", "a:b c", ":x", "x:"])
    def test_what_is_none_is_refused(self, calls, function):
        with pytest.raises(pc.InvalidArgument):
            calls.submit(function)

    def test_arguments_that_cannot_be_pickled(self, calls):
        with pytest.raises(pc.InvalidArgument, match="pickled"):
            calls.submit(triple, threading.Lock())

    def test_what_the_image_does_not_have(self, calls):
        with pytest.raises(ModuleNotFoundError):
            calls.submit("no_such_module:f").result(30)
        with pytest.raises(AttributeError):
            calls.submit("math:no_such_function").result(30)

    def test_a_warm_module_is_there_and_fresh_in_each_call(self, engine):
        with pc.Executor("host:", preload=["calendar", "statistics"], workers=1, engine=engine) as calls:
            for _ in range(2):
                source = "import sys; c = sys.modules['calendar']; result = hasattr(c, 'mark'); c.mark = 1"
                assert calls.submit(run, source).result(30) is False


VALUES = [
    None, True, False, 0, -1, 1 << 62, 1 << 64, -(1 << 10_000), 1.5, float("inf"), "text \ud800 \0 ü", b"\0\xff",
    bytearray(b"x"), [], [1, [2, [None]]], (), (1, (2,)), {1, 2}, frozenset({"x"}), {}, {"a": 1, (1, 2): {3}, None: b""},
    1 + 2j, [b"x" * 100_000, bytearray(5)], {"tuple": [1]}, {"i": "0x1"},
]  # fmt: skip


class TestResults:
    @pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
    def test_values_come_back_as_they_are(self, calls, value):
        found = calls.submit(run, "result = args[0]", value).result(30)
        assert found == value
        assert type(found) is type(value)

    def test_not_a_number(self, calls):
        assert math.isnan(calls.submit(float, "nan").result(30))

    def test_arrays(self, calls):
        found = calls.submit(array.array, "d", [1.0, 2.0]).result(30)
        assert found.tolist() == [1.0, 2.0]
        source = "result = memoryview(bytes(range(6))).cast('B', [2, 3])"
        assert calls.submit(run, source).result(30).tolist() == [[0, 1, 2], [3, 4, 5]]

    @pytest.mark.skipif(
        not os.path.isdir("/usr/lib/python3/dist-packages/numpy"), reason="the host has no numpy"
    )
    def test_arrays_and_numbers_of_numpy(self, engine):
        with pc.Executor("host:", preload=["numpy"], workers=1, engine=engine) as calls:
            found = calls.submit("numpy:arange", 6).result(60)
            assert (found.tolist(), found.shape) == ([0, 1, 2, 3, 4, 5], (6,))
            assert calls.submit("numpy:eye", 2).result(60).tolist() == [[1.0, 0.0], [0.0, 1.0]]
            assert calls.submit("numpy:sum", [1, 2]).result(60) == 3
            assert calls.submit("numpy:mean", [1, 2]).result(60) == 1.5

    def test_subclasses_come_as_what_they_are(self, calls):
        assert calls.submit(run, "import enum; result = enum.IntEnum('E', 'a b').b").result(30) == 2

    @pytest.mark.parametrize(
        "source",
        ["result = object()", "result = open('/dev/null')", "import decimal; result = [decimal.Decimal(1)]"],
    )
    def test_others_are_refused_there(self, calls, source):
        with pytest.raises(TypeError, match="cannot leave the container"):
            calls.submit(run, source).result(30)

    @pytest.mark.parametrize(
        ("source", "kind", "args"),
        [
            ("raise KeyError('x', 1)", KeyError, ("x", 1)),
            ("1 / 0", ZeroDivisionError, ("division by zero",)),
            ("open('/no/such')", FileNotFoundError, (errno.ENOENT, "No such file or directory")),
            ("raise ValueError(object)", ValueError, ("<class 'object'>",)),
            ("b'\\xff'.decode()", pc.RemoteError, None),
        ],
    )
    def test_exceptions(self, calls, source, kind, args):
        error = calls.submit(run, source).exception(30)
        if args is not None:
            assert type(error) is kind
            assert error.args == args
        assert "Traceback" in str(error.__cause__)
        assert "in run" in str(error.__cause__)

    def test_exceptions_that_only_the_container_knows(self, calls):
        error = calls.submit(run, "class Own(Exception): pass\nraise Own('why', 1)").exception(30)
        assert isinstance(error, pc.RemoteError)
        assert (error.type_name.rpartition(".")[2], error.message) == ("Own", "why, 1")
        assert "Own" in error.traceback

    @pytest.mark.parametrize(
        "source", ["raise SystemExit(3)", "raise KeyboardInterrupt", "import sys; sys.exit()"]
    )
    def test_what_would_end_this_process_does_not(self, calls, source):
        assert isinstance(calls.submit(run, source).exception(30), pc.RemoteError)


class TestEnds:
    @pytest.mark.parametrize(
        ("source", "code", "number"),
        [
            ("import os; os._exit(3)", 3, None),
            ("import os; os._exit(0)", 0, None),
            ("import os; os.kill(os.getpid(), 9)", 137, 9),
            ("import os; os.abort()", 134, signal.SIGABRT),
            ("import ctypes; ctypes.string_at(0)", 139, signal.SIGSEGV),
        ],
    )
    def test_a_process_that_ends_without_a_result(self, calls, source, code, number):
        before = only(calls)
        error = calls.submit(run, source).exception(30)
        assert isinstance(error, pc.CallFailed)
        assert (error.exit_code, error.signal, error.limit) == (code, number, None)
        assert calls.submit(triple).result(30) == 3
        assert only(calls) == before

    def test_timeouts(self, engine):
        with pc.Executor("host:", workers=1, timeout=0.3, engine=engine) as calls:
            before = only(calls)
            source = "import os, signal, time\nfor s in range(1, 32):\n  try: signal.signal(s, signal.SIG_IGN)\n  except OSError: pass\nos.fork(); os.fork(); time.sleep(100)"
            future = calls.submit(run, source)
            with pytest.raises(pc.CallTimeout) as caught:
                future.result(30)
            assert isinstance(caught.value, TimeoutError)
            assert caught.value.limit == "timeout"
            assert future.usage.wall >= 0.3
            assert calls.submit(triple).result(30) == 3
            assert only(calls) == before

    @pytest.mark.needs("cgroup")
    def test_memory(self, engine):
        with pc.Executor("host:", workers=1, memory="64M", timeout=30, engine=engine) as calls:
            error = calls.submit(
                run, "x = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): x[i] = 1"
            ).exception(60)
            assert isinstance(error, pc.CallFailed)
            assert error.limit == "memory"
            assert calls.submit(triple).result(60) == 3

    def test_results_that_are_too_long(self, engine):
        with pc.Executor("host:", workers=1, result_limit="1M", timeout=30, engine=engine) as calls:
            for source in ("result = bytes(2 << 20)", "result = 'x' * (2 << 20)", "result = [0] * (1 << 20)"):
                error = calls.submit(run, source).exception(60)
                assert isinstance(error, pc.CallFailed)
                assert error.limit == "result_limit"
            assert len(calls.submit(run, "result = bytes(1000000)").result(60)) == 1_000_000

    def test_arguments_may_be_long(self, calls):
        assert calls.submit(len, b"x" * (20 << 20)).result(60) == 20 << 20


#: The socket of the call, found as the only stream socket.
CHANNEL = """
import os, socket, stat
found = [fd for fd in range(3, 64) if os.path.exists(f"/proc/self/fd/{fd}") and stat.S_ISSOCK(os.fstat(fd).st_mode)]
(fd,) = found
job = socket.socket(fileno=os.dup(fd))
"""


class TestHostile:
    """None of it changes what the next call finds, and nothing of it is left."""

    def check(self, calls, source, kind=pc.CallFailed):
        error = calls.submit(run, source).exception(60)
        assert isinstance(error, kind), error
        assert calls.submit(triple, 2).result(60) == 6

    @pytest.mark.parametrize(
        "garbage",
        [
            "b'garbage' * 100",
            "b''",
            "bytes(16)",
            "b'\\xff' * 16",
            "(5).to_bytes(8, 'big') + bytes(8) + b'[\"ok'",
            "(2).to_bytes(8, 'big') + bytes(8) + b'{}'",
            "(2).to_bytes(8, 'big') + bytes(8) + b'[]'",
            "(14).to_bytes(8, 'big') + bytes(8) + b'[\"ok\", {\"x\":1}'",
            "(100000).to_bytes(8, 'big') + bytes(8) + b'[' * 100000",
            "(27).to_bytes(8, 'big') + bytes(8) + b'[\"ok\",{\"bytes\":[0,1000000]}]'[:27]",
            "(10).to_bytes(8, 'big') + bytes(8) + b'[\"no\", 1,2]'[:10]",
        ],
    )
    def test_garbage_on_its_channel(self, calls, garbage):
        self.check(calls, CHANNEL + f"job.send({garbage}); os._exit(0)")

    def test_an_answer_before_the_answer(self, calls):
        source = CHANNEL + "job.send((9).to_bytes(8, 'big') + bytes(8) + b'[\"ok\", 1]')"
        self.check(calls, source)

    def test_collisions(self, calls):
        """A set that takes the square of its length to make."""
        source = (
            CHANNEL
            + """
text = b'["ok", {"set": [' + b','.join(b'%d' % (n * (2**61 - 1)) for n in range(1, 200000)) + b']}]'
job.sendall(len(text).to_bytes(8, 'big') + bytes(8) + text); os._exit(0)
"""
        )
        self.check(calls, source)

    @pytest.mark.parametrize(
        "source",
        [
            "import os, signal\nfor n in range(1, 65):\n  try: os.kill(1, n)\n  except OSError: pass\nresult = 6",
            "import os\ntry: os.kill(-1, 9)\nexcept OSError: pass\nresult = 6",
            "import os\ntry: open('/proc/1/mem', 'wb')\nexcept OSError: result = 6",
            "import os\nresult = 6\nfor fd in range(64):\n  try: result = os.readlink('/proc/1/fd/%d' % fd)\n  except OSError: pass",
            "import os\nresult = 6\ntry: result = os.readlink('/proc/1/exe')\nexcept OSError: pass",
            "import ctypes\nresult = 6 if ctypes.CDLL(None).ptrace(16, 1, 0, 0) == -1 else 0",
        ],
    )
    def test_the_zygote_is_out_of_reach(self, calls, source):
        before = only(calls)
        assert calls.submit(run, source).result(60) == 6
        assert calls.submit(triple, 2).result(60) == 6
        assert only(calls) == before

    @pytest.mark.parametrize(
        "source",
        [
            "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(1000)\n  os._exit(0)",
            "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True)",
            "import os, signal, time\nif os.fork() == 0:\n  os.kill(os.getpid(), 19); time.sleep(1000)",
            "import threading, time; threading.Thread(target=time.sleep, args=(1000,)).start()",
        ],
    )
    def test_what_it_leaves_running_is_ended(self, calls, source):
        assert calls.submit(run, source).result(60) is None
        left = "import os; result = [pid for pid in os.listdir('/proc') if pid.isdigit()]"
        assert len(calls.submit(run, left).result(60)) == 2

    @pytest.mark.needs("cgroup")
    def test_a_fork_bomb(self, engine):
        with pc.Executor("host:", workers=1, pids=50, timeout=3, engine=engine) as calls:
            source = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
            assert isinstance(calls.submit(run, source).exception(60), pc.CallTimeout)
            assert calls.submit(triple, 2).result(60) == 6

    @pytest.mark.parametrize(
        "source",
        [
            "open('/left', 'w').close()",
            "open('/dev/left', 'w').close()",
            "open('/tmp/left', 'w').close()",
            "open('/dev/shm/left', 'w').close()",
            "import resource; resource.prlimit(1, resource.RLIMIT_NOFILE, (10, 10))",
            "import os; os.setpriority(os.PRIO_PROCESS, 1, 10)",
            "open('/proc/1/oom_score_adj', 'w').write('900')",
            "import ctypes; assert ctypes.CDLL(None).shmget(5, 4096, 0o1666) >= 0",
            "import ctypes; assert ctypes.CDLL(None).semget(5, 1, 0o1666) >= 0",
            "import ctypes; assert ctypes.CDLL(None).msgget(5, 0o1666) >= 0",
        ],
    )
    @pytest.mark.parametrize("strict", [False, STRICT])
    def test_a_container_that_it_changed_serves_no_other(self, engine, source, strict):
        security = pc.Security.strict() if strict else pc.Security.default()
        with pc.Executor("host:", workers=1, timeout=20, engine=engine, security=security) as calls:
            self.try_to_change(calls, source, strict)

    def try_to_change(self, calls, source, strict):
        before = only(calls)
        failed = calls.submit(run, source).exception(60)
        assert strict or failed is None
        assert calls.submit(triple, 2).result(60) == 6
        assert failed is not None or only(calls) != before
        look = "import os, resource; result = [os.listdir('/tmp'), os.listdir('/dev/shm'), os.path.exists('/left'), os.getpriority(os.PRIO_PROCESS, 1)]"
        assert calls.submit(run, look).result(60) == [[], [], False, 0]

    def test_one_that_is_never_empty_is_used_as_long_as_it_stays_as_it_is(self, engine):
        options = {"workdir": "/made/for it", "tmpfs": ["/scratch"]}
        with pc.Executor("host:", workers=1, engine=engine, **options) as calls:
            before = only(calls)
            assert calls.submit(os.getcwd).result(60) == "/made/for it"
            assert calls.submit(triple, 2).result(60) == 6
            assert only(calls) == before
            for source in (
                "import os; os.chmod('/made', 0o700)",
                "open('/made/for it/x', 'w').close()",
                "import os; os.makedirs('/scratch/a/b')",
                "import os\nos.mkdir('/d'); os.chdir('/d')\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')",
            ):
                before = only(calls)
                calls.submit(run, source).result(60)
                assert calls.submit(triple, 2).result(60) == 6
                assert only(calls) != before

    def test_a_zygote_that_is_killed_from_outside_is_replaced(self, calls):
        (worker,) = calls._crew._alive
        worker.kill()
        select.select([worker.process.fileno()], [], [], 30)
        assert calls.submit(triple, 2).result(60) == 6
        future = calls.submit(time.sleep, 100)
        while not future.running():
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(only(calls), signal.SIGKILL)
        assert isinstance(future.exception(60), pc.CallFailed)
        assert calls.submit(triple, 2).result(60) == 6

    def test_it_is_confined_as_a_run_is(self, calls):
        source = "result = [line for line in open('/proc/self/status') if line.startswith(('Cap', 'NoNew', 'Seccomp', 'Uid', 'Gid'))]"
        ours = "".join(calls.submit(run, source).result(60))
        theirs = pc.run(
            "host:", ["grep", "-E", "^(Cap|NoNew|Seccomp|Uid|Gid)", "/proc/self/status"], text=True
        )
        assert ours == theirs.stdout

    def test_it_has_only_its_channel_and_its_streams(self, calls):
        source = "import os; result = sorted(os.readlink('/proc/self/fd/' + fd).partition(':')[0] for fd in os.listdir('/proc/self/fd'))"
        with_list = calls.submit(run, source).exception(60)
        assert isinstance(with_list, FileNotFoundError)  # the list's own, closed by then
        source = "import os; result = []\nfor fd in range(100):\n  try: result.append(os.readlink('/proc/self/fd/%d' % fd).partition(':')[0])\n  except OSError: pass"
        assert calls.submit(run, source).result(60) == ["/dev/null"] * 3 + ["socket"]


class TestArguments:
    @pytest.mark.parametrize(
        "options",
        [
            {"workers": 0}, {"workers": True}, {"workers": "2"}, {"timeout": 0}, {"timeout": "1"}, {"result_limit": "x"},
            {"preload": "json"}, {"preload": ["a b"]}, {"preload": [1]}, {"preload": ["no_such_module"]}, {"stdout": pc.PIPE},
            {"stderr": "path"}, {"memory": "x"}, {"user": "nobody-at-all"},
        ],
    )  # fmt: skip
    def test_wrong_values_are_refused(self, options):
        with pytest.raises(pc.InvalidArgument):
            pc.Executor("host:", **{"workers": 1, **options})

    @pytest.mark.parametrize("name", ["tty", "init", "entrypoint", "extra_fds", "max_workers", "initializer"])
    def test_what_it_has_not(self, name):
        with pytest.raises(TypeError, match=name):
            pc.Executor("host:", **{name: None})

    def test_an_image_without_python(self):
        with pytest.raises(pc.CommandNotFound):
            pc.Executor("host:", workers=1, python="python9")
        with pytest.raises(pc.NotSupported, match="before it was ready"):
            pc.Executor("host:", workers=1, python="true")

    def test_output_goes_where_it_is_told(self, engine, tmp_path):
        with (
            open(tmp_path / "out", "wb") as out,
            pc.Executor("host:", workers=1, stdout=out, engine=engine) as calls,
        ):
            calls.submit(print, "said").result(60)
        assert (tmp_path / "out").read_text() == "said\n"

    @pytest.mark.parametrize(
        "options",
        [
            pytest.param({"security": pc.Security.strict()}, marks=pytest.mark.needs("cgroup")),
            {"user": "nobody"},
            {"read_only": True},
            {"cap_drop": ["ALL"]},
            {"network": "host"},
            {"env": {"A": "1"}, "workdir": "/tmp", "tmpfs": ["/scratch"]},
        ],
    )
    def test_kinds_of_containers(self, engine, options):
        with pc.Executor("host:", workers=1, engine=engine, **options) as calls:
            for number in range(3):
                assert calls.submit(triple, number).result(60) == 3 * number
