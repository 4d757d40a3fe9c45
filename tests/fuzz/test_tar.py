"""Layers: whatever a tar stream says, it is read within bounds, and unpacked inside of its root."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import ImageError, KernelError, NotSupported
from pycontainer.image.compression import decompressed
from pycontainer.image.layer import unpack_layer
from pycontainer.image.limits import Limits
from pycontainer.image.tarstream import TarStream
from pycontainer.image.unpack import unpack
from pycontainer.kernel.tree import remove_tree
from tests.fuzz import archives
from tests.fuzz.guard import guarded, holds_secret, scratch
from tests.support.tarball import END, entry, pax

#: Small, so that inputs can break each of them.
LIMITS = Limits(total=1 << 20, entries=300, name=4095, pax=2000, segments=100, ratio=50, unquestioned=1 << 16)


def read_all(data: bytes, limits: Limits = LIMITS) -> None:
    stream = TarStream(decompressed(io.BytesIO(data).read, limits), limits)
    for found in stream.entries():
        assert len(found.name) <= limits.name
        assert 0 <= found.mode <= 0o7777
        assert sum(length for _, length in found.segments) <= max(found.size, 0)
        for _ in stream.content():
            pass
    stream.drain()


@given(data=archives.HOSTILE)
def test_hostile_entries_are_read_or_refused(data: bytes) -> None:
    with guarded(ImageError):
        read_all(data)


def test_many_small_records_are_not_gone_through_again_and_again() -> None:
    """Each header cost as much as all records before it, and each entry as much as all of those for all entries."""
    with guarded():
        read_all(pax(*[(b"a", b"")] * 100_000) + entry(b"pax", b"x") * 2000 + entry(b"f") + END, Limits())
    with guarded():
        read_all(
            pax(*((b"%06x" % number, b"") for number in range(90_000)), kind=b"g") + entry(b"f") * 2000 + END,
            Limits(),
        )


def test_a_wrong_key_that_is_no_text_is_told() -> None:
    with pytest.raises(ImageError, match="all entries the same path"):
        read_all(pax((b"path\xff" * 1000, b""), kind=b"g") + END, Limits())


@given(data=archives.DAMAGED)
def test_damaged_archives_are_read_or_refused(data: bytes) -> None:
    with guarded(ImageError):
        read_all(data)


@given(data=st.one_of(archives.damaged(archives.PACKED, sums=False), st.binary(max_size=600)))
def test_damaged_compressed_data_is_read_or_refused(data: bytes) -> None:
    with guarded(ImageError, NotSupported):
        read_all(data)


@given(
    data=st.one_of(archives.LINKED, archives.LINKED, archives.HOSTILE, archives.DAMAGED),
    owners=st.booleans(),
    how=st.sampled_from(["skip", "refuse", "layer", "layer"]),
)
def test_nothing_is_unpacked_outside(data: bytes, owners: bool, how: str) -> None:
    with scratch() as (root, outside):
        data = archives.aimed(data, os.fsencode(outside.place))
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with guarded(ImageError, KernelError):
                read, keep = io.BytesIO(data).read, owners and os.geteuid() == 0
                if how == "layer":
                    unpack_layer(read, fd, limits=LIMITS, keep_owners=keep)
                else:
                    unpack(read, fd, limits=LIMITS, keep_owners=keep, devices=how)  # type: ignore[arg-type]
            outside.check()
            assert not holds_secret(root)
            for name in os.listdir(fd):
                with guarded(KernelError):
                    remove_tree(fd, os.fsencode(name))
            assert not os.listdir(fd)
        finally:
            os.close(fd)
