"""Two other opinions on what a profile says: the rules evaluated as they are read, and libseccomp's programs."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterator, Sequence

from pycontainer.kernel.seccomp import Action, Condition, Profile, Rule, syscalls
from tests.unit import bpf_machine

KILL_PROCESS, ERRNO_ENOSYS, ALLOW = 0x80000000, 0x00050000 | 38, 0x7FFF0000
#: Names of architectures for libseccomp: its tokens are the kernel's audit marks.
TOKENS = syscalls.AUDIT


def holds(condition: Condition, arguments: Sequence[int]) -> bool:
    """Does the condition hold, by its definition?"""
    value = arguments[condition.index]
    return {
        "EQ": value == condition.value,
        "NE": value != condition.value,
        "LT": value < condition.value,
        "LE": value <= condition.value,
        "GT": value > condition.value,
        "GE": value >= condition.value,
        "MASKED_EQ": value & condition.mask == condition.value,
    }[condition.op]


def strictest(answers: Sequence[int]) -> int:
    """What the kernel makes of several filters' answers: the lowest action as a signed number, the first of equals."""
    return min(answers, key=lambda word: ctypes.c_int32(word & 0xFFFF0000).value)


def rules_for(profile: Profile, capabilities: frozenset[str], machine: str) -> list[Rule]:
    return [
        rule
        for rule in profile.rules
        if rule.capabilities <= capabilities
        and not rule.unless & capabilities
        and (not rule.arches or machine in rule.arches)
    ]


def evaluate(profile: Profile, rules: Sequence[Rule], abi: str, number: int, arguments: Sequence[int]) -> int:
    """The answer to a call, from the words of the documentation; ``rules`` are those that apply."""
    if abi == "x86_64" and number & 0x40000000:
        return ERRNO_ENOSYS
    name = _names(abi).get(number)
    if name is None:
        return profile.default.word if profile.default.word in {ALLOW, 0x7FFC0000} else ERRNO_ENOSYS
    matching = [
        r.action.word for r in rules if name in r.names and all(holds(c, arguments) for c in r.conditions)
    ]
    return strictest(matching) if matching else profile.default.word


@functools.cache
def _names(abi: str) -> dict[int, str]:
    return {number: name for name, number in syscalls.numbers(abi).items()}


class _Compare(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


OPS = {"NE": 1, "LT": 2, "LE": 3, "EQ": 4, "GE": 5, "GT": 6, "MASKED_EQ": 7}


@functools.cache
def library() -> ctypes.CDLL:
    lib = ctypes.CDLL("libseccomp.so.2")
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_init.argtypes = [ctypes.c_uint32]
    lib.seccomp_release.argtypes = [ctypes.c_void_p]
    for name in ("seccomp_arch_add", "seccomp_arch_remove"):
        getattr(lib, name).argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    lib.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    lib.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Compare),
    ]
    lib.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    lib.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    lib.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    return lib


def number_of(name: str, abi: str) -> int | None:
    """libseccomp's number of a call; ``None`` when it does not know it, or knows that the architecture has none."""
    number = library().seccomp_syscall_resolve_name_arch(TOKENS[abi], name.encode())
    return number if number >= 0 else None


def rule_number(name: str, abi: str) -> int | None:
    """The number by which libseccomp takes a rule about a call; ``None`` when it cannot be told of it.

    Calls that are newer than it have no name there, and only those of this machine can be told by number.
    """
    if number_of(name, abi) is not None:
        return int(library().seccomp_syscall_resolve_name(name.encode()))
    if knows(name) or abi != syscalls.native():
        return None
    return syscalls.numbers(abi).get(name)


def knows(name: str) -> bool:
    """Has libseccomp heard of the call, on whatever architecture?"""
    return bool(library().seccomp_syscall_resolve_name(name.encode()) != -1)


class Stack:
    """Filters of libseccomp that together mean what a profile means, each exported and run by our machine.

    libseccomp lets an unconditional rule undo the others about a call.  So there is one filter for each action,
    and the strictest answer counts, as the kernel does with stacked filters: the meaning of a profile.

    With ``apart`` there is one for each rule.  libseccomp 2.5.4 does not join any two rules about a call
    correctly: of "allow LE(0, 1) and LT(1, 0)" with "allow GT(0, 0)" it makes a program that refuses (1, 0); with
    other such sets it crashes.  Those of our profiles, each about one argument, it joins well.
    """

    def __init__(self, profile: Profile, rules: Sequence[Rule], abi: str, *, apart: bool = False) -> None:
        self.programs: list[list[bpf_machine.Instruction]] = []
        self._default = profile.default.word
        #: For each rule apart: a program that allows what the rule matches, and what it then answers.
        self._rules = (
            [(self._export(KILL_PROCESS, abi, [(r, Action(ALLOW))]), r.action.word) for r in rules]
            if apart
            else None
        )
        if apart:
            return
        default = profile.default.word
        if default != ALLOW:
            self.programs.append(self._export(default, abi, [(r, Action(ALLOW)) for r in rules]))
        self.programs += [
            self._export(ALLOW, abi, [(r, r.action) for r in rules if r.action.word == word])
            for word in dict.fromkeys(r.action.word for r in rules)
            if word != ALLOW
        ]

    def answer(self, words: Sequence[int]) -> int:
        if self._rules is not None:
            answers = [word for program, word in self._rules if bpf_machine.run(program, words) == ALLOW]
            return strictest(answers) if answers else self._default
        answers = [bpf_machine.run(program, words) for program in self.programs]
        return strictest(answers) if answers else ALLOW

    @staticmethod
    def _export(
        default: int, abi: str, rules: Sequence[tuple[Rule, Action]]
    ) -> list[bpf_machine.Instruction]:
        lib = library()
        context = lib.seccomp_init(default)
        file = os.memfd_create("filter")
        try:
            if abi != syscalls.native():
                _check(lib.seccomp_arch_add(context, TOKENS[abi]))
                _check(lib.seccomp_arch_remove(context, TOKENS[syscalls.native()]))
            _check(lib.seccomp_attr_set(context, 2, KILL_PROCESS))
            for rule, action in rules:
                for name in rule.names:
                    number = rule_number(name, abi)
                    if number is not None:
                        compare = (_Compare * len(rule.conditions))(*map(_compare, rule.conditions))
                        _check(
                            lib.seccomp_rule_add_array(context, action.word, number, len(compare), compare)
                        )
            _check(lib.seccomp_export_bpf(context, file))
            with open(file, "rb", closefd=False) as exported:
                exported.seek(0)
                return bpf_machine.decode(exported.read())
        finally:
            os.close(file)
            lib.seccomp_release(context)


def _compare(condition: Condition) -> _Compare:
    if condition.op == "MASKED_EQ":
        return _Compare(condition.index, OPS[condition.op], condition.mask, condition.value)
    return _Compare(condition.index, OPS[condition.op], condition.value, 0)


def _check(status: int) -> None:
    if status:
        raise OSError(-status, os.strerror(-status))


def boundaries(rules: Sequence[Rule], abi: str = "x86_64") -> Iterator[tuple[int, ...]]:
    """Argument lists on both sides of everything that the rules compare with; of 32 bits each where the ABI has no more."""
    short = abi in syscalls.COMPAT.values()
    found = _boundaries(rules)
    yield from dict.fromkeys(tuple(a & 0xFFFF_FFFF for a in each) for each in found) if short else found


def _boundaries(rules: Sequence[Rule]) -> Iterator[tuple[int, ...]]:
    yield (0,) * 6
    yield (0xFFFF_FFFF_FFFF_FFFF,) * 6
    seen = set()
    for rule in rules:
        base = [0] * 6
        for condition in rule.conditions:
            base[condition.index] = condition.value
        for condition in rule.conditions:
            for value in around(condition):
                arguments = tuple(value if i == condition.index else base[i] for i in range(6))
                if arguments not in seen:
                    seen.add(arguments)
                    yield arguments


def around(condition: Condition) -> set[int]:
    """Values near the one compared with, with other high words, and with bits inside and outside of the mask."""
    value, mask = condition.value, condition.mask
    values = {
        value,
        value - 1,
        value + 1,
        value | 1 << 32,
        value | 1 << 63,
        value ^ 1 << 31,
        value << 32,
        value >> 32,
    }
    values |= {
        value | ~mask,
        value ^ (mask & -mask),
        mask,
        ~mask,
        value & 0xFFFF_FFFF,
        value | 0xFFFF_FFFF << 32,
    }
    return {v & 0xFFFF_FFFF_FFFF_FFFF for v in values}
