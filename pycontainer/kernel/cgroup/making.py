"""Making the directories of a cgroup, and setting its limits: all of it, or nothing is left."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from contextlib import suppress

import attrs

from pycontainer.errors import InvalidArgument, KernelError, NotSupported
from pycontainer.kernel.cgroup import v1, v2
from pycontainer.kernel.cgroup.directory import Directory
from pycontainer.kernel.cgroup.layout import Layout, read_layout
from pycontainer.kernel.cgroup.limits import Limits, controller_of
from pycontainer.kernel.cgroup.parts import Parts
from pycontainer.kernel.cgroup.place import NO_PLACE, Place, cannot_make
from pycontainer.kernel.cgroup.setting import AS_ABOVE, Setting

ACCOUNTS = ("cpu", "memory", "pids", "io")
#: Writing fails so where the kernel has no such limit, or the caller may not set it.
_NOT_TO_BE_HAD = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EOPNOTSUPP)
_LONGEST_NAME = 255


def check_name(name: object) -> str:
    """A name for a cgroup. Raises :class:`InvalidArgument`."""
    good = isinstance(name, str) and 0 < len(name.encode(errors="surrogateescape")) <= _LONGEST_NAME
    if not good or "/" in str(name) or "\n" in str(name) or "\0" in str(name) or str(name).startswith("."):
        raise InvalidArgument("name", name, "a name without '/' that does not begin with a dot is needed")
    if str(name).split(".")[0] in _FILE_PREFIXES and "." in str(name):
        raise InvalidArgument("name", name, "it looks like one of the kernel's own files: use another one")
    return str(name)


_FILE_PREFIXES = {
    "cgroup", "cpu", "cpuacct", "cpuset", "memory", "io", "blkio", "pids", "hugetlb", "rdma", "misc",
    "devices", "freezer", "net_cls", "net_prio", "perf_event", "irq", "dmem", "debug",
}  # fmt: skip


@attrs.frozen
class Kind:
    """What is asked for of a cgroup, but for its name and place."""

    limits: Limits
    #: What it is to count, of ``ACCOUNTS``.
    accounting: tuple[str, ...]
    #: The limits that it may lack.
    optional: frozenset[str]
    #: Is it to end with this process?
    leashed: bool

    @property
    def is_used(self) -> bool:
        """Does it limit or count anything itself?"""
        return bool(self.limits.names or self.accounting)


@attrs.frozen
class Needs:
    """What a cgroup is made with: hierarchies of version 1, and which limits cannot be had."""

    hierarchies: tuple[str, ...]
    missing: dict[str, NotSupported]


def find_needs(above: Place, limits: Limits, accounting: Collection[str]) -> Needs:
    """Where the limits of a cgroup are to be set, with its version 2 controllers enabled above it."""
    for name in accounting:
        if name not in ACCOUNTS:
            raise InvalidArgument("accounting", name, f"some of {', '.join(ACCOUNTS)} are needed")
    layout = above.layout
    wanted = limits.controllers | _accounted(above, accounting)
    old = [name for name in sorted(wanted) if name in layout.v1]
    # A program in the cgroup, not a controller, keeps version 2's processes from devices.
    new = [name for name in sorted(wanted) if name not in layout.v1 and name != "devices"]
    if above.tree is None:
        # Version 1 alone: what is frozen can be killed without a race.
        old.append("freezer" if "freezer" in layout.v1 else min(layout.v1, default=""))
    reasons = above.enable(new) if new else {}
    if "devices" in wanted and "devices" not in layout.v1 and above.tree is None:
        reasons["devices"] = NotSupported("the controller devices is mounted nowhere", "mount it")
    missing = {name: reasons[controller_of(name)] for name in limits.names if controller_of(name) in reasons}
    return Needs(tuple(dict.fromkeys(layout.v1[name] for name in old if name)), missing)


def _accounted(above: Place, accounting: Collection[str]) -> set[str]:
    """The controllers that are needed to count. Version 2's tree counts the cpu's time without one."""
    wanted = set(accounting)
    if "cpu" in wanted and above.tree is not None and "cpu" in above.layout.v1:
        wanted.discard("cpu")
    elif "cpu" in wanted and above.tree is None:
        wanted.add("cpuacct")
        wanted.discard("cpu")
    return wanted


def make_parts(
    parts: Parts, above: Place, name: str, hierarchies: Collection[str]
) -> dict[str, NotSupported]:
    """Make the directories; the hierarchies in which the caller may not.

    Raises :class:`KernelError`, or :class:`NotSupported` where none can be made, with nothing left.
    """
    refused: dict[str, NotSupported] = {}
    try:
        if above.tree is not None:
            parts.tree = _make(above.tree, name)
        for hierarchy in hierarchies:
            try:
                add_hierarchy(parts, above, name, hierarchy)
            except NotSupported as reason:
                refused[hierarchy] = reason
        if parts.tree is None and not parts.v1:
            nothing = NotSupported("no cgroup tree is mounted that shows this process", NO_PLACE)
            raise next(iter(refused.values()), nothing)
    except BaseException:
        with suppress(KernelError):
            parts.remove()
        raise
    return refused


def find_refused(
    layout: Layout, limits: Limits, refused: Mapping[str, NotSupported]
) -> dict[str, NotSupported]:
    """The limits that cannot be had because of the hierarchies ``refused``."""
    places = {name: layout.v1.get(controller_of(name), "") for name in limits.names}
    return {name: refused[place] for name, place in places.items() if place in refused}


def open_parts(path: str | Mapping[str, str]) -> tuple[Layout, Parts]:
    """The directories of a cgroup that exists. Raises :class:`KernelError`."""
    layout = read_layout()
    parts = Parts()
    wanted = {"": path} if isinstance(path, str) else {**path}
    try:
        for controller, place in wanted.items():
            directory = _open(place)
            if controller in layout.v1:
                before = parts.v1.setdefault(layout.v1[controller], directory)
                if before is not directory:
                    directory.close()  # two controllers that are mounted together
            elif controller == "" and parts.tree is None and layout.unified is not None:
                parts.tree = directory
            else:
                directory.close()
                raise InvalidArgument(
                    "path", controller, f"the controllers of version 1 here are {', '.join(layout.v1)}"
                )
    except BaseException:
        parts.close()
        raise
    return layout, parts


def _open(path: str) -> Directory:
    try:
        directory = Directory.open(path)
    except OSError as error:
        raise KernelError(error.errno or 0, f"open the cgroup {path}") from None
    if not directory.has("cgroup.procs"):
        directory.close()
        raise InvalidArgument("path", path, "it is no cgroup: there is no cgroup.procs in it")
    return directory


def add_hierarchy(parts: Parts, above: Place, name: str, hierarchy: str) -> Directory:
    """Make one more directory, in a hierarchy of version 1."""
    try:
        upper = above.hierarchy(hierarchy)
    except OSError as error:
        raise KernelError(error.errno or 0, f"open the cgroup {hierarchy}") from None
    directory = parts.v1[hierarchy] = _make(upper, name)
    controllers = [each for each, place in above.layout.v1.items() if place == hierarchy]
    try:
        v1.prepare(controllers, upper, directory)
    except OSError as error:
        raise KernelError(error.errno or 0, f"prepare the cgroup {directory.path}") from None
    return directory


def _make(above: Directory, name: str) -> Directory:
    try:
        return above.make(name)
    except OSError as error:
        raise cannot_make(error, f"{above.path}/{name}") from None


def set_limits(
    parts: Parts,
    layout_v1: Mapping[str, str],
    above: Place | None,
    limits: Limits,
    names: Collection[str],
    before: Limits,
) -> dict[str, NotSupported]:
    """Set the limits ``names``, but for devices; those that cannot be had, with the reason.

    Raises :class:`KernelError`.
    """
    names = [name for name in names if name != "devices"]
    old = [name for name in names if controller_of(name) in layout_v1]
    new = [name for name in names if controller_of(name) not in layout_v1]
    missing: dict[str, NotSupported] = {}
    later = []
    work = v1.settings(limits, old, before) + v2.settings(limits, new, before)
    for setting in work:
        try:
            _write(parts, layout_v1, above, setting)
        except NotSupported as reason:
            missing[setting.limit] = reason
        except OSError:
            # Two limits that bound each other (memory, memory with swap) go in one order only.
            later.append(setting)
    for setting in later:
        try:
            _write(parts, layout_v1, above, setting)
        except OSError as error:
            raise KernelError(error.errno or 0, f"set {setting.limit} of the cgroup") from None
    return missing


def _write(parts: Parts, layout_v1: Mapping[str, str], above: Place | None, setting: Setting) -> None:
    hierarchy = layout_v1.get(setting.controller)
    directory = parts.tree if hierarchy is None else parts.v1.get(hierarchy)
    if directory is None:
        raise NotSupported(
            f"{setting.limit} cannot be set: {setting.controller} is mounted nowhere", NO_PLACE
        )
    refusal = "there is no such file"
    for file, data in setting.choices:
        try:
            if data == AS_ABOVE:
                data = above.hierarchy(hierarchy).read(file) if above is not None and hierarchy else b"\n"  # noqa: PLW2901
            directory.write(file, data)
            parts.written.setdefault(hierarchy or "", []).append((file, data))
            return
        except OSError as error:
            if error.errno not in _NOT_TO_BE_HAD:
                raise
            refusal = f"{file}: {error.strerror}"
    what = f"{setting.limit} cannot be set in {directory.path}" + (f" ({refusal})" if setting.choices else "")
    raise NotSupported(what, setting.fix)


def can_be_repeated(parts: Parts, layout: Layout, kind: Kind) -> bool:
    """May others be made by repeating what was written? Not what depends on the cgroup above, or is no file."""
    if kind.leashed or "devices" in kind.limits.names:
        return False
    place = layout.v1.get("cpuset")
    return place is None or place not in parts.v1


def check_missing(missing: Mapping[str, NotSupported], optional: Collection[str]) -> None:
    """Raise the first reason of those that are not optional."""
    for name, reason in missing.items():
        if name not in optional:
            what = reason.what if name in reason.what else f"{name}: {reason.what}"
            raise NotSupported(what, reason.fix)
