"""The lines of /proc/self/mountinfo (proc_pid_mountinfo(5)), whatever those who mount call their directories.

The kernel escapes space, tab, newline and backslash alone: names may hold all other bytes, of line ends of
other systems, blanks of other scripts, and such as are no text.
"""

from __future__ import annotations

import os

_PATH = "/proc/self/mountinfo"


def read_mountinfo() -> list[list[str]]:
    """The fields of each mount that this process sees. Raises ``OSError``."""
    return split_mountinfo(read_lines(_PATH))


def read_lines(path: str) -> str:
    """The content of a file of /proc whose lines may hold names of files; each ends in a newline. ``OSError``."""
    with open(path, "rb") as file:
        return os.fsdecode(file.read())


def split_mountinfo(text: str) -> list[list[str]]:
    """The fields of each line, as they are written.

    >>> split_mountinfo("30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\\n")[0][4]
    '/sys/fs/cgroup'
    """
    return [line.split(" ") for line in text.split("\n") if line]
