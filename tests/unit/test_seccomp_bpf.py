"""The compiler: any rules mean in BPF what they say, within the bounds of the kernel, and in a shallow tree."""

from __future__ import annotations

from typing import get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import InvalidArgument
from pycontainer.kernel import capabilities, seccomp
from pycontainer.kernel.seccomp import ALLOW, ENOSYS, EPERM, LOG, Action, Condition, Profile, Rule, syscalls
from pycontainer.kernel.seccomp.profile import Op
from tests.unit import bpf_machine, seccomp_oracle

ACTIONS = [
    ALLOW,
    LOG,
    EPERM,
    ENOSYS,
    Action.errno(0),
    Action.errno(4095),
    Action.trace(7),
    seccomp.TRAP,
    seccomp.KILL_THREAD,
    seccomp.KILL_PROCESS,
]
LONGS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.sampled_from([0, 1, 38, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 38 | 2**32, 2**63, 2**64 - 1]),
)
#: Few calls, so that rules meet.
NAMES = ["read", "ioctl", "socket", "clone", "execve", "openat2", "futex_waitv", "personality"]


@st.composite
def conditions(draw: st.DrawFn, index: st.SearchStrategy[int]) -> Condition:
    op: Op = draw(st.sampled_from(get_args(Op)))
    value = draw(LONGS)
    if op == "MASKED_EQ":
        mask = draw(LONGS)
        return Condition(draw(index), op, value & mask, mask)
    return Condition(draw(index), op, value)


@st.composite
def rules(draw: st.DrawFn, *, repeat: bool) -> Rule:
    indexes = draw(st.lists(st.integers(0, 5), max_size=4, unique=not repeat))
    return Rule(
        names=draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)),
        action=draw(st.sampled_from(ACTIONS)),
        conditions=tuple(draw(conditions(st.just(index))) for index in indexes),
    )


def profiles(*, repeat: bool) -> st.SearchStrategy[Profile]:
    return st.builds(
        Profile, default=st.sampled_from(ACTIONS), rules=st.lists(rules(repeat=repeat), max_size=8)
    )


@given(profile=profiles(repeat=True), abi=st.sampled_from(syscalls.ARCHES), data=st.data())
def test_a_program_answers_as_its_rules_read(profile: Profile, abi: str, data: st.DataObject) -> None:
    code = bpf_machine.check(seccomp.compile(profile, frozenset(), abi))
    near = sorted(
        {value for rule in profile.rules for c in rule.conditions for value in seccomp_oracle.around(c)}
    )
    values = st.one_of(LONGS, st.sampled_from(near)) if near else LONGS
    for name in NAMES:
        number = syscalls.numbers(abi).get(name, 9999)
        for arguments in data.draw(st.lists(st.tuples(*[values] * 6), min_size=1, max_size=5)):
            got = bpf_machine.run(code, bpf_machine.data(number, syscalls.AUDIT[abi], arguments))
            assert got == seccomp_oracle.evaluate(profile, profile.rules, abi, number, arguments)


# Not the 32-bit ones: there libseccomp compares the low words alone, so that 1 << 32 equals 0.
@given(profile=profiles(repeat=False), abi=st.sampled_from(["x86_64", "aarch64"]))
def test_libseccomp_understands_rules_the_same_way(profile: Profile, abi: str) -> None:
    code = bpf_machine.decode(seccomp.compile(profile, frozenset(), abi))
    stack = seccomp_oracle.Stack(profile, profile.rules, abi, apart=True)
    for name in NAMES:
        number = seccomp_oracle.number_of(name, abi)
        if number is None:
            continue
        about = [rule for rule in profile.rules if name in rule.names]
        for arguments in seccomp_oracle.boundaries(about):
            words = bpf_machine.data(number, syscalls.AUDIT[abi], arguments)
            got, expected = bpf_machine.run(code, words), stack.answer(words)
            assert got == expected


