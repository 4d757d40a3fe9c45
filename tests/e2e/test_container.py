"""`Container`: its life, the programs in it, its files."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

import pycontainer as pc


@pytest.fixture
def running():
    with pc.Container.create("host:", ["sleep", "1000"], init=True) as container:
        container.start()
        yield container


def test_a_whole_life():
    container = pc.Container.create("host:", ["sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.05; done"])
    assert container.status == "created"
    container.start()
    assert container.status == "running"
    assert container.exec(["cat", "/proc/1/comm"], text=True).stdout == "sh\n"
    time.sleep(0.3)  # the shell has to set its trap: pid 1 ignores TERM until then
    assert container.stop(timeout=20) == 4
    assert (container.status, container.exit_code) == ("exited", 4)
    container.start()
    container.kill()
    assert container.wait(timeout=20) == 137
    container.remove()
    container.remove()
    assert container.status == "removed"


def test_files_outlive_a_restart(running):
    running.write_bytes("/root/kept", b"data")
    running.restart(timeout=5)
    assert running.read_bytes("/root/kept") == b"data"
    assert running.exec(["cat", "/root/kept"]).stdout == b"data"


def test_stop_kills_what_ignores_the_signal():
    with pc.Container.create("host:", ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]) as container:
        container.start()
        assert container.stop(timeout=0.2) == 137


def test_wait_times_out_and_goes_on(running):
    with pytest.raises(pc.WaitTimeout):
        running.wait(timeout=0.05)
    assert running.status == "running"


def test_exec(running):
    result = running.exec(
        ["sh", "-c", "cat; echo $A; pwd; exit 2"], input=b"in ", env={"A": "1"}, workdir="/tmp"
    )
    assert (result.exit_code, result.stdout) == (2, b"in 1\n/tmp\n")
    assert running.exec(["nope"]).exit_code == 127
    assert running.exec(["/etc/passwd"]).exit_code == 126
    with pytest.raises(pc.ContainerFailed):
        running.exec(["false"], check=True)


def test_exec_is_as_confined_as_the_container(running):
    keys = ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh", "NoNewPrivs", "Seccomp")

    def fields(text: str) -> dict[str, str]:
        return {k: v.strip() for k, _, v in (line.partition(":") for line in text.splitlines()) if k in keys}

    inside = fields(running.exec(["cat", "/proc/self/status"], text=True).stdout)
    assert inside == fields(running.exec(["cat", "/proc/1/status"], text=True).stdout)
    assert inside["Seccomp"] == "2"
    for kind in ("mnt", "pid", "uts", "ipc", "net", "user", "cgroup"):
        link = running.exec(["readlink", f"/proc/self/ns/{kind}"], text=True).stdout.strip()
        assert link != os.readlink(f"/proc/self/ns/{kind}")
        # Seen from the host: inside, nobody may look at an init of ours.
        assert link == os.readlink(f"/proc/{running.pid}/ns/{kind}")


def test_exec_with_a_timeout_spares_the_container(running):
    result = running.exec(["sleep", "1000"], timeout=0.2)
    assert result.timed_out
    assert running.status == "running"
    assert running.exec(["true"]).exit_code == 0


@pytest.mark.needs("cgroup")
def test_a_timed_out_exec_takes_all_that_came_of_it(running):
    running.exec(["sh", "-c", "setsid sleep 777 & sleep 1000"], timeout=0.3)
    deadline = time.monotonic() + 5
    while b"777" in running.exec(["ps", "-A", "-o", "args="]).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_popen_has_live_streams(running):
    with running.popen(["cat"], stdin=pc.PIPE, stdout=pc.PIPE) as process:
        process.stdin.write(b"ping\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ping\n"
        process.stdin.close()
        assert process.wait(timeout=20) == 0
        assert process.poll() == 0


def test_popen_on_a_terminal(running):
    with running.popen(["sh", "-c", "read x; stty size; tty"], tty=True) as process:
        process.resize(24, 80)
        process.stdin.write(b"go\n")
        process.stdin.flush()
        output = process.stdout.read()
    assert b"24 80" in output
    assert b"/dev/pts/" in output


def test_a_terminal_has_its_size_from_the_first_moment(running):
    assert pc.run("host:", ["stty", "size"], tty=(24, 80)).stdout == b"24 80\r\n"
    assert running.exec(["stty", "size"], tty=(33, 99)).stdout == b"33 99\r\n"
    assert running.exec(["stty", "size"], tty=[50, 132]).stdout == b"50 132\r\n"
    assert running.exec(["stty", "size"], tty=True).stdout == b"0 0\r\n"
    for wrong in ((24,), (0, 80), (24, 65536), (True, 80), ("24", "80"), 1, "24x80"):
        with pytest.raises(pc.InvalidArgument, match="tty"):
            running.exec(["true"], tty=wrong)
        with pytest.raises(pc.InvalidArgument, match="tty"):
            pc.run("host:", ["true"], tty=wrong)


def test_a_forgotten_popen_does_not_hold_up_the_end(running):
    process = running.popen(["sleep", "1000"])
    started = time.monotonic()
    running.kill()
    assert running.status == "exited"
    assert time.monotonic() - started < 10
    assert process.wait(timeout=5) == 137
    process.close()


@pytest.mark.needs("cgroup")
def test_pause_stops_and_unpause_goes_on(running):
    running.exec(["sh", "-c", "while :; do echo x >> /root/clock; sleep 0.01; done > /dev/null 2>&1 &"])

    def ticks_until(more_than: int) -> int:
        deadline = time.monotonic() + 20
        while len(running.read_bytes("/root/clock")) <= more_than:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return len(running.read_bytes("/root/clock"))

    time.sleep(0.1)
    ticks_until(4)
    running.pause()
    assert running.status == "paused"
    count = len(running.read_bytes("/root/clock"))
    time.sleep(0.3)
    assert len(running.read_bytes("/root/clock")) == count
    with pytest.raises(pc.StateError, match="paused"):
        running.exec(["true"])
    running.unpause()
    ticks_until(count)
    running.pause()
    running.kill()
    assert running.status == "exited"


def test_put_and_get(running, tmp_path):
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").write_bytes(b"1")
    (tree / "link").symlink_to("/etc/passwd")
    running.put(tree, "/opt/")
    assert running.exec(["cat", "/opt/tree/deep/file"]).stdout == b"1"
    assert running.exec(["stat", "-c", "%u:%g", "/opt/tree/deep/file"]).stdout == b"0:0\n"
    running.exec(["sh", "-c", "echo back > /opt/tree/new"])
    running.get("/opt/tree", tmp_path / "back")
    assert (tmp_path / "back" / "new").read_bytes() == b"back\n"
    assert os.readlink(tmp_path / "back" / "link") == "/etc/passwd"
    assert (tmp_path / "back" / "new").stat().st_uid == os.geteuid()


def test_a_hostile_link_is_followed_inside_only(running, tmp_path):
    canary = tmp_path / "canary"
    canary.write_bytes(b"untouched")
    running.exec(["ln", "-s", str(canary), "/root/link"])
    with pytest.raises(pc.KernelError):
        running.read_bytes("/root/link")
    running.exec(["ln", "-s", "/../../../../../../etc/passwd", "/root/up"])
    assert running.read_bytes("/root/up") == running.read_bytes("/etc/passwd")
    with pytest.raises(pc.KernelError):
        running.write_bytes("/root/link", b"x")
    assert canary.read_bytes() == b"untouched"


def test_a_fifo_does_not_hang_a_read(running):
    running.exec(["mkfifo", "/root/pipe"])
    with pytest.raises(pc.PyContainerError):
        running.read_bytes("/root/pipe")


def test_changes(running):
    assert [c for c in running.changes() if c.path.startswith("/root")] == []
    running.exec(["sh", "-c", "touch /root/x; chmod 600 /etc/group"])
    found = {change.path: change.kind for change in running.changes()}
    assert found["/root/x"] == "added"
    assert found["/etc/group"] == "metadata"


def test_users_are_looked_up_in_the_container(running):
    assert running.exec(["id", "-u"], user="root").stdout == b"0\n"
    with pytest.raises(pc.InvalidArgument, match="no-such-user"):
        running.exec(["true"], user="no-such-user")
    running.exec(["sh", "-c", "echo joe:x:0:0::/home/joe:/bin/sh >> /etc/passwd"])
    assert running.exec(["sh", "-c", "echo $HOME"], user="joe").stdout == b"/home/joe\n"


@pytest.mark.needs("root")
def test_another_user_has_no_capabilities(running):
    status = running.exec(["cat", "/proc/self/status"], user="1000:1000", text=True).stdout
    assert "CapEff:\t0000000000000000" in status
    assert running.exec(["id", "-u"], user=1000).stdout == b"1000\n"


VERBS = {
    "start": lambda c: c.start(),
    "exec": lambda c: c.exec(["true"]),
    "popen": lambda c: c.popen(["true"]).close(),
    "kill": lambda c: c.kill("CONT"),
    "wait": lambda c: c.wait(timeout=0.01),
    "pause": lambda c: c.pause(),
    "unpause": lambda c: c.unpause(),
    "read_bytes": lambda c: c.read_bytes("/etc/passwd"),
    "remove": lambda c: c.remove(),
}
REFUSED = {
    "created": {"exec", "popen", "kill", "wait", "pause", "unpause", "read_bytes"},
    "running": {"start", "unpause", "remove"},
    "exited": {"exec", "popen", "kill", "pause", "unpause"},
    "removed": {"start", "exec", "popen", "kill", "wait", "pause", "unpause", "read_bytes"},
}


@pytest.mark.parametrize(
    ("state", "verb"),
    # Pausing what runs needs a cgroup, and has its own test.
    [(state, verb) for state in REFUSED for verb in VERBS if (state, verb) != ("running", "pause")],
)
def test_the_life_cycle_table(state, verb):
    with pc.Container.create("host:", ["sleep", "1000"]) as container:
        if state != "created":
            container.start()
        if state == "exited":
            container.kill()
        if state == "removed":
            container.remove(force=True)
        if verb in REFUSED[state]:
            with pytest.raises(pc.StateError, match=state):
                VERBS[verb](container)
            return
        try:
            VERBS[verb](container)
        except pc.WaitTimeout:
            assert verb == "wait"


def test_names():
    engine = pc.Engine()
    with engine, engine.containers.create("host:", ["true"], name="db") as db:
        assert engine.containers.get("db") is db
        assert engine.containers.get(db.id[:6]) is db
        assert engine.containers.list(all=True) == [db]
        with pytest.raises(pc.InvalidArgument, match="db"):
            engine.containers.create("host:", ["true"], name="db")
        with pytest.raises(pc.InvalidArgument, match="nope"):
            engine.containers.get("nope")


def test_a_failed_start_leaves_it_as_it_was():
    with pc.Container.create("host:", ["no-such-program"]) as container:
        with pytest.raises(pc.CommandNotFound):
            container.start()
        assert container.status == "created"


def test_exec_knows_a_user_as_soon_as_there_is_one(running):
    assert running.exec(["true"], user="root").exit_code == 0
    with pytest.raises(pc.InvalidArgument, match="no user 'late'"):
        running.exec(["true"], user="late")
    accounts = running.read_bytes("/etc/passwd")
    for uid in (71, 72, 73):
        running.write_bytes("/etc/passwd", accounts + b"late:x:%d:0::/:/bin/sh\n" % uid)
        assert running.exec(["id", "-u"], user="late").stdout == b"%d\n" % uid
    time.sleep(0.1)
    for _ in range(2):
        assert running.exec(["id", "-u"], user="late").stdout == b"73\n"
    script = ["sh", "-c", "echo late:x:74:0::/:/bin/sh >/etc/passwd"]
    assert running.exec(script).exit_code == 0
    assert running.exec(["id", "-u"], user="late").stdout == b"74\n"


class Slow(os.PathLike):
    """A path that is said only when told to: holds an operation up in its middle."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.asked, self.say = threading.Event(), threading.Event()

    def __fspath__(self) -> str:
        self.asked.set()
        assert self.say.wait(60)
        return self.path


