"""What a tree takes on the disk."""

from __future__ import annotations

import os

from pycontainer.errors import KernelError
from pycontainer.kernel.denied import DENIED
from pycontainer.kernel.descent import Descent


def weight(top: int) -> int:
    """The bytes of a tree's blocks, each file counted once; without directories that the caller may not enter."""
    seen: set[int] = set()
    # Not opened anew: its mode may forbid that by now.
    with Descent(os.dup(top)) as walk:
        total, names = _here(walk.fd, seen)
        levels = [names]
        while levels:
            if levels[-1]:
                try:
                    walk.down(levels[-1].pop())
                except KernelError as error:
                    if error.errno not in DENIED:
                        raise
                    continue
                blocks, names = _here(walk.fd, seen)
                total += blocks
                levels.append(names)
            else:
                levels.pop()
                if levels:
                    walk.up()
    return total


def _here(fd: int, seen: set[int]) -> tuple[int, list[str]]:
    total = 0
    directories = []
    with os.scandir(fd) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except PermissionError:
                break
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            elif status.st_nlink > 1:
                if status.st_ino in seen:
                    continue
                seen.add(status.st_ino)
            total += status.st_blocks * 512
    return total, directories
