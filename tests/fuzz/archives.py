"""Strategies for tar archives: of entries that a hostile hand wrote, and of honest ones that were damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib

import zstandard
from hypothesis import strategies as st

from tests.support.tarball import END, header, pax, resum

#: Names that mean something in a layer, and those that only look so.
MARKS = st.sampled_from(
    [b".wh.a", b".wh.b", b".wh..wh..opq", b".wh.", b".wh..", b".wh...", b".wh..wh.plnk", b".wh..wh.aufs", b".wh.\xff"]
)  # fmt: skip
#: Stands for the absolute path of what lies outside, which a test knows; see ``aimed``.
OUTSIDE = b"@" * 40
PARTS = st.sampled_from(
    [b"a", b"b", b"c", b"..", b".", b"", b"outside", b"file", b"n" * 255, b"n" * 256, b"\xff\n\x1b"]
)
PATHS = st.lists(st.one_of(PARTS, PARTS, PARTS, MARKS), max_size=5).map(b"/".join)
PLACES = st.one_of(
    PATHS,
    PATHS.map(lambda path: b"/" + path),
    st.sampled_from(
        [
            b"../outside/file",
            b"../outside",
            OUTSIDE,
            OUTSIDE + b"/file",
            b"/proc/self/root" + OUTSIDE,
            b"/proc/self/cwd",
        ]
    ),
    # Deeper than a path may be long; each is thousands of directories, so they are few.
    st.integers(0, 400).map(lambda depth: b"d/" * (depth if depth < 30 else 2100 if depth == 400 else 3)),
    st.binary(max_size=40),
)
NUMBERS = st.one_of(
    st.sampled_from(
        [
            b"",
            b"0",
            b"-1",
            b"1.5",
            b"-0",
            b"9" * 20,
            b"9" * 21,
            b"18446744073709551615",
            b"9223372036854775807",
            b" 1",
            b"1_0",
        ]
    ),
    st.integers(-(2**65), 2**65).map(lambda number: b"%d" % number),
    st.binary(max_size=8),
)
#: Raw bytes of a numeric field of the header, in eight or twelve bytes.
FIELDS = st.one_of(
    st.integers(0, 8**7 - 1).map(lambda number: b"%07o\0" % number),
    st.integers(-(2**55), 2**55).map(lambda number: b"\x80" + (number & (1 << 56) - 1).to_bytes(7, "big")),
    st.integers(-(2**88), 2**88).map(
        lambda number: bytes([0x80 | (number < 0) << 6]) + (number & (1 << 88) - 1).to_bytes(11, "big")
    ),
    st.binary(min_size=1, max_size=12),
)
KEYS = st.one_of(
    st.sampled_from([
        b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime", b"comment", b"hdrcharset",
        b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.name", b"GNU.sparse.realsize", b"GNU.sparse.size",
        b"GNU.sparse.numblocks", b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"GNU.sparse.map",
        b"SCHILY.xattr.user.a", b"SCHILY.xattr.user.overlay.opaque", b"SCHILY.xattr.trusted.overlay.redirect",
        b"SCHILY.xattr.security.capability", b"SCHILY.xattr.system.posix_acl_access", b"SCHILY.xattr.", b"SCHILY.xattr.\xff",
        b"path\xff",
    ]),
    st.binary(min_size=1, max_size=10).map(lambda key: key.replace(b"=", b"+")),
)  # fmt: skip
MAPS = st.lists(st.integers(0, 2000), max_size=8).map(lambda numbers: b",".join(b"%d" % n for n in numbers))
VALUES = st.one_of(NUMBERS, PLACES, MAPS, st.binary(max_size=30))
RECORDS = st.lists(st.tuples(KEYS, VALUES), max_size=6)


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """A header, mostly of a known type, with what follows it; often more or less than it tells."""
    kind = draw(
        st.sampled_from(
            [
                b"0",
                b"\0",
                b"7",
                b"1",
                b"2",
                b"3",
                b"4",
                b"5",
                b"6",
                b"S",
                b"x",
                b"g",
                b"L",
                b"K",
                b"V",
                b"D",
                b"\xff",
            ]
        )
    )
    if kind in {b"x", b"g"} and draw(st.integers(0, 9)):
        return pax(*draw(RECORDS), kind=kind)
    data = draw(
        st.one_of(
            st.binary(max_size=60),
            PLACES,
            MAPS.map(lambda text: text.replace(b",", b"\n") + b"\n"),
            st.just(bytes(700)),
        )
    )
    fields = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "mode": FIELDS.map(lambda field: field[:8]), "uid": FIELDS.map(lambda field: field[:8]),
                "gid": FIELDS.map(lambda field: field[:8]), "mtime": FIELDS, "told": FIELDS,
                "link": PLACES.map(lambda path: path[:100]),
                "magic": st.sampled_from([b"ustar\00000", b"ustar  \0", b"", b"\xff" * 8]),
                "prefix": PLACES.map(lambda path: path[:155]),
            },
        )
    )  # fmt: skip
    block = bytearray(header(draw(PLACES)[:100], kind, size=len(data), **fields))
    if kind == b"S":
        sparse = (
            draw(st.binary(max_size=97))
            if draw(st.booleans())
            else b"".join(b"%011o\0" % n for n in draw(st.lists(st.integers(0, 2000), max_size=8)))
        )
        block[386 : 386 + len(sparse[:97])] = sparse[:97]
        block[483:495] = b"%011o\0" % draw(st.integers(0, 4000))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), max_size=2)):
        block[place] = byte
    return resum(bytes(block)) + data + bytes(-len(data) % 512)


@st.composite
def plain(draw: st.DrawFn) -> bytes:
    """An entry that is right in itself; its name and its link lead wherever they like."""
    kind = draw(st.sampled_from([b"0", b"0", b"5", b"5", b"2", b"2", b"2", b"1", b"6", b"3"]))
    name, link = (draw(st.one_of(SHORT, PLACES))[:100].partition(b"\0")[0] for _ in range(2))
    data = draw(st.binary(max_size=30)) if kind == b"0" else b""
    records = draw(st.lists(st.sampled_from(SANE), max_size=1)) if draw(st.booleans()) else []
    block = header(
        name or b"x",
        kind,
        size=len(data),
        link=link,
        mode=b"%07o\0" % draw(st.sampled_from([0o644, 0, 0o4755, 0o1777])),
    )
    return (pax(*records) if records else b"") + block + data + bytes(-len(data) % 512)


#: So few names that entries meet: links lead to others, and others go through links.
SHORT = st.one_of(
    st.lists(st.sampled_from([b"a", b"b", b"c", b"."]), min_size=1, max_size=3).map(b"/".join),
    st.tuples(st.sampled_from([b"a/", b"b/", b""]), MARKS).map(b"".join),
)
SANE = [
    (b"SCHILY.xattr.user.a", b"b"), (b"mtime", b"1.5"), (b"path", b"a/b"), (b"linkpath", b"../outside"), (b"uid", b"1000"),
    (b"linkpath", b"/a/b/c"), (b"path", b"/" + b"c/" * 300),
]  # fmt: skip
LINKED = st.lists(plain(), min_size=1, max_size=12).map(lambda parts: b"".join(parts) + END)
HOSTILE = st.lists(blocks(), max_size=8).map(lambda parts: b"".join(parts) + END)


def aimed(data: bytes, place: bytes) -> bytes:
    """The archive with the path ``place`` where ``OUTSIDE`` stands."""
    blocks = [data[start : start + 512] for start in range(0, len(data), 512)]
    path = place[: len(OUTSIDE)].rjust(len(OUTSIDE), b"/")
    return b"".join(
        resum(block.replace(OUTSIDE, path))
        if OUTSIDE in block and resum(block) == block
        else block.replace(OUTSIDE, path)
        for block in blocks
    )


def _honest() -> list[bytes]:
    made = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as archive:
            for name, kind in (
                ("d", tarfile.DIRTYPE),
                ("d/" + "n" * 90, tarfile.REGTYPE),
                ("d/l", tarfile.SYMTYPE),
                ("h", tarfile.LNKTYPE),
            ):
                info = tarfile.TarInfo(name)
                info.type, info.linkname, info.mtime = kind, "d/" + "n" * 90, 1_700_000_000
                info.size = 600 if kind == tarfile.REGTYPE else 0
                info.pax_headers = (
                    {"SCHILY.xattr.user.a": "b", "mtime": "1.5"} if form == tarfile.PAX_FORMAT else {}
                )
                archive.addfile(info, io.BytesIO(b"x" * 600))
        made.append(file.getvalue()[: 512 * 12])
    return made


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes], *, sums: bool) -> bytes:
    """An original with bytes changed, put in, taken out; with ``sums`` the headers' checksums are set right again."""
    data = bytearray(draw(st.sampled_from(originals)))
    for place, change in draw(
        st.lists(
            st.tuples(st.integers(0, 1 << 13), st.one_of(st.binary(max_size=4), st.integers(1, 600))),
            max_size=6,
        )
    ):
        start = place % (len(data) + 1)
        if isinstance(change, int):
            del data[start : start + change]
        else:
            data[start : start + len(change)] = change
    if sums:
        data += bytes(-len(data) % 512)
        for start in range(0, len(data), 512):
            if any(data[start : start + 512]):
                data[start : start + 512] = resum(bytes(data[start : start + 512]))
    return bytes(data)


HONEST = _honest()
DAMAGED = damaged(HONEST, sums=True)
COMPRESSORS = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "deflate": zlib.compress,
}
PACKED = [pack(data) for pack in COMPRESSORS.values() for data in HONEST]
