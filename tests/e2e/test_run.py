"""`pycontainer.run`: a program in a fresh container, and everything about its run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import pycontainer as pc


def sh(script: str, **options: object) -> pc.Result[str]:
    return pc.run("host:", ["sh", "-c", script], text=True, **options)


def test_it_says_everything_about_a_run():
    result = pc.run("host:", ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert result.signal is None
    assert not result.timed_out
    assert 0 < result.usage.wall < 60


def test_input_reaches_the_program_and_text_mode_decodes():
    assert pc.run("host:", ["cat"], input="grüße\n", text=True).stdout == "grüße\n"
    assert pc.run("host:", ["cat"], input=b"\x00\xff").stdout == b"\x00\xff"


def test_stdin_is_empty_unless_given():
    assert pc.run("host:", ["cat"]).stdout == b""


def test_stdin_and_stdout_may_be_files(tmp_path):
    (tmp_path / "in").write_bytes(b"from a file")
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as sink:
        result = pc.run("host:", ["cat"], stdin=source, stdout=sink)
    assert (result.exit_code, result.stdout) == (0, b"")
    assert (tmp_path / "out").read_bytes() == b"from a file"


def test_stderr_can_join_stdout():
    assert sh("echo a; echo b >&2; echo c", stderr=pc.STDOUT).stdout == "a\nb\nc\n"


def test_a_flood_is_cut_and_does_not_hang():
    result = pc.run("host:", ["head", "-c", "50000000", "/dev/zero"], output_limit=1000)
    assert len(result.stdout) == 1000
    assert result.truncated
    assert result.exit_code == 0


def test_a_program_that_never_reads_does_not_hang():
    assert pc.run("host:", ["true"], input=b"x" * 10_000_000).exit_code == 0


def test_a_timeout_ends_the_whole_tree():
    started = time.monotonic()
    result = sh("setsid sleep 1000 & trap '' TERM; sleep 1000", timeout=0.5)
    assert result.timed_out
    assert (result.exit_code, result.signal) == (137, 9)
    assert time.monotonic() - started < 20


def test_exit_statuses_are_dockers():
    assert pc.run("host:", ["no-such-program"]).exit_code == 127
    assert "no-such-program" in pc.run("host:", ["no-such-program"], text=True).stderr
    assert pc.run("host:", ["/etc/passwd"]).exit_code == 126
    assert pc.run("host:", ["/etc"]).exit_code == 126
    assert sh("kill -KILL $$; sleep 1", init=True).exit_code == 137
    assert sh("kill -SEGV $$; sleep 1", init=True).exit_code == 139


def test_check_raises_with_the_result():
    with pytest.raises(pc.ContainerFailed) as caught:
        pc.run("host:", ["sh", "-c", "echo broken >&2; exit 7"], check=True)
    assert caught.value.result.exit_code == 7
    assert "broken" in str(caught.value)


def test_the_environment_is_only_what_was_given():
    os.environ["SECRET_OF_THE_HOST"] = "x"
    try:
        lines = sh("env", env={"A": "1", "B": "two words"}, hostname="box").stdout.splitlines()
    finally:
        del os.environ["SECRET_OF_THE_HOST"]
    found = dict(line.split("=", 1) for line in lines)
    found.pop("PWD", None)
    assert found == {
        "A": "1",
        "B": "two words",
        "HOME": "/root",
        "HOSTNAME": "box",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }


def test_workdir_and_hostname_and_umask():
    result = sh("pwd; hostname; umask", workdir="/srv/new/deep", hostname="box", umask=0o077)
    assert result.stdout == "/srv/new/deep\nbox\n0077\n"


def test_the_host_name_is_the_short_id_by_default():
    name = sh("hostname").stdout.strip()
    assert len(name) == 12
    assert int(name, 16) >= 0


def test_entrypoint_and_command():
    assert pc.run("host:", ["b", "c"], entrypoint=["echo", "a"]).stdout == b"a b c\n"


def test_only_the_given_fds_are_open(tmp_path):
    with open(tmp_path / "secret", "w") as held:
        os.set_inheritable(held.fileno(), True)
        result = sh("ls -l /proc/self/fd | grep -c /; ls /proc/self/fd")
    # ls itself has its directory open as 3.
    assert result.stdout.split()[1:] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("init", [False, True])
def test_extra_fds_are_passed(tmp_path, init):
    (tmp_path / "data").write_text("hello")
    fd = os.open(tmp_path / "data", os.O_RDONLY)
    try:
        assert sh("cat <&7", extra_fds={fd: 7}, init=init).stdout == "hello"
    finally:
        os.close(fd)


def test_changes_of_the_run():
    result = sh("echo x > /root/new; rm /etc/hosts; echo y >> /etc/passwd; mkdir -p /opt/a/b")
    assert result.exit_code == 0, result.stderr
    found = {change.path: change.kind for change in result.changes()}
    assert found["/root/new"] == "added"
    assert found["/etc/hosts"] == "deleted"
    assert found["/etc/passwd"] == "modified"
    assert found["/opt/a"] == found["/opt/a/b"] == "added"
    assert "/etc/group" not in found


def test_nothing_of_a_run_is_seen_by_the_next():
    sh("touch /root/trace")
    assert sh("ls /root/trace").exit_code != 0


def test_read_only_root():
    result = sh("touch /root/x", read_only=True)
    assert result.exit_code != 0
    assert "Read-only" in result.stderr


@pytest.mark.needs("tmpfs_xattr")
def test_the_writable_layer_is_bounded_by_size():
    result = sh("head -c 20000000 /dev/zero > /root/big || { wc -c < /root/big; exit 3; }", size="4M")
    assert "No space left" in result.stderr
    assert 3 << 20 < int(result.stdout) <= 4 << 20
    assert (result.exit_code, result.limit) == (3, "size")


@pytest.mark.needs("tmpfs_xattr")
@pytest.mark.parametrize("changes", [True, False])
def test_a_full_writable_layer_is_named_when_the_run_failed(changes):
    fill = "head -c 20000000 /dev/zero > /root/big"
    assert sh(fill, size="4M", changes=changes).limit == "size"
    assert sh(f"{fill}; true", size="4M", changes=changes).limit is None
    assert sh("exit 1", size="4M", changes=changes).limit is None
    if not changes:
        with pytest.raises(pc.StateError):
            sh("true", size="4M", changes=changes).changes()


@pytest.mark.needs("tmpfs_xattr")
def test_what_is_removed_can_be_written_again_below_the_bound():
    result = sh(
        "for i in 1 2 3; do head -c 3000000 /dev/zero > /root/$i || exit; rm /root/$i; done", size="4M"
    )
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.needs("tmpfs_xattr")
def test_the_bound_holds_for_files_of_the_image_that_are_changed():
    result = sh(
        "mkdir /x; head -c 6000000 /dev/zero > /x/a; head -c 6000000 /dev/zero >> /etc/passwd", size="4M"
    )
    assert result.exit_code != 0
    assert result.stderr.count("No space left") == 2


def test_a_bound_on_disk_that_cannot_be_had_is_refused_with_its_mend():
    if pc.doctor()["project-quota"].available:
        pytest.skip("it can be had: tests/kernel/test_quota.py")
    workspace = pc.default_engine().workspace
    before = os.listdir(workspace.path)
    with pytest.raises(pc.NotSupported, match=r"size=4194304 of a writable layer on disk: .*prjquota"):
        pc.Container.create("host:", ["true"], size="4M")
    assert os.listdir(workspace.path) == before


def test_mounts(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "a").write_text("of the host")
    source = str(tmp_path / "shared")
    result = sh("cat /data/a; echo made > /data/b", mounts=[pc.Bind(source, "/data")])
    assert result.stdout == "of the host", result.stderr
    assert (tmp_path / "shared" / "b").read_text() == "made\n"
    assert (tmp_path / "shared" / "b").stat().st_uid == os.geteuid()
    assert sh("touch /data/c", mounts=[f"{source}:/data:ro"]).exit_code != 0
    file = sh("cat /etc/one", mounts=[pc.Bind(tmp_path / "shared" / "a", "/etc/one", read_only=True)])
    assert file.stdout == "of the host"


def test_tmpfs_mounts():
    result = sh("df -k /scratch | tail -1; touch /scratch/x", mounts=[pc.Tmpfs("/scratch", size="8M")])
    assert result.exit_code == 0, result.stderr
    assert " 8192 " in result.stdout


def test_a_terminal():
    result = pc.run(
        "host:", ["sh", "-c", "tty; echo $TERM; test -t 0 && test -t 1 && echo yes"], tty=True, text=True
    )
    assert result.stdout.split() == ["/dev/pts/0", "xterm", "yes"]


def test_init_is_pid_1_and_reaps():
    result = sh(
        "cat /proc/1/comm; (sh -c 'sleep 0.1 &'); sleep 0.5; ps -A -o stat= | grep -c Z; exit 5", init=True
    )
    assert result.exit_code == 5
    assert result.stdout.split()[0] == "init"
    assert result.stdout.split()[-1] == "0"


def test_init_reports_a_missing_program():
    assert pc.run("host:", ["nope"], init=True).exit_code == 127
    assert pc.run("host:", ["/etc/passwd"], init=True).exit_code == 126


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"command": []}, "command"),
        ({"command": ["a\0b"]}, "NUL"),
        ({"command": ["true"], "timeout": 0}, "timeout"),
        ({"command": ["true"], "timeout": -1}, "timeout"),
        ({"command": ["true"], "env": {"A=B": "x"}}, "env"),
        ({"command": ["true"], "env": {"A": 1}}, "env"),
        ({"command": ["true"], "workdir": "relative"}, "workdir"),
        ({"command": ["true"], "hostname": "-bad-"}, "hostname"),
        ({"command": ["true"], "mounts": ["/nowhere/at/all:/x"]}, "/nowhere/at/all"),
        ({"command": ["true"], "mounts": ["x"]}, "mounts"),
        ({"command": ["true"], "mounts": [pc.Tmpfs("/a"), pc.Tmpfs("/a")]}, "two mounts"),
        ({"command": ["true"], "network": "mesh"}, "network"),
        ({"command": ["true"], "cap_add": ["NET_ADMINN"]}, "NET_ADMINN"),
        ({"command": ["true"], "ulimits": {"files": 1}}, "files"),
        ({"command": ["true"], "size": "lots"}, "size"),
        ({"command": ["true"], "user": "nobody-such"}, "nobody-such"),
        ({"command": ["true"], "input": b"", "stdin": 0}, "input"),
        ({"command": ["true"], "extra_fds": {999: 5}}, "extra_fds"),
        ({"command": ["true"], "userns": "some"}, "userns"),
        ({"command": ["true"], "stop_signal": "SIGNOPE"}, "SIGNOPE"),
    ],
)
def test_wrong_arguments_are_refused_by_name(options, word):
    with pytest.raises(pc.InvalidArgument, match=word):
        pc.run("host:", **options)


def test_an_unknown_argument_is_an_error():
    with pytest.raises(TypeError, match="memroy"):
        pc.run("host:", ["true"], memroy=1)


def test_unknown_images_are_refused_with_where_they_were_looked_for():
    with pytest.raises(pc.RegistryError, match="localhost:1"):
        pc.run("localhost:1/nothing-like:this", ["true"])


def test_the_host_process_is_left_alone(tmp_path):
    before = (
        os.getcwd(),
        dict(os.environ),
        signal.getsignal(signal.SIGINT),
        Path("/proc/self/mountinfo").read_text(),
    )
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    child = subprocess.Popen(["sleep", "0.1"])
    sh("true")
    assert child.wait() == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
    assert before == (
        os.getcwd(),
        dict(os.environ),
        signal.getsignal(signal.SIGINT),
        Path("/proc/self/mountinfo").read_text(),
    )
    with open("/proc/self/status") as file:
        assert "Groups" in file.read()


def test_many_threads_at_once():
    wrong: list[object] = []

    def work(number: int) -> None:
        for _ in range(5):
            result = sh(f"echo {number}")
            if result.stdout != f"{number}\n":
                wrong.append(result)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_it_works_inside_a_running_event_loop():
    import asyncio

    async def main() -> bytes:
        return pc.run("host:", ["echo", "hi"]).stdout

    assert asyncio.run(main()) == b"hi\n"


def test_a_forked_child_starts_with_nothing_of_the_parents():
    script = """
import os, sys, pycontainer as pc
assert pc.run("host:", ["true"]).exit_code == 0
with pc.Container.create("host:", ["sleep", "60"]) as parents:
    parents.start()
    pid = os.fork()
    if pid == 0:
        try:
            parents.remove(force=True)
            try:
                parents.exec(["true"])
            except pc.StateError:
                os._exit(pc.run("host:", ["sh", "-c", "exit 9"]).exit_code)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert parents.status == "running"
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=60, check=False)
    assert done.returncode == 9


@pytest.mark.needs("userns")
def test_root_of_a_user_namespace_is_enough(tmp_path):
    """As in a rootless container: uid 0, but no right over the host's ids."""
    script = "import sys, pycontainer as pc; print(pc.Engine(sys.argv[1]).run('host:', ['id', '-u'], text=True).stdout)"
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", script, str(tmp_path / "root")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "0", done.stderr
