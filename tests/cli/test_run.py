"""``run``: each option is compared with what the program inside finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.commandline import PATIENCE, CommandLine

pytestmark = pytest.mark.needs("userns", "busybox")


@pytest.mark.parametrize(
    ("options", "script", "expected"),
    [
        (["-e", "A=1", "--env", "B=x y"], "echo $A-$B-$FROM", "1-x y-image"),
        (["-h", "box.example"], "hostname", "box.example"),
        (["-w", "/srv/new"], "pwd", "/srv/new"),
        (["-u", "app"], "id -u; id -g", "1000\n1000"),
        (["--user=7:8"], "id -u; id -g", "7\n8"),
        (["-u", "app", "--group-add", "extra"], "id -G", "1000 1001"),
        (["--read-only"], "touch /x 2>&1", "touch: /x: Read-only file system"),
        (["--read-only", "--tmpfs", "/scratch:size=1m"], "echo kept > /scratch/x; cat /scratch/x", "kept"),
        (["--ulimit", "nofile=64:128"], "ulimit -n; ulimit -Hn", "64\n128"),
        (["--init"], "cat /proc/1/comm", "init"),
        (["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward", "1"),
        (["--shm-size", "1m"], "grep -c size=1024k /proc/self/mounts", "1"),
        (["--rm", "--oom-score-adj", "500"], "sleep 0.5; cat /proc/self/oom_score_adj", "500"),
        (["--network", "none"], "ls /sys/class/net", "lo"),
        (["--cap-drop", "ALL"], "grep CapEff /proc/self/status", "CapEff:\t0000000000000000"),
        (["--cap-drop=ALL", "--cap-add", "CHOWN"], "grep CapEff /proc/self/status", "CapEff:\t0000000000000001"),
        (["--security-opt", "no-new-privileges=false"], "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0"),
        (["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
        (["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status", "Seccomp:\t0"),
        (["--security-opt", "seccomp:builtin"], "grep Seccomp: /proc/self/status", "Seccomp:\t2"),
        (["--privileged"], "grep -c 'CapEff:.*0000003ff\\|CapEff:.*1ff' /proc/self/status", "1"),
        (["-t"], "test -t 1 && echo $TERM", "xterm"),
        (["--entrypoint", "echo"], "-c", None),
        (["--pull", "never", "--rm", "--ipc=private", "--pid", "private"], "echo there", "there"),
        (["--mount", "type=tmpfs,dst=/scratch,tmpfs-size=1m,tmpfs-mode=700"], "stat -c %a /scratch", "700"),
        (["--security-opt", "apparmor=unconfined", "--security-opt", "label=disable"], "echo there", "there"),
    ],
)  # fmt: skip
def test_an_option_is_what_the_program_finds(
    cli: CommandLine, app: str, options: list[str], script: str, expected: str | None
) -> None:
    if expected is None:
        assert cli("run", *options, app, "one", "two").good().out == "one two\n"
        return
    done = cli("run", *options, app, "sh", "-c", script)
    assert done.out.replace("\r\n", "\n").removesuffix("\n") == expected, done


@pytest.mark.parametrize("private", [(), ("--rm",)], ids=["kept", "private"])
@pytest.mark.needs("cgroup")
@pytest.mark.parametrize(
    ("options", "v1", "v2", "expected"),
    [
        (["-m", "64m"], "memory/memory.limit_in_bytes", "memory.max", "67108864"),
        (["--pids-limit", "77"], "pids/pids.max", "pids.max", "77"),
        (["--cpus", "0.5"], "cpu/cpu.cfs_quota_us", "cpu.max", "50000"),
        (["--cpu-period", "100000", "--cpu-quota", "50000"], "cpu/cpu.cfs_quota_us", "cpu.max", "50000"),
        (["--cpuset-cpus", "0"], "cpuset/cpuset.cpus", "cpuset.cpus", "0"),
    ],
)
def test_a_limit_is_what_the_kernel_holds(
    cli: CommandLine, app: str, options: list[str], v1: str, v2: str, expected: str, private: tuple[str, ...]
) -> None:
    """The container cannot see its own cgroup; so the host looks where its first process is."""
    with cli.start("run", "-i", *private, *options, app, "cat") as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"up\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"up\n"
            inside = (
                _inside(process.pid)
                if private
                else int(cli("inspect", "-f", "{{.State.Pid}}", _only(cli)).out)
            )
            found = _cgroup_values(inside, v1, v2)
        finally:
            process.stdin.close()  # type: ignore[union-attr]
            process.wait(PATIENCE)
    assert expected in found


def _only(cli: CommandLine) -> str:
    return cli("ps", "-q").good().out.strip()


def _inside(pid: int) -> int:
    """The container's process: the descendant that runs cat, or busybox for it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        left = [pid]
        while left:
            each = left.pop()
            for task in Path(f"/proc/{each}/task").glob("*/children"):
                left += map(int, task.read_text().split())
            if b"cat" in Path(f"/proc/{each}/cmdline").read_bytes().split(b"\0")[:1]:
                return each
        time.sleep(0.02)
    pytest.fail("there is no process of the container")


