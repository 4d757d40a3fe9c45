"""Namespaces opened, compared, and named in the file system."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pycontainer.errors import InvalidArgument, KernelError
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.namespace import Namespace, NamespaceSet
from tests.support.namespaces import ALL, every, own, said
from tests.support.refuse import refusing

__all__ = ["every"]

pytestmark = pytest.mark.needs("userns")


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
    with pytest.raises(KernelError, match=r"^open process 99999999: No such file"):
        NamespaceSet.open(99999999)
    with pytest.raises(KernelError, match=r"^open the net namespace /proc/99999999/ns/net: No such file"):
        Namespace.open(99999999, "net")
    with pytest.raises(InvalidArgument, match=r"^where=.*it is a uts namespace, no net namespace"):
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
        with pytest.raises(KernelError, match=r"^mount on .*: Input/output error"):
            refusing(lambda: ns["net"].bind(tmp_path / "net"), "move_mount", errno.EIO)
        with pytest.raises(KernelError, match="No such file"):
            ns["net"].bind(tmp_path / "absent" / "net")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("user")
def test_an_ordinary_user_cannot_give_names(tmp_path: Path, every: NamespaceSet) -> None:
    with pytest.raises(KernelError, match="run as root"):
        every["net"].bind(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []
