"""The seccomp JSON of Docker and of the OCI specification: understood as they mean it, refused by name where not."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import InvalidArgument
from pycontainer.kernel import capabilities, seccomp
from pycontainer.kernel.seccomp import Action, Condition, Profile, default, syscalls
from tests.unit import bpf_machine, seccomp_oracle

NAMESPACES = default.CLONE_NEW_NAMESPACES


def _allow(*names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **more}


def _argument(index: int, op: str, value: int, second: int | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"index": index, "value": value, "op": f"SCMP_CMP_{op}"}
    return entry if second is None else entry | {"valueTwo": second}


def docker() -> dict[str, Any]:
    """The structure and the facts of Docker's default profile."""
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {
                "architecture": "SCMP_ARCH_MIPS64",
                "subArchitectures": ["SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64N32"],
            },
            {"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_S390"]},
            {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": None},
        ],
        "syscalls": [
            _allow(*sorted({*default.COMMON, "name_to_handle_at"})),
            _allow("process_vm_readv", "process_vm_writev", "ptrace", includes={"minKernel": "4.8"}),
            _allow("socket", args=[_argument(0, "LT", 38)]),
            _allow("socket", args=[_argument(0, "EQ", 39)]),
            _allow("socket", args=[_argument(0, "GT", 40)]),
            *(_allow("personality", args=[_argument(0, "EQ", value)]) for value in default.PERSONALITIES),
            _allow("sync_file_range2", "swapcontext", includes={"arches": ["ppc64le"]}),
            _allow(
                "arm_fadvise64_64", "arm_sync_file_range", "cacheflush", includes={"arches": ["arm", "arm64"]}
            ),
            _allow("arch_prctl", includes={"arches": ["amd64", "x32"]}),
            _allow("modify_ldt", includes={"arches": ["amd64", "x32", "x86"]}),
            _allow("s390_pci_mmio_read", includes={"arches": ["s390", "s390x"]}),
            *(
                _allow(*(set(names.split()) - {"open_tree_attr"}), includes={"caps": [cap]})
                for cap, names in default.UNLOCKED.items()
            ),
            _allow(
                "clone",
                args=[_argument(0, "MASKED_EQ", NAMESPACES)],
                excludes={"caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"]},
            ),
            _allow(
                "clone",
                args=[_argument(1, "MASKED_EQ", NAMESPACES, 0)],
                comment="s390 parameter ordering for clone is different",
                includes={"arches": ["s390", "s390x"]},
                excludes={"caps": ["CAP_SYS_ADMIN"]},
            ),
            {
                "names": ["clone3"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 38,
                "excludes": {"caps": ["CAP_SYS_ADMIN"]},
            },
        ],
    }


def _answer(
    profile: Profile, call: str, arguments: tuple[int, ...], caps: frozenset[str], arch: str = "x86_64"
) -> str:
    code = bpf_machine.check(seccomp.compile(profile, caps, arch))
    words = bpf_machine.data(syscalls.numbers(arch)[call], syscalls.AUDIT[arch], arguments)
    return str(Action(bpf_machine.run(code, words)))


#: Everything in which our default differs from Docker's profile.
DIFFERENCES = {
    ("ioctl", (0, 0x5412), "ALLOW", "ERRNO(EPERM)"),
    ("ioctl", (0, 0x541C), "ALLOW", "ERRNO(EPERM)"),
    ("mknod", (0, 0o020644, 0x103), "ALLOW", "ERRNO(EPERM)"),
    ("mknod", (0, 0o060644, 0x103), "ALLOW", "ERRNO(EPERM)"),
    ("mknodat", (0, 0, 0o020644, 0x103), "ALLOW", "ERRNO(EPERM)"),
    ("socket", (38 | 1 << 32,), "ALLOW", "ERRNO(EPERM)"),
    ("personality", (2**64 - 1,), "ERRNO(EPERM)", "ALLOW"),
    ("memfd_secret", (), "ALLOW", "ERRNO(ENOSYS)"),
    ("file_getattr", (), "ERRNO(EPERM)", "ERRNO(ENOSYS)"),
    ("file_setattr", (), "ERRNO(EPERM)", "ERRNO(ENOSYS)"),
    ("listns", (), "ERRNO(EPERM)", "ERRNO(ENOSYS)"),
    ("io_uring_setup", (), "ERRNO(EPERM)", "ERRNO(ENOSYS)"),
    ("io_uring_enter", (), "ERRNO(EPERM)", "ERRNO(ENOSYS)"),
    ("io_uring_register", (), "ERRNO(EPERM)", "ERRNO(ENOSYS)"),
    ("rseq_slice_yield", (), "ERRNO(EPERM)", "ALLOW"),
}
#: What Docker allows to all, and we to those who have a capability.
NEEDED = {
    "process_vm_readv": "CAP_SYS_PTRACE",
    "process_vm_writev": "CAP_SYS_PTRACE",
    "name_to_handle_at": "CAP_DAC_READ_SEARCH",
}


