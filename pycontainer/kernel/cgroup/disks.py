"""The disk that a file lies on: limits of io are kept for whole disks, not for partitions."""

from __future__ import annotations

import os
import re
import stat
from typing import Any

from pycontainer.errors import InvalidArgument
from pycontainer.kernel.mountinfo import read_mountinfo

_NUMBER = re.compile(r"([0-9]{1,9}):([0-9]{1,9})")
_HINT = "give the block device, or a path on a file system that lies on one"


def find_disk(argument: str, path: Any) -> str:
    """The ``major:minor`` of the disk on which the file ``path`` lies, or that it is; or as given as ``"8:0"``.

    A partition's disk is the whole one.  Raises :class:`InvalidArgument` for a path that does not exist,
    or lies on no disk (tmpfs, overlay, a network).
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidArgument(argument, path, _HINT)
    text = os.fsdecode(path)
    match = _NUMBER.fullmatch(text)
    if match is not None:
        number = f"{int(match[1])}:{int(match[2])}"
    else:
        try:
            status = os.stat(text)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no path has such a character"
            raise InvalidArgument(argument, text, f"{reason}; {_HINT}") from None
        device = status.st_rdev if stat.S_ISBLK(status.st_mode) else status.st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
    whole = _whole(number) or _whole(_source(number))
    if whole is None:
        raise InvalidArgument(argument, text, f"it lies on no disk ({number}); {_HINT}")
    return whole


def _whole(number: str) -> str | None:
    """The whole disk of a block device; ``None`` when there is no such device."""
    directory = os.path.realpath(f"/sys/dev/block/{number}")
    if os.path.exists(f"{directory}/partition"):
        directory = os.path.dirname(directory)
    try:
        with open(f"{directory}/dev") as file:
            return file.read().strip()
    except OSError:
        return None


def _source(number: str) -> str:
    """The block device that is mounted where files have the device ``number``: btrfs counts its own."""
    for fields in read_mountinfo():
        if fields[2] == number:
            source = fields[fields.index("-", 6) + 2]
            try:
                status = os.stat(source)
            except OSError:
                continue
            if stat.S_ISBLK(status.st_mode):
                return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return ""


def is_stacked(number: str) -> bool:
    """Does the device lie on others (dm, md), which count the same traffic once more?"""
    try:
        return bool(os.listdir(f"/sys/dev/block/{number}/slaves"))
    except OSError:
        return False
