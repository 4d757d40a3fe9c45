"""Our profiles: every call number, on every architecture, at every boundary, in three opinions.

The compiled program, run by a machine of our own; the rules, read one by one; and libseccomp.
"""

from __future__ import annotations

import pytest

from pycontainer.kernel import capabilities, seccomp
from pycontainer.kernel.seccomp import Profile, Rule, syscalls
from tests.unit import bpf_machine, seccomp_oracle

NUMBERS = [
    *range(601),
    0x0F0001,
    0x0F0002,
    0x0F0005,
    0x3FFFFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xBFFFFFFF,
    0xC0000000,
    0xFFFFFFFF,
]
X32 = [0x40000000 | number for number in range(601)]
PROFILES = {"default": seccomp.default_profile, "strict": seccomp.strict_profile}
SETS = {
    "none": frozenset[str](),
    "docker": capabilities.DOCKER_DEFAULT,
    "admin": capabilities.DOCKER_DEFAULT | {"CAP_SYS_ADMIN"},
    "all": frozenset(capabilities.NAMES),
}
#: What libseccomp 2.5.4 (Debian 12) has not heard of; a newer one may know more, never less.
NEWER_THAN_LIBSECCOMP = {
    "cachestat",
    "fchmodat2",
    "file_getattr",
    "file_setattr",
    "futex_requeue",
    "futex_wait",
    "futex_wake",
    "getxattrat",
    "listmount",
    "listns",
    "listxattrat",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lsm_set_self_attr",
    "map_shadow_stack",
    "mseal",
    "open_tree_attr",
    "removexattrat",
    "rseq_slice_yield",
    "setxattrat",
    "statmount",
    "uprobe",
    "uretprobe",
}


def _with_compat(name: str) -> Profile:
    import attrs

    return attrs.evolve(PROFILES[name](), compat=("i386", "arm"))


def _per_call(rules: list[Rule]) -> dict[str, list[Rule]]:
    calls: dict[str, list[Rule]] = {}
    for rule in rules:
        for name in rule.names:
            calls.setdefault(name, []).append(rule)
    return calls


@pytest.mark.parametrize("granted", SETS)
@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("abi", syscalls.ARCHES)
def test_every_number_and_boundary_has_the_verdict_of_the_rules(abi: str, name: str, granted: str) -> None:
    machine = {"i386": "x86_64", "arm": "aarch64"}.get(abi, abi)
    profile = _with_compat(name)
    code = bpf_machine.check(seccomp.compile(profile, SETS[granted], machine))
    rules = seccomp_oracle.rules_for(profile, SETS[granted], machine)
    calls = _per_call(rules)
    names = {number: call for call, number in syscalls.numbers(abi).items()}
    for number in NUMBERS + (X32 if abi == "x86_64" else []):
        about = calls.get(names.get(number, ""), [])
        for arguments in seccomp_oracle.boundaries(about, abi):
            got = bpf_machine.run(code, bpf_machine.data(number, syscalls.AUDIT[abi], arguments))
            expected = seccomp_oracle.evaluate(profile, about, abi, number, arguments)
            assert got == expected, f"{names.get(number)} ({number}) {[hex(a) for a in arguments]}: {got:#x}"


@pytest.mark.parametrize("granted", SETS)
@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("abi", syscalls.ARCHES)
def test_libseccomp_makes_the_same_of_the_rules(abi: str, name: str, granted: str) -> None:
    machine = {"i386": "x86_64", "arm": "aarch64"}.get(abi, abi)
    profile = _with_compat(name)
    code = bpf_machine.decode(seccomp.compile(profile, SETS[granted], machine))
    rules = seccomp_oracle.rules_for(profile, SETS[granted], machine)
    calls = _per_call(rules)
    stack = seccomp_oracle.Stack(profile, rules, abi)
    names = {number: call for call, number in syscalls.numbers(abi).items()}
    compared = 0
    for number in sorted({*NUMBERS, *(X32 if abi == "x86_64" else []), *names}):
        call = names.get(number, "")
        if call and seccomp_oracle.rule_number(call, abi) is None:
            continue
        for arguments in seccomp_oracle.boundaries(calls.get(call, []), abi):
            words = bpf_machine.data(number, syscalls.AUDIT[abi], arguments)
            got, theirs = bpf_machine.run(code, words), stack.answer(words)
            if abi == "x86_64" and syscalls.X32_BIT <= number < 0xFFFFFFFF:
                # Theirs takes all of these for another architecture's.
                x32 = number & syscalls.X32_BIT
                expected = (
                    seccomp_oracle.KILL_PROCESS,
                    seccomp_oracle.ERRNO_ENOSYS if x32 else profile.unknown.word,
                )
            elif not call:
                expected = profile.default.word, profile.unknown.word  # theirs knows of no unknown calls
            else:
                expected = theirs, theirs
            assert (theirs, got) == expected, f"{call} ({number}) {[hex(a) for a in arguments]}: {got:#x}, libseccomp {theirs:#x}"  # fmt: skip
            compared += 1
    assert compared > 1200


@pytest.mark.parametrize("abi", syscalls.ARCHES)
def test_the_table_has_the_numbers_of_libseccomp(abi: str) -> None:
    table = syscalls.numbers(abi)
    known = {name: seccomp_oracle.number_of(name, abi) for name in table}
    assert {name: number for name, number in known.items() if number not in {None, table[name]}} == {}
    assert {name for name in table if not seccomp_oracle.knows(name)} <= NEWER_THAN_LIBSECCOMP