@pytest.mark.parametrize("way", ["read", "write", "put", "get"])
def test_a_container_removed_in_the_middle_of_an_operation(tmp_path, way):
    """Its fd must not come to be another directory's, whose file would be taken for the container's."""
    decoy, target = tmp_path / "decoy", tmp_path / "got"
    (decoy / "srv").mkdir(parents=True)
    (decoy / "srv/file").write_bytes(b"of the host")
    path = Slow("/srv/file")
    outcome: list[object] = []

    def use(container: pc.Container) -> None:
        calls = {
            "read": lambda: container.read_bytes(path),
            "write": lambda: container.write_bytes(path, b"written"),
            "put": lambda: container.put(__file__, path),
            "get": lambda: container.get(path, target),
        }
        try:
            outcome.append(calls[way]())
        except BaseException as error:  # noqa: BLE001  (looked at below)
            outcome.append(error)

    with pc.Container.create("host:", ["sleep", "100"]) as container:
        container.start()
        container.write_bytes("/srv/file", b"of the container")
        thread = threading.Thread(target=use, args=(container,))
        thread.start()
        assert path.asked.wait(60)
        container.remove(force=True)
        others = [os.open(decoy, os.O_RDONLY) for _ in range(50)]
        path.say.set()
        thread.join()
        for other in others:
            os.close(other)
    assert outcome[0] in {None, b"of the container"} or isinstance(outcome[0], pc.PyContainerError)
    assert (decoy / "srv/file").read_bytes() == b"of the host"
    assert not target.exists() or target.read_bytes() == b"of the container"


