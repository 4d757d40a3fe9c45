"""Capabilities: names and numbers are the kernel's, Docker's rules for adding and dropping, what can be given."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import InvalidArgument
from pycontainer.kernel import capabilities
from pycontainer.kernel.capabilities import DOCKER_DEFAULT, NAMES, Granted, grant, mask, parse, resolve

ALL = capabilities.all_names()


def test_names_have_the_numbers_of_the_kernel_s_header() -> None:
    text = Path("/usr/include/linux/capability.h").read_text(encoding="utf-8")
    found = {
        name: int(number)
        for name, number in re.findall(r"^#define (CAP_[A-Z_]+)\s+(\d+)$", text, re.MULTILINE)
    }
    assert found == {name: number for number, name in enumerate(NAMES)}


def test_all_are_those_of_the_running_kernel() -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    assert capabilities.last() == last
    assert frozenset(NAMES[: last + 1]) == ALL


def test_docker_s_default_has_fourteen() -> None:
    assert len(DOCKER_DEFAULT) == 14
    assert mask(DOCKER_DEFAULT) == 0xA80425FB  # what `docker run debian grep CapBnd /proc/self/status` prints


@pytest.mark.parametrize(
    "name", ["NET_ADMIN", "CAP_NET_ADMIN", "net_admin", "cap_net_admin", "Cap_Net_Admin"]
)
def test_names_are_taken_as_people_write_them(name: str) -> None:
    assert parse([name]) == {"CAP_NET_ADMIN"}


@pytest.mark.parametrize("name", ["ALL", "all", "CAP_ALL"])
def test_all_is_each_of_them(name: str) -> None:
    assert parse([name, "KILL"]) == ALL


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["NET_ADMN"], "capability='NET_ADMN': no such capability; did you mean CAP_NET_ADMIN"),
        (["KILL", "frobnicate"], "capability='frobnicate': no such capability$"),
        ([""], "capability=''"),
        ([7], "capability=7: a name is needed"),
        ("NET_ADMIN", "a list of names is needed"),
    ],
)
def test_a_wrong_name_is_named(names: list[str], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        parse(names)


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ([], [], DOCKER_DEFAULT),
        (["NET_ADMIN"], [], DOCKER_DEFAULT | {"CAP_NET_ADMIN"}),
        ([], ["MKNOD"], DOCKER_DEFAULT - {"CAP_MKNOD"}),
        ([], ["NET_ADMIN"], DOCKER_DEFAULT),
        (["MKNOD"], ["mknod"], DOCKER_DEFAULT),
        (["NET_ADMIN"], ["NET_ADMIN"], DOCKER_DEFAULT | {"CAP_NET_ADMIN"}),
        ([], ["ALL"], frozenset()),
        (["NET_ADMIN", "KILL"], ["ALL"], {"CAP_NET_ADMIN", "CAP_KILL"}),
        (["ALL"], [], ALL),
        (["ALL"], ["SYS_ADMIN", "MKNOD"], ALL - {"CAP_SYS_ADMIN", "CAP_MKNOD"}),
        (["ALL", "SYS_ADMIN"], ["SYS_ADMIN"], ALL - {"CAP_SYS_ADMIN"}),
        (["ALL"], ["ALL"], ALL),
        (["KILL"], ["ALL", "KILL"], {"CAP_KILL"}),
    ],
)
def test_adding_and_dropping_follow_docker(add: list[str], drop: list[str], expected: frozenset[str]) -> None:
    assert resolve(add, drop, DOCKER_DEFAULT) == expected
    assert resolve(add=iter(add), drop=iter(drop)) == expected


def test_a_wrong_name_is_refused_even_where_it_has_no_effect() -> None:
    for add, drop in ((["ALL"], ["MKNOT"]), (["MKNOT"], ["ALL"]), (["MKNOT"], []), ([], ["ALL", "MKNOT"])):
        with pytest.raises(InvalidArgument, match=r"MKNOT.*CAP_MKNOD"):
            resolve(add, drop)
    with pytest.raises(InvalidArgument, match="cap_drop='MKNOD': a list"):
        resolve([], "MKNOD")


@given(st.frozensets(st.sampled_from(NAMES)))
def test_a_mask_has_a_bit_for_each(names: frozenset[str]) -> None:
    bits = mask(names)
    assert {name for number, name in enumerate(NAMES) if bits >> number & 1} == names
    assert bits >> len(NAMES) == 0


def _status(field: str) -> frozenset[str]:
    line = next(
        line
        for line in Path("/proc/thread-self/status").read_text(encoding="ascii").splitlines()
        if line.startswith(field)
    )
    return frozenset(name for number, name in enumerate(NAMES) if int(line.split()[1], 16) >> number & 1)


def test_the_sets_of_the_calling_thread_are_as_the_kernel_prints_them() -> None:
    assert capabilities.bounding() == _status("CapBnd")
    assert capabilities.effective() == _status("CapEff")


def test_capabilities_newer_than_the_build_of_python_prctl_are_read_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import prctl

    expected = capabilities.bounding()
    monkeypatch.setattr(prctl, "CAP_LAST_CAP", 37)
    assert capabilities.bounding() == expected == _status("CapBnd")


#: Drops capabilities in one thread: the sets of the others are as before.
DROP = """
import threading, prctl
from pycontainer.kernel import capabilities
before = capabilities.bounding(), capabilities.effective()
def drop():
    prctl.capbset_drop(0)
    prctl.cap_effective.kill = False
    print(sorted(before[0] - capabilities.bounding()), sorted(before[1] - capabilities.effective()))
    print(capabilities.grant(["CHOWN", "FOWNER"]))
thread = threading.Thread(target=drop)
thread.start()
thread.join()
print((capabilities.bounding(), capabilities.effective()) == before)
"""


@pytest.mark.needs("root")
def test_the_sets_are_those_of_the_calling_thread() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", DROP], cwd=root, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "['CAP_CHOWN'] ['CAP_KILL']",
        "CAP_FOWNER (not to be had here: CAP_CHOWN)",
        "True",
    ]


def test_what_cannot_be_given_is_told() -> None:
    granted = grant(["net_admin", "KILL"], limit=frozenset({"CAP_KILL", "CAP_CHOWN"}))
    assert granted == Granted(names=frozenset({"CAP_KILL"}), missing=frozenset({"CAP_NET_ADMIN"}))
    assert str(granted) == "CAP_KILL (not to be had here: CAP_NET_ADMIN)"
    assert str(grant([], limit=frozenset())) == "none"


def test_the_bounding_set_is_the_limit_unless_one_is_given() -> None:
    bounding = capabilities.bounding()
    assert grant(["ALL"]) == Granted(names=bounding, missing=ALL - bounding)
    assert grant(["ALL"], limit=ALL).missing == frozenset()


def test_in_a_thread_of_its_own() -> None:
    found: list[frozenset[str]] = []
    thread = threading.Thread(target=lambda: found.append(capabilities.bounding()))
    thread.start()
    thread.join()
    assert found == [capabilities.bounding()]


@pytest.mark.needs("userns")
def test_a_new_user_namespace_has_them_all() -> None:
    done = subprocess.run(
        ["unshare", "--user", "cat", "/proc/self/status"], check=True, capture_output=True, text=True
    )
    bits = int(re.findall(r"CapBnd:\s+(\w+)", done.stdout)[0], 16)
    assert bits & mask(ALL) == mask(ALL)
