"""Operations of the native core as values that describe themselves, and scripts of them.

A plan is a list of operations.  They name file descriptors by *slot*: a number in a table that the caller
and earlier operations fill.  So one script, once encoded, serves every start of the same shape.

This module owns the encoding (``struct pc_op`` of ``csrc/native.h``); it executes nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import attrs

from pycontainer.kernel.native import ffi

_LAYOUT = struct.Struct("=IIiiiIIIQQQQ")
assert _LAYOUT.size == ffi.sizeof("struct pc_op")  # noqa: S101  a build that does not fit this source


@attrs.frozen(kw_only=True)
class Operation:
    """One step: a kind of the native core, its operands, and what to call it in an error.

    The functions of :mod:`pycontainer.kernel.operation` make these; nothing else should.
    """

    text: str
    kind: int
    options: int = 0
    out: int = -1
    fd: int = -1
    at: int = -1
    path: bytes = b""
    name: bytes = b""
    mode: int = 0
    flags: int = 0
    arg: int = 0
    arg2: int = 0
    arg3: int = 0

    def describe(self) -> str:
        """What this does, in words: the text of a dry run, a log line and an error alike."""
        return self.text


@attrs.frozen
class Script:
    """Operations made ready for the native core; made once, usable for any number of starts.

    ``outer`` runs in the host's view before the new namespaces exist, ``inner`` in the container's.
    """

    outer: tuple[Operation, ...]
    inner: tuple[Operation, ...]
    outer_bytes: bytes
    inner_bytes: bytes
    strings: bytes

    @classmethod
    def of(cls, *, outer: Iterable[Operation] = (), inner: Iterable[Operation] = ()) -> Script:
        """Encode operations; pure."""
        outer, inner = tuple(outer), tuple(inner)
        table: dict[bytes, int] = {b"": 0}
        strings = bytearray(b"\0")

        def offset(text: bytes) -> int:
            if text not in table:
                table[text] = len(strings)
                strings.extend(text)
                strings.append(0)
            return table[text]

        def pack(ops: tuple[Operation, ...]) -> bytes:
            return b"".join(
                _LAYOUT.pack(
                    op.kind, op.options, op.out, op.fd, op.at, offset(op.path), offset(op.name),
                    op.mode, op.flags, op.arg, op.arg2, op.arg3,
                )
                for op in ops
            )  # fmt: skip

        return cls(outer, inner, pack(outer), pack(inner), bytes(strings))