def test_a_container_may_be_removed_while_other_threads_use_it(tmp_path):
    """They end with an error of ours, or have what they asked for: nothing else that gets the same fd number."""
    decoy, tree = tmp_path / "decoy", tmp_path / "tree"
    for place in (decoy / "etc", decoy / "srv", tree):
        place.mkdir(parents=True)
    (decoy / "etc/file").write_bytes(b"of the host")
    for number in range(100):
        (tree / f"{number}").touch()
    outcomes: list[object] = []
    barrier = threading.Barrier(5)

    def use(container: pc.Container, number: int) -> None:
        calls = [
            lambda: container.read_bytes("/etc/file") == b"of the container",
            lambda: container.write_bytes(f"/srv/{number}", b"x" * 4096) is None,
            lambda: container.put(tree, f"/srv/{time.monotonic_ns()}-{number}") is None,
            lambda: container.exec(["true"]).exit_code in {0, 137},
        ]
        barrier.wait()
        try:
            while calls[number]():
                pass
            outcomes.append("something else")
        except pc.PyContainerError as error:
            outcomes.append(type(error))
        except BaseException as error:  # noqa: BLE001  (reported below)
            outcomes.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            with pc.Container.create("host:", ["sleep", "100"]) as container:
                container.start()
                container.write_bytes("/etc/file", b"of the container")
                threads = [threading.Thread(target=use, args=(container, number)) for number in range(4)]
                for thread in threads:
                    thread.start()
                barrier.wait()
                time.sleep(0.01)
                container.remove(force=True)
                # What is opened now gets the numbers that were freed.
                others = [os.open(decoy, os.O_RDONLY) for _ in range(50)]
                for thread in threads:
                    thread.join()
                for other in others:
                    os.close(other)
    finally:
        sys.setswitchinterval(interval)
    assert len(outcomes) == 40
    assert {each for each in outcomes if not isinstance(each, type)} == set()
    assert os.listdir(decoy / "srv") == []
