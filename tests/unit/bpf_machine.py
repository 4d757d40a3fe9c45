"""A machine for classic BPF as seccomp uses it: checks a program as the kernel does, and runs it.

Written from the kernel's documentation (Documentation/networking/filter.rst, seccomp(2)), not from the compiler.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

# Opcodes that a seccomp filter may have (kernel/seccomp.c, seccomp_check_filter), as far as anyone here emits them.
LD_W_ABS, LD_IMM, LDX_IMM, ST, TAX, TXA = 0x20, 0x00, 0x01, 0x02, 0x07, 0x87
AND_K, JA, JEQ_K, JGT_K, JGE_K, JSET_K, RET_K = 0x54, 0x05, 0x15, 0x25, 0x35, 0x45, 0x06
CONDITIONAL = {JEQ_K, JGT_K, JGE_K, JSET_K}
KNOWN = {LD_W_ABS, AND_K, JA, RET_K} | CONDITIONAL

Instruction = tuple[int, int, int, int]


def decode(program: bytes) -> list[Instruction]:
    """The instructions as (code, jt, jf, k)."""
    return list(struct.iter_unpack("<HBBI", program))


def check(program: bytes) -> list[Instruction]:
    """Refuse what the kernel's checkers refuse (bpf_check_classic, seccomp_check_filter)."""
    code = decode(program)
    assert 0 < len(code) <= 4096
    for at, (op, jt, jf, k) in enumerate(code):
        assert op in KNOWN, f"{at}: opcode {op:#x}"
        if op in CONDITIONAL:
            assert at + 1 + max(jt, jf) < len(code), f"{at}: jump over the end"
        elif op == JA:
            assert at + 1 + k < len(code), f"{at}: jump over the end"
        elif op == LD_W_ABS:
            assert k % 4 == 0, f"{at}: unaligned"
            assert k < 64, f"{at}: outside of struct seccomp_data"
    assert code[-1][0] == RET_K
    return code


def data(number: int, arch: int, arguments: Sequence[int] = (), pointer: int = 0) -> tuple[int, ...]:
    """The words of struct seccomp_data on a little-endian machine."""
    filled = (*arguments, *([0] * (6 - len(arguments))))
    return struct.unpack("<16I", struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, pointer, *filled))


def run(code: Sequence[Instruction], words: Sequence[int]) -> int:
    """What the program returns for a call."""
    accumulator, at = 0, 0
    while True:
        op, jt, jf, k = code[at]
        at += 1
        if op == RET_K:
            return k
        if op == LD_W_ABS:
            accumulator = words[k // 4]
        elif op == AND_K:
            accumulator &= k
        elif op == JA:
            at += k
        elif op == JEQ_K:
            at += jt if accumulator == k else jf
        elif op == JGT_K:
            at += jt if accumulator > k else jf
        elif op == JGE_K:
            at += jt if accumulator >= k else jf
        elif op == JSET_K:
            at += jt if accumulator & k else jf
        else:
            raise AssertionError(f"opcode {op:#x}")


def looked_at(code: Sequence[Instruction], words: Sequence[int]) -> tuple[bool, int]:
    """Does the kernel learn the verdict without arguments, and how many instructions does it run for that?

    As seccomp_is_const_allow in kernel/seccomp.c does for its bitmap of allowed calls, which stops at the
    first word that is neither the number nor the architecture.
    """
    accumulator, at, steps = 0, 0, 0
    while True:
        op, jt, jf, k = code[at]
        at, steps = at + 1, steps + 1
        if op == RET_K:
            return True, steps
        if op == LD_W_ABS and k not in {0, 4}:
            return False, steps
        if op == LD_W_ABS:
            accumulator = words[k // 4]
        elif op == AND_K:
            accumulator &= k
        elif op == JA:
            at += k
        else:
            taken = {
                JEQ_K: accumulator == k,
                JGT_K: accumulator > k,
                JGE_K: accumulator >= k,
                JSET_K: bool(accumulator & k),
            }[op]
            at += jt if taken else jf