@given(
    data=st.data(),
    default=st.sampled_from(ACTIONS),
    abi=st.sampled_from(["x86_64", "aarch64"]),
    chosen=st.lists(st.tuples(st.integers(0, 2**31), st.sampled_from(ACTIONS)), max_size=12),
)
def test_libseccomp_gives_every_number_the_same_verdict(
    data: st.DataObject, default: seccomp.Action, abi: str, chosen: list[tuple[int, seccomp.Action]]
) -> None:
    """Rules about a few calls each, of all that there are, and every number asked."""
    calls = [
        name for name in sorted(syscalls.numbers(abi)) if seccomp_oracle.rule_number(name, abi) is not None
    ]
    about = {calls[place % len(calls)]: action for place, action in chosen}
    rules_ = [
        Rule(
            names=[name],
            action=action,
            conditions=tuple(data.draw(st.lists(conditions(st.integers(0, 5)), max_size=1))),
        )
        for name, action in about.items()
        if action != default
    ]
    profile = Profile(default=default, rules=rules_)
    code = bpf_machine.check(seccomp.compile(profile, frozenset(), abi))
    stack = seccomp_oracle.Stack(profile, profile.rules, abi, apart=True)
    by_number = {number: name for name, number in syscalls.numbers(abi).items()}
    for number in range(601):
        name = by_number.get(number)
        for arguments in seccomp_oracle.boundaries([rule for rule in rules_ if name in rule.names]):
            words = bpf_machine.data(number, syscalls.AUDIT[abi], arguments)
            expected = profile.unknown.word if name is None else stack.answer(words)
            assert bpf_machine.run(code, words) == expected, (name, number)


def _many(count: int) -> Profile:
    """A call with so many argument rules that its part is out of the reach of a conditional jump."""
    listed = [
        Rule(names=["ioctl", "fcntl"], conditions=(Condition(1, "EQ", value << 32 | value),))
        for value in range(count)
    ]
    return Profile(default=EPERM, rules=[*listed, Rule(names=["read", "exit"])])


@pytest.mark.parametrize("count", [1, 60, 62, 64, 66, 130, 1000])
def test_a_jump_may_be_longer_than_its_eight_bits(count: int) -> None:
    code = bpf_machine.check(seccomp.compile(_many(count), frozenset(), "x86_64"))
    assert 4 * count < len(code) < 4.1 * count + 20
    for number, value, expected in (
        (16, 0, ALLOW),
        (16, (count - 1) << 32 | (count - 1), ALLOW),
        (16, count << 32 | count, EPERM),
        (16, 1, EPERM),
        (72, 0, ALLOW),
        (0, 0, ALLOW),
        (1, 0, EPERM),
        (60, 0, ALLOW),
        (9999, 0, ENOSYS),
    ):
        words = bpf_machine.data(number, syscalls.AUDIT["x86_64"], (0, value))
        assert bpf_machine.run(code, words) == expected.word, (number, value)


def test_both_branches_may_be_out_of_reach() -> None:
    def chain(action: Action, offset: int) -> list[Rule]:
        numbers = range(offset, offset + 200)
        return [
            Rule(names=["ioctl"], action=action, conditions=(Condition(1, "EQ", n << 32 | n),))
            for n in numbers
        ]

    listed = [*chain(EPERM, 0), *chain(seccomp.TRAP, 1000), *chain(LOG, 2000)]
    profile = Profile(
        default=ALLOW, rules=[*listed, *(attrs.evolve(rule, names=["fcntl"]) for rule in listed[100:500])]
    )
    code = bpf_machine.check(seccomp.compile(profile, frozenset(), "x86_64"))
    for number in (16, 72, 0, 500):
        for value in (0, 50, 150, 199, 200, 1000, 1100, 1199, 2000, 2050, 2150, 2199, 3000):
            arguments = (0, value << 32 | value, 0, 0, 0, 0)
            got = bpf_machine.run(code, bpf_machine.data(number, syscalls.AUDIT["x86_64"], arguments))
            assert got == seccomp_oracle.evaluate(profile, profile.rules, "x86_64", number, arguments)


def test_a_program_too_long_for_the_kernel_is_an_error() -> None:
    assert 4000 < len(seccomp.compile(_many(1000), frozenset(), "x86_64")) // 8 <= 4096
    with pytest.raises(InvalidArgument, match=r"BPF instructions.*the kernel takes 4096"):
        seccomp.compile(_many(1100), frozenset(), "x86_64")