def _cgroup_values(pid: int, v1: str, v2: str) -> list[str]:
    """The values of a setting in the process's cgroup and those above it, which may be what holds it."""
    found = []
    controller, _, name = v1.partition("/")
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controller in names:
            top, file = Path("/sys/fs/cgroup") / controllers, name
            top = top if top.exists() else Path("/sys/fs/cgroup") / controller
        elif not controllers:
            top, file = Path("/sys/fs/cgroup"), v2
        else:
            continue
        place = top / path.lstrip("/")
        for each in (place, place.parent):
            if (each / file).exists():
                found += (each / file).read_text().split()
    return found


def test_the_exit_status_is_the_programs(cli: CommandLine, app: str) -> None:
    assert cli("run", app, "sh", "-c", "exit 37").status == 37
    assert cli("run", "--init", app, "sh", "-c", "kill -TERM $$").status == 143


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["run", "app:v1", "nope"], 127, 'execute "nope": No such file or directory'),
        (["run", "app:v1", "/srv/file"], 126, 'execute "/srv/file": Permission denied'),
        (["run", "--cpus", "many", "app:v1"], 125, "--cpus many: a number is needed, such as 1.5"),
        (["run", "--memory", "64Q", "app:v1"], 125, "--memory 64Q: bytes as an int, or text like '64M', are needed"),
        (["run", "-w", "rel", "app:v1"], 125, "--workdir rel: an absolute path is needed"),
        (["run", "--cap-add", "NOPE", "app:v1"], 125, "--cap-add NOPE: no such capability"),
        (["run", "--pull=never", "nope:v1"], 125, "nope:v1: no such image here, and --pull never forbids to fetch it"),
        (["run", "--pull=often", "app:v1"], 125, "--pull often: one of always, missing, never is needed"),
        (["run", "--ipc=host", "app:v1"], 125, "--ipc host: 'private' is all there is"),
        (["run", "--pid", "host", "app:v1"], 125, "--pid host: 'private' is all there is"),
        (["run", "-v", "/nowhere/at/all:/x", "app:v1"], 125, "--mount /nowhere/at/all: the source does not exist"),
        (["run", "--mount", "type=bind,src=/tmp", "app:v1"], 125, "--mount type=bind,src=/tmp: target= is missing"),
        (["run", "--mount", "type=npipe,dst=/x", "app:v1"], 125, "one of bind, volume, tmpfs, image is needed"),
        (["run", "--security-opt", "apparmor=mine", "app:v1"], 125, "AppArmor is not used"),
        (["run", "--security-opt", "nope", "app:v1"], 125, "there are no-new-privileges"),
        (["run", "--ulimit", "nofile=many", "app:v1"], 125, "name=soft[:hard] is needed"),
        (["run", "--env-file", "/nowhere", "app:v1"], 125, "/nowhere: No such file or directory"),
        (["run", "-a", "stdout", "app:v1"], 125, "-a is not supported"),
        (["run", "--restart", "often", "app:v1"], 125, "--restart often: one of no, on-failure,"),
        (["run", "--rm", "--restart", "always", "app:v1"], 125, "with --rm it would never be removed"),
        (["run", "--health-interval", "5x", "app:v1"], 125, "a duration is needed, such as 1m30s"),
        (["run", "--health-interval", "5s", "app:v1"], 125, "the image has no health check: give one"),
        (["run", "--detach-keys", "ctrl-pp", "app:v1"], 125, "keys such as ctrl-p,ctrl-q are needed"),
        (["run", "--gpus", "all", "app:v1"], 125, "--gpus is not supported"),
        (["run", "-it", "app:v1"], 125, "stdin is no terminal"),
        (["run"], 125, "'run' takes at least 1 argument"),
    ],
)  # fmt: skip
def test_a_failure_is_one_line_with_the_way_out(
    cli: CommandLine, app: str, words: list[str], status: int, message: str
) -> None:
    done = cli(*words)
    assert (done.status, done.out) == (status, "")
    assert message in done.err
    assert done.err.startswith("pycontainer: ")
    assert done.err.count("\n") == 1