@pytest.mark.parametrize(
    "caps", [frozenset[str](), capabilities.DOCKER_DEFAULT, frozenset(capabilities.NAMES)], ids=len
)
def test_our_default_differs_from_docker_s_profile_where_it_says(caps: frozenset[str]) -> None:
    theirs, ours = Profile.from_json(docker()), seccomp.default_profile()
    listed = {(call, arguments): (theirs, ours) for call, arguments, theirs, ours in DIFFERENCES}
    listed.update(((call, ()), ("ALLOW", "ERRNO(EPERM)")) for call, cap in NEEDED.items() if cap not in caps)
    probes = [
        (0,),
        (1,),
        (8,),
        (16,),
        (38,),
        (39,),
        (40,),
        (0x5401, 0x5401),
        (0, 0o644),
        (0, 0, 0o644),
        (0x10000000,),
    ]
    samples = {(call, arguments) for call in syscalls.numbers("x86_64") for arguments in ((), *probes)}
    found = {}
    for call, arguments in samples | set(listed):
        pair = _answer(theirs, call, arguments, caps), _answer(ours, call, arguments, caps)
        if pair[0] != pair[1]:
            found[call, arguments] = pair
    unlocked = {"open_tree_attr"} if "CAP_SYS_ADMIN" in caps else set()
    assert {key: pair for key, pair in found.items() if key in listed} == listed
    assert {call for call, _ in found} - unlocked == {call for call, _ in listed}


@pytest.mark.parametrize("abi", ["x86_64", "i386", "aarch64"])
@pytest.mark.parametrize("caps", [frozenset[str](), frozenset(capabilities.NAMES)], ids=len)
def test_libseccomp_makes_the_same_of_docker_s_profile(abi: str, caps: frozenset[str]) -> None:
    profile = Profile.from_json(docker())
    machine = "x86_64" if abi == "i386" else abi
    code = bpf_machine.check(seccomp.compile(profile, caps, machine))
    rules = seccomp_oracle.rules_for(profile, caps, machine)
    stack = seccomp_oracle.Stack(profile, rules, abi)
    for call, number in syscalls.numbers(abi).items():
        if seccomp_oracle.number_of(call, abi) is None:
            continue
        for arguments in seccomp_oracle.boundaries([rule for rule in rules if call in rule.names]):
            if abi == "i386" and max(arguments) >= 1 << 32:
                continue  # there are no such arguments, and libseccomp does not look at the high words
            words = bpf_machine.data(number, syscalls.AUDIT[abi], arguments)
            assert bpf_machine.run(code, words) == stack.answer(words), (call, arguments)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(docker()), encoding="utf-8")
    assert Profile.from_json(path) == Profile.from_json(str(path)) == Profile.from_json(docker())


def test_the_specification_s_form_is_read() -> None:
    profile = Profile.from_json(
        {
            "defaultAction": "SCMP_ACT_KILL_PROCESS",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "flags": [],
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_LOG"},
                {"names": ["write"], "action": "SCMP_ACT_TRACE", "errnoRet": 5},
                {"names": ["close"], "action": "SCMP_ACT_TRAP", "args": None},
                {"name": "openat", "action": "SCMP_ACT_ERRNO"},
                {"names": ["kill"], "action": "SCMP_ACT_KILL"},
                {
                    "names": ["dup"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [_argument(1, "GE", 2**40), _argument(0, "NE", 7)],
                },
            ],
        }
    )
    answers = [str(rule.action) for rule in profile.rules]
    assert answers == ["LOG", "TRACE(5)", "TRAP", "ERRNO(EPERM)", "KILL_THREAD", "ALLOW"]
    assert profile.default == seccomp.KILL_PROCESS
    assert profile.compat == {"i386"}
    assert profile.rules[-1].conditions == (Condition(1, "GE", 2**40), Condition(0, "NE", 7))


