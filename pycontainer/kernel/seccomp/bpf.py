"""Compiles a profile into a classic BPF program, an array of ``struct sock_filter`` (linux/filter.h).

The program is a balanced tree over ranges of call numbers with equal verdict.  Depth matters and length
does not: when a filter is loaded the kernel runs it once for each number, to learn which calls it allows
whatever their arguments, and asks it no more about those (Linux 5.11, kernel/seccomp.c).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from pycontainer.errors import InvalidArgument
from pycontainer.kernel import capabilities as caps
from pycontainer.kernel.seccomp import syscalls
from pycontainer.kernel.seccomp.profile import ENOSYS, KILL_PROCESS, WORD, Action, Condition, Profile, Rule

# linux/bpf_common.h: class | size or operation | source.
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP = 0x05  # BPF_JMP | BPF_JA
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

# struct seccomp_data (linux/seccomp.h); 64-bit fields little-endian, as on every architecture of the table.
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
#: The reach of a conditional jump is 255; one less leaves room for the stand-in of the other branch.
_REACH = 254


class Program:
    """A program as a graph of nodes; each method adds one, or finds it, and returns its number.

    A node leads only to nodes that exist, so it is built from its end to its start.
    """

    def __init__(self) -> None:
        self._nodes: list[tuple[int, int, int, int]] = []
        self._known: dict[tuple[int, int, int, int], int] = {}

    def _add(self, code: int, k: int, yes: int = -1, no: int = -1) -> int:
        node = (code, k, yes, no)
        if node not in self._known:
            self._known[node] = len(self._nodes)
            self._nodes.append(node)
        return self._known[node]

    def end(self, action: Action) -> int:
        """Answer with this action."""
        return self._add(_RETURN, action.word)

    def test(self, code: int, k: int, yes: int, no: int) -> int:
        """Go on with ``yes`` or ``no``, by a comparison of the accumulator with ``k``."""
        return yes if yes == no else self._add(code, k, yes, no)

    def mask(self, k: int, then: int) -> int:
        """Keep these bits of the accumulator."""
        return then if k == WORD else self._add(_AND, k, then)

    def load(self, offset: int, then: int) -> int:
        """Read a word of the call into the accumulator."""
        code, k, yes, no = self._nodes[then]
        if code in {_EQUAL, _GREATER, _AT_LEAST}:
            # A branch that begins by reading the same word again finds it still in the accumulator.
            then = self.test(code, k, self._after_load(offset, yes), self._after_load(offset, no))
        return self._add(_LOAD, offset, then)

    def _after_load(self, offset: int, node: int) -> int:
        code, k, then, _ = self._nodes[node]
        return then if (code, k) == (_LOAD, offset) else node

    def assemble(self, root: int) -> bytes:
        """Lay the nodes out from the last instruction to the first, so that every jump is forward.

        Raises :class:`InvalidArgument` for more instructions than the kernel takes.
        """
        code: list[tuple[int, int, int, int]] = []  # the last instruction first
        places: dict[int, int] = {}

        def bring(node: int, reach: int) -> None:
            """Put a stand-in for ``node`` here when it is out of reach of the next instruction."""
            distance = len(code) - places[node] - 1
            if distance > reach:
                kind, k, _, _ = self._nodes[node]
                places[node] = len(code)
                code.append((kind, 0, 0, k) if kind == _RETURN else (_JUMP, 0, 0, distance))

        for node in sorted(self._reached(root)):
            kind, k, yes, no = self._nodes[node]
            if no >= 0:
                bring(yes, _REACH)
                bring(no, _REACH)
                instruction = (kind, len(code) - places[yes] - 1, len(code) - places[no] - 1, k)
            else:
                if yes >= 0:
                    bring(yes, 0)
                instruction = (kind, 0, 0, k)
            places[node] = len(code)
            code.append(instruction)
        if len(code) > MAX_INSTRUCTIONS:
            raise InvalidArgument(
                "profile", f"{len(code)} BPF instructions", f"the kernel takes {MAX_INSTRUCTIONS}"
            )
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in reversed(code))

    def _reached(self, root: int) -> set[int]:
        reached, ahead = set[int](), [root]
        while ahead:
            node = ahead.pop()
            if node >= 0 and node not in reached:
                reached.add(node)
                ahead += self._nodes[node][2:]
        return reached


def compile(profile: Profile, capabilities: frozenset[str], arch: str | None = None) -> bytes:  # noqa: A001 (the package qualifies it)
    """Compile the filter of programs with these capabilities, on a machine of ``arch`` (``None``: this one).

    Deterministic and cached.  Raises :class:`InvalidArgument` for unknown capabilities and for a profile
    that is too long for the kernel, :class:`NotSupported` where this machine's calls are not known.
    """
    return _compile(profile, capabilities, syscalls.native() if arch is None else syscalls.check_arch(arch))


@lru_cache(maxsize=128)
def _compile(profile: Profile, capabilities: frozenset[str], arch: str) -> bytes:
    granted = caps.parse(capabilities)
    rules: dict[str, list[Rule]] = {}
    for rule in sorted(profile.rules, key=lambda rule: rule.action.strictness):
        if rule.applies(granted, arch):
            for name in rule.names:
                rules.setdefault(name, []).append(rule)
    program = Program()
    root = program.end(KILL_PROCESS)
    for abi in (syscalls.COMPAT.get(arch), arch):
        if abi is not None and (abi == arch or abi in profile.compat):
            tree = program.load(_NUMBER, _tree(program, _ranges(program, profile, rules, abi)))
            root = program.test(_EQUAL, syscalls.AUDIT[abi], tree, root)
    return program.assemble(program.load(_ARCH, root))


def _ranges(
    program: Program, profile: Profile, rules: dict[str, list[Rule]], arch: str
) -> list[tuple[int, int]]:
    """First number and verdict of each range of calls that are answered alike, in order; the first is 0."""
    unknown, x32 = program.end(profile.unknown), program.end(ENOSYS)
    verdicts = {
        number: _verdict(program, rules.get(name, ()), profile.default)
        for name, number in syscalls.numbers(arch).items()
    }
    ranges: list[tuple[int, int]] = []

    def begin(number: int, verdict: int) -> None:
        if not ranges or ranges[-1][1] != verdict:
            ranges.append((number, verdict))

    last = -1
    for number, verdict in sorted(verdicts.items()):
        if number > last + 1:
            begin(last + 1, unknown)
        begin(number, verdict)
        last = number
    begin(last + 1, unknown)
    if arch == "x86_64":
        # The bit, whatever the one above it: numbers are compared as unsigned.
        begin(syscalls.X32_BIT, x32)
        begin(2 * syscalls.X32_BIT, unknown)
        begin(3 * syscalls.X32_BIT, x32)
    return ranges


def _tree(program: Program, ranges: Sequence[tuple[int, int]]) -> int:
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    return program.test(
        _AT_LEAST, ranges[middle][0], _tree(program, ranges[middle:]), _tree(program, ranges[:middle])
    )


def _verdict(program: Program, rules: Sequence[Rule], default: Action) -> int:
    """The answer to one call; ``rules`` are about it, the strictest first."""
    answer = program.end(default)
    for rule in reversed(rules):
        otherwise, answer = answer, program.end(rule.action)
        for condition in reversed(rule.conditions):
            answer = _condition(program, condition, answer, otherwise)
    return answer


def _condition(program: Program, condition: Condition, yes: int, no: int) -> int:
    """Compare the high word of the argument, then, where that does not decide, the low one."""
    op: str = condition.op
    if op in {"NE", "LT", "LE"}:
        op, yes, no = {"NE": "EQ", "LT": "GE", "LE": "GT"}[op], no, yes
    low_at = _ARGUMENTS + 8 * condition.index
    high_at = low_at + 4
    high, low = condition.value >> 32, condition.value & WORD
    if op in {"GE", "GT"}:
        node = program.load(low_at, program.test(_AT_LEAST if op == "GE" else _GREATER, low, yes, no))
        return program.load(high_at, program.test(_GREATER, high, yes, program.test(_EQUAL, high, node, no)))
    node = yes
    for offset, word, mask in ((low_at, low, condition.mask & WORD), (high_at, high, condition.mask >> 32)):
        if mask:
            node = program.load(offset, program.mask(mask, program.test(_EQUAL, word, node, no)))
    return node
