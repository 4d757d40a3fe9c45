"""What a started program gets: exactly what the request says, nothing of the host's."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainer.errors import CommandNotExecutable
from pycontainer.kernel import operation as op
from pycontainer.kernel import userns
from pycontainer.kernel.idmap import IdMap, user_map
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Script
from pycontainer.kernel.spawn import Capabilities, spawn
from tests.support.spawning import command, end, output


def status_of(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


@pytest.fixture
def inside() -> Iterator[int]:
    """A user namespace in which the caller can be root."""
    fd = userns.create(user_map() if os.geteuid() else IdMap.block(0x7FF0_0000))
    yield fd
    os.close(fd)


def test_the_program_gets_its_arguments_and_its_status_is_told() -> None:
    assert output("", argv=(b"sh", b"-c", b'echo "$0|$1|$#"', b"a b", b"", b"c")) == "a b||2\n"
    ended = end(spawn(command("exit 7"))[1])
    assert (ended.code, ended.status) == (os.CLD_EXITED, 7)
    ended = end(spawn(command("kill -9 $$"))[1])
    assert (ended.code, ended.status) == (os.CLD_KILLED, 9)


def test_the_environment_is_exactly_what_was_given() -> None:
    words = {"argv": (b"cat", b"/proc/self/environ"), "candidates": (b"/bin/cat",)}
    assert output("", env=(b"A=1", b"B=x y"), **words) == "A=1\0B=x y\0"
    assert output("", env=(), **words) == ""


def test_the_program_gets_the_named_descriptors_and_no_other() -> None:
    inherited = os.open("/", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        seen = output("", inherited, argv=(b"ls", b"/proc/self/fd"), candidates=(b"/bin/ls",))
    finally:
        os.close(inherited)
    # 1 and 2 were placed; 0 is the directory that ls reads.
    assert sorted(seen.split()) == ["0", "1", "2"]


def test_descriptors_are_exchanged_without_overwriting_each_other(tmp_path: Path) -> None:
    files = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC) for name in "ab"]
    try:
        swapped = ((0, files[1]), (1, files[0]))
        _, pidfd = spawn(
            command(f"echo a >/dev/fd/{files[1]}; echo b >/dev/fd/{files[0]}", *files, stdio=swapped)
        )
        assert end(pidfd).status == 0
    finally:
        for fd in files:
            os.close(fd)
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("a\n", "b\n")


def test_signals_are_as_at_boot_whatever_the_host_has_done() -> None:
    old = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM})
    try:
        fields = status_of(output("", argv=(b"cat", b"/proc/self/status"), candidates=(b"/bin/cat",)))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, old)
    assert [int(fields[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")] == [0, 0, 0]


def test_umask_limits_session_and_directory(tmp_path: Path) -> None:
    seen = output(
        "umask; pwd; ulimit -Hn; ulimit -Sn; cut -d' ' -f1,6 /proc/$$/stat",
        umask=0o077,
        rlimits=((resource.RLIMIT_NOFILE, 32, 64),),
        workdir=os.fsencode(tmp_path),
        session=True,
    )
    mask, directory, hard, soft, numbers = seen.splitlines()
    assert (mask, directory, hard, soft) == ("0077", str(tmp_path.resolve()), "64", "32")
    pid, session = numbers.split()
    assert pid == session


@pytest.mark.needs("userns")
def test_ids_and_capabilities_are_exactly_what_was_asked_for(inside: int) -> None:
    caps = Capabilities(bounding=0b111, permitted=0b11, inheritable=0b1, ambient=0b1, last=36)
    seen = output(
        "",
        inside,
        argv=(b"cat", b"/proc/self/status"),
        candidates=(b"/bin/cat",),
        joins=((1, lib.CLONE_NEWUSER),),
        ns_root=True,
        capabilities=caps,
        no_new_privs=True,
        ids=(0, 0),
    )
    fields = status_of(seen)
    assert int(fields["CapBnd"], 16) & (1 << 37) - 1 == 0b111
    assert [int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapInh")] == [0b11, 0b11, 0b1]
    assert fields["Uid"].split() == fields["Gid"].split() == ["0"] * 4
    assert fields["NoNewPrivs"] == "1"


@pytest.mark.needs("userns")
def test_a_host_name_of_its_own(inside: int) -> None:
    host = os.uname().nodename
    seen = output(
        "uname -n", inside, joins=((1, lib.CLONE_NEWUSER),), namespaces=lib.CLONE_NEWUTS, hostname=b"inner"
    )
    assert seen == "inner\n"
    assert os.uname().nodename == host


def test_operations_fill_the_slots_that_later_ones_and_the_program_use(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("content\n")
    script = Script.of(
        inner=[
            op.open_path(str(tmp_path), out=1, flags=os.O_PATH | os.O_DIRECTORY),
            op.make_dir("made", at=1, mode=0o751),
            op.write_file("made/file", b"written", at=1, flags=os.O_WRONLY | os.O_CREAT, mode=0o604),
            op.open_path("in", at=1, out=2, flags=os.O_RDONLY),
        ]
    )
    read, write = os.pipe2(os.O_CLOEXEC)
    _, pidfd = spawn(command("cat", write, -1, -1, script=script, stdio=((2, 0), (0, 1))))
    os.close(write)
    with open(read) as file:
        assert file.read() == "content\n"
    assert end(pidfd).status == 0
    # Exact modes, whatever the umask of the host and of the program.
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o751
    assert stat.S_IMODE((tmp_path / "made/file").stat().st_mode) == 0o604
    assert (tmp_path / "made/file").read_text() == "written"


def test_usage_is_of_this_process() -> None:
    _, pidfd = spawn(command("i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"))
    ended = end(pidfd)
    assert 0 < ended.cpu_user + ended.cpu_system < 60


def test_of_several_candidates_the_first_that_can_be_executed_runs(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    seen = output(
        "echo $0",
        candidates=(b"/nonexistent/sh", os.fsencode(plain), b"/bin/sh"),
        argv=(b"me", b"-c", b"echo $0"),
    )
    assert seen == "me\n"


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    with pytest.raises(CommandNotExecutable) as caught:
        spawn(command("true", candidates=(b"/nonexistent/sh", os.fsencode(plain))))
    assert caught.value.errno == errno.EACCES
    plain.chmod(0o755)
    with pytest.raises(CommandNotExecutable) as caught:
        spawn(command("true", candidates=(os.fsencode(plain),)))
    assert caught.value.errno == errno.ENOEXEC
