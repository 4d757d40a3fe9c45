"""A machine for the few eBPF instructions of a device program: checks a program as the verifier does, and runs it.

Written from the kernel's documentation (bpf/standardization/instruction-set.rst), not from the assembler.
"""

from __future__ import annotations

import struct

LDX_W, MOV_K, MOV_X, AND_K, RSH_K, JNE_K, JEQ_K, EXIT = 0x61, 0xB7, 0xBF, 0x57, 0x77, 0x55, 0x15, 0x95
JUMPS = {JNE_K, JEQ_K}
WRITES = {LDX_W, MOV_K, MOV_X, AND_K, RSH_K}

Instruction = tuple[int, int, int, int, int]


def decode(program: bytes) -> list[Instruction]:
    """The instructions as (code, destination, source, offset, immediate)."""
    return [
        (code, registers & 15, registers >> 4, offset, immediate)
        for code, registers, offset, immediate in struct.iter_unpack("<BBhi", program)
    ]


def check(program: bytes) -> list[Instruction]:
    """Refuse what the verifier refuses: unknown code, jumps out, instructions that nothing leads to, no end."""
    code = decode(program)
    reached: set[int] = set()
    todo = [0]
    while todo:
        at = todo.pop()
        assert at < len(code), "runs over the end"
        if at in reached:
            continue
        reached.add(at)
        op, _, _, offset, _ = code[at]
        assert op in WRITES | JUMPS | {EXIT}, f"{at}: opcode {op:#x}"
        assert op not in JUMPS or offset >= 0, f"{at}: a loop"
        if op != EXIT:
            todo.append(at + 1)
        if op in JUMPS:
            todo.append(at + 1 + offset)
    assert reached == set(range(len(code))), f"never reached: {set(range(len(code))) - reached}"
    return code


def run(code: list[Instruction], context: bytes) -> int:
    """Run it on a context; registers that were never written are not read, bytes beyond the context neither."""
    registers: dict[int, int | None] = {1: None}  # r1 points to the context
    at = 0
    while True:
        op, to, source, offset, immediate = code[at]
        at += 1
        if op == EXIT:
            result = registers[0]
            assert result is not None
            return result
        if op == LDX_W:
            assert source == 1
            assert 0 <= offset <= len(context) - 4
            registers[to] = struct.unpack_from("<I", context, offset)[0]
        elif op == MOV_K:
            registers[to] = immediate
        elif op == MOV_X:
            registers[to] = registers[source]
        else:
            value = registers[to]
            assert value is not None
            if op == AND_K:
                # A 32-bit immediate is extended with its sign to 64 bits.
                registers[to] = value & (immediate & 0xFFFF_FFFF_FFFF_FFFF)
            elif op == RSH_K:
                registers[to] = value >> immediate
            elif (value == immediate) == (op == JEQ_K):
                at += offset