def test_32_bit_calls_are_filtered_where_the_file_says_so() -> None:
    assert Profile.from_json(docker()).compat == {"i386", "arm"}
    assert Profile.from_json({"defaultAction": "SCMP_ACT_ALLOW"}).compat == frozenset()
    only = {"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X32"]}]}
    assert Profile.from_json({"defaultAction": "SCMP_ACT_ALLOW", **only}).compat == frozenset()


def test_conditions_on_one_argument_hold_each_alone_as_in_runc() -> None:
    entry = _allow("socket", args=[_argument(0, "EQ", 1), _argument(0, "EQ", 2), _argument(1, "EQ", 3)])
    profile = Profile.from_json({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [entry]})
    assert [
        _answer(profile, "socket", arguments, frozenset()) for arguments in ((1,), (2,), (5, 3), (5, 4))
    ] == [
        "ALLOW",
        "ALLOW",
        "ALLOW",
        "ERRNO(EPERM)",
    ]


def test_the_strictest_of_contradicting_rules_counts() -> None:
    refused = {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [_argument(1, "EQ", 0x5412)]}
    profile = Profile.from_json({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [_allow("ioctl"), refused]})
    assert _answer(profile, "ioctl", (0, 0x5412), frozenset()) == "ERRNO(EPERM)"
    assert _answer(profile, "ioctl", (0, 0x5413), frozenset()) == "ALLOW"


