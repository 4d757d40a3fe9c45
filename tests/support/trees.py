"""What a tree of files is like, to see that it stayed so."""

from __future__ import annotations

from pathlib import Path


def state(top: Path) -> dict[str, tuple[int, ...]]:
    """Of all below a directory: the mode, size, owner, number of links and times."""
    found: dict[str, tuple[int, ...]] = {}
    for path in [top, *top.rglob("*")]:
        status = path.lstat()
        times = (status.st_mtime_ns, status.st_ctime_ns)
        found[str(path)] = (status.st_mode, status.st_size, status.st_uid, status.st_nlink, *times)
    return found
