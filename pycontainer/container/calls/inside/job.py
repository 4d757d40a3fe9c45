"""What a copy of the zygote does: reads its job, does it, and writes the result.

A result is JSON in which every object is a tag with its content, and the bytes of bytes-like values after it;
``values.py`` reads it.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
import sys
import traceback
from contextlib import suppress
from typing import Any

_TEXT = 20_000  #: characters of a traceback


class _Encoder:
    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def encode(self, value: Any) -> Any:
        """As JSON. Raises ``TypeError`` for a type that cannot leave."""
        kind = type(value)
        if value is None or kind is bool or kind is str or kind is float:
            return value
        if kind is int:
            return value if -(1 << 63) <= value < 1 << 63 else {"i": hex(value)}
        if kind is list:
            return [self.encode(each) for each in value]
        if kind in (tuple, set, frozenset):
            return {kind.__name__: [self.encode(each) for each in value]}
        if kind is dict:
            return {"dict": [[self.encode(key), self.encode(each)] for key, each in value.items()]}
        if kind is complex:
            return {"complex": [value.real, value.imag]}
        if kind in (bytes, bytearray):
            return {kind.__name__: self._attach(value)}
        return self._other(value)

    def _other(self, value: Any) -> Any:
        for base in (bool, int, float, str):  # enumerations, numpy.float64
            if isinstance(value, base):
                return self.encode(base(value))
        if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
            return self.encode(value.item())
        try:
            view = memoryview(value)
        except TypeError:
            name = f"{type(value).__module__}.{type(value).__qualname__}"
            raise TypeError(
                f"a result of type {name} cannot leave the container: return numbers, text, bytes, arrays, or lists, "
                "tuples, sets and dictionaries of these"
            ) from None
        if len(view.format) != 1 or view.format not in "bBhHiIlLqQnNfd?":
            raise TypeError(f"an array of the format {view.format!r} cannot leave the container")
        return {"memoryview": [*self._attach(view.tobytes()), view.format, list(view.shape or ())]}

    def _attach(self, data: bytes) -> list[int]:
        self.parts.append(bytes(data))
        self.size += len(data)
        return [self.size - len(data), len(data)]


def _send(job: socket.socket, answer: list[Any], encoder: _Encoder) -> None:
    text = json.dumps(answer).encode()
    job.sendall(struct.pack(">QQ", len(text), encoder.size) + text)
    for part in encoder.parts:
        job.sendall(part)


def _failure(error: BaseException) -> tuple[list[Any], _Encoder]:
    """An exception in words, with its arguments where they can leave."""
    encoder = _Encoder()
    try:
        arguments = encoder.encode(list(error.args))
    except Exception:  # noqa: BLE001  whatever their own methods raise
        encoder = _Encoder()
        arguments = [str(error)[:_TEXT]]
    kind = type(error)
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == "<string>":
        frames = frames.tb_next  # ours
    try:
        lines = "".join(traceback.format_exception(kind, error, frames))
    except Exception:  # noqa: BLE001  the same
        lines = kind.__qualname__
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return ["error", name, arguments, lines[-_TEXT:]], encoder


def _named(name: str) -> Any:
    """What "module:name" is."""
    import importlib

    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _defined(code: dict[str, Any]) -> Any:
    """The function that comes as the sources of functions, by module, with what they use."""
    import __future__

    import importlib
    import linecache

    spaces: dict[str, dict[str, Any]] = {}
    for module, used in code["modules"].items():
        space = spaces[module] = {"__name__": module}
        for name, target in used["imports"].items():
            space[name] = importlib.import_module(target)
        for name, target in used["names"].items():
            space[name] = _named(target)
        space.update(used["values"])
    for module, source, filename, line in code["sources"]:
        text = "\n" * (line - 1) + source
        linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
        # Annotations are never evaluated (PEP 563): what they name need not be there.
        flags = __future__.annotations.compiler_flag
        exec(compile(text, filename, "exec", flags, dont_inherit=True), spaces[module])  # noqa: S102  its purpose
    for module, name, other, target in code["shared"]:
        spaces[module][name] = spaces[other][target]
    return spaces[code["module"]][code["function"]]


def _read(job: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = job.recv(min(size - len(data), 1 << 20))
        if not piece:
            os._exit(0)
        data += piece
    return bytes(data)


def run_job(job: socket.socket) -> None:
    """Read a job from its socket when there is one, do it, write its result."""
    (size,) = struct.unpack(">Q", _read(job, 8))
    encoder = _Encoder()
    try:
        call = pickle.loads(_read(job, size))  # noqa: S301  the host's
        function = _named(call["name"]) if "name" in call else _defined(call)
        args, kwargs = pickle.loads(call["arguments"])  # noqa: S301  the same
        answer = ["ok", encoder.encode(function(*args, **kwargs))]
    except BaseException as error:  # noqa: BLE001  the host's to raise
        answer, encoder = _failure(error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    _send(job, answer, encoder)
