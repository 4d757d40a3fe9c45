"""JSON documents of others: an image's configuration, and seccomp profiles of Docker and of the OCI."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pycontainer.container.spec import make_spec
from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig
from pycontainer.image.image import Image
from pycontainer.kernel import capabilities, seccomp
from pycontainer.kernel.seccomp import Profile, oci, syscalls
from tests.fuzz import wild
from tests.fuzz.guard import guarded
from tests.unit import bpf_machine

CONFIGS = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "Env": wild.mostly(st.lists(st.one_of(wild.TEXT, st.builds("{}={}".format, wild.TEXT, wild.TEXT)), max_size=3)),
            "Entrypoint": wild.mostly(st.lists(wild.TEXT, max_size=2)),
            "Cmd": wild.mostly(st.lists(wild.TEXT, max_size=2)),
            "User": wild.mostly(wild.TEXT),
            "WorkingDir": wild.mostly(st.one_of(wild.TEXT, st.just("/a/../b"))),
            "Labels": wild.mostly(st.dictionaries(wild.TEXT, wild.TEXT, max_size=2)),
            "Volumes": wild.mostly(st.dictionaries(wild.TEXT, st.just({}), max_size=2)),
            "StopSignal": wild.mostly(st.sampled_from(["SIGTERM", "9", "", "RTMIN+3"])),
            "Healthcheck": wild.VALUES,
        },
    ),
    wild.json(st.sampled_from(["Env", "Cmd", "User", "config"]), wild.TEXT),
)  # fmt: skip


@given(value=CONFIGS)
@example(value={"Cmd": ["\ud800"]})
@example(value={"Volumes": ["/a", "/a"]})
def test_image_configurations(value: Any) -> None:
    with guarded(InvalidArgument):
        config = ImageConfig.from_json(value)
        assert ImageConfig.from_json(config.to_json()) == config
        spec = make_spec(Image(name="rootfs:/", config=config))
        for word in (*spec.argv, *(f"{name}={text}" for name, text in spec.env), spec.workdir, spec.user):
            assert b"\0" not in os.fsencode(word)


NAMES = st.sampled_from(
    ["read", "ioctl", "socket", "clone", "futex_waitv", "personality", "nosuchcall", "s390_runtime_instr"]
)
CAPS = st.one_of(st.sampled_from(["CAP_SYS_ADMIN", "CAP_KILL", "all", "CAP_X"]), wild.VALUES)
NUMBERS = st.one_of(st.sampled_from([0, 1, 5, 38, 2**32, 2**63, 2**64 - 1]), wild.INTEGERS)
ARGUMENT = st.fixed_dictionaries(
    {"index": wild.mostly(st.integers(0, 6)), "op": wild.mostly(st.sampled_from(sorted(oci.OPERATORS)))},
    optional={"value": NUMBERS, "valueTwo": NUMBERS, "x": NUMBERS},
)
FILTER = st.fixed_dictionaries(
    {},
    optional={
        "arches": st.lists(wild.mostly(st.sampled_from(sorted(oci.MACHINES))), max_size=2),
        "caps": wild.mostly(st.lists(CAPS, max_size=2)),
        "minKernel": wild.mostly(
            st.one_of(
                st.sampled_from(["4.8", "99.0", "4", "a.b", "٣.1"]),
                wild.LONG_DIGITS.map(lambda text: text + ".1"),
            )
        ),
    },
)
ACTION = wild.mostly(st.sampled_from([*oci.ACTIONS, *oci.NUMBERED, "SCMP_ACT_NOTIFY"]))
SYSCALL = st.fixed_dictionaries(
    {"action": ACTION, "names": wild.mostly(st.lists(wild.mostly(NAMES), min_size=1, max_size=3))},
    optional={
        "errnoRet": NUMBERS, "args": wild.mostly(st.lists(ARGUMENT, max_size=3)), "includes": wild.mostly(FILTER),
        "excludes": wild.mostly(FILTER), "comment": wild.TEXT, "name": NAMES,
    },
)  # fmt: skip
PROFILES = st.one_of(
    st.fixed_dictionaries(
        {"defaultAction": ACTION, "syscalls": wild.mostly(st.lists(SYSCALL, max_size=3))},
        optional={
            "defaultErrnoRet": NUMBERS,
            "architectures": wild.mostly(st.lists(st.sampled_from(sorted(oci.ARCHITECTURES)), max_size=2)),
            "archMap": wild.mostly(
                st.lists(st.fixed_dictionaries({"architecture": st.sampled_from(sorted(oci.ARCHITECTURES))}, optional={"subArchitectures": wild.VALUES}), max_size=2)
            ),
            "flags": wild.VALUES,
        },
    ),
    wild.json(st.sampled_from(["syscalls", "defaultAction", "names", "archMap"]), NAMES),
)  # fmt: skip


@given(value=PROFILES, granted=st.sampled_from([frozenset[str](), capabilities.DOCKER_DEFAULT]))
@example(
    value={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [[]], "action": "SCMP_ACT_ALLOW"}]},
    granted=frozenset(),
)
@example(
    value={
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": [[]]}}],
    },
    granted=frozenset(),
)
@example(
    value={
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "9" * 5000 + ".1"}}
        ],
    },
    granted=frozenset(),
)
@example(value={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{10**5000: None}]}, granted=frozenset())
def test_seccomp_profiles(value: Any, granted: frozenset[str]) -> None:
    if not isinstance(value, dict):
        return
    with guarded(InvalidArgument):
        bpf_machine.check(seccomp.compile(Profile.from_json(value), granted, "x86_64"))


@pytest.mark.parametrize(
    ("calls", "alternatives", "times"), [(300, 300, 50), (1, 9000, 1), (400, 160, 1), (20000, 9000, 1)]
)
def test_a_long_seccomp_profile_is_no_long_wait(calls: int, alternatives: int, times: int) -> None:
    names = sorted(syscalls.numbers("x86_64"))
    entry = {
        "names": [names[place % len(names)] for place in range(calls)],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 1, "op": "SCMP_CMP_EQ", "value": value} for value in range(alternatives)],
    }
    with guarded(InvalidArgument):
        profile = Profile.from_json({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [entry] * times})
        seccomp.compile(profile, frozenset(), "x86_64")


TEXTS = st.one_of(
    wild.json(st.sampled_from(["syscalls", "defaultAction"]), NAMES).map(
        lambda value: json.dumps(value).encode(errors="surrogatepass")
    ),
    PROFILES.map(lambda value: json.dumps(value, default=str, skipkeys=True).encode(errors="surrogatepass")),
    st.binary(max_size=40),
    st.integers(900, 1 << 19).map(lambda depth: b'{"syscalls":' + b"[" * depth + b"]" * depth + b"}"),
    st.integers(4000, 5000).map(lambda digits: b'{"defaultErrnoRet":' + b"9" * digits + b"}"),
)


@given(text=TEXTS)
def test_seccomp_files(text: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "profile.json")
        path.write_bytes(text)
        with guarded(InvalidArgument):
            Profile.from_json(path)
