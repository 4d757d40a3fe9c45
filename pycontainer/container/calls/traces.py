"""Whether a call wrote to the root of its container: by what the writable layer shows, without a process in it."""

from __future__ import annotations

import os
from typing import TypeAlias

from pycontainer.kernel import native

#: Files with their inode and time of change, which a container cannot set; ``None``: more than is looked at.
Traces: TypeAlias = frozenset[tuple[str, int, int]] | None

#: How many files are looked at. A container that had more when it was warm is used once.
_MOST = 5000
_DEEPEST = 64


def find_traces(upper: int) -> Traces:
    """What is in a writable layer, an fd that stays the caller's.

    Nothing runs that could change it meanwhile: what was a directory still is one.
    """
    if native.is_empty(upper):
        return frozenset()
    found: set[tuple[str, int, int]] = set()
    try:
        for path, folders, files, fd in os.fwalk(".", dir_fd=upper, follow_symlinks=False):
            for name in (".", *folders, *files):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                found.add((f"{path}/{name}", status.st_ino, status.st_ctime_ns))
            # Each directory on the way is an open descriptor.
            if len(found) > _MOST or path.count("/") > _DEEPEST:
                return None
    except OSError:
        return None
    return frozenset(found)


def is_untouched(upper: int, before: Traces) -> bool:
    """Whether nothing was written since :func:`find_traces` found this."""
    if not before:
        return before is not None and native.is_empty(upper)
    return find_traces(upper) == before
