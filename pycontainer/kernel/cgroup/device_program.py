"""The device program of a version 2 cgroup: eBPF of type ``BPF_PROG_TYPE_CGROUP_DEVICE``, assembled here.

Sources: cgroup-v2.rst "Device controller", bpf(2), Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence

import attrs

from pycontainer.errors import KernelError, NotSupported
from pycontainer.kernel.cgroup.devices import ROOT_NEEDED, DeviceRule
from pycontainer.kernel.native import bpf, ffi, lib

# linux/bpf.h and linux/bpf_common.h: the codes of the instructions that are used.
_LOAD, _SET, _COPY, _AND, _SHIFT_RIGHT, _UNLESS, _EXIT = 0x61, 0xB7, 0xBF, 0x57, 0x77, 0x55, 0x95
# Registers: r1 points to struct bpf_cgroup_dev_ctx, whose fields go to r2 to r5; r6 is for intermediate results.
_RESULT, _CONTEXT, _TYPE, _ACCESS, _MAJOR, _MINOR, _SCRATCH = range(7)
_INSTRUCTION = struct.Struct("=BBhi")
_BITS = {"m": lib.BPF_DEVCG_ACC_MKNOD, "r": lib.BPF_DEVCG_ACC_READ, "w": lib.BPF_DEVCG_ACC_WRITE}
_TYPES = {"b": lib.BPF_DEVCG_DEV_BLOCK, "c": lib.BPF_DEVCG_DEV_CHAR}
_EVERY_BIT = sum(_BITS.values())


def _code(code: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, to | source << 4, offset, value)


def _end(result: int) -> bytes:
    return _code(_SET, _RESULT, value=result) + _code(_EXIT)


def assemble(rules: Sequence[DeviceRule]) -> bytes:
    """The program of ``rules``: for each kind of access the last rule that fits decides; without one it is refused.

    Rules are looked at from the last to the first; what is granted is taken out of what was asked for, until
    nothing is left of that, or something of it is refused.  Pure.
    """
    program = [
        _code(_LOAD, _TYPE, _CONTEXT, 0),
        _code(_COPY, _ACCESS, _TYPE),
        _code(_AND, _TYPE, value=0xFFFF),
        _code(_SHIFT_RIGHT, _ACCESS, value=16),
        _code(_LOAD, _MAJOR, _CONTEXT, 4),
        _code(_LOAD, _MINOR, _CONTEXT, 8),
    ]
    for rule in reversed(rules):
        verdict = _verdict(rule)
        tests = [(_TYPE, _TYPES.get(rule.kind)), (_MAJOR, rule.major), (_MINOR, rule.minor)]
        asked = [(register, value) for register, value in tests if value is not None]
        for position, (register, value) in enumerate(asked):
            left = len(asked) - position - 1 + len(verdict) // _INSTRUCTION.size
            program.append(_code(_UNLESS, register, offset=left, value=value))
        program.append(verdict)
        if not asked and _mask(rule) == _EVERY_BIT:
            # It decides everything; the verifier refuses instructions that nothing leads to.
            return b"".join(program)
    return b"".join([*program, _end(0)])


def _mask(rule: DeviceRule) -> int:
    return sum(_BITS[letter] for letter in rule.access)


def _verdict(rule: DeviceRule) -> bytes:
    """What is done for a device that the rule fits."""
    mask = _mask(rule)
    if mask == _EVERY_BIT:
        return _end(int(rule.allow))
    if rule.allow:
        granted = _code(_AND, _ACCESS, value=_EVERY_BIT & ~mask)
        return granted + _code(_UNLESS, _ACCESS, offset=2, value=0) + _end(1)
    # Jump over the refusal where nothing of what is refused was asked for: JEQ, as _UNLESS is JNE.
    refused = _code(_COPY, _SCRATCH, _ACCESS) + _code(_AND, _SCRATCH, value=mask)
    return refused + _code(0x15, _SCRATCH, offset=2, value=0) + _end(0)


#: The parts of union bpf_attr that BPF_PROG_LOAD and BPF_PROG_ATTACH read.
_LOAD_ATTRIBUTES = struct.Struct("=IIQQIIQII")
_ATTACH_ATTRIBUTES = struct.Struct("=IIIII")


def load(program: bytes, kind: int) -> int:
    """Load an eBPF program of type ``kind`` (BPF_PROG_LOAD); its fd is the caller's. Raises :class:`KernelError`."""
    code = ffi.from_buffer("char[]", program)
    licence = ffi.from_buffer("char[]", b"Apache-2.0\0")
    addresses = [int(ffi.cast("uintptr_t", each)) for each in (code, licence)]
    count = len(program) // _INSTRUCTION.size
    fields = bytearray(_LOAD_ATTRIBUTES.pack(kind, count, *addresses, 0, 0, 0, 0, 0))
    return bpf(lib.BPF_PROG_LOAD, fields, "load an eBPF program")


