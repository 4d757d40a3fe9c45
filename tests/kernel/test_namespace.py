"""Namespaces as objects: made, entered, opened, named, and gone with what held them."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pycontainer.errors import InvalidArgument, KernelError, NotSupported, StateError
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.namespace import Namespace, NamespaceSet
from pycontainer.kernel.nsfs import KINDS
from tests.support.namespaces import ALL, HAS_TIME, ROOT, every, make, own, said
from tests.support.refuse import refusing

__all__ = ["every"]

pytestmark = pytest.mark.needs("userns")


# -- making and entering ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_a_namespace_of_each_kind_is_new_and_entered(kind: str) -> None:
    with make(kind) as ns:
        assert ns[kind].kind == kind
        assert ns[kind].identity != own(kind)
        name = f"{KINDS[kind].file}:[{ns[kind].inode}]"
        assert said(ns, f"readlink /proc/self/ns/{KINDS[kind].file}") == name
        others = set(ALL) - {kind, "user"}
        for other in others:
            assert said(ns, f"readlink /proc/self/ns/{KINDS[other].file}").endswith(f"[{own(other)[1]}]")


def test_a_set_tells_what_is_in_it(every: NamespaceSet) -> None:
    assert tuple(every) == ALL
    assert len(every) == len(ALL)
    assert "net" in every
    assert "nonesuch" not in every
    assert repr(every) == f"<NamespaceSet {', '.join(ALL)}>"
    with pytest.raises(KeyError):
        every["nonesuch"]
    inside = said(every, "; ".join(f"readlink /proc/self/ns/{KINDS[kind].file}" for kind in ALL))
    assert inside.splitlines() == [f"{KINDS[kind].file}:[{every[kind].inode}]" for kind in ALL]


def test_an_own_proc_with_our_init_as_the_first_process(every: NamespaceSet) -> None:
    assert said(every, "cat /proc/1/comm; ls -d /proc/[0-9]* | wc -l").splitlines()[0] == "init"
    # In the host's /proc a process of another pid namespace has several numbers.
    numbers = "set -- $(grep NSpid /proc/self/status); echo $(($# - 1))"
    assert said(every, numbers) == "1"
    with make("pid", "mount", "user", proc=False) as ns:
        assert int(said(ns, numbers)) > 1


def test_lo_is_up_in_a_new_network_namespace(every: NamespaceSet) -> None:
    assert "127.0.0.1" in said(every, "cat /proc/net/fib_trie")
    assert said(every, "grep -c : /proc/net/dev") == "1"


def test_commands_start_as_root_of_the_user_namespace_without_groups_of_the_host(every: NamespaceSet) -> None:
    assert said(every, "id -u; id -g").split() == ["0", "0"]
    if ROOT:
        assert said(every, "id -G") == "0"
        assert said(every, "cat /proc/self/uid_map").split()[1] != "0"


def test_a_map_of_ones_own() -> None:
    map_ = IdMap.single(os.geteuid(), os.getegid(), inside=(5, 6))
    with Namespace.create("user", "uts", idmap=map_) as ns:
        assert said(ns, "id -u; id -g").split() == ["5", "6"]


def test_mounts_stay_inside_and_are_seen_by_all_who_enter(tmp_path: Path) -> None:
    with make("mount") as ns:
        # The map of a block has no id for the files of the tests.
        said(ns, "mount -t tmpfs none /mnt && touch /mnt/inside")
        assert said(ns, "ls /mnt; pwd").split() == ["inside", "/"]
    assert not Path("/mnt/inside").exists()


def test_names_of_the_host_stay() -> None:
    before = os.uname().nodename
    with make("uts") as ns:
        assert said(ns, "hostname inner; hostname") == "inner"
        assert said(ns, "hostname") == "inner"
    assert os.uname().nodename == before


@pytest.mark.skipif(not HAS_TIME, reason="tested below: the kernel has none")
def test_clocks_that_are_ahead() -> None:
    with make("time", "user", offsets={"boottime": 864_000.5, "monotonic": -0.25}) as ns:
        with open("/proc/uptime") as file:
            here = float(file.read().split()[0])
        there = float(said(ns, "cat /proc/uptime").split()[0])
        assert 864_000 < there - here < 864_060
        assert said(ns, "tail -n1 /proc/self/timens_offsets").split() == ["boottime", "864000", "500000000"]
        assert said(ns, "head -n1 /proc/self/timens_offsets").split() == ["monotonic", "-1", "750000000"]
        assert ns.run(["sh", "-c", "exit 3"]) == 3
        with pytest.raises(KernelError, match=r'^execute "/nonexistent": No such file'):
            ns.run(["/nonexistent"])


def test_time_namespaces_that_cannot_be() -> None:
    if not HAS_TIME:
        with pytest.raises(NotSupported, match="no time namespaces"):
            make("time")
        return
    with pytest.raises(InvalidArgument, match=r"offsets='realtime': the clocks are monotonic, boottime"):
        make("time", offsets={"realtime": 1})
    with pytest.raises(
        KernelError, match=r"^set the offsets of a time namespace: Numerical result"
    ) as caught:
        make("time", offsets={"monotonic": -1e9})
    assert caught.value.errno == errno.ERANGE


# -- commands --------------------------------------------------------------------------------------


def test_run_returns_the_exit_code(every: NamespaceSet) -> None:
    assert every.run(["true"]) == 0
    assert every.run(["sh", "-c", "exit 42"]) == 42
    assert every.run(["sh", "-c", "kill -15 $$"]) == 128 + signal.SIGTERM


def test_streams(every: NamespaceSet, tmp_path: Path) -> None:
    with every.popen(
        ["sh", "-c", "cat; echo err >&2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"in\n")
        process.stdin.close()
        assert process.stdout.read() == b"in\nerr\n"
    with open(tmp_path / "file", "wb") as file:
        assert every.run(["echo", "x"], stdout=file, stderr=file.fileno(), stdin=subprocess.DEVNULL) == 0
    assert (tmp_path / "file").read_bytes() == b"x\n"
    with every.popen(
        ["sh", "-c", "echo e >&2"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert process.stderr.read() == b"e\n"


def test_a_command_inherits_no_descriptor_but_its_streams(every: NamespaceSet) -> None:
    host = os.open("/", os.O_RDONLY)
    os.set_inheritable(host, True)
    try:
        assert said(every, "ls /proc/self/fd", stdin=subprocess.DEVNULL).split() == ["0", "1", "2", "3"]
    finally:
        os.close(host)


def test_environment_and_directory(every: NamespaceSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTSIDE", "yes")
    assert said(every, "echo $OUTSIDE") == "yes"
    assert said(every, "echo $OUTSIDE-$X", env={"X": "1", "PATH": "/bin:/usr/bin"}) == "-1"
    assert said(every, "pwd") == "/"
    assert said(every, "pwd", cwd="/usr") == "/usr"
    with make("uts") as ns:
        assert said(ns, "readlink /proc/self/cwd") == os.getcwd()
    with pytest.raises(KernelError, match=r"^enter the working directory /nonexistent: No such file"):
        every.run(["true"], cwd="/nonexistent")


@pytest.mark.parametrize(
    ("argv", "options", "message"),
    [
        ("true", {}, "^argv='true': a sequence"),
        ([], {}, r"^argv=\[\]: a sequence"),
        (["a\0b"], {}, "a NUL byte cannot"),
        (["true"], {"env": {"X": "a\0"}}, "^env=.*NUL"),
        (["true"], {"stdin": -2}, "^stdin=-2: PIPE, DEVNULL, a descriptor or an open file is accepted"),
        (["true"], {"stdout": subprocess.PIPE}, "^stdout=-1: nobody would be at the other end: use popen"),
    ],
)
def test_wrong_arguments_of_a_command(
    every: NamespaceSet, argv: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        every.run(argv, **options)


def test_many_threads_run_commands_in_one_set(every: NamespaceSet) -> None:
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda n=number: codes.append(every.run(["sh", "-c", f"exit {n}"])))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == list(range(12))


# -- failures and ends -----------------------------------------------------------------------------


@pytest.mark.needs("user")
def test_an_ordinary_user_is_told_to_add_user() -> None:
    with pytest.raises(KernelError, match=r'^clone into new namespaces: .* add "user"$') as caught:
        Namespace.create("net", "pid")
    assert caught.value.errno == errno.EPERM


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("clone3", r"^clone into new namespaces: "),
        ("setns", r"^enter a namespace: "),
        ("setresuid", r"^become root of the user namespace: "),
        ("mount_setattr", r"^set the attributes of the host's mounts: .* \(operation 2 of "),
        ("fsmount", r"^mount proc on /proc: .* \(operation 5 of "),
    ],
)
def test_a_refusal_names_the_step_and_leaves_nothing(call: str, message: str) -> None:
    with Namespace.create("uts", "user"):
        pass  # what is made once for the process is there
    # Such a thread cannot gain privileges: newuidmap is none to it.
    own_ids = IdMap.single(os.geteuid(), os.getegid())
    with pytest.raises(KernelError, match=message):
        refusing(lambda: Namespace.create("user", "mount", "pid", "net", idmap=own_ids), call, errno.EIO)


def test_close_ends_all_that_runs_in_a_pid_namespace() -> None:
    """Its PID 1 does not end before what was started from outside is reaped, by whoever started it."""
    with make("pid", "net") as ns:
        sleeper, closed = ns.popen(["sleep", "60"]), ns.popen(["sleep", "60"])
        closed.close()
        net, init = ns["net"], ns.init_pid
        assert init is not None
    assert not os.path.exists(f"/proc/{init}")
    with sleeper:
        assert sleeper.wait(5) == 137
    assert closed.wait(0) == 137
    assert net.closed
    ns.close()
    for call in (lambda: ns.run(["true"]), lambda: ns["net"]):
        with pytest.raises(StateError, match="the set of namespaces is closed"):
            call()
    assert repr(ns) == "<NamespaceSet closed>"


def test_only_a_pid_namespace_needs_a_process() -> None:
    with make("net", "uts", "ipc", "mount") as ns:
        assert ns.init_pid is None
        assert ns.run(["true"]) == 0


def test_a_pid_namespace_whose_first_process_was_killed() -> None:
    with make("pid") as ns:
        assert ns.init_pid is not None
        os.kill(ns.init_pid, signal.SIGKILL)
        with ExitStack() as stack:
            pidfd = os.pidfd_open(ns.init_pid)
            stack.callback(os.close, pidfd)
            assert select.select([pidfd], [], [], 5)[0]
        with pytest.raises(KernelError, match=r"the PID 1 of the pid namespace has ended$") as caught:
            ns.run(["true"])
        assert caught.value.errno == errno.ENOMEM


HOST = """
import sys
from pycontainer.kernel.namespace import Namespace
whole = Namespace.create("user", "pid", "mount")
part = Namespace.create("user", "net")
inside, beside = whole.popen(["sleep", "600"]), part.popen(["sleep", "600"])
print(whole.init_pid, inside.pid, beside.pid, flush=True)
sys.stdin.read()
"""


def test_what_a_killed_host_leaves_is_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        pids = [int(word) for word in host.stdout.readline().split()]
        assert len(pids) == 3
        with ExitStack() as stack:
            pidfds = [os.pidfd_open(pid) for pid in pids]
            for pidfd in pidfds:
                stack.callback(os.close, pidfd)
            assert select.select(pidfds, [], [], 0)[0] == []
            host.kill()
            for pidfd in pidfds:
                assert select.select([pidfd], [], [], 10)[0], "it still runs"
