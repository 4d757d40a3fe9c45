"""Unpacking a hostile tar archive into an empty directory: a root file system."""

from __future__ import annotations

import os
from typing import Literal

import attrs

from pycontainer.image.compression import Read, decompressed
from pycontainer.image.limits import Limits
from pycontainer.image.relay import relayed
from pycontainer.image.tarstream import TarStream
from pycontainer.image.treemaker import TreeMaker


@attrs.frozen(kw_only=True)
class Unpacked:
    """What came of it: how many entries, bytes of files with their holes, and the first of the devices left out.

    ``room`` is about what it takes on the disk, in bytes.
    """

    entries: int
    size: int
    room: int
    skipped: tuple[str, ...] = ()


def unpack(
    read: Read,
    root: int,
    *,
    limits: Limits | None = None,
    keep_owners: bool | None = None,
    devices: Literal["skip", "refuse"] = "skip",
) -> Unpacked:
    """Unpack a tar archive, compressed or not, into the empty directory ``root`` (a descriptor, borrowed).

    ``read`` gives the archive's bytes.  With ``keep_owners`` (by default: for root) files belong to the
    numbers that the archive tells, and keep their capabilities; otherwise to the caller.  Modes, times,
    hard links, holes and ``user.*`` attributes are kept; other attributes are not.  Runs of zeros become holes.
    Device nodes are never made: they are named in the result, or refused.

    Raises :class:`ImageError` for a damaged archive, :class:`UnsafeArchive` for one that breaks a bound or
    tries to reach outside, :class:`KernelError` for what the host refuses, such as a full disk.  What was
    made until then stays for the caller to remove.

    >>> with open("rootfs.tar.gz", "rb") as file:            # doctest: +SKIP
    ...     unpack(file.read, directory).skipped
    ('dev/null',)
    """
    bounds = limits or Limits()
    owners = os.geteuid() == 0 if keep_owners is None else keep_owners
    made: list[TreeMaker] = []

    def work(source: Read) -> None:
        with TreeMaker(TarStream(source, bounds), root, bounds, owners=owners, devices=devices) as maker:
            maker.make()
            made.append(maker)

    relayed(decompressed(read, bounds, holes=True), work)
    [maker] = made
    return Unpacked(entries=maker.entries, size=maker.size, room=maker.room, skipped=tuple(maker.skipped))