@attrs.define(eq=False)
class DeviceProgram:
    """The device program of a version 2 cgroup. ``close`` lets go of it; it stays attached with the cgroup.

    >>> program = DeviceProgram.attach(cgroup_fd, DEFAULT)     # doctest: +SKIP
    >>> program.replace(cgroup_fd, (*DEFAULT, DeviceRule.parse("devices", "c 10:229 rwm")))   # doctest: +SKIP
    """

    _fd: int

    @classmethod
    def attach(cls, cgroup: int, rules: Sequence[DeviceRule]) -> DeviceProgram:
        """Attach the program of ``rules`` to the cgroup directory ``cgroup``, besides those that others attached.

        It takes effect at once for what is opened from then on.  Raises :class:`NotSupported`, :class:`KernelError`.
        """
        made = cls(_load_rules(rules))
        try:
            _attach(cgroup, made._fd, lib.BPF_F_ALLOW_MULTI, 0)
        except BaseException:
            made.close()
            raise
        return made

    def replace(self, cgroup: int, rules: Sequence[DeviceRule]) -> None:
        """Put other rules in its place, atomically (BPF_F_REPLACE, Linux 5.6)."""
        fd = _load_rules(rules)
        try:
            _attach(cgroup, fd, lib.BPF_F_ALLOW_MULTI | lib.BPF_F_REPLACE, self._fd)
        except BaseException:
            os.close(fd)
            raise
        before, self._fd = self._fd, fd
        os.close(before)

    def detach(self, cgroup: int) -> None:
        """Take the program away from the cgroup: every device that the cgroups above allow is allowed."""
        fields = bytearray(_ATTACH_ATTRIBUTES.pack(cgroup, self._fd, lib.BPF_CGROUP_DEVICE, 0, 0))
        bpf(lib.BPF_PROG_DETACH, fields, "detach the device program of a cgroup")

    def close(self) -> None:
        """Close the fd; idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _load_rules(rules: Sequence[DeviceRule]) -> int:
    try:
        return load(assemble(rules), lib.BPF_PROG_TYPE_CGROUP_DEVICE)
    except KernelError as error:
        if error.errno == errno.EPERM:
            raise NotSupported("devices cannot be limited by this user", ROOT_NEEDED) from None
        if error.errno in (errno.EINVAL, errno.ENOSYS):
            raise NotSupported("devices cannot be limited", "a kernel with CONFIG_CGROUP_BPF") from None
        raise


def _attach(cgroup: int, program: int, flags: int, replacing: int) -> None:
    fields = bytearray(_ATTACH_ATTRIBUTES.pack(cgroup, program, lib.BPF_CGROUP_DEVICE, flags, replacing))
    try:
        bpf(lib.BPF_PROG_ATTACH, fields, "attach a device program to a cgroup")
    except KernelError as error:
        if error.errno == errno.EPERM:
            raise NotSupported(
                "the device program of a cgroup above allows no other",
                "whoever attached that must use BPF_F_ALLOW_MULTI, as systemd does",
            ) from None
        raise
