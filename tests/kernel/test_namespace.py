"""Namespaces as objects: made, entered, opened, named, and gone with what held them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.namespace import Namespace, NamespaceSet
from pycontainer.kernel.nsfs import KINDS
from tests.support.refuse import refusing

ROOT = os.geteuid() == 0
HAS_TIME = os.path.exists("/proc/self/ns/time")
#: All kinds that the kernel has; a virtual machine's may lack time namespaces.
ALL = tuple(kind for kind in KINDS if kind != "time" or HAS_TIME)

pytestmark = pytest.mark.needs("userns")


def make(*kinds: str, **options: Any) -> NamespaceSet:
    """A set of these kinds, for an ordinary user with "user"."""
    return Namespace.create(*kinds, *(() if ROOT or "user" in kinds else ("user",)), **options)


def said(ns: NamespaceSet, script: str, **options: Any) -> str:
    """What a shell script prints inside; it must succeed."""
    with ns.popen(["sh", "-ec", script], stdout=subprocess.PIPE, **options) as process:
        assert process.stdout is not None
        text = process.stdout.read().decode()
        assert process.wait() == 0
    return text.rstrip("\n")


def own(kind: str) -> tuple[int, int]:
    status = os.stat(f"/proc/self/ns/{KINDS[kind].file}")
    return status.st_dev, status.st_ino


@pytest.fixture(scope="module")
def every() -> Iterator[NamespaceSet]:
    with Namespace.create(*ALL) as ns:
        yield ns


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
        with pytest.raises(KernelError, match='^execute "/nonexistent": No such file'):
            ns.run(["/nonexistent"])


def test_time_namespaces_that_cannot_be() -> None:
    if not HAS_TIME:
        with pytest.raises(NotSupported, match="no time namespaces"):
            make("time")
        return
    with pytest.raises(InvalidArgument, match="offsets='realtime': the clocks are monotonic, boottime"):
        make("time", offsets={"realtime": 1})
    with pytest.raises(KernelError, match="^set the offsets of a time namespace: Numerical result") as caught:
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
    with make("uts", "user") as ns:
        with every.popen(["pwd"], cwd="/", stdout=subprocess.DEVNULL) as process:
            process.wait()
        assert said(ns, "readlink /proc/self/cwd || pwd -L") in (os.getcwd(), "")
    with pytest.raises(KernelError, match="^enter the working directory /nonexistent: No such file"):
        every.run(["true"], cwd="/nonexistent")


@pytest.mark.parametrize(
    ("argv", "options", "message"),
    [
        ("true", {}, "^argv='true': a sequence"),
        ([], {}, r"^argv=\[\]: a sequence"),
        (["a\0b"], {}, "contains a NUL byte"),
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


# -- opening ---------------------------------------------------------------------------------------


def test_the_namespaces_of_a_process_are_opened_and_entered(every: NamespaceSet) -> None:
    assert every.init_pid is not None
    kinds = [kind for kind in ALL if kind != "time"]  # init itself is not in the new time namespace
    with NamespaceSet.open(every.init_pid, *kinds) as ns:
        assert [ns[kind].identity for kind in kinds] == [every[kind].identity for kind in kinds]
        assert said(ns, "cat /proc/1/comm; id -u").split() == ["init", "0"]
        with Namespace.open(every.init_pid, "net") as net:
            assert net.identity == ns["net"].identity
    assert every.run(["true"]) == 0


def test_namespaces_that_the_caller_is_in_are_left_out() -> None:
    with NamespaceSet.open(os.getpid()) as ns:
        assert set(ns) == set(ALL)
        assert {kind: ns[kind].identity for kind in ALL} == {kind: own(kind) for kind in ALL}
        assert said(ns, "id -u; pwd").split() == [str(os.geteuid()), os.getcwd()]


def test_namespaces_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="^open process 99999999: No such file"):
        NamespaceSet.open(99999999)
    with pytest.raises(KernelError, match="^open the net namespace /proc/99999999/ns/net: No such file"):
        Namespace.open(99999999, "net")
    with pytest.raises(InvalidArgument, match="^where=.*it is a uts namespace, no net namespace"):
        Namespace.open("/proc/self/ns/uts", "net")
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", Path("/dev/null")):
        with pytest.raises(InvalidArgument, match="it is no namespace, no net namespace"):
            Namespace.open(path, "net")


@pytest.mark.needs("user")
def test_namespaces_of_another_user_cannot_be_opened() -> None:
    with pytest.raises(KernelError, match="Permission denied"):
        NamespaceSet.open(1)


def test_kinds_are_named_when_one_is_unknown() -> None:
    message = "^kind='network': the kinds of namespaces are user, cgroup, ipc, uts, net, mount, time, pid$"
    for call in (lambda: Namespace.create("network"), lambda: Namespace.open(1, "network")):
        with pytest.raises(InvalidArgument, match=message):
            call()
    with pytest.raises(InvalidArgument, match="at least one is needed"):
        Namespace.create()
    with pytest.raises(InvalidArgument, match='it belongs to a user namespace: add "user"'):
        Namespace.create("net", idmap=IdMap.single(0, 0))
    with pytest.raises(InvalidArgument, match='it belongs to a time namespace: add "time"'):
        Namespace.create("net", offsets={"boottime": 1})


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.needs("root")
def test_a_name_keeps_a_namespace(tmp_path: Path) -> None:
    name = tmp_path / "net"
    with Namespace.create("net", "uts") as ns:
        identity = ns["net"].identity
        ns["net"].bind(name)
        with pytest.raises(KernelError, match=f"^make {name}: File exists"):
            ns["uts"].bind(name)
    with Namespace.open(name, "net") as kept:
        assert kept.identity == identity
    with pytest.raises(InvalidArgument, match="it is a net namespace, no uts namespace"):
        Namespace.open(name, "uts")
    Namespace.unbind(name)
    assert not name.exists()
    with pytest.raises(KernelError, match=f"^open {name}: No such file"):
        Namespace.unbind(name)
    name.touch()
    with pytest.raises(InvalidArgument, match="it is no name of a namespace"):
        Namespace.unbind(name)
    assert name.exists()


@pytest.mark.needs("root")
def test_a_name_that_cannot_be_leaves_no_file(tmp_path: Path) -> None:
    with Namespace.create("net") as ns:
        with pytest.raises(KernelError, match="^mount on .*: Input/output error"):
            refusing(lambda: ns["net"].bind(tmp_path / "net"), "move_mount", errno.EIO)
        with pytest.raises(KernelError, match="No such file"):
            ns["net"].bind(tmp_path / "absent" / "net")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("user")
def test_an_ordinary_user_cannot_give_names(tmp_path: Path, every: NamespaceSet) -> None:
    with pytest.raises(KernelError, match="run as root"):
        every["net"].bind(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


# -- failures and ends -----------------------------------------------------------------------------


@pytest.mark.needs("user")
def test_an_ordinary_user_is_told_to_add_user() -> None:
    with pytest.raises(KernelError, match='^clone into new namespaces: .* add "user"$') as caught:
        Namespace.create("net", "pid")
    assert caught.value.errno == errno.EPERM


def test_a_refusal_names_the_step_and_leaves_nothing() -> None:
    with pytest.raises(KernelError, match="^clone: Input/output error$"):
        refusing(lambda: Namespace.create("user", "net"), "setns", errno.EPERM)
