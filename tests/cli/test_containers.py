"""Containers that stay: each verb in a process of its own."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pycontainer.cli.detachkeys import DetachKeys
from pycontainer.errors import InvalidArgument
from tests.support.commandline import PATIENCE, CommandLine

pytestmark = pytest.mark.needs("userns", "busybox")

LOOP = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.1; done"
SLEEP = ("sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done")


def until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.05)


@pytest.fixture
def web(cli: CommandLine, app: str) -> str:
    """The name of a container that runs."""
    done = cli("run", "-d", "--name", "web", "--label", "tier=front", app, *SLEEP).good()
    assert len(done.out.strip()) == 64
    return "web"


def test_a_life(cli: CommandLine, app: str) -> None:
    identity = cli("create", "--name", "web", app, *SLEEP).good().out.strip()
    assert cli("ps", "-q").out == ""
    assert cli("ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}").lines == ["web created Created"]
    assert cli("start", "web").good().out == "web\n"
    assert cli("ps", "-q", "--no-trunc").lines == [identity]
    assert cli("ps", "--format", "{{.Status}}").out.startswith("Up ")
    assert cli("restart", "-t", "5", "web").good().out == "web\n"
    assert cli("stop", "--time", "5", identity[:8]).good().out == f"{identity[:8]}\n"
    assert cli("ps", "-a", "--format", "{{.Status}}").out.startswith("Exited (0) ")
    assert cli("wait", "web").good().out == "0\n"
    assert cli("rename", "web", "site").good().out == ""
    assert cli("rm", "site").good().out == "site\n"
    assert cli("ps", "-aq").out == ""


@pytest.mark.needs("cgroup")
def test_a_pause(cli: CommandLine, web: str) -> None:
    assert cli("pause", web).good().out == "web\n"
    assert cli("ps", "--format", "{{.State}} {{.Status}}").out.endswith("(Paused)\n")
    assert cli("unpause", web).good().out == "web\n"
    assert cli("ps", "--format", "{{.State}}").out == "running\n"


def test_the_table_of_containers_is_dockers(cli: CommandLine, app: str, web: str) -> None:
    head, line = cli("ps").good().lines
    assert head.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert line.startswith(cli("ps", "-q").out.strip() + "   app:v1    \"sh -c trap 'exit 0'…\"   ")
    assert line.endswith("             web")
    (found,) = json.loads(cli("ps", "--json").good().out)
    assert (found["name"], found["status"], found["exit_code"]) == ("web", "running", None)
    assert cli("container", "ls", "--format", "{{.Labels}}").out == "team=a,tier=front\n"
    for words, count in (
        (["-f", "name=we"], 1), (["-f", "label=tier=front"], 1), (["-f", "label=tier=back"], 0),
        (["-f", "status=exited"], 0), (["-f", "ancestor=app:v1"], 1), (["-n", "1"], 1), (["-l"], 1),
    ):  # fmt: skip
        assert len(cli("ps", "-q", *words).good().lines) == count, words
    assert "one of id=..., name=" in cli("ps", "-f", "nope=1").err


def test_the_output_is_kept(cli: CommandLine, app: str) -> None:
    cli(
        "run",
        "-d",
        "--name",
        "web",
        app,
        "sh",
        "-c",
        "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three; exit 3",
    ).good()
    assert cli("wait", "web").out == "3\n"
    done = cli("logs", "web").good()
    assert (done.out, done.err) == ("one\nthree\n", "two\n")
    assert cli("logs", "--tail", "1", "web").out == "three\n"
    stamps = [line.partition(" ")[0] for line in cli("logs", "-t", "web").lines]
    assert all(stamp.endswith("Z") and "T" in stamp for stamp in stamps)
    assert cli("logs", "--since", "1h", "web").out == "one\nthree\n"
    assert cli("logs", "--until", "1h", "web").out == ""
    assert cli("logs", "--since", stamps[-1], "web").out == "three\n"
    assert "a time such as" in cli("logs", "--since", "yesterday", "web").err
    assert cli("start", "-a", "web").status == 3


def test_logs_are_followed_to_the_end(cli: CommandLine, app: str) -> None:
    cli("run", "-d", "--name", "web", app, "sh", "-c", "echo one; sleep 0.5; echo two").good()
    assert cli("logs", "-f", "web").good().lines == ["one", "two"]


def test_following_ends_with_ctrl_c(cli: CommandLine, app: str) -> None:
    cli("run", "-d", "--name", "web", app, "sh", "-c", LOOP).good()
    with cli.start("logs", "-f", "web") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"line 0\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    assert cli("ps", "-q").out != ""


def test_further_programs(cli: CommandLine, web: str) -> None:
    assert cli("exec", web, "sh", "-c", "echo out; echo err >&2; exit 4").status == 4
    data = bytes(range(256)) * 1000
    assert cli.raw("exec", "-i", web, "cat", input=data).stdout == data
    assert (
        cli("exec", "-e", "A=1", "-w", "/srv", "-u", "app", web, "sh", "-c", "echo $A $PWD; id -u").out
        == "1 /srv\n1000\n"
    )
    assert cli("exec", web, "nope").status == 127
    assert cli("exec", web, "/srv/file").status == 126
    assert cli("exec", web, "sh", "-c", "sleep 100 & echo started").out == "started\n"
    with cli.on_terminal(
        "exec", "-it", web, "sh", "-c", "read x; stty size; echo got $x; exit 5", rows=31, columns=99
    ) as terminal:
        until(terminal.is_raw)
        terminal.type("word\r")
        terminal.until("31 99\r\ngot word")
        assert terminal.wait() == 5
        assert terminal.is_as_before()
    cli("stop", "-t", "5", web).good()
    done = cli("exec", web, "true")
    assert (done.status, done.err) == (1, "pycontainer: container web is exited: cannot exec\n")


def test_a_further_program_is_left_to_itself(cli: CommandLine, web: str) -> None:
    script = "sleep 0.3; echo $A in $PWD > /srv/late; exec sleep 1001"
    done = cli("exec", "-d", "-i", "-e", "A=1", "-w", "/tmp", web, "sh", "-c", script).good()
    assert (done.out, done.err) == ("", "")
    until(lambda: cli("exec", web, "cat", "/srv/late").out == "1 in /tmp\n")
    assert "sleep 1001" in cli("top", web).out
    assert cli("exec", "--detach", web, "nope").status == 127
    assert "leave -t out" in cli("exec", "-dt", web, "sh").err
    cli("stop", "-t", "0", web).good()
    cli("start", web).good()
    assert "sleep 1001" not in cli("top", web).out


def test_run_in_the_foreground_leaves_a_container(cli: CommandLine, app: str) -> None:
    assert cli("run", "--name", "web", app, "sh", "-c", "echo hi; echo bad >&2; exit 6").status == 6
    assert cli("ps", "-a", "--format", "{{.Names}} {{.Status}}").out.startswith("web Exited (6) ")
    done = cli("logs", "web")
    assert (done.out, done.err) == ("hi\n", "bad\n")
    assert "a container has this name" in cli("run", "--name", "web", app).err


@pytest.mark.parametrize("options", [["--rm"], ["--rm", "--name", "web"]])
def test_with_rm_it_does_not(cli: CommandLine, app: str, options: list[str]) -> None:
    done = cli("run", *options, app, "sh", "-c", "echo hi; exit 6")
    assert (done.status, done.out) == (6, "hi\n")
    assert cli("ps", "-aq").out == ""


def test_detached_with_rm_it_goes_with_its_end(cli: CommandLine, app: str) -> None:
    cli("run", "-d", "--rm", app, "true").good()
    until(lambda: cli("ps", "-aq").out == "")


def test_a_program_that_is_not_there_leaves_a_container_as_in_docker(cli: CommandLine, app: str) -> None:
    assert cli("run", app, "nope").status == 127
    assert cli("ps", "-a", "--format", "{{.Status}}").out == "Created\n"
    assert cli("run", "--rm", "--name", "x1", app, "nope").status == 127
    assert len(cli("ps", "-aq").lines) == 1


def test_input_reaches_a_container_that_stays(cli: CommandLine, app: str) -> None:
    data = bytes(range(256)) * 300
    done = cli.raw("run", "-i", app, "cat", input=data)
    assert (done.returncode, done.stdout) == (0, data)
    assert cli("run", "-i", app, "true", input=b"x" * (1 << 20)).status == 0


def test_who_reads_slowly_misses_nothing(cli: CommandLine, app: str) -> None:
    """More than the log of a container without a reader keeps."""
    count = 150 << 20
    with cli.start("run", app, "dd", "if=/dev/zero", "bs=1M", f"count={count >> 20}") as process:
        assert process.stdout is not None
        time.sleep(1)
        found = 0
        while piece := process.stdout.read(1 << 20):
            found += len(piece)
        assert process.wait(PATIENCE) == 0
    assert found == count


def test_attach_and_leave(cli: CommandLine, app: str) -> None:
    with cli.on_terminal("run", "-it", "--name", "web", "-e", "PS1=> ", app, "sh") as terminal:
        terminal.until("> ")
        terminal.type("\x10\x11")
        assert terminal.wait() == 0
        assert terminal.is_as_before()
    assert cli("ps", "--format", "{{.Names}}").out == "web\n"
    with cli.on_terminal("attach", "web", rows=40, columns=111) as terminal:
        until(terminal.is_raw)
        terminal.type("read x; stty size\r")
        terminal.type("\r")
        terminal.until("40 111")
        terminal.resize(20, 60)
        terminal.type("read x; stty size\r")
        terminal.type("\r")
        terminal.until("20 60")
        terminal.type("exit 9\r")
        assert terminal.wait() == 9
        assert terminal.is_as_before()
    done = cli("attach", "web")
    assert done.err == "pycontainer: container web is exited: cannot attach\n"


def test_signals_go_to_a_container_that_stays(cli: CommandLine, app: str) -> None:
    with cli.start(
        "run",
        "--name",
        "web",
        app,
        "sh",
        "-c",
        "trap 'echo got; exit 4' TERM; echo up; while :; do sleep 0.05; done",
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b"got\n"
        assert process.wait(PATIENCE) == 4


def test_a_client_that_is_killed_leaves_the_container(cli: CommandLine, app: str) -> None:
    with cli.start("run", "--name", "web", app, "sh", "-c", LOOP) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"line 0\n"
        process.kill()
    assert cli("ps", "--format", "{{.Names}}").out == "web\n"
    assert cli("kill", "web").good().out == "web\n"
    assert cli("wait", "web").out == "137\n"


def test_files_go_in_and_out(cli: CommandLine, web: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("of the host\n")
    cli("cp", str(tmp_path / "in"), f"{web}:/root/there").good()
    assert cli("exec", web, "cat", "/root/there").out == "of the host\n"
    cli("cp", f"{web}:/root/there", str(tmp_path / "out")).good()
    assert (tmp_path / "out").read_text() == "of the host\n"
    assert cli("diff", web).good().lines[-1] == "A /root/there"
    assert "CONTAINER:SRC_PATH DEST_PATH, or" in cli("cp", "a", "b").err
    cli("exec", web, "rm", "/srv/file").good()
    assert "D /srv/file" in cli("diff", web).lines
    cli("stop", "-t", "0", web).good()  # one that runs can be committed only where it can be paused
    digest = cli("commit", "-m", "changed", web, "app:v2").good().out.strip()
    assert digest.startswith("sha256:")
    assert cli("run", "--rm", "app:v2", "cat", "/root/there").out == "of the host\n"
    assert "changed" in cli("history", "app:v2").out
    archive = tmp_path / "x.tar"
    cli("export", "-o", str(archive), web).good()
    assert cli.raw("export", web).stdout == archive.read_bytes()


def test_what_is_told_of_a_container(cli: CommandLine, app: str, web: str) -> None:
    (found,) = json.loads(cli("inspect", web).good().out)
    assert (found["Name"], found["State"]["Status"]) == ("/web", "running")
    assert cli("container", "inspect", "-f", "{{.Config.Labels.tier}}", web).out == "front\n"
    assert "no such container: nope" in cli("container", "inspect", "nope").err
    head, *lines = cli("top", web).good().lines
    assert head.split()[:3] == ["UID", "PID", "PPID"]
    assert any("trap" in line for line in lines)
    assert cli("top", web, "-o", "pid,comm").good().lines[0].split() == ["PID", "COMMAND"]
    assert "the column PID is needed" in cli("top", web, "-o", "comm").err
    assert cli("info", "-f", "{{.Containers}} {{.ContainersRunning}}").out == "1 1\n"
    assert cli("__complete", "stop", "w").lines == ["web"]


@pytest.mark.needs("cgroup")
def test_use_and_limits(cli: CommandLine, web: str) -> None:
    head, line = cli("stats", "--no-stream").good().lines
    assert head.split("   ")[0] == "CONTAINER ID"
    assert line.split()[1] == "web"
    assert cli("update", "-m", "64m", "--pids-limit", "40", web).good().out == "web\n"
    assert (
        cli("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}", web).out == "67108864 40\n"
    )
    (found,) = json.loads(cli("stats", "--no-stream", "--json", web).good().out)
    assert found["memory_limit"] == 64 << 20
    assert "nothing is to be changed" in cli("update", web).err


def test_a_restart_policy_is_kept(cli: CommandLine, app: str) -> None:
    cli("run", "-d", "--name", "web", "--restart", "on-failure:2", app, "false").good()
    assert cli("wait", "web").out == "1\n"
    assert cli("inspect", "-f", "{{.RestartCount}}", "web").out == "2\n"
    cli("update", "--restart", "no", "web").good()
    assert cli("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", "web").out == "no\n"


def test_health_is_shown(cli: CommandLine, app: str) -> None:
    check = ("--health-cmd", "test -e /ok", "--health-interval", "100ms", "--health-retries", "1")
    cli("run", "-d", "--name", "web", *check, app, *SLEEP).good()
    until(lambda: "(unhealthy)" in cli("ps", "--format", "{{.Status}}").out)
    cli("exec", "web", "touch", "/ok").good()
    until(lambda: "(healthy)" in cli("ps", "--format", "{{.Status}}").out)
    assert cli("ps", "-q", "-f", "health=healthy").out != ""


def test_what_happened_is_told(cli: CommandLine, app: str) -> None:
    began = str(time.time())
    cli("run", "--name", "web", app, "true").good()
    cli("rm", "web").good()
    words = ("events", "--since", began, "--until", str(time.time()))
    actions = cli(*words, "--format", "{{.Action}}").good().lines
    assert actions == ["create", "start", "die", "destroy"]
    assert " container die " in cli(*words, "-f", "event=die").out
    assert json.loads(cli(*words, "--format", "json").lines[0])["Type"] == "container"


def test_several_at_once_and_what_fails(cli: CommandLine, app: str, web: str) -> None:
    done = cli("rm", web, "nope")
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines() == [
        "pycontainer: container web is running: cannot remove",
        "pycontainer: no such container: nope",
    ]
    assert cli("rm", "-f", web, "nope").good().out == "web\n"
    cli("create", "--name", "one", app).good()
    assert cli("container", "prune", "-f").good().lines[0] == "Deleted Containers:"
    cli("create", "--name", "one", app).good()
    assert "Deleted Containers:" in cli("system", "prune", "-f").good().lines


@pytest.mark.parametrize(
    ("typed", "passed", "left"),
    [
        (b"abc", b"abc", False),
        (b"a\x10\x11", b"a", True),
        (b"\x10a", b"\x10a", False),
        (b"\x10\x10\x11", b"\x10", True),
        (b"\x10", b"", False),
    ],
)
def test_keys_that_leave(typed: bytes, passed: bytes, left: bool) -> None:
    assert DetachKeys("ctrl-p,ctrl-q").feed(typed) == (passed, left)


def test_keys_in_pieces_and_others() -> None:
    keys = DetachKeys("ctrl-p,ctrl-q")
    assert [keys.feed(b"\x10"), keys.feed(b"\x11")] == [(b"", False), (b"", True)]
    assert DetachKeys("a,b").feed(b"xab") == (b"x", True)
    assert DetachKeys("").feed(b"\x10\x11") == (b"\x10\x11", False)
    with pytest.raises(InvalidArgument):
        DetachKeys("ctrl-1")