def test_rules_depend_on_kernel_capabilities_and_machine() -> None:
    major, minor = map(int, os.uname().release.replace("-", ".").split(".")[:2])
    entries = [
        _allow("read", includes={"minKernel": f"{major}.{minor}"}),
        _allow("write", includes={"minKernel": f"{major}.{minor + 1}"}),
        _allow("close", excludes={"minKernel": f"{major}.{minor}"}),
        _allow("openat", excludes={"minKernel": f"{major + 1}.0"}),
        _allow("mount", includes={"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}),
        _allow("sync", includes={"arches": ["arm64"]}),
        _allow("dup", excludes={"arches": ["arm64"]}),
        _allow("pipe2", includes={}, excludes=None, comment="always"),
    ]
    profile = Profile.from_json({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": entries})

    def allowed(*caps: str, arch: str = "x86_64") -> set[str]:
        names = "read write close openat mount sync dup pipe2".split()
        return {name for name in names if _answer(profile, name, (), frozenset(caps), arch) == "ALLOW"}

    assert allowed() == {"read", "openat", "dup", "pipe2"}
    assert allowed("CAP_SYS_ADMIN") == allowed()
    assert allowed("CAP_SYS_ADMIN", "CAP_CHOWN") == allowed() | {"mount"}
    assert allowed(arch="aarch64") == {"read", "openat", "sync", "pipe2"}


def _with(path: str, value: object) -> dict[str, Any]:
    data: Any = copy.deepcopy(docker())
    here = data
    *steps, last = path.split("/")
    for step in steps:
        here = here[int(step) if step.isdigit() else step]
    here[int(last) if last.isdigit() else last] = value
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (_with("defaultAktion", 1), r"seccomp\.defaultAktion=1: no such field; known are archMap"),
        (_with("syscalls/0/namez", []), r"seccomp\.syscalls\[0\]\.namez"),
        (_with("syscalls/2/args/0/valeu", 1), r"seccomp\.syscalls\[2\]\.args\[0\]\.valeu"),
        (_with("syscalls/1/includes/cap", []), r"seccomp\.syscalls\[1\]\.includes\.cap"),
        (_with("archMap/0/sub", []), r"seccomp\.archMap\[0\]\.sub"),
        (
            _with("defaultAction", "SCMP_ACT_DENY"),
            r"seccomp\.defaultAction='SCMP_ACT_DENY': known are SCMP_ACT_ALLOW.*SCMP_ACT_ERRNO",
        ),
        (_with("defaultAction", None), r"seccomp\.defaultAction=None"),
        (
            _with("syscalls/0/action", "SCMP_ACT_NOTIFY"),
            r"syscalls\[0\]\.action='SCMP_ACT_NOTIFY': needs an agent",
        ),
        (_with("syscalls/0/action", ["x"]), r"syscalls\[0\]\.action"),
        (_with("syscalls/0/errnoRet", 1), r"syscalls\[0\]\.errnoRet=1: SCMP_ACT_ALLOW takes none"),
        (_with("defaultErrnoRet", 5000), r"seccomp\.defaultErrnoRet: errno=5000"),
        (_with("defaultErrnoRet", "1"), r"seccomp\.defaultErrnoRet='1'"),
        (_with("defaultErrnoRet", True), r"seccomp\.defaultErrnoRet=True"),
        (
            _with("syscalls/0/names/0", "acept"),
            r"seccomp\.syscalls\[0\]: syscall='acept': .*did you mean accept",
        ),
        (_with("syscalls/0/names", []), r"syscalls\[0\]\.names"),
        (_with("syscalls/0/names", "read"), r"syscalls\[0\]\.names='read': a list"),
        (_with("syscalls/0/names/0", 7), r"syscall=7"),
        (_with("syscalls/0/name", "read"), r"in one field"),
        (_with("syscalls/2/args/0/op", "SCMP_CMP_IS"), r"args\[0\]\.op='SCMP_CMP_IS'"),
        (_with("syscalls/2/args/0/index", 6), r"syscalls\[2\]\.args\[0\]: index=6"),
        (_with("syscalls/2/args/0/value", -1), r"args\[0\]\.value=-1"),
        (_with("syscalls/2/args/0/value", 2**64), r"args\[0\]\.value="),
        (_with("syscalls/2/args/0/value", 1.5), r"args\[0\]\.value=1.5"),
        (_with("syscalls/2/args/0/valueTwo", 1), r"args\[0\]: valueTwo=1: SCMP_CMP_LT takes none"),
        (_with("syscalls/2/args", {}), r"syscalls\[2\]\.args=\{\}: a list"),
        (_with("syscalls/2/args/0", 1), r"args\[0\]=1: an object"),
        (_with("syscalls/1/includes/minKernel", "4"), r"minKernel='4': a version"),
        (_with("syscalls/1/includes/minKernel", 4.8), r"minKernel=4.8"),
        (
            _with("syscalls/1/includes/caps", ["CAP_SYS_ADMN"]),
            r"syscalls\[1\]: capability='CAP_SYS_ADMN'.*CAP_SYS_ADMIN",
        ),
        (_with("syscalls/1/includes/arches", ["vax"]), r"includes\.arches='vax': known are amd64"),
        (_with("archMap/0/architecture", "SCMP_ARCH_VAX"), r"archMap\[0\]\.architecture='SCMP_ARCH_VAX'"),
        (_with("architectures", ["SCMP_ARCH_X86"]), r"archMap.*stands beside architectures"),
        (_with("flags", ["SECCOMP_FILTER_FLAG_LOG"]), r"seccomp\.flags=.*not supported"),
        (_with("listenerPath", "/run/agent"), r"seccomp\.listenerPath='/run/agent': not supported"),
        (_with("syscalls", {}), r"seccomp\.syscalls=\{\}: a list"),
        (_with("syscalls/0", []), r"seccomp\.syscalls\[0\]=\[\]: an object"),
    ],
)
def test_what_is_not_known_is_refused_by_name(data: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        Profile.from_json(data)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "an object is needed"),
        (b" " * (2 << 20), "is larger than"),
    ],
)
def test_a_file_that_is_no_profile(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "profile.json"
    path.write_bytes(content)
    with pytest.raises(InvalidArgument, match=text):
        Profile.from_json(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="No such file"):
        Profile.from_json(tmp_path / "none.json")


WORDS = [
    "read",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_CMP_EQ",
    "SCMP_CMP_MASKED_EQ",
    "CAP_KILL",
    "amd64",
    "4.8",
    "SCMP_ARCH_X86",
]
FIELDS = "defaultAction defaultErrnoRet archMap architectures syscalls names name action args includes excludes caps arches minKernel index value valueTwo op errnoRet".split()
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 2**65),
        st.floats(allow_nan=False),
        st.sampled_from(WORDS),
        st.text(max_size=4),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
    ),
    max_leaves=20,
)


@given(default=JSON, syscalls_=JSON, arch=JSON)
def test_any_json_is_a_profile_or_an_invalid_argument(
    default: object, syscalls_: object, arch: object
) -> None:
    for data in (
        {"defaultAction": default, "syscalls": syscalls_},
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "archMap": arch,
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG", "args": syscalls_}],
        },
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": syscalls_, "excludes": arch}
            ],
        },
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [syscalls_, {"names": arch, "action": "SCMP_ACT_ALLOW"}],
        },
    ):
        try:
            profile = Profile.from_json(data)
        except InvalidArgument:
            continue
        bpf_machine.check(seccomp.compile(profile, frozenset(), "x86_64"))
