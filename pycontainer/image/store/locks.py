"""Who holds the lock of a file, as /proc/locks tells it (proc(5)): for messages, never for decisions."""

from __future__ import annotations

import os


def lockers(path: str, *, dir_fd: int | None = None) -> list[int]:
    """The processes that have locked a file, as far as can be told. Raises ``OSError``.

    A process of another pid namespace is not among them.
    """
    status = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    found = set()
    with open("/proc/locks") as file:
        for line in file:
            words = line.split()
            # A waiting one begins "1: -> ".
            if len(words) != 8 or words[1] == "->":
                continue
            major, minor, inode = words[5].split(":")
            device = os.makedev(int(major, 16), int(minor, 16))
            # What a file system with subvolumes says here and in stat(2) differs.
            if int(inode) == status.st_ino and (device == status.st_dev or not os.major(status.st_dev)):
                found.add(int(words[4]))
    return sorted(pid for pid in found if pid > 0)
