"""A specification of a process as one piece of memory: what a program that is not this one can start it from.

Owns the layout of ``struct pc_flat`` (``csrc/monitor_protocol.h``).  Pointers are offsets from its beginning.
"""

from __future__ import annotations

import struct
from typing import Any

import attrs

from pycontainer.kernel.native import ffi
from pycontainer.kernel.spawn import Spawn, Template

_ALIGNMENT = 8


@attrs.frozen(kw_only=True)
class Places:
    """Slots that are filled in at each start; -1: there is none."""

    stdio: tuple[int, int, int] = (-1, -1, -1)
    export: int = -1
    report: int = -1
    target: int = -1


class _Memory:
    """Pieces one after the other, each at a multiple of 8."""

    def __init__(self, head: int) -> None:
        self.data = bytearray(head)

    def put(self, piece: bytes) -> int:
        """Append a piece; its offset."""
        self.data += b"\0" * (-len(self.data) % _ALIGNMENT)
        self.data += piece
        return len(self.data) - len(piece)

    def put_list(self, words: tuple[bytes, ...]) -> int:
        """Append strings and the list of their offsets, which ends with 0; its offset."""
        offsets = [self.put(word + b"\0") for word in words]
        return self.put(struct.pack(f"={len(offsets) + 1}Q", *offsets, 0))


def flatten(request: Spawn, places: Places) -> bytes:
    """The memory of a ``struct pc_flat``; pure.  What is in ``request.fds`` are fds of who reads it."""
    native = ffi.new("struct pc_flat *")
    template = Template(request)
    native.spec = template.native[0]
    memory = _Memory(ffi.sizeof("struct pc_flat"))
    native.slot_count = len(request.fds)
    native.stdio = places.stdio
    native.export_to, native.report, native.target = places.export, places.report, places.target
    for name, (ctype, piece) in _pieces(request, native.spec).items():
        setattr(native.spec, name, ffi.cast(ctype, memory.put(piece) if piece else 0))
    for name, words in (("candidates", request.candidates), ("argv", request.argv), ("envp", request.env)):
        setattr(native.spec, name, ffi.cast("const char *const *", memory.put_list(words)))
    memory.put(b"\0")  # whatever text is the last one, it ends
    native.size = len(memory.data)
    memory.data[: ffi.sizeof("struct pc_flat")] = bytes(ffi.buffer(native))
    return bytes(memory.data)


def _pieces(request: Spawn, spec: Any) -> dict[str, tuple[str, bytes]]:
    def array(pointer: Any, ctype: str, count: int) -> bytes:
        return bytes(ffi.buffer(pointer, count * ffi.sizeof(ctype))) if count else b""

    def text(value: bytes | None) -> bytes:
        return b"" if value is None else value + b"\0"

    return {
        "outer": ("struct pc_op *", request.script.outer_bytes if request.script.outer else b""),
        "inner": ("struct pc_op *", request.script.inner_bytes if request.script.inner else b""),
        "strings": ("char *", request.script.strings + b"\0"),
        "slots": ("int32_t *", struct.pack(f"={len(request.fds)}i", *request.fds)),
        "joins": ("struct pc_join *", array(spec.joins, "struct pc_join", spec.join_count)),
        "tasks": ("int32_t *", array(spec.tasks, "int32_t", spec.task_count)),
        "rlimits": ("struct pc_rlimit *", array(spec.rlimits, "struct pc_rlimit", spec.rlimit_count)),
        "fds": ("struct pc_fd_map *", array(spec.fds, "struct pc_fd_map", spec.fd_count)),
        "groups": ("uint32_t *", array(spec.groups, "uint32_t", spec.group_count)),
        "seccomp": ("char *", request.seccomp),
        "hostname": ("char *", text(request.hostname)),
        "workdir": ("char *", text(request.workdir)),
    }