@pytest.mark.parametrize(("machine", "abi", "other"), [("x86_64", "i386", "arm"), ("aarch64", "arm", "i386")])
def test_other_architectures_are_killed_unless_named(machine: str, abi: str, other: str) -> None:
    def answer(mark: int, *compat: str) -> int:
        profile = Profile(default=ALLOW, rules=(), compat=compat)
        code = bpf_machine.decode(seccomp.compile(profile, frozenset(), machine))
        return bpf_machine.run(code, bpf_machine.data(1, mark))

    assert answer(syscalls.AUDIT[abi]) == seccomp.KILL_PROCESS.word
    assert answer(syscalls.AUDIT[abi], other) == seccomp.KILL_PROCESS.word
    assert answer(syscalls.AUDIT[abi], other, abi) == ALLOW.word
    assert answer(0xC00000F3, other, abi) == seccomp.KILL_PROCESS.word  # riscv64


def test_x32_is_refused_even_where_everything_is_allowed() -> None:
    code = bpf_machine.decode(seccomp.compile(Profile(default=ALLOW, rules=()), frozenset(), "x86_64"))
    answers = {
        number: bpf_machine.run(code, bpf_machine.data(number, syscalls.AUDIT["x86_64"]))
        for number in (0, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0x80000000, 0xBFFFFFFF, 0xC0000000, 0xFFFFFFFF)
    }
    refused = {number for number, answer in answers.items() if answer == ENOSYS.word}
    assert refused == {0x40000000, 0x7FFFFFFF, 0xC0000000, 0xFFFFFFFF}
    assert {answers[number] for number in answers.keys() - refused} == {ALLOW.word}


@pytest.mark.parametrize("default", [EPERM, seccomp.TRAP, seccomp.KILL_PROCESS, ENOSYS])
def test_calls_newer_than_the_table_fail_with_enosys(default: Action) -> None:
    code = bpf_machine.decode(seccomp.compile(Profile(default=default, rules=()), frozenset(), "aarch64"))
    known = max(syscalls.numbers("aarch64").values())
    for number, expected in ((known, default), (known + 1, ENOSYS), (2**32 - 1, ENOSYS)):
        assert bpf_machine.run(code, bpf_machine.data(number, syscalls.AUDIT["aarch64"])) == expected.word


@pytest.mark.parametrize(
    "profile", [seccomp.default_profile(), seccomp.strict_profile()], ids=["default", "strict"]
)
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_the_tree_is_small_and_shallow(profile: Profile, arch: str) -> None:
    program = seccomp.compile(profile, capabilities.DOCKER_DEFAULT, arch)
    code = bpf_machine.decode(program)
    learned, steps = 0, 0
    for number in range(max(syscalls.numbers(arch).values()) + 1):
        constant, count = bpf_machine.looked_at(code, bpf_machine.data(number, syscalls.AUDIT[arch]))
        learned, steps = learned + constant, max(steps, count)
    assert len(code) <= 180
    assert steps <= 12
    # All but the calls with argument rules: ioctl, clone, socket, personality, mknod, mknodat, setrlimit, prlimit64;
    # socketpair in strict.
    assert max(syscalls.numbers(arch).values()) + 1 - learned <= 9


def test_compiling_is_cached_and_deterministic() -> None:
    first = seccomp.compile(seccomp.default_profile(), capabilities.DOCKER_DEFAULT, "x86_64")
    again = seccomp.compile(seccomp.default_profile(), frozenset(set(capabilities.DOCKER_DEFAULT)), "x86_64")
    assert first is again
    copy = attrs.evolve(seccomp.default_profile(), rules=list(seccomp.default_profile().rules))
    assert copy is not seccomp.default_profile()
    assert seccomp.compile(copy, capabilities.DOCKER_DEFAULT, "x86_64") is first


def test_the_machine_is_the_default_architecture() -> None:
    profile = seccomp.default_profile()
    assert seccomp.compile(profile, frozenset()) == seccomp.compile(profile, frozenset(), syscalls.native())


def test_capabilities_may_be_written_as_people_do_and_are_checked() -> None:
    profile = seccomp.default_profile()
    expected = seccomp.compile(profile, frozenset({"CAP_SYS_ADMIN"}), "x86_64")
    assert seccomp.compile(profile, frozenset({"sys_admin"}), "x86_64") == expected
    with pytest.raises(InvalidArgument, match=r"SYS_ADNIM.*CAP_SYS_ADMIN"):
        seccomp.compile(profile, frozenset({"SYS_ADNIM"}), "x86_64")
    with pytest.raises(InvalidArgument, match="arch='vax'"):
        seccomp.compile(profile, frozenset(), "vax")