def test_environment_files_are_read_as_docker_reads_them(cli: CommandLine, app: str, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# none\n\nA=of the file\nB=2=3\n  SPACED=x\nMINE\nNOT_SET\n")
    script = 'echo "$A|$B|$SPACED|$MINE|${NOT_SET-unset}|$OTHER"'
    done = cli(
        *("run", "--env-file", str(file), "-e", "A=of the option", "-e", "OTHER", app, "sh", "-c", script),
        env={"MINE": "of the caller", "OTHER": "too"},
    )
    assert done.good().out == "of the option|2=3|x|of the caller|unset|too\n"
    file.write_text("no good=1\n")
    assert "line 1 is no name=value" in cli("run", "--env-file", str(file), app).err


def test_streams_are_apart_and_binary(cli: CommandLine, app: str) -> None:
    data = bytes(range(256)) * 5000
    done = cli.raw("run", "-i", app, "sh", "-c", "cat; echo error >&2; exit 5", input=data)
    assert (done.returncode, done.stdout, done.stderr) == (5, data, b"error\n")
    assert cli("run", app, "cat", input="not handed on").good().out == ""


def test_input_that_nobody_reads_is_no_failure(cli: CommandLine, app: str) -> None:
    assert cli("run", "-i", app, "true", input=b"x" * (1 << 20)).status == 0


def test_who_reads_no_more_ends_the_program_by_its_output(cli: CommandLine, app: str) -> None:
    with cli.start(
        "run", "--rm", app, "sh", "-c", "while echo line; do :; done; echo told >&2; exit 9"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.wait(PATIENCE) == 9
        assert b"told" in process.stderr.read()


def test_who_reads_no_more_leaves_a_container_that_stays(cli: CommandLine, app: str) -> None:
    with cli.start("run", app, "sh", "-c", "while echo line; do sleep 0.05; done") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.wait(PATIENCE) == 141
    assert _only(cli) != ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_sent_on(cli: CommandLine, app: str, number: signal.Signals) -> None:
    script = f"trap 'echo got; exit 4' {number.name[3:]}; echo up; while :; do sleep 0.05; done"
    with cli.start("run", app, "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(number)
        assert process.stdout.read() == b"got\n"
        assert process.wait(PATIENCE) == 4


def test_without_sig_proxy_they_are_not(cli: CommandLine, app: str) -> None:
    with cli.start(
        "run", "--sig-proxy=false", app, "sh", "-c", "trap 'exit 4' TERM; echo up; sleep 60"
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == -signal.SIGTERM


def test_a_program_that_ignores_signals_ends_with_the_third(cli: CommandLine, app: str) -> None:
    """It is process 1, which ignores what it has no handler for (pid_namespaces(7))."""
    with cli.start("run", app, "sh", "-c", "echo up; exec sleep 60") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        assert process.wait(PATIENCE) == 137


def test_mounts_of_each_kind(cli: CommandLine, app: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "in").write_text("of the host\n")
    cli("run", "-v", f"{data}:/data", app, "sh", "-c", "cat /data/in > /data/out").good()
    assert (data / "out").read_text() == "of the host\n"
    assert (data / "out").stat().st_uid == os.geteuid()
    refused = cli("run", "-v", f"{data}:/data:ro", app, "touch", "/data/x")
    assert "Read-only file system" in refused.err
    done = cli("run", "--mount", f"type=bind,source={data},target=/data,readonly", app, "ls", "/data")
    assert done.good().lines == ["in", "out"]
    cli("run", "-v", "notes:/data", app, "sh", "-c", "echo kept > /data/note").good()
    done = cli("run", "--mount", "type=volume,src=notes,dst=/data", app, "cat", "/data/note")
    assert done.good().out == "kept\n"
    assert (
        cli("run", "--mount", "type=image,src=app:v1,dst=/img", app, "cat", "/img/srv/file").good().out
        == "x\n"
    )
    assert (
        cli("run", "-v", "./data:/data", app, "cat", "/data/in", cwd=tmp_path).good().out == "of the host\n"
    )


def test_a_seccomp_profile_of_a_file(cli: CommandLine, app: str, tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    done = cli("run", "--security-opt", f"seccomp={file}", app, "mkdir", "/x")
    assert "Operation not supported" in done.err or "Not supported" in done.err
    file.write_text("no json")
    assert "the file is no JSON" in cli("run", "--security-opt", f"seccomp={file}", app).err


def test_the_id_is_written_to_a_file(cli: CommandLine, app: str, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    done = cli("run", "--cidfile", str(file), app, "hostname").good()
    assert file.read_text().startswith(done.out.strip())
    assert len(file.read_text()) == 64
    assert "the file exists" in cli("run", "--cidfile", str(file), app).err


def test_the_hosts_programs_need_no_image(cli: CommandLine) -> None:
    assert cli("run", "host:", "sh", "-c", "echo hi").good().out == "hi\n"


def test_another_root_is_another_engine(cli: CommandLine, app: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert cli("--root", str(other), "images", "-q").good().out == ""
    assert cli("--root", str(cli.engine), "images", "--format", "{{.Repository}}").good().out == "app\n"


def test_nothing_is_left_when_it_is_killed(cli: CommandLine, app: str) -> None:
    with cli.start("run", "--rm", "-i", app, "sh", "-c", "echo up; cat") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        inside = _inside(process.pid)
        process.kill()
        process.wait()
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{inside}").exists():
        assert time.monotonic() < deadline, "the program lives on"
        time.sleep(0.02)
    cli("run", app, "true").good()


def test_python_of_the_caller_does_not_matter(cli: CommandLine) -> None:
    done = subprocess.run(
        [*_module("-W", "error"), "version", "--format", "{{.Client.Version}}"],
        env=cli.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(".") == 2


def _module(*options: str) -> list[str]:
    import sys

    return [sys.executable, *options, "-m", "pycontainer"]


@pytest.mark.parametrize(
    ("closed", "out"), [("0<&-", b"out\n"), (">&-", b""), ("2>&-", b"out\n"), ("0<&- >&- 2>&-", b"")]
)
def test_closed_streams_are_nobodys(cli: CommandLine, app: str, closed: str, out: bytes) -> None:
    """A file that is opened in the place of one would be written to."""
    command = " ".join(
        [*_module(), "run", "--name", "web", app, "sh", "-c", "'echo out; echo err >&2; exit 3'", closed]
    )
    done = subprocess.run(["sh", "-c", command], env=cli.env, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (3, out)
    assert cli("logs", "web").good().out == "out\n"


def test_a_full_disk_is_told(cli: CommandLine) -> None:
    command = " ".join([*_module(), "version", ">/dev/full"])
    done = subprocess.run(["sh", "-c", command], env=cli.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device" in done.stderr


def test_who_reads_no_more_of_a_list_is_no_failure_to_tell_of(cli: CommandLine) -> None:
    command = " ".join([*_module(), "--help", "| true"])
    done = subprocess.run(["sh", "-c", command], env=cli.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
