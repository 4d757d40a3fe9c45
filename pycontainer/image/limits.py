"""What an archive may cost at most, whoever made it."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds of one unpacking; beyond one of them it ends with :class:`~pycontainer.errors.UnsafeArchive`.

    ``total`` bounds the bytes of the archive when decompressed, and as well those of all its files as if
    their holes were filled; ``entries`` its headers, and as well what is made of them.  ``name`` is the
    longest path or link in bytes (``PATH_MAX`` is all the kernel takes), ``pax`` the largest extended
    header in bytes, ``segments`` the pieces of one sparse file.  ``ratio`` is how many bytes may come out
    of one compressed byte, after the first ``unquestioned`` bytes; not counted are runs of a mebibyte of zeros and
    more, where they become holes and so take no disk.

    >>> Limits(total=1 << 30).entries
    2000000
    """

    total: int = 64 << 30
    entries: int = 2_000_000
    name: int = 4095
    pax: int = 1 << 20
    segments: int = 1 << 18
    ratio: int = 200
    unquestioned: int = 64 << 20
