"""The scope that an ordinary user's process gets from the user's systemd when a limit must hold.

Where there is such a systemd, the library is used by programs of their own: each moves itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycontainer.kernel.cgroup import scope
from tests.support.native import until

ROOT = Path(__file__).resolve().parents[2]

BEGIN = f"""
import json, os, sys, subprocess, threading, time
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
import pycontainer as pc
def own(pid="self"):
    return Path(f"/proc/{{pid}}/cgroup").read_text().strip()[3:]
def python(text):
    return ["/usr/bin/python3", "-S", "-E", "-c", text]
"""

#: How long a program has to run for its beginning and its end not to count, in seconds.
LONG = 2 if "CGROUP2_VM" in os.environ else 0.5

#: Uses up that twice, once in a child that nobody waits for, and says what it was.
BURNER = f"""
import os, time
def burn():
    while time.process_time() < {LONG}:
        sum(range(1000))
read, write = os.pipe()
if os.fork() == 0:
    burn()
    os.write(write, repr(time.process_time()).encode())
    time.sleep(60)
burn()
print(float(os.read(read, 100)) + time.process_time(), flush=True)
os._exit(0)
"""


def environment(**changes: str | None) -> dict[str, str]:
    return {name: value for name, value in {**os.environ, **changes}.items() if value is not None}


def start(text: str, **changes: str | None) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", BEGIN + text]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(**changes))


def told(text: str, **changes: str | None) -> Any:
    """What a program prints, as JSON."""
    with start(text, **changes) as program:
        output = program.communicate()[0]
    assert program.returncode == 0
    return json.loads(output)


def here() -> str:
    return Path("/proc/self/cgroup").read_text().strip()[3:]


def is_gone(path: str) -> None:
    """The scope of a program that has ended, which systemd removes soon."""
    until(lambda: not os.path.exists(f"/sys/fs/cgroup{path}"), 20)


@pytest.mark.needs("user", "user_scope")
class TestMove:
    def test_limits_hold_and_usage_is_exact(self) -> None:
        """The process moves with all its threads; a child that it had stays; systemd removes the scope."""
        found = told(f"""
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
child = subprocess.Popen(["sleep", "1000"])
hog = pc.run("host:", python("x = bytearray(200 << 20)"), memory="64M", pids=32)
bomb = pc.run("host:", python('''
import os, time
try:
    while True:
        os.fork() or time.sleep(60)
except OSError:
    print("full")
'''), memory="256M", pids=32, text=True)
burnt = pc.run("host:", python({BURNER!r}), text=True)
print(json.dumps({{
    "place": own(), "child": own(child.pid),
    "threads": [own(f"self/task/{{each}}") for each in os.listdir("/proc/self/task")],
    "hog": [hog.oom_killed, hog.limit, hog.signal, hog.usage.memory_peak],
    "bomb": [bomb.stdout, bomb.usage.pids_peak],
    "burnt": [float(burnt.stdout), burnt.usage.cpu_user + burnt.usage.cpu_system],
}}))
child.kill()
child.wait()
""")
        assert "/user@" in found["place"]
        assert found["place"].endswith(".scope/pycontainer.host")
        assert found["child"] == here()
        assert set(found["threads"]) == {found["place"]}
        assert len(found["threads"]) >= 2
        assert found["hog"][0] is True
        assert found["hog"][1] == "memory"
        assert found["hog"][3] == pytest.approx(64 << 20, rel=0.05)
        assert found["bomb"] in (["full\n", 32], ["full\n", None])
        real, counted = found["burnt"]
        assert counted == pytest.approx(real, rel=0.05)
        is_gone(os.path.dirname(found["place"]))

    @pytest.mark.parametrize("has_run", [False, True])
    def test_nothing_is_left_of_a_killed_program(self, has_run: bool) -> None:
        """With ``has_run`` its reaper is there before it moves, and moves with it."""
        program = start(f"""
if {has_run}:
    pc.run("host:", ["true"])
    assert own() == {here()!r}
container = pc.Container.create("host:", ["sh", "-c", "setsid sleep 1000 & exec sleep 1000"], memory="64M", pids=32)
container.start()
def read(path):
    return Path(path).read_text()
children = read(f"/proc/self/task/{{os.getpid()}}/children").split()
reaper = [each for each in children if read(f"/proc/{{each}}/cmdline") == "reaper\\0"]
scope = "/sys/fs/cgroup" + os.path.dirname(own())
inside = []
while len(inside) < 2:
    found = [int(pid) for each in os.walk(scope) for pid in read(each[0] + "/cgroup.procs").split()]
    inside = [pid for pid in found if str(pid) not in (str(os.getpid()), *reaper)]
print(json.dumps([own(), [own(each) for each in reaper], inside]), flush=True)
time.sleep(1000)
""")
        with program:
            assert program.stdout is not None
            place, reapers, inside = json.loads(program.stdout.readline())
            with contextlib.ExitStack() as stack:
                held = [os.pidfd_open(pid) for pid in inside]
                for each in held:
                    stack.callback(os.close, each)
                program.kill()
                is_gone(os.path.dirname(place))
        assert reapers == [place]
        assert len(inside) >= 2
        assert not any(os.path.exists(f"/proc/{pid}") for pid in inside)
        root = Path(os.environ["PYCONTAINER_ROOT"], "run")
        assert not [each for each in root.iterdir() if each.name.startswith(f"{program.pid}-")]

    def test_who_asks_for_nothing_that_must_hold_stays(self) -> None:
        assert told("""
