"""Arguments of the public calls: wrong ones are refused by name, before anything happens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer import aio
from pycontainer.container.options import KNOWN


@pytest.fixture
def running() -> Iterator[pc.Container]:
    with pc.Container.create("host:", ["sleep", "60"]) as container:
        container.start()
        yield container


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("cwd", "did you mean 'workdir'?"),
        ("volumes", "did you mean 'mounts'?"),
        ("environment", "did you mean 'env'?"),
        ("time_out", "did you mean 'timeout'?"),
        ("publish", "did you mean 'ports'?"),
        ("name", "it belongs to create()"),
        ("bufsize", "it belongs to popen()"),
        ("shell", "there is no shell"),
    ],
)
def test_unknown_arguments_get_advice(name, advice):
    with pytest.raises(TypeError) as caught:
        pc.run("host:", ["true"], **{name: 1})
    assert str(caught.value).startswith(f"run() got an unexpected keyword argument {name!r}: {advice}")


def test_unknown_arguments_are_told_in_the_name_of_the_call(running):
    with pytest.raises(
        TypeError, match=r"^create\(\) got .*'timeout': it belongs to run\(\) and Pool.run\(\) and exec\(\)$"
    ):
        pc.Container.create("host:", ["true"], timeout=1)
    with pytest.raises(TypeError, match=r"^exec\(\) got .*'cwd': did you mean 'workdir'\?$"):
        running.exec(["true"], cwd="/")
    with pytest.raises(TypeError, match=r"^popen\(\) got .*'cwd': did you mean 'workdir'\?$"):
        running.popen(["true"], cwd="/")
    with pytest.raises(TypeError, match=r"^run\(\) got .*'xyzzy'$"):
        asyncio.run(aio.run("host:", ["true"], xyzzy=1))


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"timeout": "5"}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"output_limit": "lots"}, "output_limit"),
        ({"output_limit": -1}, "output_limit"),
        ({"input": 5}, "input"),
        ({"input": "text without text=True"}, "input"),
        ({"on_output": "print"}, "on_output"),
        ({"stdout": "/tmp/x"}, "stdout"),
        ({"stderr": True}, "stderr"),
        ({"stdin": pc.STDOUT}, "stdin"),
        ({"text": "yes"}, "text"),
        ({"encoding": 8}, "encoding"),
        ({"check": 1}, "check"),
        ({"changes": "no"}, "changes"),
    ],
)
def test_wrong_exchanges_are_refused_by_name(options, argument):
    with pytest.raises(pc.InvalidArgument) as caught:
        pc.run("host:", ["true"], **options)
    assert caught.value.argument == argument
    assert repr(caught.value.value) in str(caught.value)


def test_wrong_arguments_leave_no_root_behind(tmp_path):
    with pytest.raises(pc.InvalidArgument):
        pc.Engine(tmp_path / "root").run("host:", ["true"], umask="022")
    assert not (tmp_path / "root").exists()


def test_an_output_limit_may_be_text():
    result = pc.run("host:", ["head", "-c", "5000", "/dev/zero"], output_limit="1K")
    assert (len(result.stdout), result.truncated) == (1024, True)
    assert pc.run("host:", ["echo"], output_limit=0).truncated


def test_a_workdir_may_be_a_path_and_is_absolute(running):
    assert pc.run("host:", ["pwd"], workdir=Path("/srv")).stdout == b"/srv\n"
    assert running.exec(["pwd"], workdir=Path("/srv")).stdout == b"/srv\n"
    for call in (running.exec, running.popen):
        for wrong in ("tmp", "", 5):
            with pytest.raises(pc.InvalidArgument, match="workdir"):
                call(["pwd"], workdir=wrong)


def test_an_exec_checks_as_a_run_does(running):
    for options in ({"tty": 1}, {"user": True}, {"env": {"A": 1}}, {"check": "yes"}, {"timeout": "1"}):
        with pytest.raises(pc.InvalidArgument, match=next(iter(options))):
            running.exec(["true"], **options)
    with pytest.raises(pc.InvalidArgument, match="data='text': bytes"):
        running.write_bytes("/tmp/x", "text")


def test_a_variable_without_a_value_is_refused_with_the_way_out(running):
    """Docker would take the caller's; an empty one is nobody's wish."""
    for call in (running.exec, running.popen, lambda words, **options: pc.run("host:", words, **options)):
        with pytest.raises(pc.InvalidArgument, match=r"'NAME=value'.*os\.environ\['HOME'\]") as caught:
            call(["true"], env=["A=1", "HOME"])
        assert (caught.value.argument, caught.value.value) == ("env", "HOME")
    assert pc.run("host:", ["sh", "-c", "echo $A"], env=["A=", "A=b=c"]).stdout == b"b=c\n"


def test_a_terminal_goes_with_no_other_stream(running, tmp_path):
    with (tmp_path / "file").open("w+b") as file, pc.Container.create("host:", ["true"], tty=True) as other:
        for name in ("stdin", "stdout", "stderr"):
            for call in (
                lambda **stream: pc.run("host:", ["true"], tty=True, **stream),
                lambda **stream: running.exec(["true"], tty=True, **stream),
                lambda **stream: running.popen(["true"], tty=True, **stream),
                other.start,
            ):
                for given in (file, file.fileno()):
                    with pytest.raises(pc.InvalidArgument, match="terminal") as caught:
                        call(**{name: given})
                    assert caught.value.argument == name
        with pytest.raises(pc.InvalidArgument, match="terminal"):
            pc.run("host:", ["true"], tty=True, stdout=pc.DEVNULL)
        # What the terminal does anyway may be said.
        done = running.exec(
            ["sh", "-c", "echo out; echo err >&2"], tty=True, stdout=pc.PIPE, stderr=pc.STDOUT
        )
        assert done.stdout == b"out\r\nerr\r\n"
        with running.popen(["cat"], tty=True, stdin=pc.PIPE, stdout=pc.PIPE) as process:
            process.stdin.write(b"typed\n\x04")
            process.stdin.flush()
            assert process.stdout.read() == b"typed\r\ntyped\r\n"
        other.start(stderr=pc.STDOUT)


def test_a_workdir_that_is_a_file_is_told_of():
    with pytest.raises(pc.KernelError, match="working directory /etc/passwd"):
        pc.run("host:", ["true"], workdir="/etc/passwd")


def test_a_string_with_blanks_gets_a_hint():
    result = pc.run("host:", "echo hi", text=True)
    assert result.exit_code == 127
    assert "one word" in result.stderr
    assert "['echo', 'hi']" in result.stderr


@pytest.mark.needs("root")
def test_a_user_that_is_not_mapped_is_told_what_is():
    with pytest.raises(pc.InvalidArgument, match=r"0\.\.65535"):
        pc.run("host:", ["true"], user=70000)


@pytest.mark.needs("user")
def test_without_a_user_namespace_root_is_needed():
    with pytest.raises(pc.KernelError, match="needs root"):
        pc.run("host:", ["true"], userns="host")


@pytest.mark.needs("user")
def test_a_root_file_system_with_mounts_in_it_is_told_of():
    with pytest.raises(pc.KernelError, match="mounts in it"):
        pc.run("rootfs:/", ["true"])


@pytest.mark.parametrize("path", ["/etc/hosts", "/etc/resolv.conf"])
def test_the_hosts_network_comes_with_its_names(path, tmp_path):
    command = ["sh", "-c", f"cat {path}; echo x >> {path}"]
    shown = pc.run("host:", command, network="host", text=True)
    assert shown.stdout == Path(path).read_text()
    assert shown.exit_code != 0
    assert Path(path).read_text() == shown.stdout
    (tmp_path / "own").write_text("mine\n")
    mine = pc.run("host:", ["cat", path], network="host", mounts=[f"{tmp_path}/own:{path}"], text=True)
    assert mine.stdout == "mine\n"
    whole = pc.run("host:", ["ls", "/etc"], network="host", mounts=[f"{tmp_path}:/etc"], text=True)
    assert whole.stdout == "own\n"
    assert os.listdir(tmp_path) == ["own"]


def test_a_name_in_the_hosts_own_file_is_found_on_its_network():
    """By the C library of the container, not only as text in a file; offline."""
    lines = [line.partition("#")[0].split() for line in Path("/etc/hosts").read_text().splitlines()]
    names = {name for words in lines for name in words[1:]} - {"localhost"}
    if not names:
        pytest.skip("/etc/hosts names nobody but localhost")
    name = min(names)
    found = pc.run("host:", ["getent", "ahosts", name], network="host", text=True, timeout=60)
    assert found.exit_code == 0, found.stderr
    addresses = {words[0] for words in lines if name in words[1:]}
    assert {line.split()[0] for line in found.stdout.splitlines()} & addresses
    # Without a network the container has a file of its own, and nobody to ask.
    alone = pc.run("host:", ["getent", "hosts", name], text=True, timeout=60)
    assert alone.exit_code == 2


def test_the_pid_of_what_does_not_run():
    with pc.Container.create("host:", ["true"]) as container:
        with pytest.raises(pc.StateError, match="created: cannot tell its pid"):
            repr(container.pid)
        container.start()
        container.wait()
        with pytest.raises(pc.StateError, match="exited: cannot tell its pid"):
            repr(container.pid)


def test_a_terminals_last_output_can_be_read_after_the_end():
    with pc.Container.create("host:", ["echo", "last words"], tty=True) as container:
        with pytest.raises(pc.StateError, match="use its terminal"):
            repr(container.terminal)
        container.start()
        container.wait()
        assert container.terminal.read(100) == b"last words\r\n"
    with pytest.raises(pc.StateError, match="removed: cannot use its terminal"):
        repr(container.terminal)


def test_the_default_engine_is_public():
    assert isinstance(pc.default_engine(), pc.Engine)
    assert "default_engine" in dir(pc)


def test_the_documentation_of_run_names_every_argument():
    words = set(pc.run.__doc__.replace(",", " ").split())
    assert KNOWN["run"] | {"image", "command"} <= words
