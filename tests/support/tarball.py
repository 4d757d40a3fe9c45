"""Tar archives made byte by byte, so that they can say what no honest program would write."""

from __future__ import annotations

import os
from pathlib import Path

from pycontainer.image.limits import Limits
from pycontainer.image.unpack import Unpacked, unpack

END = bytes(1024)


def header(name: bytes, kind: bytes = b"0", *, size: int = 0, **fields: bytes) -> bytes:
    """One ustar header; ``fields`` replace the raw bytes of a field; ``told`` is that of the size."""
    block = bytearray(512)
    places = {
        "name": (0, name), "mode": (100, b"0000644\0"), "uid": (108, b"0000000\0"),
        "gid": (116, b"0000000\0"), "size": (124, fields.pop("told", b"%011o\0" % size)), "mtime": (136, b"00000000000\0"),
        "type": (156, kind), "link": (157, b""), "magic": (257, b"ustar\00000"), "prefix": (345, b""),
    }  # fmt: skip
    for key, (start, default) in places.items():
        value = fields.get(key, default)
        block[start : start + len(value)] = value
    return resum(bytes(block))


def resum(block: bytes) -> bytes:
    """A header with its checksum set right."""
    blank = block[:148] + b"        " + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]


def entry(name: bytes, kind: bytes = b"0", data: bytes = b"", **fields: bytes) -> bytes:
    """A header and its data, padded."""
    return header(name, kind, size=len(data), **fields) + data + bytes(-len(data) % 512)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header."""
    text = b""
    for key, value in records:
        length = len(key) + len(value) + 3
        while length != len(str(length)) + len(key) + len(value) + 3:
            length = len(str(length)) + len(key) + len(value) + 3
        text += b"%d %s=%s\n" % (length, key, value)
    return entry(b"pax", kind, text)


def unpack_bytes(data: bytes, target: Path, limits: Limits | None = None, **options: object) -> Unpacked:
    """Unpack an archive into the directory ``target``, made if need be."""
    target.mkdir(exist_ok=True)
    archive = target.parent / f"{target.name}.archive"
    archive.write_bytes(data)
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with archive.open("rb", buffering=0) as file:
            return unpack(file.read, root, limits=limits, **options)  # type: ignore[arg-type]
    finally:
        os.close(root)