pc.run("host:", ["true"])
pc.run("host:", ["true"], memory="64M", best_effort=True)
with pc.Cgroup.create("x", memory_max="64M", best_effort=True) as group:
    missing = sorted(group.missing)
print(json.dumps([own(), missing]))
""") == [here(), ["memory_max"]]

    def test_threads_move_once(self) -> None:
        found = told("""
places, failures = set(), []
def work(number):
    try:
        with pc.Cgroup.create(f"x-{number}", pids_max=9) as group:
            places.add(os.path.dirname(group.path))
    except BaseException as error:
        failures.append(repr(error))
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
for each in threads: each.start()
for each in threads: each.join()
print(json.dumps([sorted(places), failures, own()]))
""")
        assert found[1] == []
        assert found[0] == [f"/sys/fs/cgroup{os.path.dirname(found[2])}"]

    def test_forked_children(self) -> None:
        """One from before has a scope of its own, one from after its parent's."""
        found = told("""
read, write = os.pipe()
def fork():
    pid = os.fork()
    if pid == 0:
        with pc.Cgroup.create(f"x-{os.getpid()}", pids_max=9): pass
        os.write(write, own().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return os.read(read, 1000).decode()
pc.run("host:", ["true"])
before = fork()
with pc.Cgroup.create("x", pids_max=9): pass
print(json.dumps([before, own(), fork()]))
""")
        assert found[0].endswith("/pycontainer.host")
        assert found[0] != found[1] == found[2]
        is_gone(os.path.dirname(found[0]))
        is_gone(os.path.dirname(found[1]))

    @pytest.mark.parametrize(
        ("folder", "reason"),
        [
            (None, "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR"),
            ("/proc", "there is no bus at /proc/bus"),
        ],
    )
    def test_without_a_bus(self, folder: str | None, reason: str) -> None:
        """As before: the fix is named; the reason, too."""
        text = """
try:
    pc.run("host:", ["true"], memory="64M")
except pc.NotSupported as error:
    print(json.dumps([own(), str(error)]))
"""
        place, message = told(text, XDG_RUNTIME_DIR=folder, DBUS_SESSION_BUS_ADDRESS=None)
        assert place == here()
        assert reason in message
        assert "systemd-run --user --scope -p Delegate=yes" in message


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run time directory without anything in it."""
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(scope, "_PATIENCE", 1)
    return tmp_path


@contextlib.contextmanager
def listening(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield


class TestRefused:
    """Who is asked: nobody but a bus of this user, in this pid namespace."""

    def test_nobody_listens(self, folder: Path) -> None:
        assert scope.enter_scope() == f"there is no bus at {folder}/bus: No such file or directory"

    def test_addresses(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        addresses = f"unix:abstract=x;unix:path={folder}/a,guid=1;tcp:host=::1;unix:path={folder}//bus"
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", addresses)
        assert scope._sockets() == [f"{folder}/a", f"{folder}/bus"]

    @pytest.mark.needs("busctl")
    def test_one_that_does_not_answer(self, folder: Path) -> None:
        with listening(folder / "bus"):
            reason = scope.enter_scope()
        assert reason is not None
        assert reason.startswith(f"systemd at {folder}/bus: ")

    @pytest.mark.needs("busctl", "dbus_session")
    def test_a_bus_without_systemd(self) -> None:
        text = "import sys; from pycontainer.kernel.cgroup.scope import enter_scope; print(enter_scope())"
        done = subprocess.run(
            ["dbus-run-session", "--", sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {text}"],
            env=environment(XDG_RUNTIME_DIR=None), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
        )  # fmt: skip
        assert "org.freedesktop.systemd1" in done.stdout

    @pytest.mark.needs("root")
    def test_another_users(self, folder: Path) -> None:
        listen = "import socket,sys; s = socket.socket(socket.AF_UNIX); s.bind('bus'); s.listen(); print(flush=True); sys.stdin.read()"
        folder.chmod(0o777)
        prefix = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
        with self.server([*prefix, "/usr/bin/python3", "-c", listen], folder):
            assert scope.enter_scope() == f"the bus at {folder}/bus is the user 12345's"

    @pytest.mark.needs("userns")
    def test_one_in_another_pid_namespace(self, folder: Path) -> None:
        listen = "import socket,sys; s = socket.socket(socket.AF_UNIX); s.bind('bus'); s.listen(); print(flush=True); sys.stdin.read()"
        prefix = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
        with self.server([*prefix, "/usr/bin/python3", "-c", listen], folder):
            assert scope.enter_scope() == f"the bus at {folder}/bus is in another pid namespace"

    @staticmethod
    @contextlib.contextmanager
    def server(command: list[str], folder: Path) -> Iterator[None]:
        with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            yield
            process.stdin.close()
