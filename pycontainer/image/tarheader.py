"""The fields of tar headers: numbers in octal, base 256 and decimal, each one bounded."""

from __future__ import annotations

from functools import lru_cache
from zlib import adler32

import attrs

from pycontainer.errors import ImageError
from pycontainer.image.sparse import decimal

_BLOCK = 512
LARGEST_SIZE = (1 << 63) - 1
_MAGIC_POSIX = b"ustar\x00"
_LARGEST_ID = (1 << 32) - 2
#: In seconds, in both directions; no file system keeps more.
_LARGEST_TIME = 1 << 40


@attrs.frozen(kw_only=True)
class Header:
    """One header block whose checksum is right, with the fields that say what it is."""

    block: bytes
    type: bytes
    size: int

    def text(self, start: int, end: int) -> bytes:
        """Return a field up to its first NUL."""
        return self.block[start:end].partition(b"\0")[0]

    def number(self, start: int, end: int, what: str, largest: int) -> int:
        """Return a field as a number from 0 to ``largest``."""
        return bounded(number(self.block[start:end]), what, 0, largest)


@lru_cache(maxsize=4096)  # modes, owners and times are few
def number(field: bytes) -> int:
    """Return a header's number: octal digits, or base 256 with the highest bit set (GNU); unbounded."""
    if field[0] & 0x80:
        if field[0] & 0x40:
            return int.from_bytes(field, "big", signed=True)
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise ImageError(f"this is no tar archive, or it is damaged: {field!r} is no number")
    return int(digits or b"0", 8)


def check_sum(block: bytes) -> None:
    """Raise :class:`ImageError` unless a header's checksum is right: the sum of its bytes, its own field blank."""
    if len(block) < _BLOCK:
        raise ImageError("the archive is truncated")
    told = number(block[148:156])
    # Half of an adler32 is the sum of up to 256 bytes, and one: ten times as fast as Python's sum().
    plain = (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2 - sum(block[148:156]) + 256
    if told == plain:
        return
    rest = block[:148] + block[156:]
    # Old tars summed signed bytes.
    if told != plain - 256 * sum(byte > 127 for byte in rest):
        raise ImageError("this is no tar archive, or it is damaged: a header's checksum is wrong")


def is_header(block: bytes) -> bool:
    """Are these bytes a header, as far as its checksum tells?"""
    try:
        check_sum(block)
    except ImageError:
        return False
    return True


def bounded(value: int, what: str, smallest: int, largest: int) -> int:
    """Return the value if it is between the bounds; :class:`ImageError` otherwise."""
    if not smallest <= value <= largest:
        raise ImageError(f"the archive has an entry with the impossible {what} {value}")
    return value


def name_in(header: Header) -> bytes:
    """Return the name, with the prefix that POSIX has."""
    name, prefix = header.text(0, 100), b""
    if header.block[257:263] == _MAGIC_POSIX:
        prefix = header.text(345, 500)
    return prefix + b"/" + name if prefix else name


def owner(text: bytes | None, header: Header, start: int) -> int:
    """Return a user or group: from the extended header, or from the field at ``start``."""
    if text:
        return bounded(decimal(text), "owner", 0, _LARGEST_ID)
    return header.number(start, start + 8, "owner", _LARGEST_ID)


def time(text: bytes | None, header: Header) -> int:
    """Return the time of modification in nanoseconds."""
    if not text:
        seconds = number(header.block[136:148])
        return bounded(seconds, "time", -_LARGEST_TIME, _LARGEST_TIME) * 10**9
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    seconds = bounded(decimal(whole), "time", 0, _LARGEST_TIME)
    nanoseconds = decimal(fraction[:9].ljust(9, b"0"))
    return (seconds * 10**9 + nanoseconds) * (-1 if text.startswith(b"-") else 1)


def parse_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """Parse an extended header: lines of "length key=value", the length that of the whole line."""
    found = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 8)
        length = decimal(data[position:space]) if space > 0 else 0
        end = position + length
        key, equals, value = data[space + 1 : max(end - 1, 0)].partition(b"=")
        if not position < space < end <= len(data) or data[end - 1 : end] != b"\n" or not key or not equals:
            raise ImageError("the archive has a damaged extended header")
        found.append((key, value))
        position = end
    return found
