"""Which cgroup trees this process sees, and where in each it is: read from text, nothing is tried.

Sources: cgroups(7) "/proc files", proc_pid_mountinfo(5).  A mount shows a tree from the directory that its
``root`` names, which inside of a container is often not the tree's own root.
"""

from __future__ import annotations

import re

import attrs

from pycontainer.kernel.mountinfo import read_lines, split_mountinfo

#: What version 1 calls otherwise.
_NAMES = {"blkio": "io"}
_ESCAPE = re.compile(r"\\([0-7]{3})")


@attrs.frozen(kw_only=True)
class Layout:
    """Where the process is, as directories.

    ``unified`` is its cgroup of version 2 and ``mount`` where that tree is mounted; ``v1`` has a directory
    for each controller of version 1, by its version 2 name, the same one for controllers that are mounted together.
    """

    unified: str | None = None
    mount: str | None = None
    v1: dict[str, str] = attrs.field(factory=dict)

    @property
    def is_pure(self) -> bool:
        """Version 2 and nothing else?"""
        return self.unified is not None and not self.v1


def read_layout() -> Layout:
    """The layout of this process."""
    return parse_layout(read_lines("/proc/self/cgroup"), read_lines("/proc/self/mountinfo"))


def parse_layout(places: str, mountinfo: str) -> Layout:
    """The layout that ``/proc/self/cgroup`` and ``/proc/self/mountinfo`` tell.

    >>> parse_layout("0::/a\\n", "30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\\n").unified
    '/sys/fs/cgroup/a'
    """
    own: dict[str, str] = {}
    for line in filter(None, places.split("\n")):
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            own[controller] = path
    unified = mount = None
    v1: dict[str, str] = {}
    for kind, options, root, place in _cgroup_mounts(mountinfo):
        if kind == "cgroup2":
            found = _directory(own.get(""), root, place)
            if found is not None and unified is None:
                unified, mount = found, place
            continue
        for controller in options:
            if controller in own and "=" not in controller:
                found = _directory(own[controller], root, place)
                if found is not None:
                    v1.setdefault(_NAMES.get(controller, controller), found)
    return Layout(unified=unified, mount=mount, v1=v1)


def _cgroup_mounts(mountinfo: str) -> list[tuple[str, list[str], str, str]]:
    """Type, options of the file system, root and place; those that can be written to first."""
    lines = split_mountinfo(mountinfo)
    mounts = {fields[0]: (fields[1], _plain(fields[4])) for fields in lines}
    found = []
    for fields in lines:
        separator = fields.index("-", 6) if "-" in fields[6:] else -1
        if separator < 0 or fields[separator + 1] not in ("cgroup", "cgroup2"):
            continue
        if _is_hidden(fields[0], mounts):
            continue
        read_only = "ro" in fields[5].split(",")
        mount = (
            fields[separator + 1],
            fields[separator + 3].split(","),
            _plain(fields[3]),
            _plain(fields[4]),
        )
        found.append((read_only, mount))
    return [mount for _, mount in sorted(found, key=lambda each: each[0])]


def _is_hidden(number: str, mounts: dict[str, tuple[str, str]]) -> bool:
    """Does another mount cover this one, or the place where it or one that it is in was mounted?"""
    seen = set()
    if any(above == number and place == mounts[number][1] for above, place in mounts.values()):
        return True
    while number in mounts and number not in seen:
        seen.add(number)
        within, place = mounts[number]
        for other, (above, there) in mounts.items():
            if other != number and above == within and f"{place}/".startswith(f"{there.rstrip('/')}/"):
                return True
        number = within
    return False


def _plain(field: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)


def _directory(own: str | None, root: str, place: str) -> str | None:
    """The directory of the cgroup ``own`` in a mount; ``None`` when the mount does not show it.

    Above a cgroup namespace's root the kernel writes ``/..``, and names are not told (cgroup_namespaces(7)).
    """
    if own is None or own.startswith("/..") or root.startswith("/..") or own.endswith(" (deleted)"):
        return None
    root = root.rstrip("/")
    if own != root and not own.startswith(f"{root}/"):
        return None
    return (place + own[len(root) :]).rstrip("/") or "/"
