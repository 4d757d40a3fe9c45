"""Sparse files in tar archives: where the pieces of their content lie.

GNU's four formats (tar manual, "Storing Sparse Files"): the old one in the header itself, and 0.0, 0.1
and 1.0 in extended headers.  A map is a list of (offset, length) in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pycontainer.errors import ImageError, UnsafeArchive
from pycontainer.image.limits import Limits

Segments = tuple[tuple[int, int], ...]

_BLOCK = 512
#: Offset and length of one piece in the old format: two fields of twelve bytes.
_PIECE = 24


def old_map(
    header: bytes, number: Callable[[bytes], int], block: Callable[[], bytes], limits: Limits
) -> Segments:
    """Read the map of a header of type ``S``, whose continuation blocks ``block`` returns."""
    pieces = header[386:482]
    more = header[482]
    found: list[tuple[int, int]] = []
    while True:
        for start in range(0, len(pieces), _PIECE):
            piece = pieces[start : start + _PIECE]
            if not piece.strip(b"\0 "):
                break
            found.append((number(piece[:12]), number(piece[12:])))
        if not more:
            return tuple(found)
        if len(found) > limits.segments:
            raise _too_many(limits)
        continuation = block()
        pieces, more = continuation[: 21 * _PIECE], continuation[21 * _PIECE]


def inline_map(records: Sequence[tuple[bytes, bytes]], limits: Limits) -> Segments | None:
    """Return the map of the formats 0.0 and 0.1 from extended header records, or ``None`` if there is none."""
    numbers: list[int] = []
    there = False
    for key, value in records:
        if key in {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}:
            # One must follow the other, or the list below would pair what does not belong together.
            if (key == b"GNU.sparse.offset") != (len(numbers) % 2 == 0):
                raise ImageError("the archive's map of a sparse file is out of order")
            numbers.append(decimal(value))
            there = True
        elif key == b"GNU.sparse.map":
            if value.count(b",") > 2 * limits.segments:
                raise _too_many(limits)
            numbers = [decimal(word) for word in value.split(b",")] if value else []
            there = True
        elif key == b"GNU.sparse.numblocks":
            there = True
    return _paired(numbers, limits) if there else None


def leading_map(block: Callable[[], bytes], limits: Limits) -> tuple[Segments, int]:
    """Read the map of format 1.0, which precedes the content; return the bytes that it takes, too."""
    text = block()
    blocks = 1
    words: list[int] = []
    wanted = 1
    while len(words) < wanted:
        line, newline, rest = text.partition(b"\n")
        if not newline:
            if len(text) > _BLOCK:
                raise ImageError("the archive's map of a sparse file has no end")
            text += block()
            blocks += 1
            continue
        text = rest
        words.append(decimal(line))
        if len(words) == 1:
            if words[0] > limits.segments:
                raise _too_many(limits)
            wanted = 1 + 2 * words[0]
    return _paired(words[1:], limits), blocks * _BLOCK


def checked(segments: Segments, size: int, stored: int) -> Segments:
    """Return the map if it describes a file of ``size`` bytes with ``stored`` of them in the archive."""
    end = 0
    total = 0
    for offset, length in segments:
        if offset < end or length < 0:
            raise ImageError("the archive's map of a sparse file is out of order")
        end = offset + length
        total += length
    if end > size or total != stored:
        raise ImageError("the archive's map of a sparse file does not fit its size")
    return tuple(segment for segment in segments if segment[1])


def decimal(text: bytes) -> int:
    """Return a decimal number of at most 20 digits; :class:`ImageError` for anything else."""
    if not text.isdigit() or len(text) > 20:
        raise ImageError(f"the archive has {text[:40]!r} where a number has to be")
    return int(text)


def _paired(numbers: list[int], limits: Limits) -> Segments:
    if len(numbers) % 2:
        raise ImageError("the archive's map of a sparse file has an offset without a length")
    if len(numbers) > 2 * limits.segments:
        raise _too_many(limits)
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _too_many(limits: Limits) -> UnsafeArchive:
    return UnsafeArchive(f"the archive has a sparse file of more than {limits.segments} pieces")
